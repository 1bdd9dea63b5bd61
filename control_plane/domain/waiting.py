"""Why a deployment has not begun, in words for people and in fields for programs."""

from __future__ import annotations

import msgspec

from control_plane.domain.deployment import Status


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Who stopped a queue, and what they noted."""

    by: str = ""
    note: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a deployment stands among all that could keep it waiting."""

    status: Status
    organization: str
    ahead_in_stack: int = 0
    """How many deployments of its stack are queued before it."""
    ahead_in_organization: int = 0
    live_id: str | None = None
    """The stack's live deployment, and its version."""
    live_version: int | None = None
    live_count: int = 0
    """How many deployments of the organization are live."""
    limit: int = 0
    stack_paused: Pause | None = None
    organization_paused: Pause | None = None
    pool: str = ""
    pool_problem: str = ""
    """Why its pool takes no work; empty when it does."""
    placement: str = ""
    """What an accepted deployment waits for on the runner side."""


class Blocker(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is in the way; `kind` says which of the other fields there are."""

    kind: str
    """organization-paused, stack-paused, deployment, queue, limit, pool or node."""
    deployment_id: str = ""
    version: int = 0
    by: str = ""
    note: str = ""
    live: int = 0
    limit: int = 0
    pool: str = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A deployment's place in line, and the first thing that must change before it can begin."""

    position: int
    """In the line of its stack, from 1; 0 when it has been accepted."""
    organization_position: int
    waiting_for: str
    blocker: Blocker | None = None


def waiting(standing: Standing) -> Waiting | None:
    """Why the deployment waits; None when it does not."""
    if standing.status is Status.ACCEPTED:
        text = standing.placement or "a place on a runner"
        return Waiting(
            position=0,
            organization_position=0,
            waiting_for=text,
            blocker=Blocker(kind="node", pool=standing.pool),
        )
    if standing.status is not Status.NOT_STARTED:
        return None
    text, blocker = _first_obstacle(standing)
    return Waiting(
        position=standing.ahead_in_stack + 1,
        organization_position=standing.ahead_in_organization + 1,
        waiting_for=text,
        blocker=blocker,
    )


def _first_obstacle(at: Standing) -> tuple[str, Blocker | None]:
    """The one whose end would let most others end: pauses, then the line, then room, then pool."""
    if at.organization_paused is not None:
        return (
            f"{at.organization} to be resumed{_by(at.organization_paused)}",
            _paused("organization-paused", at.organization_paused),
        )
    if at.stack_paused is not None:
        return (
            f"the stack to be resumed{_by(at.stack_paused)}",
            _paused("stack-paused", at.stack_paused),
        )
    if at.live_version is not None:
        return (
            f"deployment #{at.live_version} of this stack to end",
            Blocker(kind="deployment", deployment_id=at.live_id or "", version=at.live_version),
        )
    if at.ahead_in_stack:
        before = "a deployment" if at.ahead_in_stack == 1 else f"{at.ahead_in_stack} deployments"
        return f"{before} of this stack, queued before it", Blocker(kind="queue")
    if at.live_count >= at.limit:
        return (
            f"one of {at.live_count} deployments to end: {at.organization} may run {at.limit} at"
            " a time",
            Blocker(kind="limit", live=at.live_count, limit=at.limit),
        )
    if at.pool_problem:
        return f"the runner pool '{at.pool}': {at.pool_problem}", Blocker(kind="pool", pool=at.pool)
    return "a runner to take it", None


def _by(pause: Pause) -> str:
    by = f" (paused by {pause.by})" if pause.by else ""
    return f"{by}: {pause.note}" if pause.note else by


def _paused(kind: str, pause: Pause) -> Blocker:
    return Blocker(kind=kind, by=pause.by, note=pause.note)
