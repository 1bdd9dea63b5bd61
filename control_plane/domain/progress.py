"""What an engine has done so far, counted from its events as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from control_plane.domain.diagnostics import COLOUR

LATEST_MAX = 8
FAILED_MAX = 20
ERROR_CHARACTERS_MAX = 2000


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a resource."""

    operation: str
    resource: str
    type: str


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The first that went wrong, and with which resource, if it was one's."""

    text: str
    resource: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an update has come."""

    done: Mapping[str, int]
    """By operation, in the engine's words; what stayed the same is counted too."""
    under_way: int
    latest: Sequence[Change]
    """The last that were done, newest first."""
    failed: Sequence[Change]
    failed_count: int
    error: Error | None

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.done or self.under_way or self.failed or self.error)


class _Metadata(msgspec.Struct):
    op: str = ""
    urn: str = ""
    type: str = ""


class _OfResource(msgspec.Struct):
    metadata: _Metadata


class _Diagnostic(msgspec.Struct):
    message: str = ""
    severity: str = ""
    urn: str = ""
    prefix: str = ""


class _Error(msgspec.Struct):
    error: str = ""


class _Event(msgspec.Struct, rename="camel"):
    diagnostic_event: _Diagnostic | None = None
    resource_pre_event: _OfResource | None = None
    res_outputs_event: _OfResource | None = None
    res_op_failed_event: _OfResource | None = None
    error_event: _Error | None = None


_read = msgspec.json.Decoder(_Event).decode


class Counter:
    """Reads events in their order, each once; what it keeps does not grow with their number."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._under_way: set[tuple[str, str]] = set()
        self._latest: deque[Change] = deque(maxlen=LATEST_MAX)
        self._failed: list[Change] = []
        self._failed_count = 0
        self._error: Error | None = None

    def read(self, events: Iterable[bytes]) -> None:
        """Count events; misshapen ones are passed over."""
        for raw in events:
            try:
                self._note(_read(raw))
            except msgspec.DecodeError:
                continue

    def progress(self) -> Progress:
        """As it is now."""
        return Progress(
            done=dict(self._done),
            under_way=len(self._under_way),
            latest=list(reversed(self._latest)),
            failed=list(self._failed),
            failed_count=self._failed_count,
            error=self._error,
        )

    def _note(self, event: _Event) -> None:
        if event.resource_pre_event is not None:
            self._under_way.add(_key(event.resource_pre_event.metadata))
        if event.res_outputs_event is not None:
            self._finish(event.res_outputs_event.metadata)
        if event.res_op_failed_event is not None:
            self._fail(event.res_op_failed_event.metadata)
        said = event.diagnostic_event
        if said is not None and said.severity.startswith("error"):
            self._go_wrong(COLOUR.sub("", said.prefix + said.message), _name(said.urn))
        if event.error_event is not None:
            self._go_wrong(event.error_event.error, "")

    def _finish(self, metadata: _Metadata) -> None:
        self._under_way.discard(_key(metadata))
        self._done[metadata.op] = self._done.get(metadata.op, 0) + 1
        if metadata.op != "same":
            self._latest.append(_change(metadata))

    def _fail(self, metadata: _Metadata) -> None:
        self._under_way.discard(_key(metadata))
        self._failed_count += 1
        if len(self._failed) < FAILED_MAX:
            self._failed.append(_change(metadata))

    def _go_wrong(self, text: str, resource: str) -> None:
        text = text.strip()[:ERROR_CHARACTERS_MAX]
        if text and self._error is None:
            self._error = Error(text=text, resource=resource)


def _key(metadata: _Metadata) -> tuple[str, str]:
    return metadata.op, metadata.urn


def _change(metadata: _Metadata) -> Change:
    return Change(operation=metadata.op, resource=_name(metadata.urn), type=metadata.type)


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
