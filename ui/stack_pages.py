"""What there is to see of a stack besides its overview: resources, and what each update did."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Response, get
from litestar.di import Provide
from litestar.params import QueryParameter

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import history, resources, update_events
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import provide_name
from ui.pages import page
from ui.paging import neighbours
from ui.stack import STACK

ROWS = 500
UPDATES = 50
NUMBER_MAX = 1_000_000

Number = Annotated[int, QueryParameter(name="page", ge=1, le=NUMBER_MAX)]
Words = Annotated[str, QueryParameter(name="q", max_length=200)]


class StackPartPages(Controller):
    """`/{organization}/{project}/{stack}/…`."""

    path = STACK
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get("/resources")
    async def resources(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        words: Words = "",
        number: Number = 1,
    ) -> Response[str]:
        """The stack's resources as a tree, or those that have the words."""
        start = (number - 1) * ROWS
        found = await resources.listing(world, principal, name, words, start, ROWS)
        return page(
            "resources.html",
            viewer,
            organization=name.organization,
            name=name,
            listing=found,
            words=words,
            start=start,
            pages=neighbours(number, ROWS, found.found, q=words),
        )

    @get("/updates")
    async def updates(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        number: Number = 1,
    ) -> Response[str]:
        """All updates of the stack, newest first."""
        found = await history.page(world, principal, name, number, UPDATES)
        return page(
            "updates.html",
            viewer,
            organization=name.organization,
            name=name,
            updates=found.updates,
            total=found.total,
            pages=neighbours(number, UPDATES, found.total),
        )

    @get("/updates/{version:int}")
    async def update(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName, version: int
    ) -> Response[str]:
        """What an update did and said."""
        if version >= 2**31:
            raise NotFound(what=f"Version {version} of stack '{name}'")
        found = await history.of_version(world, principal, name, version)
        return await _update_page(world, viewer, name, found, f"Update {version}")

    @get("/previews/{update_id:str}")
    async def preview(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName, update_id: str
    ) -> Response[str]:
        """What a preview foresaw and said."""
        found = await history.preview(world, principal, name, update_id)
        return await _update_page(world, viewer, name, found, "Preview")


async def _update_page(
    world: World, viewer: Viewer, name: StackName, found: history.Update, title: str
) -> Response[str]:
    account = await update_events.account(world, viewer.principal, name, found.update_id)
    return page(
        "update.html",
        viewer,
        organization=name.organization,
        name=name,
        title=title,
        update=found,
        changes=history.changes(found),
        account=account,
    )


ROUTES: list[Any] = [StackPartPages]
