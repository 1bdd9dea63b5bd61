"""An organization's stacks as the console lists them: searched, sorted, by pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row

from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import access
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import stack_listing as store

PAGE_MAX = 1_000_000
WORDS_MAX = 8
PROJECTS_MAX = 200
"""How many projects are proposed."""
SORTS = tuple(store.SORTS)
STATES = tuple(store.STATES)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which stacks, in which order."""

    page: int = 1
    page_size: int = 100
    words: str = ""
    project: str = ""
    state: str = ""
    """running, waiting, paused or failed; empty for all."""
    sort: str = "name"


class Overview(NamedTuple):
    """How many stacks an organization has, and names of its projects."""

    total: int
    projects: Sequence[str]


class Listing(NamedTuple):
    """Some stacks, how many fit in all, how many there are at all, and names of projects."""

    stacks: Sequence[Row[Any]]
    total: int
    all: int
    projects: Sequence[str]


@verb
async def overview(world: World, principal: Principal, login: str) -> Overview:
    """How many stacks the organization has, and its first projects; raises NotFound."""
    async with world.database.snapshot() as tx:
        organization = await access.organization(tx, principal, login)
        everything = store.Wanted(organization_id=organization.id)
        projects = await store.projects(tx, organization.id, PROJECTS_MAX)
        return Overview(await store.total(tx, everything), projects)


@verb
async def listing(world: World, principal: Principal, login: str, query: Query) -> Listing:
    """A page of the organization's stacks; raises NotFound, BadRequest."""
    _require_sensible(query)
    async with world.database.snapshot() as tx:
        organization = await access.organization(tx, principal, login)
        everything = store.Wanted(organization_id=organization.id)
        wanted = store.Wanted(
            organization_id=organization.id,
            words=query.words.split()[:WORDS_MAX],
            project=query.project,
            state=query.state,
        )
        offset = (query.page - 1) * query.page_size
        return Listing(
            stacks=await store.page(
                tx, wanted, sort=query.sort, limit=query.page_size, offset=offset
            ),
            total=await store.total(tx, wanted),
            all=await store.total(tx, everything),
            projects=await store.projects(tx, organization.id, PROJECTS_MAX),
        )


def _require_sensible(query: Query) -> None:
    if not 1 <= query.page <= PAGE_MAX:
        raise BadRequest(detail=f"page must be between 1 and {PAGE_MAX}.")
    if query.sort not in SORTS:
        raise BadRequest(detail=f"sort '{query.sort}' is unknown; use {', '.join(SORTS)}.")
    if query.state not in ("", *STATES):
        raise BadRequest(detail=f"state '{query.state}' is unknown; use {', '.join(STATES)}.")
