"""A deployment and THE state machine: which statuses there are, and which moves between them.

The words are the Pulumi Cloud API's own. How a deployment ended is its status; why is its reason.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a deployment stands."""

    NOT_STARTED = "not-started"
    """Queued."""
    ACCEPTED = "accepted"
    """Granted to a pool: it holds a lease and a quota slot, and is being placed."""
    RUNNING = "running"
    """Its first step has begun."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Ended without ever having run."""


class Operation(StrEnum):
    """What a deployment does to its stack."""

    UPDATE = "update"
    PREVIEW = "preview"
    REFRESH = "refresh"
    DESTROY = "destroy"
    DETECT_DRIFT = "detect-drift"
    REMEDIATE_DRIFT = "remediate-drift"


class Reason(StrEnum):
    """Why a deployment ended."""

    COMPLETED = "completed"
    CLI_EXIT = "cli_exit"
    """The Pulumi CLI ended with another exit code than zero."""
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SUPERSEDED = "superseded"
    """A newer deployment of the same operation took its place in the queue."""
    QUEUE_EXPIRED = "queue_expired"
    SOURCE_ERROR = "source_error"
    INSTALL_ERROR = "install_error"
    PRERUN_ERROR = "prerun_error"
    RUNNER_LOST = "runner_lost"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    OUTPUT_LIMIT = "output_limit"
    INTERNAL = "internal"


LIVE = (Status.ACCEPTED, Status.RUNNING)
"""Statuses that hold a lease and a quota slot."""

ENDED = (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED)

MOVES: dict[Status, tuple[Status, ...]] = {
    Status.NOT_STARTED: (Status.ACCEPTED, Status.SKIPPED),
    # Back to the queue, when the runner was lost before the engine had started.
    Status.ACCEPTED: (Status.RUNNING, Status.SUCCEEDED, Status.FAILED, Status.NOT_STARTED),
    Status.RUNNING: (Status.SUCCEEDED, Status.FAILED, Status.NOT_STARTED),
    Status.SUCCEEDED: (),
    Status.FAILED: (),
    Status.SKIPPED: (),
}
"""The one table of moves: the code, the diagram in ARCHITECTURE.md and the tests read it."""


class IllegalMove(ValueError):
    """A deployment cannot go from its status to the wanted one."""


def move(current: Status, wanted: Status) -> Status:
    """Check a move against MOVES and return the wanted status; raises IllegalMove."""
    if wanted not in MOVES[current]:
        raise IllegalMove(f"{current} -> {wanted}")
    return wanted


def sources_of(wanted: Status) -> tuple[Status, ...]:
    """The statuses that may move to the wanted one: the guard of the UPDATE statement."""
    return tuple(status for status, targets in MOVES.items() if wanted in targets)


def after_lost_runner(*, engine_started: bool, attempt: int, attempts_max: int) -> Status:
    """What a live deployment becomes when its runner is gone.

    Before the engine started nothing has been touched, so it waits again under the same version.
    After, nobody may change the infrastructure a second time by itself: it has failed.
    """
    if engine_started or attempt >= attempts_max:
        return Status.FAILED
    return Status.NOT_STARTED
