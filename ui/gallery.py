"""Every state of every component, from literals: `/dev/gallery`. It asks nobody and knows nothing.

The page is drawn with the templates and the macros that the other pages are drawn with.
"""

from __future__ import annotations

from typing import Any

from litestar import Response, get

from control_plane.domain.deployment import Operation, Reason, Status
from control_plane.domain.names import StackName
from control_plane.domain.resource_tree import Resource
from control_plane.domain.resource_tree import Row as Branch
from control_plane.domain.trigger import Trigger
from control_plane.domain.waiting import Pause, PoolTrouble, Standing, Waiting, Why, waiting
from control_plane.services.deployment_queries import Shown
from ui.pages import page
from ui.paging import neighbours

NOW = 1_795_000_000_000
"""The page's present, in Unix milliseconds."""
MINUTE = 60_000
LONG = "a-name-of-a-hundred-characters-" + "x" * 69
HOSTILE = "<script>alert('name')</script>"
NAME = StackName("acme", "shop", "production")
COMMIT = "5f0c1a9be2d34c7788aa00bb11cc22dd33ee44ff"


class Literal:
    """A row of a query as far as it was written down: every other column is empty."""

    def __init__(self, **columns: Any) -> None:
        self.__dict__ |= columns

    def __getattr__(self, _: str) -> None:
        return None


@get("/dev/gallery", sync_to_thread=False)
def gallery() -> Response[str]:
    """All components at once, for whoever changes how they look."""
    return page(
        "gallery.html",
        organization=None,
        name=NAME,
        now=NOW,
        organizations=["acme", "ada", "globex", "initech", LONG],
        long_login=LONG,
        statuses=list(Status),
        operations=list(Operation),
        reasons=list(Reason),
        deployments=_deployments(),
        states=_states(),
        updates=_updates(),
        branches=_branches(),
        pages=neighbours(2, 25, 100),
        colours=_colours(),
    )


def _deployments() -> list[Shown]:
    """A line for each status, one for each obstacle, and names that are hard to place."""
    obstacles = [_waiting(1, standing) for standing in _standings()]
    of_statuses = [
        _shown(status, operation, trigger)
        for status, operation, trigger in zip(Status, Operation, list(Trigger)[:6], strict=True)
    ]
    hard = [
        _shown(
            Status.FAILED,
            Operation.DESTROY,
            Trigger.API,
            project=LONG,
            stack=LONG,
            user_login=LONG,
            source_message=f"{HOSTILE} {'long ' * 40}",
        ),
        _shown(Status.SUCCEEDED, user_login="", source_message="Größe 漢字 עברית 🚢"),
    ]
    return of_statuses + obstacles + hard


def _states() -> list[tuple[str, Shown]]:
    """A deployment's head in each of its states: (title, the deployment)."""
    asked: dict[str, Any] = {"cancel_requested_at": NOW - MINUTE, "cancelled_by": "grace"}
    waits = [("Waits", _waiting(4, standing)) for standing in _standings()]
    runs = [
        ("Runs", _shown(Status.RUNNING)),
        ("Is being stopped", _shown(Status.RUNNING, cancel_mode="graceful", **asked)),
        ("Is being killed", _shown(Status.RUNNING, cancel_mode="now", **asked)),
    ]
    ended = [
        (f"Ended: {reason.value}", _shown(_status_of(reason), reason=reason, message=_said(reason)))
        for reason in Reason
    ]
    return waits + runs + ended


def _status_of(reason: Reason) -> Status:
    if reason is Reason.COMPLETED:
        return Status.SUCCEEDED
    skipped = (Reason.SUPERSEDED, Reason.QUEUE_EXPIRED)
    return Status.SKIPPED if reason in skipped else Status.FAILED


def _said(reason: Reason) -> str:
    if reason is Reason.COMPLETED:
        return ""
    return f"What the runner said of {reason.value}, with {HOSTILE}."


def _standings() -> list[Standing]:
    """One for each thing that a deployment can wait for."""
    pause = Pause(by="grace", note=f"the database moves {HOSTILE}")

    def at(**facts: Any) -> Standing:
        standard: dict[str, Any] = {
            "status": Status.NOT_STARTED,
            "organization": NAME.organization,
            "limit": 10,
        }
        return Standing(**standard | {"pool": "default"} | facts)

    return [
        at(organization_paused=pause, ahead_in_organization=12),
        at(stack_paused=pause),
        at(live_id="a", live_version=41),
        at(ahead_in_stack=2),
        at(live_count=10),
        at(
            pool_trouble=PoolTrouble(
                why=Why.POOL_OFFLINE,
                problem="its gateway is silent",
                todo="Look whether the pool's gateway runs and reaches this server.",
                since=NOW - 4 * MINUTE,
            )
        ),
        at(),
        at(status=Status.ACCEPTED, placement="a node with 2 free processors"),
    ]


def _waiting(version: int, standing: Standing) -> Shown:
    found: Waiting | None = waiting(standing)
    return _shown(standing.status, version=version, waits=found)


def _shown(
    status: Status,
    operation: Operation = Operation.UPDATE,
    trigger: Trigger = Trigger.CONSOLE,
    waits: Waiting | None = None,
    **columns: Any,
) -> Shown:
    has_begun = status not in (Status.NOT_STARTED, Status.ACCEPTED, Status.SKIPPED)
    has_ended = status in (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED)
    row = {
        "id": "00000000-0000-0000-0000-000000000000",
        "organization": NAME.organization,
        "project": NAME.project,
        "stack": NAME.stack,
        "version": 42,
        "attempt": 1,
        "status": status,
        "operation": operation,
        "trigger": trigger,
        "user_login": "ada",
        "message": "",
        "created_at": NOW - 90 * MINUTE,
        "started_at": NOW - 80 * MINUTE if has_begun else None,
        "ended_at": NOW - 72 * MINUTE if has_ended else None,
        "source_commit": COMMIT if has_begun else None,
        "source_message": "Give the queue a limit" if has_begun else None,
        "source_author": "Ada <ada@example.test>" if has_begun else None,
    }
    steps = _steps(status) if has_begun else []
    return Shown(row=Literal(**row | columns), steps=steps, updates=[], waiting=waits)


def _steps(status: Status) -> list[Literal]:
    last = {Status.SUCCEEDED: "succeeded", Status.FAILED: "failed"}.get(status, "running")
    begun = NOW - 80 * MINUTE
    words = [("Get source", "succeeded"), ("Install dependencies", "succeeded")]
    made = [
        Literal(name=name, status=word, started_at=begun + k * 900, ended_at=begun + k * 900 + 850)
        for k, (name, word) in enumerate(words)
    ]
    ended = None if last == "running" else begun + 8 * MINUTE
    said = f"exit code 255 {HOSTILE}" if last == "failed" else None
    made.append(
        Literal(name="pulumi update", status=last, started_at=begun, ended_at=ended, message=said)
    )
    left = "not-started" if last == "running" else "skipped" if last == "failed" else "succeeded"
    return [*made, Literal(name="Finish", status=left, started_at=None, ended_at=None)]


def _updates() -> list[Literal]:
    results = [("update", "succeeded"), ("destroy", "failed"), ("refresh", "in-progress")]
    return [
        Literal(
            version=9 - k,
            info=Literal(kind=kind, result=result, message=HOSTILE, start_time=NOW // 1000 - k),
            requested_by=Literal(github_login="ada"),
        )
        for k, (kind, result) in enumerate([*results, ("import", "not-started")])
    ]


def _branches() -> list[Branch]:
    """A tree that is deeper than it is drawn, with everything that a resource can be marked as."""

    def at(depth: int, kind: str, name: str, **facts: Any) -> Branch:
        urn = f"urn:pulumi:{NAME.stack}::{NAME.project}::{kind}::{name}"
        return Branch(Resource(urn=urn, type=kind, **facts), depth)

    marks: dict[str, Any] = {"delete": True, "external": True, "protect": True, "taint": True}
    aws = "urn:pulumi:production::shop::pulumi:providers:aws::default_7_1_0::0"
    return [
        at(0, "pulumi:pulumi:Stack", "shop-production"),
        at(1, "aws:s3/bucket:Bucket", "assets", id="assets-4c1d", provider=aws, custom=True),
        at(2, "aws:s3/object:Object", HOSTILE, id=LONG, provider=aws, custom=True, **marks),
        *[at(depth, "acme:index:Box", f"box-{depth}") for depth in range(3, 15)],
    ]


def _colours() -> list[tuple[str, str]]:
    """What a program can say with ANSI codes: (the classes, the words)."""
    plain = [(f"sgr-{code}", f"code {code}") for code in (1, 2, 3, 4, *range(30, 38))]
    return [*plain, ("sgr-1 sgr-31", "bold and red"), ("sgr-2 sgr-36", "faint and cyan")]


ROUTES: list[Any] = [gallery]
