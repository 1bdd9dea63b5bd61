"""The janitor ends what is over. Each chore is a verb of its own, each round a bounded part."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from control_plane.loops.clock_watch import ClockWatch, Monotonic
from control_plane.loops.loop import Loop
from control_plane.services import expiry, leases, materialising, stacks, state, updates
from control_plane.services.world import World

PATIENCE_SECONDS = 60.0
REPAIR_SECONDS = 600.0

log = structlog.get_logger()


async def run_once(world: World, watch: ClockWatch | None = None) -> None:
    """Leases that are over, and runners that keep no time."""
    if watch is not None:
        await watch.forgive_jump(leases.extend_after_restart)
    for deployment_id in await leases.expired(world):
        await _reap(world, deployment_id)
    await expiry.stop_overdue(world)


async def _reap(world: World, deployment_id: str) -> None:
    """One that fails is tried again in the next round; the others do not wait for it."""
    try:
        await leases.reap(world, deployment_id)
    except Exception:
        log.exception("a lease was not reaped", action="janitor", deployment=deployment_id)


async def expire_waiting(world: World) -> None:
    """The queue's patience, until nothing is over it."""
    while await expiry.expire_queued(world):
        pass


async def run_rarely(world: World) -> None:
    """Logs that are over their time, until none is left."""
    while await expiry.delete_old_logs(world):
        pass


async def repair(world: World) -> None:
    """The queue's pointers."""
    await expiry.repair_pointers(world)


async def tend_updates(world: World, watch: ClockWatch | None = None) -> None:
    """Updates of the state backend whose engine is silent, and journals that are due."""
    if watch is not None:
        await watch.forgive_jump(updates.extend_after_restart)
    await updates.expire(world)
    await materialising.materialise_all(world)


async def sweep(world: World) -> None:
    """Stacks that are to go with their last deployment; objects that nothing refers to."""
    await stacks.delete_marked(world)
    await state.sweep(world)


def loops(world: World, monotonic: Monotonic = time.monotonic) -> list[Loop]:
    """All of the janitor's loops; apart, so that one that fails does not hold up another.

    Each that ends leases watches the clock for itself, so that none comes before the other's look.
    """
    config = world.config.janitor
    reaping = partial(run_once, world, ClockWatch(world, monotonic))
    tending = partial(tend_updates, world, ClockWatch(world, monotonic))
    return [
        Loop("janitor", reaping, config.interval_seconds),
        Loop("updates", tending, config.interval_seconds),
        Loop("sweep", partial(sweep, world), config.interval_seconds),
        Loop("patience", partial(expire_waiting, world), PATIENCE_SECONDS),
        Loop("retention", partial(run_rarely, world), config.retention_interval_seconds),
        Loop("repair", partial(repair, world), REPAIR_SECONDS),
    ]


@asynccontextmanager
async def janitor(world: World, monotonic: Monotonic = time.monotonic) -> AsyncIterator[None]:
    """Run the janitor while the block does. Before anything else, what lives gets one more term:

    that nobody could renew while the server was away was the server's own absence.
    """
    await leases.extend_after_restart(world)
    await updates.extend_after_restart(world)
    async with AsyncExitStack() as stack:
        for loop in loops(world, monotonic):
            await stack.enter_async_context(loop.running())
        yield
