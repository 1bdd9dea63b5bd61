"""The configuration that an update ran with: names, values, and which of them are secret.

The CLI sends it with the update, secrets as ciphertexts of the stack's secrets provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from control_plane.domain.property_values import MASK, NESTED_MAX, TOO_DEEP, text_of

SECURE = "secure"
"""The one key of a secret that stands inside a structured value."""

Open = Callable[[str], str]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration value; `value` is as the CLI sent it, sealed where it is secret."""

    name: str
    value: str
    secret: bool = False
    structured: bool = False

    @property
    def namespace(self) -> str:
        """What it belongs to: a project, or a provider such as `aws`."""
        return self.name.partition(":")[0]

    @property
    def shown(self) -> str:
        """The value for reading, secrets masked."""
        return self.opened(lambda _: MASK)

    def ciphertexts(self) -> Iterator[str]:
        """What is sealed in it."""
        if self.secret and not self.structured:
            yield self.value
        elif self.secret:
            yield from _sealed(_structure(self.value))

    def opened(self, open_one: Open) -> str:
        """The value for reading, each secret as `open_one` gives it."""
        if self.secret and not self.structured:
            return open_one(self.value)
        if not self.structured:
            return self.value
        return text_of(_opened(_structure(self.value), open_one))


class _Wire(msgspec.Struct):
    string: str = ""
    secret: bool = False
    object: bool = False


def entries(config: bytes) -> list[Entry]:
    """The values of an update's configuration, by name; nothing of what no CLI sends."""
    try:
        found = msgspec.json.decode(config, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return []
    read = [_entry(name, raw) for name, raw in sorted(found.items())]
    return [each for each in read if each is not None]


def _entry(name: str, raw: msgspec.Raw) -> Entry | None:
    try:
        wire = msgspec.json.decode(raw, type=_Wire)
    except msgspec.DecodeError:
        return None
    return Entry(name=name, value=wire.string, secret=wire.secret, structured=wire.object)


def _structure(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        # Nothing of what cannot be read is shown: it may be a secret.
        return {SECURE: text}


def _is_sealed(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {SECURE} and isinstance(value[SECURE], str)


def _sealed(value: Any, depth: int = 0) -> Iterator[str]:
    if _is_sealed(value):
        yield value[SECURE]
    elif isinstance(value, dict | list) and depth < NESTED_MAX:
        for each in value.values() if isinstance(value, dict) else value:
            yield from _sealed(each, depth + 1)


def _opened(value: Any, open_one: Open, depth: int = 0) -> Any:
    if _is_sealed(value):
        return open_one(value[SECURE])
    if depth >= NESTED_MAX and isinstance(value, dict | list):
        return TOO_DEEP
    if isinstance(value, dict):
        return {key: _opened(each, open_one, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_opened(each, open_one, depth + 1) for each in value]
    return value
