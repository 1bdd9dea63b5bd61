"""The home of an organization: what runs, what waits and why, what was; its queue; its pause."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import QueryParameter

from control_plane.domain.deployment import Operation, Status
from control_plane.domain.principal import Principal
from control_plane.services import deployment_queries, organizations, pausing, stacks
from control_plane.services.deployment_queries import ListQuery
from control_plane.services.sessions import Viewer
from control_plane.services.stacks import Filters
from control_plane.services.world import World
from ui.pages import page
from ui.paging import neighbours
from ui.sign_in import seen

RECENT = 25
STACKS = 200

Number = Annotated[int, QueryParameter(name="page")]


class OrganizationPages(Controller):
    """`/{organization}`."""

    path = "/{organization:str}"
    include_in_schema = False

    @get()
    async def home(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        number: Number = 1,
        status: str = "",
        operation: str = "",
    ) -> Response[str]:
        """What runs now, what waits and why, and what has been."""
        query = ListQuery(
            page=number,
            page_size=RECENT,
            statuses=[status] if status else (),
            operations=[operation] if operation else (),
        )
        queue = await deployment_queries.queue(world, principal, organization)
        recent = await deployment_queries.list_of_organization(
            world, principal, organization, query
        )
        return page(
            "organization.html",
            viewer,
            organization=organization,
            queue=queue,
            recent=recent,
            chosen={"status": status, "operation": operation},
            statuses=list(Status),
            operations=list(Operation),
            pages=neighbours(number, RECENT, recent.total, status=status, operation=operation),
            now=world.now(),
        )

    @get("/-/stacks")
    async def stacks(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        project: str = "",
    ) -> Response[str]:
        """The organization's stacks."""
        filters = Filters(organization=organization, project=project or None)
        found = await stacks.listing(world, principal, filters, None, STACKS)
        return page(
            "stacks.html",
            viewer,
            organization=organization,
            project=project,
            stacks=found.stacks,
            more=found.after is not None,
        )

    @get("/-/settings")
    async def settings(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Response[str]:
        """The organization's limit and members."""
        return page(
            "organization_settings.html",
            viewer,
            organization=organization,
            row=await organizations.show(world, principal, organization),
            members=await organizations.members(world, principal, organization),
        )

    @get("/-/queue")
    async def queue(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Response[str]:
        """What waits, in line, each with what it waits for."""
        found = await deployment_queries.queue(world, principal, organization, 500)
        metadata = await deployment_queries.organization_metadata(world, principal, organization)
        return page(
            "queue.html",
            viewer,
            organization=organization,
            queue=found,
            metadata=metadata,
            may_pause=organization in principal.admin_of,
            now=world.now(),
        )

    @post("/-/queue/pause")
    async def pause(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """Begin no more deployments."""
        await pausing.pause_organization(world, principal, organization, str(form.get("note", "")))
        return seen(f"/{organization}/-/queue")

    @post("/-/queue/resume")
    async def resume(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """Let the queue go on."""
        await pausing.resume_organization(world, principal, organization)
        return seen(f"/{organization}/-/queue")


ROUTES: list[Any] = [OrganizationPages]
