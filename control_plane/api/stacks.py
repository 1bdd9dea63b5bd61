"""Stacks: listed, made, shown, tagged, renamed, deleted; their state exported and imported."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, head, patch, post
from litestar.params import QueryParameter
from msgspec import UNSET, Raw, UnsetType
from sqlalchemy import Row

from control_plane.api import body, paging
from control_plane.api.stack_path import address_used, under_stack
from control_plane.domain import tags
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import stack_tags, stacks, state
from control_plane.services.history import UserInfo, seconds
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]

PAGE_STACKS = 1000
PAGE_STACKS_MAX = 1000


class Links(msgspec.Struct, kw_only=True):
    """Where to look at a stack."""

    self: str


class StackSummary(msgspec.Struct, rename="camel", kw_only=True):
    """A stack in a listing. `lastUpdate` is Unix seconds, and 0 while an update is under way."""

    id: str
    org_name: str
    project_name: str
    stack_name: str
    last_update: int | UnsetType = UNSET
    resource_count: int | UnsetType = UNSET
    links: Links


class StackList(msgspec.Struct, rename="camel", kw_only=True):
    """A page of stacks; a null token ends the listing."""

    stacks: list[StackSummary]
    continuation_token: str | None


@get("/api/user/stacks")
async def list_stacks(
    world: World,
    principal: Principal,
    organization: str | None = None,
    project: str | None = None,
    tag_name: Annotated[str | None, QueryParameter(name="tagName")] = None,
    tag_value: Annotated[str | None, QueryParameter(name="tagValue")] = None,
    continuation_token: Annotated[str | None, QueryParameter(name="continuationToken")] = None,
    max_results: Annotated[int | None, QueryParameter(name="maxResults")] = None,
) -> StackList:
    """The stacks that the caller may see."""
    filters = stacks.Filters(
        organization=organization or None,
        project=project or None,
        tag=tag_name or None,
        tag_value=tag_value,
    )
    limit = min(max_results, PAGE_STACKS_MAX) if max_results and max_results > 0 else PAGE_STACKS
    after = paging.place(continuation_token, StackName) if continuation_token else None
    page = await stacks.listing(world, principal, filters, after, limit)
    url = world.config.public_url
    return StackList(
        stacks=[_summary(url, row) for row in page.stacks],
        continuation_token=None if page.after is None else paging.token(page.after),
    )


def _summary(url: str, row: Row[Any]) -> StackSummary:
    name = StackName(row.organization, row.project, row.name)
    known = row.last_update_at is not None
    return StackSummary(
        id=row.id,
        org_name=name.organization,
        project_name=name.project,
        stack_name=name.stack,
        last_update=_last_update(row) if known else UNSET,
        resource_count=row.resource_count if known or row.checkpoint_key else UNSET,
        links=Links(self=f"{url}/{name}"),
    )


def _last_update(row: Row[Any]) -> int:
    return 0 if row.current_update_id is not None else seconds(row.last_update_at)


@head("/api/stacks/{organization:str}/{project:str}")
async def project_exists(
    world: World, principal: Principal, organization: str, project: str
) -> None:
    """Whether there is such a project."""
    await stacks.require_project(world, principal, organization, project)


class CreateStack(msgspec.Struct, rename="camel", kw_only=True):
    """A stack to make."""

    stack_name: str
    tags: dict[str, str] | None = None
    teams: list[str] | None = None
    state: Raw = Raw()
    config: dict[str, Any] | None = None


class StackCreated(msgspec.Struct, kw_only=True):
    """What to tell the user about a new stack."""

    messages: list[Any] = []


@post("/api/stacks/{organization:str}/{project:str}", status_code=200)
async def create_stack(
    request: AnyRequest, world: World, principal: Principal, organization: str, project: str
) -> StackCreated:
    """Make a stack."""
    new = await body.decode(request, CreateStack)
    if new.teams:
        raise BadRequest(detail="This server has no teams; leave out --teams.")
    if any((new.config or {}).values()):
        raise BadRequest(detail="This server keeps no stack configuration; leave out 'config'.")
    document = bytes(new.state) if bytes(new.state) not in (b"", b"null") else None
    name = StackName(organization, project, new.stack_name)
    await stacks.create(world, principal, name, new.tags or {}, document)
    return StackCreated()


class CurrentOperation(msgspec.Struct, kw_only=True):
    """The update that holds the state lock. `started` is Unix seconds."""

    kind: str
    author: str
    started: int


class Stack(msgspec.Struct, rename="camel", kw_only=True):
    """A stack. It never has `config`: that would tell the CLI to read its configuration here."""

    id: str
    org_name: str
    project_name: str
    stack_name: str
    current_operation: CurrentOperation | UnsetType = UNSET
    active_update: str
    tags: dict[str, str]
    version: int


@get("/")
async def get_stack(world: World, principal: Principal, name: StackName) -> Stack:
    """One stack."""
    stack, current = await stacks.get(world, principal, name)
    operation: CurrentOperation | UnsetType = UNSET
    if current is not None:
        operation = CurrentOperation(
            kind=current.kind,
            author=current.user_login or "slipway",
            started=seconds(current.started_at),
        )
    return Stack(
        id=stack.id,
        org_name=stack.organization,
        project_name=stack.project,
        stack_name=stack.name,
        current_operation=operation,
        active_update=stack.newest_update_id or "",
        tags=tags.decode(stack.tags),
        version=stack.version,
    )


@delete("/", status_code=204)
async def delete_stack(
    world: World,
    principal: Principal,
    name: StackName,
    force: bool = False,
    force_destroy: Annotated[bool, QueryParameter(name="forceDestroy")] = False,
) -> None:
    """Delete a stack; with resources in it only by force."""
    await stacks.delete(world, principal, name, force=force or force_destroy)


class StackMetadata(msgspec.Struct, rename="camel", kw_only=True):
    """Who a stack belongs to."""

    id: str
    org_name: str
    project_name: str
    stack_name: str
    owned_by: UserInfo
    notification_settings: dict[str, bool]


@get("/metadata")
async def stack_metadata(world: World, principal: Principal, name: StackName) -> StackMetadata:
    """Who a stack belongs to."""
    stack, user = await stacks.owner(world, principal, name)
    return StackMetadata(
        id=stack.id,
        org_name=stack.organization,
        project_name=stack.project,
        stack_name=stack.name,
        owned_by=UserInfo(
            name=user.name if user else "",
            github_login=user.login if user else stack.organization,
            avatar_url=user.avatar_url if user else "",
        ),
        notification_settings={"notifyUpdateSuccess": False, "notifyUpdateFailure": False},
    )


class Rename(msgspec.Struct, rename="camel", kw_only=True):
    """A stack's new names; an empty one stays."""

    new_name: str | None = None
    new_project: str | None = None


class Recorded(msgspec.Struct, rename="camel", kw_only=True):
    """The update by which a stack was changed."""

    update_id: str


@post("/rename", status_code=200)
async def rename_stack(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> Recorded:
    """Give a stack another name or project, in its state too."""
    wanted = await body.decode(request, Rename)
    update_id = await stacks.rename(
        world, principal, name, wanted.new_name or "", wanted.new_project or ""
    )
    return Recorded(update_id=update_id)


class Tag(msgspec.Struct, kw_only=True):
    """A tag."""

    name: str = ""
    value: str


@patch("/tags", status_code=204)
async def replace_tags(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> None:
    """Replace all tags."""
    new = await body.decode(request, dict[str, str])
    await stack_tags.replace(world, principal, name, new)


@post("/tags", status_code=204)
async def add_tag(request: AnyRequest, world: World, principal: Principal, name: StackName) -> None:
    """Add a tag."""
    tag = await body.decode(request, Tag)
    await stack_tags.add(world, principal, name, tag.name, tag.value)


@patch("/tags/{tag:str}", status_code=204)
async def change_tag(
    request: AnyRequest, world: World, principal: Principal, name: StackName, tag: str
) -> None:
    """Change a tag's value."""
    new = await body.decode(request, Tag)
    await stack_tags.change(world, principal, name, tag, new.value)


@delete("/tags/{tag:str}", status_code=204)
async def delete_tag(world: World, principal: Principal, name: StackName, tag: str) -> None:
    """Take a tag away."""
    await stack_tags.remove(world, principal, name, tag)


@get("/export", media_type="application/json")
async def export_state(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> Response[bytes]:
    """The stack's state as it is now."""
    document = await state.export(world, principal, name, address_used(request, world))
    return Response(document, media_type="application/json")


@get("/export/{version:int}", media_type="application/json")
async def export_version(
    request: AnyRequest, world: World, principal: Principal, name: StackName, version: int
) -> Response[bytes]:
    """The stack's state as an update has left it."""
    url = address_used(request, world)
    document = await state.export(world, principal, name, url, paging.bounded(version, "version"))
    return Response(document, media_type="application/json")


@post("/import", status_code=200)
async def import_state(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> Recorded:
    """Replace the stack's state."""
    document = await request.body()
    return Recorded(update_id=await state.import_(world, principal, name, document))


ROUTES: list[Any] = [
    list_stacks,
    project_exists,
    create_stack,
    under_stack(
        [
            get_stack,
            delete_stack,
            stack_metadata,
            rename_stack,
            replace_tags,
            add_tag,
            change_tag,
            delete_tag,
            export_state,
            export_version,
            import_state,
        ]
    ),
]
