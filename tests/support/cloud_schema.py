"""The Cloud REST SDK's own idea of the API: its operations, and its models read strictly.

The operations are read out of the SDK when it is first used: each generated method is called with a
client that only notes what it was given. The SDK's decoder takes nearly anything (`str(5)`,
`bool("no")`, fields it does not know), so a document is also held against the models' own
declarations: the type of every field, which ones a model cannot be made without, the values of
enums, and that there are no others.
"""

from __future__ import annotations

import base64
import binascii
import functools
import inspect
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

from pulumi_cloud_sdk import apis, models
from pulumi_cloud_sdk._support import AutoEnumEncoder, default_encoder

HISTORY = "GET", "/api/stacks/{orgName}/{projectName}/{stackName}/updates"
"""The one answer to which the SDK gives no type, because there are two, by the query."""
GENERIC = re.compile(r"(list|set|dict)\[(?:(\w+), )?(.+)\]\Z")
PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "float": (int, float),
    "dict": dict,
    "list": list,
}


class Operation(NamedTuple):
    """One call of the SDK."""

    name: str
    method: str
    path: str
    answer: str | None
    """The type of a good answer's body, in the SDK's words; None: there is none."""
    inside: str | None = None
    """The field of the body that has the type, where the body itself has none."""

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"


def find(method: str, path: str, query: str = "") -> Operation | None:
    """The operation that a request is; a path written out wins over one with parameters."""
    for pattern, operation in _table():
        if operation.method == method and pattern.fullmatch(path):
            return _one_of(operation, query)
    return None


def operations() -> list[Operation]:
    """All that the SDK can call."""
    return [operation for _, operation in _table()]


def differences(value: Any, kind: str, at: str = "") -> Iterator[str]:
    """Where a decoded document is not what the type says: `.field[]: what is wrong`."""
    generic = GENERIC.match(kind)
    if kind in ("Any", "object"):
        return
    if value is None:
        yield f"{at}: null"
    elif generic is not None:
        yield from _members(value, generic[1], generic[3], at)
    elif kind in PLAIN or not hasattr(models, kind):
        yield from _plain(value, kind, at)
    elif issubclass(getattr(models, kind), AutoEnumEncoder):
        if value not in [each.value for each in getattr(models, kind)]:
            yield f"{at}: {value!r} is none of {kind}"
    else:
        yield from _model(value, getattr(models, kind), at)


def undecodable(value: Any, kind: str) -> str | None:
    """What the SDK's own decoder raises at a document."""
    try:
        default_encoder.deserialize(value, kind)
    except Exception as error:  # Whatever it is, a user of the SDK gets it.
        return f": the SDK raises {type(error).__name__}: {error}"
    return None


def _members(value: Any, container: str, kind: str, at: str) -> Iterator[str]:
    if container == "dict":
        if isinstance(value, dict):
            for member in value.values():
                yield from differences(member, kind, f"{at}{{}}")
            return
    elif isinstance(value, list):
        for member in value:
            yield from differences(member, kind, f"{at}[]")
        return
    yield f"{at}: {_name(value)} where a {container} belongs"


def _plain(value: Any, kind: str, at: str) -> Iterator[str]:
    if kind in ("datetime", "date", "bytes"):
        if not (isinstance(value, str) and _reads_as(value, kind)):
            yield f"{at}: not a {kind}"
    elif kind not in PLAIN:
        yield f"{at}: the SDK has no {kind}"
    elif not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind != "bool"):
        yield f"{at}: {_name(value)} where a {kind} belongs"


def _reads_as(text: str, kind: str) -> bool:
    try:
        if kind == "bytes":
            base64.b64decode(text, validate=True)
        elif kind == "date":
            date.fromisoformat(text)
        else:
            return datetime.fromisoformat(text).tzinfo is not None
    except (ValueError, binascii.Error):
        return False
    return True


def _model(value: Any, model: Any, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at}: {_name(value)} where a {model.__name__} belongs"
        return
    discriminator = getattr(model, "DISCRIMINATOR", None)
    if discriminator is not None:
        try:
            model = model.fixup_prototype(value)
        except ValueError:
            yield f"{at}.{discriminator}: {value.get(discriminator)!r} is no {model.__name__}"
            return
    fields = _fields(model)
    for name in sorted(value.keys() - fields.keys() - {discriminator}):
        yield f"{at}.{name}: unknown to {model.__name__}"
    for name, (kind, required) in fields.items():
        if name not in value:
            if required:
                yield f"{at}.{name}: missing"
        elif value[name] is not None or required or kind in ("int", "float", "bool"):
            yield from differences(value[name], kind, f"{at}.{name}")


@functools.cache
def _fields(model: Any) -> dict[str, tuple[str, bool]]:
    """A model's fields by their names on the wire: the type, and whether it must be there."""
    types, names, _ = default_encoder.infer_types_from_annotations(model)
    parameters = inspect.signature(model.__init__).parameters
    return {
        names[attribute]: (
            kind,
            attribute in parameters and parameters[attribute].default is inspect.Parameter.empty,
        )
        for attribute, kind in types.items()
        if attribute != "__DISCRIMINATOR_VALUE__"
    }


def _name(value: Any) -> str:
    return "null" if value is None else type(value).__name__


class _Noting:
    """An API client that notes a call instead of making it."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, str | None]] = []

    def select_header_accept(self, _: Any) -> None:
        return None

    select_header_content_type = select_header_accept

    def call_api(self, path: str, method: str, *_: Any, response_type: Any, **__: Any) -> None:
        self.noted.append((method, path, response_type))

    def call_api_with_headers(self, *arguments: Any, **named: Any) -> tuple[None, dict[str, str]]:
        self.call_api(*arguments, **named)
        return None, {}


@functools.cache
def _table() -> list[tuple[re.Pattern[str], Operation]]:
    found = []
    for _, api in inspect.getmembers(apis, inspect.isclass):
        for name, method in inspect.getmembers(api, inspect.isfunction):
            if not name.startswith("_"):
                found.append(_read(api, name, method))
    found.sort(key=lambda each: re.sub(r"\{\w+\}", "~", each.path))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", each.path)), each) for each in found]


def _read(api: Any, name: str, method: Any) -> Operation:
    client = _Noting()
    required = [
        parameter.name
        for parameter in inspect.signature(method).parameters.values()
        if parameter.name != "self" and parameter.default is inspect.Parameter.empty
    ]
    getattr(api(client), name)(**dict.fromkeys(required, "-"))
    ((verb, path, answer),) = client.noted
    return Operation(name, verb, path, answer)


def _one_of(operation: Operation, query: str) -> Operation:
    if (operation.method, operation.path) != HISTORY:
        return operation
    if "output-type=" in query:
        return operation._replace(answer="GetStackUpdatesResponse")
    return operation._replace(answer="list[AppUpdateInfo]", inside="updates")
