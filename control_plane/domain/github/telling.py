"""What GitHub is told of a deployment: the facts, and the words for them that its places share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from control_plane.domain.deployment import ENDED, Operation, Reason, Status
from control_plane.domain.diagnostics import Message
from control_plane.domain.github import markdown
from control_plane.domain.github.resource_changes import Change, Changes
from control_plane.domain.names import StackName


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as GitHub's readers see it."""

    stack: StackName
    stack_id: str
    operation: Operation
    status: Status
    version: int
    url: str
    """Its page in the console."""
    commit: str
    commit_url: str = ""
    reason: Reason | None = None
    message: str = ""
    """Why it ended as it did, in a sentence of ours or of the runner's."""
    waiting: str = ""
    """What it waits for, while it does."""
    seconds: int | None = None
    """How long it ran; told once it has ended, since GitHub is told only what has changed."""
    counts: Mapping[str, int] = {}
    """How many resources had which operation, in the engine's words (`resource_changes`)."""
    changes: Changes = Changes()
    messages: tuple[Message, ...] = ()
    """What the engine and the program said."""
    outputs: Mapping[str, Any] | None = None
    """The stack's outputs; secrets in them are masked here."""
    log_tail: str = ""
    """The end of its log."""
    pull_request: int | None = None
    review_stack: bool = False
    fork: bool = False

    @property
    def name(self) -> str:
        """`project/stack`: within a repository, the organization is always the same."""
        return f"{self.stack.project}/{self.stack.stack}"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED


_DONE = {
    "create": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "import": "imported",
    "refresh": "refreshed",
    "read": "read",
    "same": "unchanged",
}
_COUNTED = ("create", "update", "replace", "delete", "import", "same")
_SIGNS = {"create": "+", "import": "+", "delete": "-", "replace": "±", "update": "~"}

_ENDS = {
    Reason.CANCELLED: "cancelled",
    Reason.TIMED_OUT: "timed out",
    Reason.SUPERSEDED: "superseded by a newer one",
    Reason.QUEUE_EXPIRED: "waited too long and was dropped",
    Reason.SOURCE_ERROR: "failed: the source could not be fetched",
    Reason.INSTALL_ERROR: "failed: dependencies could not be installed",
    Reason.PRERUN_ERROR: "failed in a pre-run command",
    Reason.RUNNER_LOST: "failed: its runner was lost",
    Reason.OUT_OF_MEMORY: "failed: out of memory",
    Reason.DISK_FULL: "failed: the disk was full",
    Reason.OUTPUT_LIMIT: "failed: too much output",
    Reason.INTERNAL: "failed: an error of the server",
}
_STATES = {
    Status.NOT_STARTED: "queued",
    Status.ACCEPTED: "starting",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.SKIPPED: "skipped",
}


def state(told: Told) -> str:
    """How it stands, or how and why it ended, in few words."""
    if told.ended and told.reason in _ENDS:
        return _ENDS[told.reason]
    return _STATES[told.status]


def counts(told: Told) -> str:
    """`2 to create, 1 unchanged` of a preview, `2 created, 1 unchanged` of what was done."""
    planned = told.operation is Operation.PREVIEW
    shown = [
        f"{told.counts[each]} {_DONE[each] if not planned or each == 'same' else f'to {each}'}"
        for each in _COUNTED
        if told.counts.get(each)
    ]
    return ", ".join(shown)


def changes_anything(told: Told) -> bool:
    """Whether some resource is other than it was."""
    return any(told.counts.get(each) for each in _COUNTED if each != "same")


def headline(told: Told) -> str:
    """What came of it, in half a line: ours alone, and so safe anywhere."""
    counted = counts(told) if changes_anything(told) else ""
    if told.ended and told.status is Status.SUCCEEDED and not counted and told.counts:
        counted = "no changes"
    return f"{state(told)}: {counted}" if counted and ":" not in state(told) else state(told)


def took(told: Told) -> str:
    """How long it ran, as `1 min 15 s`; empty until it has ended."""
    return duration(told.seconds) if told.ended and told.seconds is not None else ""


def duration(seconds: int) -> str:
    """`75` as `1 min 15 s`."""
    minutes, rest = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def errors(told: Told, size_max: int) -> str:
    """Why it did not go well: our sentence, then the program's and the engine's errors."""
    if told.status in (Status.SUCCEEDED, Status.NOT_STARTED):
        return ""
    said = [each for each in told.messages if each.severity == "error" and each.text]
    texts = [told.message] if told.message else []
    texts += [f"{each.resource}: {each.text}" if each.resource else each.text for each in said]
    lines = [line for text in texts for line in markdown.plain(text).splitlines()]
    kept, left = markdown.first_lines((markdown.cut(each, 500) for each in lines), size_max)
    return "\n".join(kept + ([f"… and {left} more lines"] if left else []))


def change_lines(changes: Changes) -> Iterator[list[str]]:
    """Each resource as the lines of a diff."""
    for change in changes.each:
        yield [_title(change), *(line for each in _sides(change) for line in each)]


def _title(change: Change) -> str:
    sign = _SIGNS.get(change.operation, "!")
    failed = " FAILED" if change.failed else ""
    return _line(f"{sign} {change.type} {change.name} ({change.operation}{failed})")


def _sides(change: Change) -> Iterator[tuple[str, ...]]:
    for each in change.properties:
        before = _line(f"-     {each.path}: {each.before}") if each.before else ""
        after = _line(f"+     {each.path}: {each.after}") if each.after else ""
        none = "" if before or after else _line(f"~     {each.path}")
        yield tuple(line for line in (before, after, none) if line)


def _line(text: str) -> str:
    return markdown.cut(markdown.plain(text).replace("\n", " "), 800)


def diff(changes: Changes, size_max: int) -> str:
    """The changes as a block of code; whole resources are left out where they do not fit."""
    lines: list[str] = []
    shown, room = 0, size_max - markdown.BLOCK_SIZE_MAX - 200
    for resource in change_lines(changes):
        needed = sum(markdown.size(line) + 1 for line in resource)
        if needed > room and shown:
            break
        kept, left = markdown.first_lines(resource, room)
        lines += kept + ([f"      … and {left} more lines"] if left else [])
        shown += 1
        room -= needed
        if room < 0:
            break
    if not lines:
        return ""
    missing = len(changes.each) - shown + changes.left_out
    block = markdown.block("\n".join(lines), "diff")
    return f"{block}\n\n{missing} more resources are not shown here." if missing else block
