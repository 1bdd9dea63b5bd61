"""How times, statuses and operations are put on a page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from control_plane.domain import update
from control_plane.domain.deployment import Status
from control_plane.domain.expectation import about
from ui.advice import TRIGGERS, advice

STATUS_WORDS = {
    Status.NOT_STARTED: "Waiting",
    Status.ACCEPTED: "Starting",
    Status.RUNNING: "Running",
    Status.SUCCEEDED: "Succeeded",
    Status.FAILED: "Failed",
    Status.SKIPPED: "Skipped",
}
OPERATION_WORDS = {
    "update": "Update",
    "preview": "Preview",
    "refresh": "Refresh",
    "destroy": "Destroy",
    "detect-drift": "Detect drift",
    "remediate-drift": "Remediate drift",
}


def status_word(status: str) -> str:
    """A deployment's status for people."""
    return STATUS_WORDS[Status(status)]


def operation_word(operation: str) -> str:
    """An operation for people."""
    return OPERATION_WORDS.get(operation, operation.replace("-", " ").capitalize())


def moment(milliseconds: int | None) -> str:
    """A time for a `datetime` attribute; the page's script shows it as an age."""
    if milliseconds is None:
        return ""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def clock(milliseconds: int | None) -> str:
    """A time as it stands on a page without a script."""
    if milliseconds is None:
        return "never"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%d %b %Y, %H:%M UTC")


def duration(milliseconds: int | None) -> str:
    """A length of time: 850 ms, 12 s, 3 min 04 s, 2 h 05 min."""
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def trigger_word(trigger: str) -> str:
    """A trigger for people, as it follows the word "through"."""
    return TRIGGERS.get(trigger, trigger)


FILTERS: dict[str, Callable[..., Any]] = {
    "status_word": status_word,
    "operation_word": operation_word,
    "moment": moment,
    "clock": clock,
    "duration": duration,
    "about": about,
    "advice": advice,
    "trigger_word": trigger_word,
    "update_result": update.result,
}
