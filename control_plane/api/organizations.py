"""Organizations: who they are, who belongs to them, and their deployments and queue."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, get, post

from control_plane.api.deployment_wire import (
    DeploymentPage,
    DeploymentWire,
    Wire,
    deployment,
    rfc3339,
)
from control_plane.api.deployments import (
    PageNumber,
    PageSize,
    Words,
    list_query,
    page_of,
    read_note,
)
from control_plane.domain.deployment import Status
from control_plane.domain.principal import Principal
from control_plane.services import deployment_queries, organizations, pausing
from control_plane.services.history import UserInfo
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]


class OrganizationWire(Wire, kw_only=True):
    """An organization; a person's own is `personal`."""

    github_login: str
    name: str
    avatar_url: str = ""
    repos: list[Any] = []
    personal: bool
    concurrency: int


class RoleWire(Wire, kw_only=True):
    """A role in full; there are only the built-in ones here."""

    id: str
    name: str
    modified_at: str


class MemberWire(Wire, kw_only=True):
    """Somebody who belongs to an organization, and since when there is such a user."""

    role: str
    user: UserInfo
    created: str
    fga_role: RoleWire
    known_to_pulumi: bool = True
    virtual_admin: bool = False


class MembersWire(Wire, kw_only=True):
    """All members; they come in one answer."""

    members: list[MemberWire]


class Counts(Wire, kw_only=True):
    """How many deployments there are, by status."""

    not_started: int = 0
    accepted: int = 0
    running: int = 0
    failed: int = 0
    succeeded: int = 0
    skipped: int = 0
    total: int = 0


class MetadataWire(Wire, kw_only=True):
    """An organization's limit and figures."""

    paused: bool
    paused_by: str
    note: str
    concurrency: int
    deployment_counts: Counts
    paused_stacks: list[str]


class QueueWire(Wire, kw_only=True):
    """What an organization runs, and what waits, in line."""

    paused: bool
    concurrency: int
    live: list[DeploymentWire]
    queued: list[DeploymentWire]
    total: int
    """How many wait; `queued` may hold fewer."""


class OrganizationController(Controller):
    """`/api/orgs/{organization}`."""

    path = "/api/orgs/{organization:str}"
    tags = ["Organizations"]

    @get()
    async def show(self, world: World, principal: Principal, organization: str) -> OrganizationWire:
        """One organization that the caller belongs to."""
        row = await organizations.show(world, principal, organization)
        return OrganizationWire(
            github_login=row.login,
            name=row.name or row.login,
            personal=row.personal,
            concurrency=row.deployment_limit,
        )

    @get("/members")
    async def members(self, world: World, principal: Principal, organization: str) -> MembersWire:
        """Who belongs to the organization."""
        rows = await organizations.members(world, principal, organization)
        return MembersWire(members=[_member(row) for row in rows])

    @get("/deployments")
    async def deployments(
        self,
        world: World,
        principal: Principal,
        organization: str,
        page: PageNumber = 1,
        page_size: PageSize = 10,
        sort: str = "created",
        asc: bool = False,
        status: Words = None,
        operation: Words = None,
    ) -> DeploymentPage:
        """The deployments of all its stacks, newest first; `status` and `operation` choose some."""
        query = list_query(page, page_size, sort, asc, status, operation)
        found = await deployment_queries.list_of_organization(world, principal, organization, query)
        return page_of(found, page_size, world)

    @get("/deployments/queue")
    async def queue(
        self,
        world: World,
        principal: Principal,
        organization: str,
        page_size: PageSize = 100,
    ) -> QueueWire:
        """What runs and what waits, in line, each with what it waits for.

        What waits has a `queue`: its positions, from 1, in its stack's and its organization's
        line; `reason`, a code, and `sentence`, the same for people; `todo` where somebody must
        act; `since`; the `blocker`, such as the deployment before it; `expectedStart`, which is
        left out while nobody can tell, and `expectedStartBasis` with its sentence: from which
        history it is told, or why it cannot be. What runs has an `expectedEnd`, if its stack has
        had the like before. These are estimates from the medians of each stack's last successes.
        """
        found = await deployment_queries.queue(world, principal, organization, page_size)
        url = world.config.public_url
        return QueueWire(
            paused=found.paused,
            concurrency=found.limit,
            live=[deployment(each, url) for each in found.live],
            queued=[deployment(each, url) for each in found.queued],
            total=found.queued_total,
        )

    @get("/deployments/metadata")
    async def metadata(self, world: World, principal: Principal, organization: str) -> MetadataWire:
        """Whether deployments would begin, how many at once may run, and how many there are."""
        found = await deployment_queries.organization_metadata(world, principal, organization)
        return MetadataWire(
            paused=found.paused,
            paused_by=found.paused_by,
            note=found.note,
            concurrency=found.limit,
            deployment_counts=_counts(found.counts),
            paused_stacks=list(found.paused_stacks),
        )

    @post("/deployments/pause", status_code=200)
    async def pause(
        self, request: AnyRequest, world: World, principal: Principal, organization: str
    ) -> dict[str, Any]:
        """Begin no more deployments; for administrators. A body may carry a `note`."""
        note = await read_note(request)
        await pausing.pause_organization(world, principal, organization, note)
        return {}

    @post("/deployments/resume", status_code=200)
    async def resume(self, world: World, principal: Principal, organization: str) -> dict[str, Any]:
        """Let the queue go on; for administrators."""
        await pausing.resume_organization(world, principal, organization)
        return {}


def _member(row: Any) -> MemberWire:
    created = rfc3339(row.created_at)
    return MemberWire(
        role=row.role,
        user=UserInfo(name=row.name, github_login=row.login, avatar_url=row.avatar_url),
        created=created,
        fga_role=RoleWire(id=row.role, name=row.role.capitalize(), modified_at=created),
    )


def _counts(counts: dict[str, int]) -> Counts:
    return Counts(
        total=sum(counts.values()),
        **{str(status).replace("-", "_"): counts.get(status, 0) for status in Status},
    )


ROUTES: list[Any] = [OrganizationController]
