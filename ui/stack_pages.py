"""What there is to see of a stack besides its overview: resources, and what each update did."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.params import QueryParameter

from control_plane.domain.deployment import Operation, Status
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.resource_tree import MARKS
from control_plane.errors import NotFound
from control_plane.services import (
    activity,
    deployment_queries,
    history,
    resources,
    stack_configuration,
    update_events,
)
from control_plane.services.activity import Which
from control_plane.services.deployment_queries import ListQuery
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui import timeline
from ui.guard import provide_name
from ui.pages import page
from ui.paging import neighbours
from ui.stack import STACK

ROWS = 500
UPDATES = 50
DEPLOYMENTS = 50
NUMBER_MAX = 1_000_000
URN_CHARACTERS_MAX = 4000

Number = Annotated[int, QueryParameter(name="page", ge=1, le=NUMBER_MAX)]
Words = Annotated[str, QueryParameter(name="q", max_length=200)]
Mark = Annotated[str, QueryParameter(name="state", max_length=50)]
Urn = Annotated[str, QueryParameter(name="urn", max_length=URN_CHARACTERS_MAX)]


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
        mark: Mark = "",
        number: Number = 1,
    ) -> Response[str]:
        """The stack's resources as a tree, or those that have the words and the state."""
        start = (number - 1) * ROWS
        found = await resources.listing(world, principal, name, words, start, ROWS, mark)
        return page(
            "resources.html",
            viewer,
            organization=name.organization,
            name=name,
            listing=found,
            words=words,
            mark=mark,
            marks=MARKS,
            start=start,
            pages=neighbours(number, ROWS, found.found, q=words, state=mark),
        )

    @get("/resource")
    async def resource(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName, urn: Urn
    ) -> Response[str]:
        """All that the state says of one resource; secrets are masked."""
        return await _resource_page(world, viewer, name, urn)

    @post("/resource/reveal", status_code=200)
    async def reveal_property(
        self, world: World, viewer: Viewer, name: StackName, form: FormMultiDict
    ) -> Response[str]:
        """The same page with one secret property in plain text."""
        side, _, key = str(form.get("property", "")).partition(".")
        return await _resource_page(world, viewer, name, str(form.get("urn", "")), (side, key))

    @get(["/activity", "/updates"])
    async def activity(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        which: Annotated[Which, QueryParameter(name="show")] = Which.ALL,
        number: Number = 1,
    ) -> Response[str]:
        """All updates and previews of the stack, newest first."""
        found = await activity.page(world, principal, name, which, number, UPDATES)
        return page(
            "updates.html",
            viewer,
            organization=name.organization,
            name=name,
            updates=found.entries,
            total=found.total,
            which=which,
            pages=neighbours(number, UPDATES, found.total, show=which),
        )

    @get("/deployments")
    async def deployments(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        status: str = "",
        operation: str = "",
        number: Number = 1,
    ) -> Response[str]:
        """The stack's deployments, newest first."""
        query = ListQuery(
            page=number,
            page_size=DEPLOYMENTS,
            statuses=[status] if status else (),
            operations=[operation] if operation else (),
        )
        found = await deployment_queries.list_of_stack(world, principal, name, query)
        return page(
            "stack_deployments.html",
            viewer,
            organization=name.organization,
            name=name,
            deployments=found.deployments,
            total=found.total,
            chosen={"status": status, "operation": operation},
            statuses=list(Status),
            operations=list(Operation),
            pages=neighbours(number, DEPLOYMENTS, found.total, status=status, operation=operation),
            now=world.now(),
        )

    @get("/config")
    async def config(self, world: World, viewer: Viewer, name: StackName) -> Response[str]:
        """What the last update was configured with; secrets are masked."""
        return await _config_page(world, viewer, name)

    @post("/config/reveal", status_code=200)
    async def reveal_config(
        self, world: World, viewer: Viewer, name: StackName, form: FormMultiDict
    ) -> Response[str]:
        """The same page with one secret value in plain text."""
        return await _config_page(world, viewer, name, str(form.get("key", "")))

    @get("/updates/{version:int}")
    async def update(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName, version: int
    ) -> Response[str]:
        """What an update did and said."""
        found = await _of_version(world, principal, name, version)
        return await _update_page(world, viewer, name, found.update_id, f"Update {version}")

    @get("/updates/{version:int}/events")
    async def update_events(
        self, world: World, principal: Principal, name: StackName, version: int
    ) -> Response[bytes]:
        """The engine's events of an update, one JSON object a line, as a file."""
        found = await _of_version(world, principal, name, version)
        bodies = await update_events.all_of(world, principal, name, found.update_id)
        return Response(
            b"".join(body + b"\n" for body in bodies),
            media_type="application/x-ndjson",
            headers={
                "Content-Disposition": f'attachment; filename="events-{version}.ndjson"',
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )

    @get("/previews/{update_id:str}")
    async def preview(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName, update_id: str
    ) -> Response[str]:
        """What a preview foresaw and said."""
        found = await history.preview(world, principal, name, update_id)
        return await _update_page(world, viewer, name, found.update_id, "Preview")


async def _of_version(
    world: World, principal: Principal, name: StackName, version: int
) -> history.Update:
    if version >= 2**31:
        raise NotFound(what=f"Version {version} of stack '{name}'")
    return await history.of_version(world, principal, name, version)


async def _resource_page(
    world: World,
    viewer: Viewer,
    name: StackName,
    urn: str,
    reveal: tuple[str, str] | None = None,
) -> Response[str]:
    found = await resources.detail(world, viewer.principal, name, urn, reveal)
    return page(
        "resource.html",
        viewer,
        organization=name.organization,
        name=name,
        urn=urn,
        resource=found.properties,
        sides=(("inputs", "Inputs", found.inputs), ("outputs", "Outputs", found.outputs)),
        used_by=found.used_by,
    )


async def _config_page(
    world: World, viewer: Viewer, name: StackName, reveal: str = ""
) -> Response[str]:
    found = await stack_configuration.show(world, viewer.principal, name, reveal)
    return page(
        "config.html",
        viewer,
        organization=name.organization,
        name=name,
        values=found.values,
        update=found.update,
    )


async def _update_page(
    world: World, viewer: Viewer, name: StackName, update_id: str, title: str
) -> Response[str]:
    entry = await activity.of_update(world, viewer.principal, name, update_id)
    account = await update_events.account(world, viewer.principal, name, update_id)
    return page(
        "update.html",
        viewer,
        organization=name.organization,
        name=name,
        title=title,
        entry=entry,
        update=entry.update,
        changes=history.changes(entry.update),
        account=account,
        spans=timeline.bars(account.steps),
    )


ROUTES: list[Any] = [StackPartPages]
