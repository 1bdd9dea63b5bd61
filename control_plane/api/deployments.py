"""Deployments of a stack: create, show, list, cancel; their updates; pause and resume."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import Provide
from litestar.params import QueryParameter

from control_plane.api import deployment_logs
from control_plane.api.body import decode_bytes
from control_plane.api.deployment_wire import (
    DeploymentPage,
    DeploymentWire,
    Wire,
    console_url,
    deployment,
)
from control_plane.api.stack_path import STACK, provide_name
from control_plane.domain import deployment_request
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Submission, Trigger
from control_plane.errors import BadRequest, TooLarge
from control_plane.services import cancellation, deployment_queries, pausing, submission
from control_plane.services.deployment_queries import ListQuery, ShownPage
from control_plane.services.history import Update
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")

REQUEST_BYTES_MAX = 1024 * 1024
"""How large a request to deploy, or with settings, may be."""
INITIATOR_CHARACTERS_MAX = 100

PageNumber = Annotated[int, QueryParameter(name="page")]
PageSize = Annotated[int, QueryParameter(name="pageSize")]
Words = list[str] | None


class Created(Wire, kw_only=True):
    """A deployment that has been queued."""

    id: str
    version: int
    console_url: str


class Pausing(msgspec.Struct, kw_only=True):
    """What may be said about a pause."""

    note: str = ""


class StackMetadata(Wire, kw_only=True):
    """Whether deployments of a stack would begin."""

    paused: bool
    stack_paused: bool
    organization_paused: bool
    paused_by: str
    note: str
    has_schedules: bool = False


class DeploymentController(Controller):
    """`/api/stacks/{organization}/{project}/{stack}/deployments`."""

    path = f"{STACK}/deployments"
    tags = ["Deployments"]
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @post(status_code=202)
    async def create(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> Created:
        """Queue a deployment. What it does not say it inherits from the stack's settings.

        The body is a set of deployment settings with `operation` and `inheritSettings` (default
        true). Over inherited settings it is merged: objects deeply, null removes, all else
        replaces; only that empty strings, lists and objects, which clients send for what was not
        given, change nothing.
        """
        wanted = deployment_request.read(await read_settings(request), from_cli=_is_cli(request))
        return await _create(request, world, principal, name, wanted)

    @get()
    async def list_all(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        page: PageNumber = 1,
        page_size: PageSize = 10,
        sort: str = "created",
        asc: bool = False,
        status: Words = None,
        operation: Words = None,
    ) -> DeploymentPage:
        """The stack's deployments, newest first; `status` and `operation` choose some."""
        query = list_query(page, page_size, sort, asc, status, operation)
        found = await deployment_queries.list_of_stack(world, principal, name, query)
        return page_of(found, page_size, world)

    @get("/{deployment_id:str}")
    async def show(
        self, world: World, principal: Principal, name: StackName, deployment_id: str
    ) -> DeploymentWire:
        """One deployment, with its settings' outline and what it waits for."""
        return await _show(world, principal, name, deployment_id)

    @get("/version/{version:str}")
    async def show_version(
        self, world: World, principal: Principal, name: StackName, version: str
    ) -> DeploymentWire:
        """One deployment by its number within the stack."""
        if not (version.isascii() and version.isdigit()):
            raise BadRequest(detail=f"version '{version[:100]}' is not a number.")
        shown = await deployment_queries.show_version(world, principal, name, int(version[:20]))
        return deployment(shown, world.config.public_url)

    @get("/{deployment_id:str}/updates")
    async def updates(
        self, world: World, principal: Principal, name: StackName, deployment_id: str
    ) -> list[Update]:
        """The updates that the deployment made."""
        deployment_id = await deployment_queries.id_of(world, principal, name, deployment_id)
        return await deployment_queries.updates_of(world, principal, name, deployment_id)

    @post("/{deployment_id:str}/cancel", status_code=200)
    async def cancel(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        deployment_id: str,
        mode: str = "graceful",
    ) -> dict[str, Any]:
        """Stop a deployment: gracefully, or with `mode=now` at once. What waits never begins."""
        deployment_id = await deployment_queries.id_of(world, principal, name, deployment_id)
        if mode == "graceful":
            await cancellation.cancel(world, principal, name, deployment_id, "graceful")
        elif mode == "now":
            await cancellation.cancel(world, principal, name, deployment_id, "now")
        else:
            raise BadRequest(detail="mode must be graceful or now.")
        return {}

    @post("/pause", status_code=200)
    async def pause(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> dict[str, Any]:
        """Begin no more deployments of the stack; a body may carry a `note` that says why."""
        note = await read_note(request)
        await pausing.pause_stack(world, principal, name, note)
        return {}

    @post("/resume", status_code=200)
    async def resume(self, world: World, principal: Principal, name: StackName) -> dict[str, Any]:
        """Let the stack's queue go on."""
        await pausing.resume_stack(world, principal, name)
        return {}

    @get("/metadata")
    async def metadata(self, world: World, principal: Principal, name: StackName) -> StackMetadata:
        """Whether deployments of the stack would begin."""
        found = await pausing.stack_metadata(world, principal, name)
        return StackMetadata(
            paused=found.stack_paused or found.organization_paused,
            stack_paused=found.stack_paused,
            organization_paused=found.organization_paused,
            paused_by=found.paused_by,
            note=found.note,
        )


class PreviewController(Controller):
    """The same under the address, and in the form, of the CLI up to 3.113.0."""

    path = f"{deployment_logs.PREVIEW}/deployments"
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @post(status_code=202)
    async def create(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> Created:
        """Queue a deployment; nothing is inherited."""
        wanted = deployment_request.read_first_form(await read_settings(request))
        return await _create(request, world, principal, name, wanted)

    @get("/{deployment_id:str}")
    async def show(
        self, world: World, principal: Principal, name: StackName, deployment_id: str
    ) -> DeploymentWire:
        """One deployment."""
        return await _show(world, principal, name, deployment_id)

    @get("/{deployment_id:str}/updates")
    async def updates(
        self, world: World, principal: Principal, name: StackName, deployment_id: str
    ) -> list[Update]:
        """The updates that the deployment made."""
        deployment_id = await deployment_queries.id_of(world, principal, name, deployment_id)
        return await deployment_queries.updates_of(world, principal, name, deployment_id)


async def read_settings(request: AnyRequest) -> dict[str, Any]:
    """The body as an object of any fields; its values appear in no error."""
    return await read_any(request, dict[str, Any])


async def read_any(request: AnyRequest, shape: type[T]) -> T:
    """A body of bounded size and depth."""
    body = await request.body()
    if len(body) > REQUEST_BYTES_MAX:
        raise TooLarge(limit_bytes=REQUEST_BYTES_MAX)
    try:
        return decode_bytes(body, shape)
    except RecursionError:
        raise BadRequest(detail="The body is nested too deep.") from None


async def read_note(request: AnyRequest) -> str:
    """Why somebody pauses, if they say."""
    return (await read_any(request, Pausing)).note.replace("\0", "")


def list_query(
    page: int, page_size: int, sort: str, asc: bool, status: Words, operation: Words
) -> ListQuery:
    """The parameters of a list; several words may be repeated or parted by commas."""
    return ListQuery(
        page=page,
        page_size=page_size,
        sort=sort or "created",
        ascending=asc,
        statuses=_words(status),
        operations=_words(operation),
    )


def page_of(found: ShownPage, page_size: int, world: World) -> DeploymentPage:
    """A page on the wire."""
    return DeploymentPage(
        deployments=[deployment(each, world.config.public_url) for each in found.deployments],
        items_per_page=page_size,
        total=found.total,
    )


async def _create(
    request: AnyRequest,
    world: World,
    principal: Principal,
    name: StackName,
    wanted: deployment_request.Request,
) -> Created:
    initiator = request.headers.get("x-pulumi-deployment-initiator", "")
    submitted = await submission.submit(
        world,
        principal,
        name,
        Submission(
            operation=wanted.operation,
            request=wanted.patch,
            inherit_settings=wanted.inherit_settings,
            trigger=Trigger.CLI if _is_cli(request) else Trigger.API,
            initiator=initiator[:INITIATOR_CHARACTERS_MAX],
        ),
    )
    return Created(
        id=submitted.id,
        version=submitted.version,
        console_url=console_url(world.config.public_url, *name, submitted.version),
    )


async def _show(
    world: World, principal: Principal, name: StackName, deployment_id: str
) -> DeploymentWire:
    deployment_id = await deployment_queries.id_of(world, principal, name, deployment_id)
    shown = await deployment_queries.show(world, principal, name, deployment_id)
    return deployment(shown, world.config.public_url)


def _is_cli(request: AnyRequest) -> bool:
    return request.headers.get("user-agent", "").startswith("pulumi-cli")


def _words(given: Words) -> list[str]:
    return [word for each in given or () for word in each.split(",") if word]


ROUTES: list[Any] = [DeploymentController, PreviewController, *deployment_logs.ROUTES]
