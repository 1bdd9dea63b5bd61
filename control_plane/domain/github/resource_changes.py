"""What an update does to each resource, property by property, from its engine events.

Secrets are masked: the engine writes `[secret]` for them in events, and in states an object with a
certain key. Sources: `pkg/backend/display/json.go` and `sdk/go/common/apitype/events.go` of Pulumi.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

CHANGES_MAX = 1000
"""So many resources are kept; the others are counted."""
PROPERTIES_MAX = 100
VALUE_CHARACTERS_MAX = 300
SECRET = "[secret]"  # noqa: S105 - what stands in a secret's place
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key of objects that are values of the engine's own: a secret, an asset, a reference."""
_KINDS = {
    "1b47061264138c4ac30d75fd1eb44270": SECRET,
    "c44067f5952c0a294b673a41bacd8c17": "[asset]",
    "0def7320c3a5731c473e5ecbe6d01bc7": "[archive]",
    "5cf8f73096256a8f31e491e813e4eb8e": "[resource]",
    "d0e6a833031e9bbcd3f4e8bde6ca49a4": "[output]",
}
_DEPTH_MAX = 20

_NOTHING_DONE = frozenset(
    {"same", "read", "refresh", "read-replacement", "discard", "discard-replaced", ""}
)
_PARTS_OF_REPLACING = frozenset(
    {"create-replacement", "delete-replaced", "import-replacement", "remove-pending-replace"}
)


_BEGINNINGS = ("create", "import")
_Difference = tuple[str, Any, Any]
"""Where two values differ: the path, the value before, and the one after."""


class Property(msgspec.Struct, frozen=True, kw_only=True):
    """A property that differs; a side that does not have it is empty."""

    path: str
    before: str = ""
    after: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to one resource."""

    operation: str
    """The engine's word: create, update, replace, delete, import."""
    type: str
    name: str
    properties: tuple[Property, ...] = ()
    failed: bool = False


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """All that an update does, and how many resources were left out of the list."""

    each: tuple[Change, ...] = ()
    left_out: int = 0


class _State(msgspec.Struct):
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None


class _Detail(msgspec.Struct, rename="camel"):
    diff_kind: str = ""
    input_diff: bool = False


class _Metadata(msgspec.Struct, rename="camel"):
    op: str = ""
    urn: str = ""
    type: str = ""
    old: _State | None = None
    new: _State | None = None
    diffs: list[str] | None = None
    detailed_diff: dict[str, _Detail] | None = None

    @property
    def is_default_provider(self) -> bool:
        """The engine makes these by itself, and does not count them."""
        return self.type.startswith("pulumi:providers:") and "::default" in self.urn


class _OfResource(msgspec.Struct):
    metadata: _Metadata


class _Event(msgspec.Struct, rename="camel"):
    resource_pre_event: _OfResource | None = None
    res_op_failed_event: _OfResource | None = None


_read = msgspec.json.Decoder(_Event).decode


def read(events: Iterable[bytes]) -> Changes:
    """Read events in their order; misshapen ones are passed over."""
    found: dict[str, Change] = {}
    left_out: set[str] = set()
    for raw in events:
        # Most events are of other kinds, and need not be parsed to see that.
        if b"resourcePreEvent" not in raw and b"resOpFailedEvent" not in raw:
            continue
        try:
            event = _read(raw)
        except (msgspec.MsgspecError, RecursionError):
            continue
        for told in (event.resource_pre_event, event.res_op_failed_event):
            if told is not None:
                _note(told.metadata, told is event.res_op_failed_event, found, left_out)
    return Changes(each=tuple(found.values()), left_out=len(left_out))


def _note(of: _Metadata, failed: bool, found: dict[str, Change], left_out: set[str]) -> None:
    operation = "replace" if of.op in _PARTS_OF_REPLACING else of.op
    if (operation in _NOTHING_DONE and not failed) or of.is_default_provider:
        return
    known = found.get(of.urn)
    if known is None and len(found) >= CHANGES_MAX:
        left_out.add(of.urn)
        return
    properties = _properties(of)
    if known is not None:
        properties = max(properties, known.properties, key=len)
        operation = known.operation if known.operation == "replace" else operation
        failed = failed or known.failed
    found[of.urn] = Change(
        operation=operation,
        type=of.type,
        name=of.urn.rpartition("::")[2],
        properties=properties,
        failed=failed,
    )


def _properties(of: _Metadata) -> tuple[Property, ...]:
    """As the engine tells it; where it tells nothing, as the inputs differ."""
    old, new = of.old or _State(), of.new or _State()
    found: Iterable[_Difference]
    if of.op in _BEGINNINGS:
        found = [(key, _MISSING, each) for key, each in _without_own(new.inputs).items()]
    elif of.detailed_diff:
        found = [_detail(old, new, path, how) for path, how in of.detailed_diff.items()]
    elif of.diffs:
        found = [(key, _at(old.inputs, [key]), _at(new.inputs, [key])) for key in of.diffs]
    elif old.inputs is not None and new.inputs is not None:
        found = _differences(_without_own(old.inputs), _without_own(new.inputs))
    else:
        found = ()
    return tuple(
        Property(path=path[:VALUE_CHARACTERS_MAX], before=_shown(before), after=_shown(after))
        for path, before, after in sorted(islice(found, PROPERTIES_MAX), key=lambda each: each[0])
    )


def _without_own(inputs: dict[str, Any] | None) -> dict[str, Any]:
    """Inputs without those that the engine adds for itself."""
    return {key: each for key, each in (inputs or {}).items() if not key.startswith("__")}


def _detail(old: _State, new: _State, path: str, how: _Detail) -> _Difference:
    parts = _parts(path)
    before = _at(old.inputs if how.input_diff else old.outputs, parts)
    after = _at(new.inputs, parts)
    return path, before, _at(new.outputs, parts) if after is _MISSING else after


def _differences(old: Any, new: Any, path: str = "", depth: int = 0) -> Iterator[_Difference]:
    """Where two values differ, as deep down as possible. A secret is like any other secret."""
    if old is not _MISSING and new is not _MISSING and masked(old) == masked(new):
        return
    if depth < _DEPTH_MAX and _is_object(old) and _is_object(new):
        for key in {**old, **new}:
            inner = f"{path}.{key}" if path else key
            yield from _differences(_member(old, key), _member(new, key), inner, depth + 1)
    elif depth < _DEPTH_MAX and isinstance(old, list) and isinstance(new, list):
        for at in range(max(len(old), len(new))):
            inner = f"{path}[{at}]"
            yield from _differences(_member(old, at), _member(new, at), inner, depth + 1)
    else:
        yield path, old, new


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and SIGNATURE not in value


_MISSING = object()
_PART = re.compile(r'\.?([^.\[\]"]+)|\[(\d{1,9})\]|\["((?:[^"\\]|\\.)*)"\]')


def _parts(path: str) -> list[str | int]:
    """The steps of a property path, such as `ingress[0].tags["a.b"]`."""
    return [
        int(index) if index else quoted.replace('\\"', '"') if quoted else name
        for name, index, quoted in _PART.findall(path)
    ]


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        if isinstance(value, dict) and SIGNATURE in value:
            return value
        if value == SECRET:
            # The path leads into what must not be seen.
            return value
        value = _member(value, part)
    return value


def _member(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part, _MISSING)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _MISSING


def _shown(value: Any) -> str:
    if value is _MISSING:
        return ""
    text = msgspec.json.encode(masked(value)).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[:VALUE_CHARACTERS_MAX] + "…"


def masked(value: Any, depth: int = 0) -> Any:
    """A value without the secrets in it; very deep ones are cut."""
    if isinstance(value, dict) and SIGNATURE in value:
        return _KINDS.get(str(value[SIGNATURE]), SECRET)
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, dict):
        return {str(key): masked(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each, depth + 1) for each in value]
    return value
