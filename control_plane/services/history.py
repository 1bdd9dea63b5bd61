"""What updates a stack has had, in the API's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType
from sqlalchemy import Row

from control_plane.domain import update
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import access
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import updates
from control_plane.store.transaction import Transaction

PAGE_MAX = 1000


class UserInfo(msgspec.Struct, rename="camel", kw_only=True):
    """A person as others see them."""

    name: str
    github_login: str
    avatar_url: str


class UpdateInfo(msgspec.Struct, rename="camel", kw_only=True):
    """One entry of a stack's history. Times are Unix seconds; 0 means not yet."""

    kind: str
    start_time: int
    message: str
    environment: Raw
    config: Raw
    result: str
    end_time: int
    version: int
    deployment: None = None
    resource_changes: Raw | UnsetType = UNSET
    resource_count: int | UnsetType = UNSET
    deployment_id: str | UnsetType = msgspec.field(name="deploymentID", default=UNSET)


class Update(msgspec.Struct, rename="camel", kw_only=True):
    """An update with what the server knows besides."""

    info: UpdateInfo
    update_id: str = msgspec.field(name="updateID")
    version: int
    latest_version: int
    requested_by: UserInfo
    github_commit_info: None = None
    policy_packs: list[Any] = []


class Summary(msgspec.Struct, rename="camel", kw_only=True):
    """The least that one asks of an update."""

    result: str
    start_time: int
    end_time: int
    resource_count: int


class Page(NamedTuple):
    """Some of a stack's updates, and how many there are in all."""

    updates: list[Update]
    items: int
    total: int


def seconds(milliseconds: int | None) -> int:
    """Unix seconds, as the API has them; 0 for never."""
    return (milliseconds or 0) // 1000


def update_info(row: Row[Any]) -> Update:
    """The API's form of an update that `store.updates` presented."""
    return Update(
        info=UpdateInfo(
            kind=row.kind,
            start_time=seconds(row.started_at or row.created_at),
            message=row.message,
            environment=Raw(row.environment.encode()),
            config=Raw(row.config.encode()),
            result=update.result(row.status),
            end_time=seconds(row.ended_at),
            version=row.version or row.latest_version,
            resource_changes=Raw(row.resource_changes.encode()) if row.resource_changes else UNSET,
            resource_count=UNSET if row.resource_count is None else row.resource_count,
            deployment_id=row.deployment_id or UNSET,
        ),
        update_id=row.id,
        version=row.version or row.latest_version,
        latest_version=row.latest_version,
        requested_by=UserInfo(
            name=row.user_name or "",
            github_login=row.user_login or "slipway",
            avatar_url=row.user_avatar_url or "",
        ),
    )


def changes(found: Update) -> dict[str, int]:
    """How many resources were created, changed and so on, by the engine's words."""
    raw = found.info.resource_changes
    return {} if raw is UNSET else msgspec.json.decode(raw, type=dict[str, int])


def summary(found: Update) -> Summary:
    """The short form of an update."""
    info = found.info
    count = 0 if info.resource_count is UNSET else info.resource_count
    return Summary(
        result=info.result,
        start_time=info.start_time,
        end_time=info.end_time,
        resource_count=count,
    )


@verb
async def page(world: World, principal: Principal, name: StackName, number: int, size: int) -> Page:
    """A page of the stack's updates without previews, newest first; page 0 begins like page 1."""
    size = size if 0 < size <= PAGE_MAX else PAGE_MAX
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        rows = await updates.history(tx, stack.id, limit=size, offset=max(number - 1, 0) * size)
        total = await updates.history_length(tx, stack.id)
    return Page([update_info(row) for row in rows], size, total)


@verb
async def of_version(
    world: World, principal: Principal, name: StackName, version: int | None
) -> Update:
    """The update of that number, or the latest; raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.readable_stack(tx, principal, name)
        row = await _of_version(tx, stack, name, version)
    return update_info(row)


async def _of_version(
    tx: Transaction, stack: Row[Any], name: StackName, version: int | None
) -> Row[Any]:
    row = await updates.of_version(tx, stack.id, stack.version if version is None else version)
    if row is None:
        which = f"Version {version}" if version is not None else "A latest update"
        raise NotFound(what=f"{which} of stack '{name}'")
    return row


@verb
async def preview(world: World, principal: Principal, name: StackName, update_id: str) -> Update:
    """A preview by its id; raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await updates.presented(tx, stack.id, update_id)
    if row is None or not row.dry_run:
        raise NotFound(what=f"Preview '{update_id}'")
    return update_info(row)


@verb
async def previews(
    world: World,
    principal: Principal,
    name: StackName,
    version: int | None,
    *,
    number: int,
    size: int,
    ascending: bool,
) -> Page:
    """Previews that came before the update of that number and after the one before it.

    Without a number: all since the update before the latest.
    """
    size = size if 0 < size <= PAGE_MAX else PAGE_MAX
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        of = stack.version if version is None else version
        row = await updates.of_version(tx, stack.id, of)
        if row is None and version is not None:
            raise NotFound(what=f"Version {version} of stack '{name}'")
        before = await updates.of_version(tx, stack.id, of - 1)
        since = before.created_at if before is not None else 0
        until = row.created_at if version is not None and row is not None else None
        rows = await updates.previews(
            tx,
            stack.id,
            since=since,
            until=until,
            ascending=ascending,
            limit=size,
            offset=max(number - 1, 0) * size,
        )
        total = await updates.previews_length(tx, stack.id, since, until)
    return Page([update_info(each) for each in rows], size, total)


@verb
async def timeline(
    world: World, principal: Principal, name: StackName, version: int | None
) -> tuple[Update, list[Update]]:
    """The update of that number, or the latest, and the previews since the one before it."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await _of_version(tx, stack, name, version)
        before = await updates.of_version(tx, stack.id, row.version - 1)
        rows = await updates.previews(
            tx,
            stack.id,
            since=before.created_at if before is not None else 0,
            until=row.created_at,
            ascending=True,
            limit=PAGE_MAX,
            offset=0,
        )
    return update_info(row), [update_info(each) for each in rows]


def infos(found: Sequence[Update]) -> list[UpdateInfo]:
    """The plain form of a history, which the CLI reads."""
    return [each.info for each in found]
