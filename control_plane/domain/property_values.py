"""Values of the engine's properties as people read them: as text, with secrets masked or opened.

In a state and in events, a value that is no plain JSON is an object with a signature key. Of these
only secrets matter here; of the others (assets, references to resources) the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key that makes an object special."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the engine's word for "a secret is here"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands in a preview for a value that only the update will know."""
UNKNOWN_SHOWN = "[known after the update]"
MASK = "[secret]"
"""How a secret stands in a text; the engine itself blinds with the same word."""

NESTED_MAX = 100
"""How deep a value is looked into; a program may nest them deeper than Python can follow."""
TOO_DEEP = "[nested too deep to be shown]"
DEPTH_MAX = 30
"""How deep differences are looked for; from there on two values differ as wholes."""
CHANGES_MAX = 200
"""How many differences of one resource are shown."""

Open = Callable[[str], Any]
"""From a ciphertext to the value behind it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A property before and after; None where there was none, or is none any more."""

    path: str
    old: str | None = None
    new: str | None = None

    @property
    def kind(self) -> str:
        """added, removed or changed."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


def is_secret(value: Any) -> bool:
    """Whether the value itself is a secret."""
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def holds_secret(value: Any) -> bool:
    """Whether there is a secret in it."""
    return any(True for _ in ciphertexts(value))


def ciphertexts(value: Any, depth: int = 0) -> Iterator[str]:
    """What is sealed in it, in its order; an empty text for what cannot be opened."""
    if is_secret(value):
        yield str(value.get("ciphertext") or "")
    elif isinstance(value, dict | list) and depth < NESTED_MAX:
        for each in value.values() if isinstance(value, dict) else value:
            yield from ciphertexts(each, depth + 1)


def opened(value: Any, open_one: Open, depth: int = 0) -> Any:
    """The value with each secret as `open_one` gives it, and without signatures."""
    if is_secret(value):
        return open_one(str(value.get("ciphertext") or ""))
    if depth >= NESTED_MAX and isinstance(value, dict | list):
        return TOO_DEEP
    if isinstance(value, dict):
        return {k: opened(each, open_one, depth + 1) for k, each in value.items() if k != SIGNATURE}
    if isinstance(value, list):
        return [opened(each, open_one, depth + 1) for each in value]
    return UNKNOWN_SHOWN if value == UNKNOWN else value


def read(raw: msgspec.Raw) -> Any:
    """A value from its JSON; what is nested beyond all measure only says so."""
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        return TOO_DEEP


def masked(value: Any) -> Any:
    """The value with each secret masked."""
    return opened(value, lambda _: MASK)


def text_of(value: Any) -> str:
    """A value for reading: a text as it is, anything else as JSON with an indent."""
    if isinstance(value, str):
        return value
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def changes(old: Any, new: Any) -> list[Change]:
    """What differs between two sets of properties, each at the deepest place where it does.

    Two secrets differ by their ciphertexts alone; both are masked.
    """
    found: list[Change] = []
    for change in _changes((), old, new):
        if len(found) == CHANGES_MAX:
            break
        found.append(change)
    return found


def _changes(path: tuple[str | int, ...], old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    if len(path) < DEPTH_MAX and not is_secret(old) and not is_secret(new):
        if isinstance(old, dict) and isinstance(new, dict):
            for key in sorted({*old, *new} - {SIGNATURE}):
                yield from _changes((*path, key), old.get(key, _ABSENT), new.get(key, _ABSENT))
            return
        if isinstance(old, list) and isinstance(new, list):
            for place in range(max(len(old), len(new))):
                yield from _changes((*path, place), _at(old, place), _at(new, place))
            return
    yield Change(path=shown_path(path), old=_shown(old), new=_shown(new))


_ABSENT: Any = object()


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else _ABSENT


def _shown(value: Any) -> str | None:
    return None if value is _ABSENT else text_of(masked(value))


def shown_path(path: tuple[str | int, ...]) -> str:
    """A place in properties, as the engine writes it: `tags.Name`, `rules[0].port`, `["a.b"]`."""
    text = ""
    for each in path:
        if isinstance(each, int):
            text += f"[{each}]"
        elif any(mark in each for mark in '."[]') or not each:
            text += f"[{msgspec.json.encode(each).decode()}]"
        else:
            text += f".{each}" if text else each
    return text


def of_properties(properties: Mapping[str, Any] | None) -> dict[str, Any]:
    """Properties without the engine's own, which say nothing to people."""
    return {k: v for k, v in (properties or {}).items() if not k.startswith("__")}
