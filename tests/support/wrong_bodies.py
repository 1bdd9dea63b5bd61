"""How a right body is made wrong: every place of a shape, with every kind of value that does not
belong there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

WRONG: dict[str, Any] = {
    "a number": 1,
    "a fraction": 1.5,
    "a text": "wrong",
    "true": True,
    "null": None,
    "a list": [1],
    "an object": {"wrong": 1},
}
"""A value of each kind that JSON has."""

_TAKEN = {
    msgspec.inspect.IntType: {"a number"},
    msgspec.inspect.FloatType: {"a number", "a fraction"},
    msgspec.inspect.StrType: {"a text"},
    msgspec.inspect.BoolType: {"true"},
    msgspec.inspect.BytesType: set[str](),
    msgspec.inspect.EnumType: {"a number"},
    msgspec.inspect.LiteralType: set[str](),
    msgspec.inspect.NoneType: {"null"},
    msgspec.inspect.ListType: set[str](),
    msgspec.inspect.DictType: set[str](),
    msgspec.inspect.StructType: set[str](),
}

SOME = "some"
"""A key of an object that may have any."""

Place = tuple[str | int, ...]
"""Where something is in a document: keys and positions."""


class Mistake(NamedTuple):
    """A value of a wrong type, and where."""

    place: Place
    kind: str

    @property
    def name(self) -> str:
        """The field that an error should name."""
        named = [key for key in self.place if isinstance(key, str) and key != SOME]
        return named[-1] if named else ""


def mistakes(shape: Any, place: Place = ()) -> Iterator[Mistake]:
    """Every place of a shape, with every kind of value that does not belong there."""
    if isinstance(shape, type | object) and not isinstance(shape, msgspec.inspect.Type):
        shape = msgspec.inspect.type_info(shape)
    choices = list(shape.types) if isinstance(shape, msgspec.inspect.UnionType) else [shape]
    if any(type(each) not in _TAKEN for each in choices):
        return  # Anything goes there, as far as this shape is concerned.
    taken = set().union(*(_TAKEN[type(each)] for each in choices))
    for kind in WRONG.keys() - taken:
        if not _fits(choices, kind):
            yield Mistake(place, kind)
    # Of several structs that are told apart by a tag, the first is the one that rows send.
    structs = [each for each in choices if isinstance(each, msgspec.inspect.StructType)]
    for each in choices:
        if each not in structs[1:]:
            yield from _inside(each, place)


def _fits(choices: list[Any], kind: str) -> bool:
    """Whether a value of the right kind is right inside, too."""
    whole = {msgspec.inspect.DictType: "an object", msgspec.inspect.ListType: "a list"}
    for each in choices:
        if isinstance(each, msgspec.inspect.StructType) and kind == "an object":
            return True
        if whole.get(type(each)) == kind:
            return True
    return False


def _inside(shape: Any, place: Place) -> Iterator[Mistake]:
    match shape:
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield from mistakes(field.type, (*place, field.encode_name))
        case msgspec.inspect.ListType(item_type=item):
            yield from mistakes(item, (*place, 0))
        case msgspec.inspect.DictType(value_type=value):
            yield from mistakes(value, (*place, SOME))


def made(body: Any, mistake: Mistake) -> Any:
    """The body with the mistake in it; what leads there is made where it is missing."""
    if not mistake.place:
        return WRONG[mistake.kind]
    key, *rest = mistake.place
    inner = Mistake(tuple(rest), mistake.kind)
    if isinstance(key, int):
        first = body[0] if isinstance(body, list) and body else {}
        return [made(first, inner)]
    body = body if isinstance(body, dict) else {}
    return {**body, key: made(body.get(key), inner)}
