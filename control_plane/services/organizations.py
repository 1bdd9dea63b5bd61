"""Organizations and who belongs to them, as members see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from control_plane.domain.principal import Principal
from control_plane.services import access
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import organizations


@verb
async def show(world: World, principal: Principal, login: str) -> Row[Any]:
    """The organization; raises NotFound unless the caller belongs to it."""
    async with world.database.snapshot() as tx:
        return await access.organization(tx, principal, login)


@verb
async def members(world: World, principal: Principal, login: str) -> Sequence[Row[Any]]:
    """The organization's members, each with their `role`."""
    async with world.database.snapshot() as tx:
        found = await access.organization(tx, principal, login)
        return await organizations.members(tx, found.id)
