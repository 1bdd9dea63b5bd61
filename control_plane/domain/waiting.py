"""Why a deployment has not begun, in words for people and in fields for programs."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from control_plane.domain.deployment import Status
from control_plane.domain.expectation import Expected


class Why(StrEnum):
    """The code of what keeps a deployment waiting."""

    STACK_BUSY = "stack_busy"
    """Another deployment of the stack is live."""
    STACK_QUEUE = "stack_queue"
    """Others of the stack are queued before it."""
    ORGANIZATION_LIMIT = "organization_limit"
    STACK_PAUSED = "stack_paused"
    ORGANIZATION_PAUSED = "organization_paused"
    NODE = "waiting_for_node"
    """It is granted, and Ray looks for a place."""
    POOL_OFFLINE = "pool_offline"
    POOL_NOT_READY = "pool_not_ready"
    """The pool's gateway is there, and cannot reach Ray."""
    NO_POOL = "no_pool"
    """Its pool is no more."""
    NEXT = "next"
    """Nothing is in its way: the pool's gateway takes it with its next call."""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Who stopped a queue, what they noted, and when (Unix milliseconds)."""

    by: str = ""
    note: str = ""
    at: int | None = None


class PoolTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a pool takes no work, since when (Unix milliseconds), and what to do about it."""

    why: Why
    problem: str
    todo: str
    since: int | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a deployment stands among all that could keep it waiting."""

    status: Status
    organization: str
    ahead_in_stack: int = 0
    """How many deployments of its stack are queued before it, and the last of them."""
    before_id: str | None = None
    before_version: int | None = None
    ahead_in_organization: int = 0
    live_id: str | None = None
    """The stack's live deployment, its version, and since when it is live."""
    live_version: int | None = None
    live_since: int | None = None
    live_count: int = 0
    """How many deployments of the organization are live."""
    limit: int = 0
    stack_paused: Pause | None = None
    organization_paused: Pause | None = None
    pool: str = ""
    pool_trouble: PoolTrouble | None = None
    placement: str = ""
    """What an accepted deployment waits for on the runner side, in the gateway's words."""
    accepted_at: int | None = None


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


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's place in line, and the first thing that must change before it can begin."""

    position: int
    """In the line of its stack, from 1; 0 when it has been accepted."""
    organization_position: int
    why: Why
    waiting_for: str
    """What must happen, as it follows the words "Waits for"."""
    todo: str = ""
    """What a person can do about it, where somebody must."""
    since: int | None = None
    """Since when that is so (Unix milliseconds), where one can know."""
    blocker: Blocker | None = None
    expected: Expected | None = None
    """When it will probably begin; None where nobody has asked."""

    @property
    def sentence(self) -> str:
        """Why it waits, in a whole sentence; what a gateway says is one already."""
        words = self.waiting_for.rstrip(".")
        if self.why is Why.NODE and words.startswith("Waiting"):
            return f"{words}."
        return f"Waits for {words}."


class _Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    why: Why
    waiting_for: str
    todo: str = ""
    since: int | None = None
    blocker: Blocker | None = None


def waiting(standing: Standing) -> Waiting | None:
    """Why the deployment waits; None when it does not."""
    if standing.status is Status.ACCEPTED:
        return Waiting(
            position=0,
            organization_position=0,
            why=Why.NODE,
            waiting_for=standing.placement or "a place on a runner",
            todo="It begins by itself as soon as Ray has room; more machines make more room.",
            since=standing.accepted_at,
            blocker=Blocker(kind="node", pool=standing.pool),
        )
    if standing.status is not Status.NOT_STARTED:
        return None
    first = _first_obstacle(standing)
    return Waiting(
        position=standing.ahead_in_stack + 1,
        organization_position=standing.ahead_in_organization + 1,
        why=first.why,
        waiting_for=first.waiting_for,
        todo=first.todo,
        since=first.since,
        blocker=first.blocker,
    )


def _first_obstacle(at: Standing) -> _Obstacle:
    """The one whose end would let most others end: pauses, then the line, then room, then pool."""
    if at.organization_paused is not None:
        return _paused(Why.ORGANIZATION_PAUSED, at.organization, at.organization_paused)
    if at.stack_paused is not None:
        return _paused(Why.STACK_PAUSED, "the stack", at.stack_paused)
    if at.live_version is not None:
        return _behind_live(at, at.live_version)
    if at.ahead_in_stack:
        return _behind_queued(at)
    if at.live_count >= at.limit:
        return _Obstacle(
            why=Why.ORGANIZATION_LIMIT,
            waiting_for=f"one of {at.live_count} deployments to end: {at.organization} may run"
            f" {at.limit} at a time",
            blocker=Blocker(kind="limit", live=at.live_count, limit=at.limit),
        )
    if at.pool_trouble is not None:
        trouble = at.pool_trouble
        return _Obstacle(
            why=trouble.why,
            waiting_for=f"the runner pool '{at.pool}': {trouble.problem}",
            todo=trouble.todo,
            since=trouble.since,
            blocker=Blocker(kind="pool", pool=at.pool),
        )
    return _Obstacle(why=Why.NEXT, waiting_for="a runner to take it")


def _paused(why: Why, what: str, pause: Pause) -> _Obstacle:
    by = f" (paused by {pause.by})" if pause.by else ""
    note = f": {pause.note}" if pause.note else ""
    kind = str(why).replace("_", "-")
    return _Obstacle(
        why=why,
        waiting_for=f"{what} to be resumed{by}{note}",
        todo="Resume it on the queue's page, or cancel this deployment.",
        since=pause.at,
        blocker=Blocker(kind=kind, by=pause.by, note=pause.note),
    )


def _behind_live(at: Standing, version: int) -> _Obstacle:
    more = f", and {_deployments(at.ahead_in_stack)} queued before it" if at.ahead_in_stack else ""
    return _Obstacle(
        why=Why.STACK_BUSY,
        waiting_for=f"deployment #{version} of this stack to end{more}",
        since=at.live_since,
        blocker=Blocker(kind="deployment", deployment_id=at.live_id or "", version=version),
    )


def _behind_queued(at: Standing) -> _Obstacle:
    return _Obstacle(
        why=Why.STACK_QUEUE,
        waiting_for=f"{_deployments(at.ahead_in_stack)} of this stack, queued before it",
        blocker=Blocker(
            kind="queue",
            deployment_id=at.before_id or "",
            version=at.before_version or 0,
        ),
    )


def _deployments(number: int) -> str:
    return "a deployment" if number == 1 else f"{number} deployments"
