"""What an update's engine events tell people: messages, and what was done to which resource."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from control_plane.domain import property_values
from control_plane.domain.property_values import Change
from control_plane.domain.urns import ROOT_STACK_TYPE

COLOUR = re.compile(r"<\{%[^%]*%\}>")
"""The engine's colour tags, such as `<{%fg 1%}>`; what asks for colour `raw` gets them."""

SHOWN_OPERATIONS_MAX = 1000
SHOWN_MESSAGES_MAX = 500

REPLACING = ("create-replacement", "replace", "delete-replaced", "discard-replaced")
"""Steps of one replacement; people see it as one thing."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said of a resource, or of the whole."""

    severity: str
    text: str
    resource: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a resource, and which of its properties made that happen.

    Times are Unix seconds, as the engine's events have them; `ended` is None of one that did not
    end, or whose end was not heard of.
    """

    operation: str
    resource: str
    type: str
    urn: str = ""
    failed: bool = False
    properties: tuple[str, ...] = ()
    replacing: tuple[str, ...] = ()
    """Properties for whose sake it was replaced."""
    changes: tuple[Change, ...] = ()
    began: int = 0
    ended: int | None = None

    @property
    def seconds(self) -> int | None:
        """How long it took."""
        return None if self.ended is None else max(0, self.ended - self.began)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An update in few words; `more` when there was more than is shown."""

    messages: list[Message]
    steps: list[Step]
    outputs: tuple[Change, ...] = ()
    """What became of the stack's outputs."""
    more: bool = False

    def by_resource(self) -> list[tuple[str, list[Message]]]:
        """The messages of each resource, those with errors first; "" is the update itself."""
        groups: dict[str, list[Message]] = {}
        for each in self.messages:
            groups.setdefault(each.resource, []).append(each)
        return sorted(groups.items(), key=lambda group: _without_error(group[1]))


def _without_error(messages: Sequence[Message]) -> bool:
    return all(each.severity != "error" for each in messages)


class _State(msgspec.Struct):
    inputs: msgspec.Raw = msgspec.Raw()
    outputs: msgspec.Raw = msgspec.Raw()


class _Metadata(msgspec.Struct, rename="camel"):
    op: str = ""
    urn: str = ""
    type: str = ""
    keys: list[str] | None = None
    diffs: list[str] | None = None
    detailed_diff: dict[str, Any] | None = None
    old: _State | None = None
    new: _State | None = None


class _OfResource(msgspec.Struct):
    metadata: _Metadata


class _Diagnostic(msgspec.Struct):
    message: str = ""
    severity: str = ""
    urn: str = ""
    prefix: str = ""
    ephemeral: bool = False


class _Error(msgspec.Struct):
    error: str = ""


class _Event(msgspec.Struct, rename="camel"):
    timestamp: int = 0
    diagnostic_event: _Diagnostic | None = None
    resource_pre_event: _OfResource | None = None
    res_outputs_event: _OfResource | None = None
    res_op_failed_event: _OfResource | None = None
    error_event: _Error | None = None


class _Doing(msgspec.Struct):
    """What is heard of one resource, as it comes."""

    metadata: _Metadata
    began: int
    ended: int | None = None
    failed: bool = False


_read = msgspec.json.Decoder(_Event).decode
_read_properties = msgspec.json.Decoder(dict[str, Any] | None).decode


def account(events: Iterable[bytes]) -> Account:
    """Read events in their order; those of no interest, and misshapen ones, are passed over."""
    messages: list[Message] = []
    doing: dict[str, _Doing] = {}
    outputs: list[Change] = []
    for raw in events:
        try:
            event = _read(raw)
        except msgspec.DecodeError:
            continue
        _note_words(event, messages)
        _note_step(event, doing)
        ended = event.res_outputs_event
        if ended is not None and ended.metadata.type == ROOT_STACK_TYPE:
            outputs = property_values.changes(*_sides(ended.metadata, "outputs"))
    done = [each for each in doing.values() if each.metadata.op not in ("same", "refresh", "read")]
    return Account(
        messages=messages[:SHOWN_MESSAGES_MAX],
        steps=[_step(each) for each in done[:SHOWN_OPERATIONS_MAX]],
        outputs=tuple(outputs),
        more=len(messages) > SHOWN_MESSAGES_MAX or len(done) > SHOWN_OPERATIONS_MAX,
    )


def _note_words(event: _Event, messages: list[Message]) -> None:
    said = event.diagnostic_event
    if said is not None and not said.ephemeral:
        text = COLOUR.sub("", said.prefix + said.message).strip()
        if text:
            messages.append(
                Message(
                    severity=said.severity.partition("#")[0], text=text, resource=_name(said.urn)
                )
            )
    if event.error_event is not None:
        messages.append(Message(severity="error", text=event.error_event.error))


def _note_step(event: _Event, doing: dict[str, _Doing]) -> None:
    begun, done, failed = (
        event.resource_pre_event,
        event.res_outputs_event,
        event.res_op_failed_event,
    )
    heard = begun or done or failed
    if heard is None:
        return
    metadata = heard.metadata
    key = f"{_group(metadata.op)} {metadata.urn}"
    known = doing.get(key) or doing.get(f"refresh {metadata.urn}")
    if known is None:
        known = doing[key] = _Doing(metadata, event.timestamp)
    if begun is None:
        known.ended = event.timestamp
        known.failed = known.failed or failed is not None
        if known.metadata.op == "refresh":
            # What has changed in the world is known only when it has been read.
            known.metadata = metadata


def _group(operation: str) -> str:
    return "replace" if operation in REPLACING else operation


def _step(done: _Doing) -> Step:
    metadata = done.metadata
    changed = property_values.changes(*_compared(metadata))
    named = metadata.detailed_diff or metadata.diffs or {_top(each.path) for each in changed}
    return Step(
        operation=_group(metadata.op),
        resource=_name(metadata.urn),
        type=metadata.type,
        urn=metadata.urn,
        failed=done.failed,
        # Of what is made or deleted, all properties are new or old.
        properties=tuple(sorted(named)) if metadata.op not in ("create", "delete") else (),
        replacing=tuple(metadata.keys or ()),
        changes=tuple(changed),
        began=done.began,
        ended=done.ended,
    )


def _top(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0] or path


def _compared(metadata: _Metadata) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a program asks for, before and after; of what was only read, what there is."""
    before, after = _sides(metadata, "inputs")
    if before == after and metadata.old and metadata.new:
        return _sides(metadata, "outputs")
    return before, after


def _sides(metadata: _Metadata, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    old, new = metadata.old or _State(), metadata.new or _State()
    return _properties(getattr(old, what)), _properties(getattr(new, what))


def _properties(raw: msgspec.Raw) -> dict[str, Any]:
    if not bytes(raw):
        return {}
    try:
        return property_values.of_properties(_read_properties(raw))
    except (msgspec.DecodeError, RecursionError):
        return {}


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
