"""An update: the engine's own record of one change (or preview) of a stack.

A deployment makes updates, and so does a laptop. The words of `Status` are the API's own.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where an update stands."""

    NOT_STARTED = "not started"
    """Created; it holds no lease yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Kind(StrEnum):
    """What an update does."""

    UPDATE = "update"
    PREVIEW = "preview"
    REFRESH = "refresh"
    DESTROY = "destroy"
    IMPORT = "import"
    RENAME = "rename"


PATHS = (Kind.UPDATE, Kind.PREVIEW, Kind.REFRESH, Kind.DESTROY)
"""Kinds that stand in addresses: `S/<kind>` and `S/<kind>/<update id>`."""

ENDS = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)

_RESULTS = {
    Status.NOT_STARTED: "not-started",
    Status.RUNNING: "in-progress",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
}


def result(status: str) -> str:
    """The status in the words of the stack's history."""
    return _RESULTS[Status(status)]


def kind_of(asked: str, *, dry_run: bool) -> Kind:
    """What an update is: whether it is a preview is told by `dryRun`, not by the address."""
    if dry_run:
        return Kind.PREVIEW
    return Kind.UPDATE if asked == Kind.PREVIEW else Kind(asked)
