"""Cancel: what waits ends at once; what is live is asked to stop, gracefully or now."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from control_plane.domain.deployment import LIVE, Reason, Status
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import access, endings
from control_plane.services.hints import stack_changed, wake_lease, wake_pools
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, queue
from control_plane.store.transaction import Transaction
from runner_actors.contract import CancelMode


@verb
async def cancel(
    world: World,
    principal: Principal,
    name: StackName,
    deployment_id: str,
    mode: CancelMode = "graceful",
    *,
    reason: Reason = Reason.CANCELLED,
) -> None:
    """Cancel a deployment of the stack; one that has ended stays as it is. Raises NotFound.

    `reason` is why it ended, if it had not begun.

    Asked again with `now`, a graceful cancel becomes an immediate one; never the other way.
    """
    async with world.database.transaction() as tx:
        stack = await access.stack(tx, principal, name)
        row = await deployments.lock(tx, deployment_id, with_queue=True)
        if row is None or row.stack_id != stack.id:
            raise NotFound(what=f"Deployment '{deployment_id}'")
        if row.status == Status.NOT_STARTED:
            await _skip(world, tx, row, principal.user.login, reason)
        elif row.status in LIVE:
            await _request(world, tx, row, principal.user.login, mode)


async def request(world: World, tx: Transaction, deployment_id: str, login: str) -> None:
    """Inside another verb: ask a deployment to stop gracefully, if it is live."""
    row = await deployments.lock(tx, deployment_id, with_queue=False)
    if row is not None and row.status in LIVE:
        await _request(world, tx, row, login, "graceful")


async def _skip(world: World, tx: Transaction, row: Row[Any], login: str, reason: Reason) -> None:
    await endings.skip(world, tx, row.organization_id, [row.id], reason, cancelled_by=login)
    ready = await queue.refresh(
        tx, stack_ids=[row.stack_id], organization_ids=[row.organization_id]
    )
    wake_pools(world, tx, ready)


async def _request(
    world: World, tx: Transaction, row: Row[Any], login: str, mode: CancelMode
) -> None:
    if row.cancel_mode == "now" or row.cancel_mode == mode:
        return
    now = world.now()
    await deployments.change(
        tx,
        row.position,
        cancel_requested_at=row.cancel_requested_at or now,
        cancel_mode=mode,
        cancelled_by=row.cancelled_by or login,
        modified_at=now,
    )
    wake_lease(world, tx, row.id)
    stack_changed(world, tx, row.id, row.stack_id, row.organization_id)
