"""The history that a stack's updates leave, and its previews."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from control_plane.api.paging import bounded
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.services import history
from control_plane.services.world import World


class History(msgspec.Struct, rename="camel", kw_only=True):
    """A page of a stack's history, newest first."""

    updates: list[Any]
    items_per_page: int
    total: int


PageNumber = Annotated[int, QueryParameter(name="page", ge=0)]
PageSize = Annotated[int, QueryParameter(name="pageSize", ge=0)]


@get("/updates")
async def list_updates(
    world: World,
    principal: Principal,
    name: StackName,
    page: PageNumber = 1,
    page_size: PageSize = 0,
    output_type: Annotated[str | None, QueryParameter(name="output-type")] = None,
) -> History:
    """The stack's history without previews. An output type asks for the richer form."""
    found = await history.page(world, principal, name, bounded(page, "page"), page_size)
    rows: list[Any] = found.updates if output_type else history.infos(found.updates)
    return History(updates=rows, items_per_page=found.items, total=found.total)


@get("/updates/latest")
async def latest_update(world: World, principal: Principal, name: StackName) -> history.Update:
    """The stack's latest update."""
    return await history.of_version(world, principal, name, None)


@get("/updates/{version:int}")
async def update_of_version(
    world: World, principal: Principal, name: StackName, version: int
) -> history.Update:
    """The update of a number."""
    return await history.of_version(world, principal, name, bounded(version, "version"))


@get("/updates/{version:int}/summary")
async def update_summary(
    world: World, principal: Principal, name: StackName, version: int
) -> history.Summary:
    """How the update of a number went."""
    return history.summary(
        await history.of_version(world, principal, name, bounded(version, "version"))
    )


class Timeline(msgspec.Struct, rename="camel", kw_only=True):
    """What led to an update. Nothing here knows pull requests yet, so nothing is collated."""

    update: history.Update
    collated_update_events: list[history.Update] = []
    previews: list[history.Update]


@get("/updates/latest/timeline")
async def latest_timeline(world: World, principal: Principal, name: StackName) -> Timeline:
    """What led to the latest update."""
    update, previews = await history.timeline(world, principal, name, None)
    return Timeline(update=update, previews=previews)


@get("/updates/{version:int}/timeline")
async def timeline_of_version(
    world: World, principal: Principal, name: StackName, version: int
) -> Timeline:
    """What led to the update of a number."""
    number = bounded(version, "version")
    update, previews = await history.timeline(world, principal, name, number)
    return Timeline(update=update, previews=previews)


@get("/updates/latest/previews")
async def latest_previews(
    world: World,
    principal: Principal,
    name: StackName,
    page: PageNumber = 1,
    page_size: PageSize = 0,
    asc: bool = False,
) -> History:
    """The stack's newest previews."""
    found = await history.previews(
        world, principal, name, None, number=bounded(page, "page"), size=page_size, ascending=asc
    )
    return History(updates=found.updates, items_per_page=found.items, total=found.total)


@get("/updates/{version:int}/previews")
async def previews_of_version(
    world: World,
    principal: Principal,
    name: StackName,
    version: int,
    page: PageNumber = 1,
    page_size: PageSize = 0,
    asc: bool = False,
) -> History:
    """Previews that led to the update of a number."""
    found = await history.previews(
        world,
        principal,
        name,
        bounded(version, "version"),
        number=bounded(page, "page"),
        size=page_size,
        ascending=asc,
    )
    return History(updates=found.updates, items_per_page=found.items, total=found.total)


@get("/previews/{update_id:str}")
async def get_preview(
    world: World, principal: Principal, name: StackName, update_id: str
) -> history.Update:
    """One preview."""
    return await history.preview(world, principal, name, update_id)


@get("/previews/{update_id:str}/summary")
async def preview_summary(
    world: World, principal: Principal, name: StackName, update_id: str
) -> history.Summary:
    """How a preview went."""
    return history.summary(await history.preview(world, principal, name, update_id))


HANDLERS: list[Any] = [
    list_updates,
    latest_update,
    update_of_version,
    update_summary,
    latest_timeline,
    timeline_of_version,
    latest_previews,
    previews_of_version,
    get_preview,
    preview_summary,
]
"""To be mounted under a stack's address."""
