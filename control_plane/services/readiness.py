"""Whether a deployment could run now."""

from __future__ import annotations

from control_plane.services.world import World
from control_plane.store import pools

POOL_SILENCE_MS = 60_000
"""A gateway polls at least every 20 seconds; after three misses its pool counts as offline."""


async def missing(world: World) -> list[str]:
    """What a deployment would wait for; empty when one could run now."""
    async with world.database.snapshot() as tx:
        pool = await pools.hosted_default(tx)
    if pool is None:
        return ["no runner pool exists"]
    if pool.public_key is None:
        return ["no gateway has registered"]
    if pool.last_seen_at is None or pool.last_seen_at < world.now() - POOL_SILENCE_MS:
        return ["the gateway is silent"]
    if not pool.ready:
        return ["the gateway cannot reach Ray"]
    return []
