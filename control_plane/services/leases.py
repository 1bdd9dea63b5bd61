"""Leases of granted deployments: kept alive, held, given back, and what follows when one ends."""

from __future__ import annotations

import hmac
import time
from typing import Any

from sqlalchemy import Row

from control_plane.domain import tokens
from control_plane.domain.deployment import LIVE, Reason, Status
from control_plane.domain.principal import Pool
from control_plane.errors import LeaseEnded, NotFound
from control_plane.services import endings
from control_plane.services.hints import lease_topic, stack_changed
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments
from control_plane.store.transaction import Transaction
from runner_actors.contract import (
    CancelMode,
    Hold,
    LeaseRenewal,
    LeaseState,
    Release,
    Released,
)

RENEWAL_SECONDS_MAX = 20.0
"""The longest that a renewal is held; it must stay well under the lease itself."""
REAPED_MAX = 100
"""How many ended leases one round of the janitor looks at."""

_STRENGTH: dict[CancelMode | None, int] = {None: 0, "graceful": 1, "now": 2}


async def renew(world: World, deployment_id: str, token: str, renewal: LeaseRenewal) -> LeaseState:
    """Renew a runner's lease; held while no stronger cancel than `seen_cancel` is requested.

    Raises LeaseEnded, also when the lease ends meanwhile.
    """
    lease_seconds = world.config.deployments.lease_seconds
    held = min(renewal.wait_seconds, RENEWAL_SECONDS_MAX, lease_seconds / 2)
    deadline = time.monotonic() + held
    with world.broker.subscribe(lease_topic(deployment_id)) as subscription:
        state = await renew_once(world, deployment_id, token, renewal.generation)
        while not _is_stronger(state.cancel, renewal.seen_cancel):
            left = deadline - time.monotonic()
            if left <= 0 or not await subscription.wait(left):
                break
            state = await look(world, deployment_id, token, renewal.generation)
    return state


def _is_stronger(cancel: CancelMode | None, seen: CancelMode | None) -> bool:
    return _STRENGTH[cancel] > _STRENGTH[seen]


@verb
async def renew_once(world: World, deployment_id: str, token: str, generation: int) -> LeaseState:
    """Move a lease's end to one term from now; raises LeaseEnded."""
    now = world.now()
    async with world.database.transaction() as tx:
        row = await deployments.renew_lease(
            tx, deployment_id, tokens.digest(token), generation, now, lease_end(world, now)
        )
    if row is None:
        raise LeaseEnded()
    return _state(world, row)


@verb
async def look(world: World, deployment_id: str, token: str, generation: int) -> LeaseState:
    """The lease as it stands, without renewing it; raises LeaseEnded."""
    async with world.database.snapshot() as tx:
        row = await deployments.by_id(tx, deployment_id)
    require_lease(world, row, tokens.digest(token), generation)
    return _state(world, row)


def _state(world: World, row: Any) -> LeaseState:
    return LeaseState(
        lease_seconds=world.config.deployments.lease_seconds,
        cancel=row.cancel_mode,
        cancelled_by=row.cancelled_by or "",
        acknowledged=row.last_event,
    )


def lease_end(world: World, now: int) -> int:
    """When a lease that is given or renewed now ends, in Unix milliseconds."""
    return now + int(world.config.deployments.lease_seconds * 1000)


def require_lease(world: World, row: Row[Any] | None, digest: bytes, generation: int) -> None:
    """Raise LeaseEnded unless this is the deployment's lease and it stands at this moment.

    One that is over counts as ended, whether or not the janitor has been here already.
    """
    known = row is not None and hmac.compare_digest(row.runner_digest or b"", digest)
    if row is None or not known or not _stands(world, row, generation):
        raise LeaseEnded()


def _stands(world: World, row: Row[Any], generation: int) -> bool:
    return (
        row.status in LIVE
        and row.generation == generation
        and row.lease_expires_at is not None
        and row.lease_expires_at > world.now()
    )


@verb
async def hold(world: World, pool: Pool, deployment_id: str, request: Hold) -> LeaseState:
    """Keep a grant's lease while the gateway looks for a place; raises LeaseEnded, NotFound."""
    async with world.database.transaction() as tx:
        row = await _of_pool(tx, pool, deployment_id, with_queue=False)
        if not _stands(world, row, request.generation):
            raise LeaseEnded()
        await deployments.change(
            tx,
            row.position,
            lease_expires_at=lease_end(world, world.now()),
            waiting_for=request.waiting_for[:500],
        )
        if request.waiting_for != row.waiting_for:
            stack_changed(world, tx, row.id, row.stack_id, row.organization_id)
    return _state(world, row)


@verb
async def release(world: World, pool: Pool, deployment_id: str, request: Release) -> Released:
    """Take a grant back whose runner is gone; given back twice, it changes nothing."""
    async with world.database.transaction() as tx:
        row = await _of_pool(tx, pool, deployment_id, with_queue=True)
        if row.status not in LIVE or row.generation != request.generation:
            return Released(status=row.status)
        reason = reason_of(request.reason, Reason.RUNNER_LOST)
        status = await endings.lose(world, tx, row, reason, request.message[:4000])
    return Released(status=str(status))


async def _of_pool(
    tx: Transaction, pool: Pool, deployment_id: str, *, with_queue: bool
) -> Row[Any]:
    row = await deployments.lock(tx, deployment_id, with_queue=with_queue)
    if row is None or row.pool_id != pool.id:
        raise NotFound(what=f"Deployment '{deployment_id}'")
    return row


def reason_of(text: str, otherwise: Reason) -> Reason:
    """A runner's reason as one of ours."""
    try:
        return Reason(text)
    except ValueError:
        return otherwise


@verb
async def expired(world: World) -> list[str]:
    """Live deployments whose lease is over, some at a time."""
    async with world.database.snapshot() as tx:
        return list(await deployments.expired(tx, world.now(), REAPED_MAX))


@verb
async def reap(world: World, deployment_id: str) -> Status | None:
    """Decide what becomes of a deployment whose lease is over; None when it is not, after all."""
    async with world.database.transaction() as tx:
        row = await deployments.lock(tx, deployment_id, with_queue=True)
        if row is None or row.status not in LIVE or row.lease_expires_at > world.now():
            return None
        return await endings.lose(world, tx, row, Reason.RUNNER_LOST)


@verb
async def extend_after_restart(world: World) -> int:
    """Give all live leases one more term: that nobody could renew them was our own absence.

    Returns how many there are.
    """
    async with world.database.transaction() as tx:
        return await deployments.extend_leases(tx, lease_end(world, world.now()))
