"""The home of an organization: what runs, what waits and why, what was; and its stacks."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from litestar import Controller, Response, get
from litestar.di import Provide
from litestar.params import QueryParameter

from control_plane.domain.deployment import Operation, Status
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Trigger
from control_plane.services import deployment_queries, stack_listing
from control_plane.services.sessions import Viewer
from control_plane.services.stack_listing import SORTS, STATES, Query
from control_plane.services.world import World
from ui.deployment_filters import Choice, Filters, Number, Words, provide_filters
from ui.pages import page
from ui.paging import neighbours

RECENT = 25
WAITING = 5
"""How many that wait the home page shows; the queue's page has them all."""
STACKS = 100

Doing = Annotated[str, QueryParameter(name="state", max_length=200)]


class OrganizationPages(Controller):
    """`/{organization}`."""

    path = "/{organization:str}"
    include_in_schema = False

    @get(dependencies={"filters": Provide(provide_filters, sync_to_thread=False)})
    async def home(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        filters: Filters,
        number: Number = 1,
    ) -> Response[str]:
        """What runs now, what waits and why, and what has been."""
        recent = await deployment_queries.list_of_organization(
            world, principal, organization, filters.query(number, RECENT)
        )
        stacks = await stack_listing.overview(world, principal, organization)
        return page(
            "organization.html",
            viewer,
            organization=organization,
            recent=recent,
            chosen=filters,
            statuses=list(Status),
            operations=list(Operation),
            triggers=list(Trigger),
            projects=stacks.projects,
            stacks=stacks.total,
            pages=neighbours(number, RECENT, recent.total, **filters.parameters),
            url=world.config.public_url,
            domain=urlsplit(world.config.public_url).netloc,
            **await _now(world, principal, organization),
        )

    @get("/-/now")
    async def now(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Response[str]:
        """The home page's first part alone, for one that is open already."""
        return page(
            "_now.html",
            viewer,
            organization=organization,
            **await _now(world, principal, organization),
        )

    @get("/-/stacks")
    async def stacks(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        words: Words = "",
        project: Choice = "",
        doing: Doing = "",
        sort: Choice = "name",
        number: Number = 1,
    ) -> Response[str]:
        """The organization's stacks: found by words, sorted, by pages."""
        query = Query(
            page=number,
            page_size=STACKS,
            words=words.strip(),
            project=project.strip(),
            state=doing,
            sort=sort,
        )
        found = await stack_listing.listing(world, principal, organization, query)
        chosen = {"q": query.words, "project": query.project, "state": doing}
        kept = chosen | {"sort": "" if sort == "name" else sort}
        return page(
            "stacks.html",
            viewer,
            organization=organization,
            query=query,
            listing=found,
            is_chosen=any(chosen.values()),
            sorts=SORTS,
            states=STATES,
            pages=neighbours(number, STACKS, found.total, **kept),
            start=(number - 1) * STACKS,
            url=world.config.public_url,
            domain=urlsplit(world.config.public_url).netloc,
        )


async def _now(world: World, principal: Principal, organization: str) -> dict[str, Any]:
    queue = await deployment_queries.queue(world, principal, organization, WAITING)
    return {"queue": queue, "now": world.now()}


ROUTES: list[Any] = [OrganizationPages]
