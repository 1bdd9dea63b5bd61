"""Which gateway of a pool leads: a lease on the pool's row. Others wait, and take over."""

from __future__ import annotations

from functools import partial

import msgspec

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


class Standing(msgspec.Struct, frozen=True):
    """Where a gateway's poll stands: until when it leads, or when to try again, in seconds."""

    term: int | None = None
    retry: float | None = None


@verb
async def lead(world: World, pool: Pool, poll: Poll) -> Standing:
    """Take or keep the leadership for a gateway's poll."""
    now = world.now()
    end = now + int(poll.wait_seconds * 1000)
    async with world.database.snapshot() as tx:
        row = await pools.by_id(tx, pool.id)
    if row is None:
        return Standing()
    if row.leader == poll.gateway_id and row.ready == poll.ready:
        if row.leader_expires_at >= end + int(RENEW_SECONDS * 1000):
            return Standing(term=row.leader_expires_at)
    elif row.leader not in (None, poll.gateway_id) and row.leader_expires_at > now:
        return Standing(retry=(row.leader_expires_at - now) / 1000)
    until = end + int(TERM_SECONDS * 1000)
    async with world.database.transaction() as tx:
        leads = await pools.lead(
            tx, pool.id, poll.gateway_id, ready=poll.ready, now=now, until=until
        )
    return Standing(term=until) if leads else Standing(retry=TERM_SECONDS)


@verb
async def stop_leading(world: World, pool: Pool, gateway_id: str, term: int) -> None:
    """A gateway has gone in the middle of its poll: let the next one lead at once.

    That a poll's client is gone may be noticed late, when the gateway polls anew: a leadership
    with another term than the gone poll's is not its own.
    """
    async with world.database.transaction() as tx:
        if await pools.stop_leading(tx, pool.id, gateway_id, term=term, now=world.now()):
            tx.after_commit(partial(world.broker.wake, pool_topic(pool.id)))
