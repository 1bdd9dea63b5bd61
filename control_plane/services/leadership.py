"""Which gateway of a pool leads: a lease on the pool's row. Others wait, and take over."""

from __future__ import annotations

from functools import partial

from control_plane.domain.principal import Pool
from control_plane.services.hints import pool_topic
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import pools
from runner_actors.contract import Poll

TERM_SECONDS = 15.0
"""How long a leadership outlasts the poll that took it."""
RENEW_SECONDS = 5.0
"""A leadership is written anew only when it outlasts the poll by less: a poll costs no write."""


@verb
async def lead(world: World, pool: Pool, poll: Poll) -> tuple[bool, float | None]:
    """Take or keep the leadership for a gateway's poll.

    Returns whether it leads, and if not, in how many seconds the other's leadership would end.
    """
    now = world.now()
    end = now + int(poll.wait_seconds * 1000)
    async with world.database.snapshot() as tx:
        row = await pools.by_id(tx, pool.id)
    if row is None:
        return False, None
    if row.leader == poll.gateway_id and row.ready == poll.ready:
        if row.leader_expires_at >= end + int(RENEW_SECONDS * 1000):
            return True, None
    elif row.leader not in (None, poll.gateway_id) and row.leader_expires_at > now:
        return False, (row.leader_expires_at - now) / 1000
    until = end + int(TERM_SECONDS * 1000)
    async with world.database.transaction() as tx:
        leads = await pools.lead(
            tx, pool.id, poll.gateway_id, ready=poll.ready, now=now, until=until
        )
    return leads, None if leads else TERM_SECONDS


@verb
async def stop_leading(world: World, pool: Pool, gateway_id: str) -> None:
    """A gateway has gone in the middle of its poll: let the next one lead at once."""
    async with world.database.transaction() as tx:
        if await pools.stop_leading(tx, pool.id, gateway_id, world.now()):
            tx.after_commit(partial(world.broker.wake, pool_topic(pool.id)))
