"""GitHub: where it sends its webhooks, and what an organization's integration with it is."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, post
from litestar.params import QueryParameter

from control_plane.api.body import decode
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services.github import browsing, installing, pulls, receiving
from control_plane.services.github.browsing import Deliveries, Delivery, PullFacts, RepositoryFacts
from control_plane.services.github.installing import Concerned, Integration
from control_plane.services.github.outcome import Outcome
from control_plane.services.github.receiving import Delivered
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]
Words = Annotated[str, QueryParameter(name="q", max_length=200)]
Number = Annotated[int, QueryParameter(name="page", ge=1, le=100_000)]


class Settings(msgspec.Struct, kw_only=True, rename="camel"):
    """What may be changed of an installation."""

    comments: bool


class Approval(msgspec.Struct, kw_only=True):
    """Which commit of a fork may be previewed."""

    sha: str


@post("/webhooks/github", status_code=202, include_in_schema=False)
async def webhook(request: AnyRequest, world: World) -> dict[str, Any]:
    """Take a delivery: 202 as soon as it is kept, whether it is the first time or not."""
    received = await receiving.receive(
        world,
        Delivered(
            id=request.headers.get("x-github-delivery", ""),
            event=request.headers.get("x-github-event", ""),
            signature=request.headers.get("x-hub-signature-256", ""),
            body=await request.body(),
        ),
    )
    return {"id": received.id, "new": received.is_new}


class GitHubController(Controller):
    """`/api/orgs/{organization}/integrations/github`."""

    path = "/api/orgs/{organization:str}/integrations/github"

    @get()
    async def show(self, world: World, principal: Principal, organization: str) -> Integration:
        """The App, the installations of this organization, and how many nobody has claimed."""
        return await installing.show(world, principal, organization)

    @post("/install", status_code=200)
    async def install(
        self, world: World, principal: Principal, organization: str
    ) -> dict[str, str]:
        """Where an administrator's browser goes to install the App."""
        return {"url": await installing.start(world, principal, organization)}

    @get("/installations/{installation_id:int}/concerned")
    async def concerned(
        self, world: World, principal: Principal, organization: str, installation_id: int
    ) -> list[Concerned]:
        """The stacks whose push-to-deploy configurations an uninstall deletes."""
        _require_id(installation_id)
        return await installing.what_goes(world, principal, organization, installation_id)

    @post("/installations/{installation_id:int}", status_code=204)
    async def change(
        self,
        request: AnyRequest,
        world: World,
        principal: Principal,
        organization: str,
        installation_id: int,
    ) -> None:
        """Turn comments on pull requests on or off."""
        _require_id(installation_id)
        wanted = await decode(request, Settings)
        await installing.set_comments(
            world, principal, organization, installation_id, wanted.comments
        )

    @delete("/installations/{installation_id:int}", status_code=200)
    async def uninstall(
        self, world: World, principal: Principal, organization: str, installation_id: int
    ) -> list[Concerned]:
        """Uninstall the App from an account, with its push-to-deploy configurations."""
        _require_id(installation_id)
        return await installing.uninstall(world, principal, organization, installation_id)

    @get("/repositories")
    async def repositories(
        self, world: World, principal: Principal, organization: str, words: Words = ""
    ) -> list[RepositoryFacts]:
        """Repositories that may be chosen."""
        return await browsing.repositories(world, principal, organization, words)

    @get("/repositories/{owner:str}/{name:str}/branches")
    async def branches(
        self,
        world: World,
        principal: Principal,
        organization: str,
        owner: str,
        name: str,
        words: Words = "",
    ) -> list[str]:
        """A repository's branches that begin so, the default one first."""
        full_name = f"{owner}/{name}"
        return await browsing.branches(world, principal, organization, full_name, words)

    @get("/deliveries")
    async def deliveries(
        self, world: World, principal: Principal, organization: str, number: Number = 1
    ) -> Deliveries:
        """What GitHub has told, newest first."""
        return await browsing.recent(world, principal, organization, number)

    @get("/deliveries/{delivery_id:str}")
    async def delivery(
        self, world: World, principal: Principal, organization: str, delivery_id: str
    ) -> Delivery:
        """One delivery: what it deployed, and for each other stack the rule that said no."""
        return await browsing.delivery(world, principal, organization, delivery_id)

    @get("/pull-requests")
    async def forks(self, world: World, principal: Principal, organization: str) -> list[PullFacts]:
        """Pull requests of forks that wait for a member's approval."""
        return await browsing.forks_that_wait(world, principal, organization)

    @post("/pull-requests/{owner:str}/{name:str}/{number:int}/approve", status_code=200)
    async def approve(
        self,
        request: AnyRequest,
        world: World,
        principal: Principal,
        organization: str,
        owner: str,
        name: str,
        number: int,
    ) -> Outcome:
        """Let exactly this head commit of a fork be previewed."""
        _require_id(number)
        wanted = await decode(request, Approval)
        return await pulls.approve(
            world, principal, organization, f"{owner}/{name}", number, wanted.sha
        )


def _require_id(number: int) -> None:
    if not 0 < number < 2**53:
        raise BadRequest(detail="The number in the address is none of GitHub's.")


ROUTES: list[Any] = [webhook, GitHubController]
