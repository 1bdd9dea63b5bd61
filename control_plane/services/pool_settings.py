"""An organization's own runner pools, as its members see them and its administrators make them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain import tokens
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Conflict, NotFound
from control_plane.services import access
from control_plane.services.readiness import POOL_SILENCE_MS
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import pools
from control_plane.store.transaction import Transaction

DESCRIPTION_CHARACTERS_MAX = 200
POOLS_MAX = 50
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


class PoolSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that an organization may use."""

    id: str
    name: str
    description: str
    hosted: bool
    """Whether the server keeps it for all organizations."""
    is_default: bool
    online: bool
    problem: str
    """Why it takes no work; empty while it does."""
    last_seen_at: int | None
    live: int
    """How many deployments of this organization it runs now."""
    queued: int


class NewPool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool's token: the only time its value is seen."""

    id: str
    name: str
    token: str


@verb
async def listing(world: World, principal: Principal, login: str) -> list[PoolSeen]:
    """The organization's own pools and the hosted ones; raises NotFound."""
    async with world.database.snapshot() as tx:
        found = await access.organization(tx, principal, login)
        rows = await pools.seen_by(tx, found.id)
        work = await pools.work_of(tx, found.id)
    return [_seen(world, row, *work.get(row.id, (0, 0))) for row in rows]


@verb
async def create(
    world: World, principal: Principal, login: str, *, name: str, description: str = ""
) -> NewPool:
    """Add a pool of the organization; raises BadRequest, Conflict, Forbidden, NotFound."""
    if not NAME.match(name):
        raise BadRequest(
            detail=f"'{name}' cannot name a pool: use up to 63 letters, digits, '-', '_', '.'."
        )
    value = tokens.new(tokens.POOL)
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        existing = await pools.seen_by(tx, found.id)
        if name in {row.name for row in existing}:
            raise Conflict(detail=f"There is a pool '{name}' already.")
        if len(existing) >= POOLS_MAX:
            raise Conflict(detail=f"An organization has at most {POOLS_MAX} pools.")
        pool_id = await pools.create(
            tx,
            name=name,
            token_digest=tokens.digest(value),
            organization_id=found.id,
            is_default=False,
            now=world.now(),
        )
        await pools.describe(tx, pool_id, description.strip()[:DESCRIPTION_CHARACTERS_MAX])
    return NewPool(id=pool_id, name=name, token=value)


@verb
async def rotate_token(world: World, principal: Principal, login: str, pool_id: str) -> NewPool:
    """Give a pool another token; its gateway needs it to go on. Raises Forbidden, NotFound."""
    value = tokens.new(tokens.POOL)
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        pool = await _own(tx, found, pool_id)
        await pools.set_token(tx, pool.id, tokens.digest(value))
    return NewPool(id=pool.id, name=pool.name, token=value)


@verb
async def remove(world: World, principal: Principal, login: str, pool_id: str) -> None:
    """Forget a pool that nothing needs any more; raises Conflict, Forbidden, NotFound."""
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        pool = await _own(tx, found, pool_id)
        live, queued = (await pools.work_of(tx, found.id)).get(pool.id, (0, 0))
        if live or queued:
            raise Conflict(
                detail=f"{live + queued} deployments run or wait in the pool '{pool.name}'."
                " Let them end, or cancel them, then delete it."
            )
        users = await _stacks_that_name(tx, found, pool.id)
        if users:
            raise Conflict(
                detail=f"The deployment settings of {users} stacks name the pool '{pool.name}'."
                " Choose another pool there, then delete it."
            )
        await pools.remove(tx, pool.id)


async def _administered(tx: Transaction, principal: Principal, login: str) -> Row[Any]:
    found = await access.organization(tx, principal, login)
    access.require_admin(principal, login)
    return found


async def _own(tx: Transaction, found: Row[Any], pool_id: str) -> Row[Any]:
    pool = await pools.by_id(tx, pool_id)
    if pool is None or pool.organization_id != found.id:
        raise NotFound(what=f"Pool '{pool_id}'")
    return pool


async def _stacks_that_name(tx: Transaction, found: Row[Any], pool_id: str) -> int:
    rows: Sequence[Any] = await pools.settings_that_mention(tx, found.id, pool_id)
    return sum(json.loads(row.body).get("agentPoolID") == pool_id for row in rows)


def _seen(world: World, row: Row[Any], live: int, queued: int) -> PoolSeen:
    problem = _problem(world, row)
    return PoolSeen(
        id=row.id,
        name=row.name,
        description=row.description,
        hosted=row.organization_id is None,
        is_default=row.is_default,
        online=not problem,
        problem=problem,
        last_seen_at=row.last_seen_at,
        live=live,
        queued=queued,
    )


def _problem(world: World, row: Row[Any]) -> str:
    if row.last_seen_at is None:
        return "Its gateway has never been online."
    if row.last_seen_at < world.now() - POOL_SILENCE_MS:
        return "Its gateway is silent."
    return "" if row.ready else "Its gateway cannot reach Ray."
