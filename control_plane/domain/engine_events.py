"""Engine events: what the CLI reports of an update while it runs, and what readers get of it.

An event is kept as the JSON that came. Clients refuse events of kinds that they do not know, so
only known ones are answered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from control_plane.domain.urns import ROOT_STACK_TYPE

KINDS = (
    "cancelEvent",
    "stdoutEvent",
    "diagnosticEvent",
    "preludeEvent",
    "summaryEvent",
    "resourcePreEvent",
    "resOutputsEvent",
    "resOpFailedEvent",
    "policyEvent",
    "policyRemediationEvent",
    "policyLoadEvent",
    "policyAnalyzeSummaryEvent",
    "policyRemediateSummaryEvent",
    "policyAnalyzeStackSummaryEvent",
    "startDebuggingEvent",
    "progressEvent",
    "errorEvent",
)


class Summary(msgspec.Struct, rename="camel"):
    """What the engine says at the end."""

    resource_changes: dict[str, int] | None = None
    result: str = ""


class Numbered(msgspec.Struct):
    """What the server must know of an event; the rest stays in its JSON."""

    sequence: int
    summary: Summary | None = msgspec.field(name="summaryEvent", default=None)


class InvalidEvent(ValueError):
    """Something that is no engine event; the text says why."""


_read_numbered = msgspec.json.Decoder(Numbered).decode
_read_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_SEQUENCE_MAX = 2**53
_NULL = Raw(b"null")


def read(raw: Raw) -> Numbered:
    """An event's number, and the summary if it is one; raises InvalidEvent."""
    try:
        event = _read_numbered(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidEvent(str(error)) from None
    if not 0 <= event.sequence < _SEQUENCE_MAX:
        raise InvalidEvent("'sequence' must be a natural number")
    return event


class Interest(IntEnum):
    """What of an update's events people are told, apart from the many that nobody asks for."""

    DONE = 1
    """A step of a resource that changes."""
    SAID = 2
    """What the program or the engine says by the way."""
    WRONG = 3
    """Errors, warnings, and how the update ended."""
    UNSORTED = 4
    """Kept before events were told apart."""


class _Step(msgspec.Struct):
    op: str = ""
    type: str = ""


class _OfResource(msgspec.Struct):
    metadata: _Step = msgspec.field(default_factory=_Step)


class _Diagnostic(msgspec.Struct):
    severity: str = ""
    ephemeral: bool = False


class _Telling(msgspec.Struct, rename="camel"):
    resource_pre_event: _OfResource | None = None
    res_outputs_event: _OfResource | None = None
    diagnostic_event: _Diagnostic | None = None
    stdout_event: Raw = _NULL
    res_op_failed_event: Raw = _NULL
    error_event: Raw = _NULL
    policy_event: Raw = _NULL
    cancel_event: Raw = _NULL
    summary_event: Raw = _NULL


_read_telling = msgspec.json.Decoder(_Telling).decode


def interest_of(raw: bytes | Raw) -> Interest | None:
    """Of what interest an event is; None for the most, and for misshapen ones."""
    try:
        event = _read_telling(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    wrong = (
        event.res_op_failed_event,
        event.error_event,
        event.policy_event,
        event.cancel_event,
        event.summary_event,
    )
    if any(payload != _NULL for payload in wrong):
        return Interest.WRONG
    said = event.diagnostic_event
    if said is not None:
        if said.ephemeral:
            return None
        return Interest.WRONG if said.severity in ("error", "warning") else Interest.SAID
    if event.stdout_event != _NULL:
        return Interest.SAID
    steps = (event.resource_pre_event, event.res_outputs_event)
    # What a refresh found is told when it has looked, so its beginnings say nothing.
    done = any(step is not None and step.metadata.op not in ("same", "refresh") for step in steps)
    ended = event.res_outputs_event
    # The stack's own outputs are told in an event of a resource that stays the same.
    done = done or (ended is not None and ended.metadata.type == ROOT_STACK_TYPE)
    return Interest.DONE if done else None


class Filter(NamedTuple):
    """Which events a reader wants: of some kinds, of one resource. Empty: all."""

    kinds: Collection[str] = ()
    urn: str = ""

    def admits(self, event: bytes) -> bool:
        """Whether to answer an event."""
        fields = _read_fields(event)
        kind = _kind_of(fields)
        if kind is None:
            return False
        if self.kinds and kind not in self.kinds and kind.removesuffix("Event") not in self.kinds:
            return False
        return not self.urn or _urn_of(fields[kind]) == self.urn


_NOTHING: dict[str, Any] = {
    "type": "",
    "urn": "",
    "id": "",
    "parent": "",
    "inputs": {},
    "outputs": {},
    "provider": "",
}


def by_schema(event: bytes) -> bytes:
    """The event in the words of the published schema.

    It has a `type` that names its one payload, and objects where engines write null: an empty state
    where there is none, an empty difference where there was none to find.
    """
    fields = _read_fields(event)
    kind = _kind_of(fields)
    if kind is None:
        return event
    told = {"type": kind} | {key: body for key, body in fields.items() if key not in KINDS}
    return msgspec.json.encode(told | {kind: _payload_by_schema(fields[kind])})


def _payload_by_schema(body: Raw) -> Any:
    payload = msgspec.json.decode(body)
    metadata = payload.get("metadata") if isinstance(payload, dict) else None
    if isinstance(metadata, dict):
        for state in ("old", "new"):
            given = metadata.get(state) or {}
            metadata[state] = _NOTHING | {k: v for k, v in given.items() if v is not None}
        metadata["detailedDiff"] = metadata.get("detailedDiff") or {}
    return payload


def _kind_of(fields: dict[str, Raw]) -> str | None:
    return next((kind for kind in KINDS if fields.get(kind, _NULL) != _NULL), None)


class _Subject(msgspec.Struct, rename="camel"):
    urn: str | None = None
    resource_urn: str | None = None
    metadata: _Subject | None = None


_read_subject = msgspec.json.Decoder(_Subject).decode


def _urn_of(body: Raw) -> str | None:
    try:
        subject = _read_subject(body)
    except (msgspec.ValidationError, RecursionError):
        return None
    metadata = subject.metadata or _Subject()
    return subject.urn or subject.resource_urn or metadata.urn


def gapless(events: Sequence[tuple[int, bytes]], start: int) -> list[bytes]:
    """The events from a number on up to the first that has not arrived yet.

    The CLI sends batches in parallel, so a later one may come first; a reader who went past the
    gap would never see the earlier one.
    """
    together = []
    for expected, (number, body) in enumerate(events, start):
        if number != expected:
            break
        together.append(body)
    return together


def closing(sequence: int, *, at: int, seconds: int, preview: bool, cancelled: bool) -> list[bytes]:
    """The end of an update whose engine did not report one: readers judge by these events alone.

    `at` is Unix seconds, `seconds` how long the update took.
    """
    how = "was cancelled" if cancelled else "ended without a report of its engine"
    error = {"error": f"The update {how}; what it had saved by then is kept."}
    summary = {
        "maybeCorrupt": True,
        "durationSeconds": seconds,
        "resourceChanges": {},
        "PolicyPacks": {},
        "isPreview": preview,
        "result": "canceled" if cancelled else "failed",
    }
    return [
        msgspec.json.encode({"sequence": sequence, "timestamp": at, "errorEvent": error}),
        msgspec.json.encode({"sequence": sequence + 1, "timestamp": at, "summaryEvent": summary}),
    ]
