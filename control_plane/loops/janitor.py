"""The janitor ends what is over. Each chore is a verb of its own, each round a bounded part."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from control_plane.loops.loop import Loop
from control_plane.services import expiry, leases, materialising, stacks, state, updates
from control_plane.services.world import World

PATIENCE_SECONDS = 60.0
REPAIR_SECONDS = 600.0


async def run_once(world: World) -> None:
    """Leases that are over, and runners that keep no time."""
    for deployment_id in await leases.expired(world):
        await leases.reap(world, deployment_id)
    await expiry.stop_overdue(world)


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


async def tend_updates(world: World) -> None:
    """Updates of the state backend whose engine is silent, and journals that are due."""
    await updates.expire(world)
    await materialising.materialise_all(world)


async def sweep(world: World) -> None:
    """Stacks that are to go with their last deployment; objects that nothing refers to."""
    await stacks.delete_marked(world)
    await state.sweep(world)


def loops(world: World) -> list[Loop]:
    """All of the janitor's loops; apart, so that one that fails does not hold up another."""
    config = world.config.janitor
    return [
        Loop("janitor", partial(run_once, world), config.interval_seconds),
        Loop("updates", partial(tend_updates, world), config.interval_seconds),
        Loop("sweep", partial(sweep, world), config.interval_seconds),
        Loop("patience", partial(expire_waiting, world), PATIENCE_SECONDS),
        Loop("retention", partial(run_rarely, world), config.retention_interval_seconds),
        Loop("repair", partial(repair, world), REPAIR_SECONDS),
    ]


@asynccontextmanager
async def janitor(world: World) -> AsyncIterator[None]:
    """Run the janitor while the block does. Before anything else, what lives gets one more term:

    that nobody could renew while the server was away was the server's own absence.
    """
    await leases.extend_after_restart(world)
    await updates.extend_after_restart(world)
    async with AsyncExitStack() as stack:
        for loop in loops(world):
            await stack.enter_async_context(loop.running())
        yield
