"""Settings > Integrations: GitHub's App made, installed, claimed, uninstalled; what it told."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import QueryParameter

from control_plane.domain.github import manifest
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Conflict, NotFound
from control_plane.services.github import app, browsing, installing, pulls
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import text_of
from ui.pages import page
from ui.paging import neighbours
from ui.sign_in import seen

SIZE = 25
RECENT = 10

Number = Annotated[int, QueryParameter(name="page", ge=1, le=100_000)]
Organization = Annotated[str, QueryParameter(name="github_organization", max_length=100)]
Code = Annotated[str, QueryParameter(name="code", max_length=500)]
State = Annotated[str, QueryParameter(name="state", max_length=4000)]
InstallationId = Annotated[int, QueryParameter(name="installation_id", ge=0, lt=2**53)]
Action = Annotated[str, QueryParameter(name="setup_action", max_length=100)]


class Integrations(Controller):
    """`/{organization}/-/settings/integrations`."""

    path = "/{organization:str}/-/settings/integrations"
    include_in_schema = False

    @get()
    async def show(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        claimed: str = "",
    ) -> Response[str]:
        """Whether the App is there, where it is installed, what it lacks, what it told."""
        recent = await browsing.recent(world, principal, organization, 1, RECENT)
        integration = await installing.show(world, principal, organization)
        accounts = {each.account for each in integration.installations}
        return page(
            "integrations.html",
            viewer,
            leads_to=world.config.github_url,
            github_url=world.config.github_url.rstrip("/"),
            organization=organization,
            integration=integration,
            recent=recent.deliveries,
            forks=await browsing.forks_that_wait(world, principal, organization),
            # An address may say anything.
            claimed=[each for each in claimed.split(",") if each in accounts],
            none_claimed=claimed == "none",
            is_admin=organization in principal.admin_of,
            is_site_admin=principal.user.site_admin,
        )

    @post("/github/install")
    async def install(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """To GitHub, to install the App."""
        return seen(await installing.start(world, principal, organization))

    @post("/github/claim")
    async def claim(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """To GitHub, to show which installations one controls."""
        number = text_of(form, "installation_id") or "0"
        if not _is_number(number):
            raise BadRequest(detail="The installation's number is no number.")
        return seen(await installing.start_claim(world, principal, organization, int(number)))

    @get("/github/{installation_id:int}/uninstall")
    async def ask_uninstall(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        installation_id: int,
    ) -> Response[str]:
        """What an uninstall deletes."""
        _require_id(installation_id)
        integration = await installing.show(world, principal, organization)
        return page(
            "github_uninstall.html",
            viewer,
            organization=organization,
            installation=next(
                (each for each in integration.installations if each.id == installation_id), None
            ),
            stacks=await installing.what_goes(world, principal, organization, installation_id),
            is_admin=organization in principal.admin_of,
        )

    @post("/github/{installation_id:int}/uninstall")
    async def uninstall(
        self,
        world: World,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
        installation_id: int,
    ) -> Response[Any]:
        """Uninstall the App from an account."""
        _require_id(installation_id)
        await installing.uninstall(world, principal, organization, installation_id)
        return seen(f"/{organization}/-/settings/integrations")

    @post("/github/{installation_id:int}/comments")
    async def comments(
        self,
        world: World,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
        installation_id: int,
    ) -> Response[Any]:
        """Turn comments on pull requests on or off."""
        _require_id(installation_id)
        wanted = text_of(form, "comments") == "on"
        await installing.set_comments(world, principal, organization, installation_id, wanted)
        return seen(f"/{organization}/-/settings/integrations")

    @post("/github/approve")
    async def approve(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """Let a fork's head commit be previewed."""
        number = text_of(form, "number")
        await pulls.approve(
            world,
            principal,
            organization,
            text_of(form, "repository"),
            int(number) if _is_number(number) else 0,
            text_of(form, "sha"),
        )
        return seen(f"/{organization}/-/settings/integrations")

    @get("/deliveries")
    async def deliveries(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        number: Number = 1,
    ) -> Response[str]:
        """All that GitHub told, newest first."""
        found = await browsing.recent(world, principal, organization, number, SIZE)
        return page(
            "github_deliveries.html",
            viewer,
            organization=organization,
            found=found,
            pages=neighbours(number, SIZE, found.total),
        )

    @get("/deliveries/{delivery_id:str}")
    async def delivery(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        delivery_id: str,
    ) -> Response[str]:
        """What came of one, and why other stacks were not deployed."""
        return page(
            "github_delivery.html",
            viewer,
            organization=organization,
            delivery=await browsing.delivery(world, principal, organization, delivery_id),
        )


def _require_id(installation_id: int) -> None:
    """GitHub's numbers are within what every JSON parser keeps exactly."""
    if not 0 <= installation_id < 2**53:
        raise NotFound(what=f"Installation {installation_id}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


@get("/settings/integrations/github/new")
async def new_app(
    world: World,
    viewer: Viewer,
    principal: Principal,
    github_organization: Organization = "",
    name: Annotated[str, QueryParameter(max_length=100)] = "",
) -> Response[str]:
    """The form that makes this server's App on GitHub, saying what it may do and why."""
    app.require_site_admin(principal)
    if await app.show(world) is not None:
        raise Conflict(detail="This server has its GitHub App already.")
    wanted = manifest.manifest(world.config.public_url, name or f"Slipway {_host(world)}")
    return page(
        "github_new.html",
        viewer,
        leads_to=world.config.github_url,
        organization=None,
        action=world.github.manifest_url(app.creation_state(world, principal), github_organization),
        manifest=msgspec.json.encode(wanted).decode(),
        app_name=wanted["name"],
        github_organization=github_organization,
        github_url=world.config.github_url,
        public_url=world.config.public_url,
        permissions=manifest.PERMISSIONS,
        events=manifest.EVENTS,
    )


def _host(world: World) -> str:
    return world.config.public_url.partition("://")[2].partition(":")[0]


@get("/settings/integrations/github/created")
async def created(
    world: World, principal: Principal, code: Code = "", state_text: State = ""
) -> Response[Any]:
    """Back from GitHub with a new App."""
    await app.create(world, principal, code, state_text)
    return seen(f"/{principal.user.login}/-/settings/integrations")


@get("/settings/integrations/github/installed")
async def installed(
    world: World,
    viewer: Viewer,
    principal: Principal,
    code: Code = "",
    state_text: State = "",
    installation_id: InstallationId = 0,
    setup_action: Action = "",
) -> Response[Any]:
    """Back from GitHub after an installation; without our `state` one says for whom it is."""
    if not state_text:
        if owner := await installing.claimed_by(world, principal, installation_id):
            return seen(f"/{owner}/-/settings/integrations")
        return page(
            "github_claim.html",
            viewer,
            leads_to=world.config.github_url,
            organization=None,
            installation_id=installation_id,
            requested=setup_action == "request",
            organizations=sorted(principal.admin_of),
        )
    done = await installing.finish(world, principal, state_text, code, installation_id)
    if done.onward:
        return seen(done.onward)
    accounts = "%2C".join(done.accounts) or "none"
    return seen(f"/{done.organization}/-/settings/integrations?claimed={accounts}")


ROUTES: list[Any] = [Integrations, new_app, created, installed]
