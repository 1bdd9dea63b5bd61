"""What an update's engine events tell people: messages, and what was done to which resource."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

COLOUR = re.compile(r"<\{%[^%]*%\}>")
"""The engine's colour tags, such as `<{%fg 1%}>`; what asks for colour `raw` gets them."""

SHOWN_OPERATIONS_MAX = 1000
SHOWN_MESSAGES_MAX = 500


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was said of a resource, or of the whole."""

    severity: str
    text: str
    resource: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a resource, and which of its properties made that happen."""

    operation: str
    resource: str
    type: str
    failed: bool = False
    properties: tuple[str, ...] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An update in few words; `more` when there was more than is shown."""

    messages: list[Message]
    steps: list[Step]
    more: bool = False


class _Metadata(msgspec.Struct, rename="camel"):
    op: str = ""
    urn: str = ""
    type: str = ""
    diffs: list[str] | None = None
    detailed_diff: dict[str, Any] | None = None


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
    diagnostic_event: _Diagnostic | None = None
    resource_pre_event: _OfResource | None = None
    res_op_failed_event: _OfResource | None = None
    error_event: _Error | None = None


_read = msgspec.json.Decoder(_Event).decode


def account(events: Iterable[bytes]) -> Account:
    """Read events in their order; those of no interest, and misshapen ones, are passed over."""
    messages: list[Message] = []
    steps: dict[str, Step] = {}
    for raw in events:
        try:
            event = _read(raw)
        except msgspec.DecodeError:
            continue
        _note(event, messages, steps)
    return Account(
        messages=messages[:SHOWN_MESSAGES_MAX],
        steps=list(steps.values())[:SHOWN_OPERATIONS_MAX],
        more=len(messages) > SHOWN_MESSAGES_MAX or len(steps) > SHOWN_OPERATIONS_MAX,
    )


def _note(event: _Event, messages: list[Message], steps: dict[str, Step]) -> None:
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
    done, failed = event.resource_pre_event, event.res_op_failed_event
    for each in (done, failed):
        if each is not None and each.metadata.op != "same":
            key = f"{each.metadata.op} {each.metadata.urn}"
            steps[key] = _step(each.metadata, failed=each is failed)


def _step(metadata: _Metadata, *, failed: bool) -> Step:
    changed = metadata.detailed_diff or metadata.diffs or ()
    return Step(
        operation=metadata.op,
        resource=_name(metadata.urn),
        type=metadata.type,
        failed=failed,
        properties=tuple(sorted(changed)),
    )


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
