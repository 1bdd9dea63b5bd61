"""Organizations and who belongs to them, as members see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row

from control_plane.domain.principal import Principal
from control_plane.services import access
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import identity, organizations, stacks


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


class Figures(NamedTuple):
    """An organization, and how much there is in it."""

    organization: Row[Any]
    members: int
    stacks: int
    projects: int


@verb
async def figures(world: World, principal: Principal, login: str) -> Figures:
    """The organization with its counts; raises NotFound unless the caller belongs to it."""
    async with world.database.snapshot() as tx:
        found = await access.organization(tx, principal, login)
        members = await organizations.members(tx, found.id)
        counted = await stacks.count(tx, found.id)
    return Figures(found, len(members), counted.stacks, counted.projects)


@verb
async def default_of(world: World, principal: Principal) -> str:
    """Where the caller's stacks belong whose names tell no organization; empty: nowhere.

    The one that the user has chosen, while they belong to it; else the user's own. For a
    deployment, its stack's.
    """
    if principal.deployment_id is not None:
        return next(iter(principal.organizations), "")
    async with world.database.snapshot() as tx:
        user = await identity.user_by_id(tx, principal.user.id)
        memberships = await organizations.of_user(tx, principal.user.id)
    chosen = [each for each in memberships if user and each.id == user.default_organization_id]
    return next((each.login for each in (*chosen, *memberships)), "")


@verb
async def set_default(world: World, principal: Principal, login: str) -> None:
    """Choose it; raises NotFound unless the caller belongs to the organization."""
    async with world.database.transaction() as tx:
        found = await access.organization(tx, principal, login)
        await identity.set_default_organization(tx, principal.user.id, found.id)
