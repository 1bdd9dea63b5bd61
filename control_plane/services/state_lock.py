"""The state lock: one update at a time may write a stack's state."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update import Status
from control_plane.errors import UpdateInProgress
from control_plane.services import access, update_lease
from control_plane.services.materialising import materialise
from control_plane.services.world import World
from control_plane.store import stacks, updates
from control_plane.store.transaction import Transaction


async def make_ready(world: World, principal: Principal, name: StackName) -> None:
    """Clear away what a dead engine left on a stack, so that nothing stale is read or kept out.

    An update whose lease is over is ended, and an ended one's journal becomes the stack's state.
    """
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
    await _clear(world, stack)


async def make_readable(world: World, principal: Principal, name: StackName) -> None:
    """The same, for a caller who may only read the stack."""
    async with world.database.snapshot() as tx:
        stack = await access.readable_stack(tx, principal, name)
    await _clear(world, stack)


async def _clear(world: World, stack: Row[Any]) -> None:
    async with world.database.snapshot() as tx:
        current = await _current(tx, stack)
        due = await updates.unsettled(tx, stack.id)
    if current is not None and not update_lease.stands(current, world.now()):
        async with world.database.transaction() as tx:
            await expire(tx, current, world.now())
            due = await updates.unsettled(tx, stack.id)
    if due is not None:
        await materialise(world, due.id)


async def expire(tx: Transaction, row: Row[Any], now: int) -> bool:
    """End an update, if its lease is over now; whether it was."""
    await stacks.by_id(tx, row.stack_id, lock=True)
    found = await updates.find(tx, row.stack_id, row.id, lock=True)
    if found is None or found.status != Status.RUNNING or update_lease.stands(found, now):
        return False
    await updates.end(tx, found, Status.FAILED, now)
    return True


async def require_free(tx: Transaction, stack: Row[Any]) -> None:
    """Raise UpdateInProgress while an update holds the lock, or has left a journal behind.

    The stack's row must be locked.
    """
    if stack.current_update_id is not None or await updates.unsettled(tx, stack.id) is not None:
        raise UpdateInProgress()


async def locked(world: World, tx: Transaction, principal: Principal, name: StackName) -> Row[Any]:
    """The stack, locked, for a caller who may write; raises UpdateInProgress while it is not free.

    `make_ready` comes before, in its own transactions.
    """
    await update_lease.require_live(tx, principal, world.now())
    stack = await access.stack(tx, principal, name, lock=True)
    await require_free(tx, stack)
    return stack


async def _current(tx: Transaction, stack: Row[Any]) -> Row[Any] | None:
    if stack.current_update_id is None:
        return None
    return await updates.find(tx, stack.id, stack.current_update_id)
