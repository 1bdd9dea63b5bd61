"""Queries that show deployments: one, a page of them, and what they wait for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from control_plane.domain.deployment import Status
from control_plane.store import dialect
from control_plane.store.queue import LIVE_STATUSES, QUEUED_STATUS
from control_plane.store.tables import (
    deployment_steps,
    deployments,
    organizations,
    pools,
    stacks,
    updates,
    users,
)
from control_plane.store.transaction import Transaction

SORTABLE = {
    "created": deployments.c.position,
    "modified": deployments.c.modified_at,
    "version": deployments.c.version,
    "status": deployments.c.status,
    "operation": deployments.c.operation,
}
"""What a list may be sorted by. Deployments are created in the order of their positions."""

RECENT_VERSIONS = 40
"""How far back in a stack's history its usual durations are looked for."""

_HEX = re.compile(r"[0-9a-fA-F]{1,40}\Z")
_NUMBER = re.compile(r"#[0-9]{1,9}\Z")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployments: of one stack or of a whole organization, and of which kinds."""

    organization_id: str
    stack_id: str | None = None
    statuses: Collection[str] = ()
    operations: Collection[str] = ()
    triggers: Collection[str] = ()
    project: str = ""
    who: str = ""
    """The login of who asked for them."""
    since: int | None = None
    """Not asked for before; Unix milliseconds, as `until`, which is not included."""
    until: int | None = None
    words: Collection[str] = ()
    """Each is in the stack's name, the commit, a message, a login, or is the number, as `#12`."""


async def by_id(tx: Transaction, stack_id: str, deployment_id: str) -> Row[Any] | None:
    """The stack's deployment of that id, with its settings and all names that it is shown with."""
    return await tx.first(_one_by_id, {"stack_id": stack_id, "deployment_id": deployment_id})


async def by_version(tx: Transaction, stack_id: str, version: int) -> Row[Any] | None:
    """The stack's deployment of that number."""
    return await tx.first(_one_by_version, {"stack_id": stack_id, "version": version})


async def page(
    tx: Transaction, wanted: Wanted, *, sort: str, ascending: bool, limit: int, offset: int
) -> Sequence[Row[Any]]:
    """A page of deployments, without their settings; `sort` is one of SORTABLE."""
    column = SORTABLE[sort]
    order = [column, deployments.c.position]
    ordered = order if ascending else [each.desc() for each in order]
    # Chosen by what an index may hold; only the page's rows are read in full.
    chosen = select(deployments.c.position).where(_condition(tx, wanted)).order_by(*ordered)
    found = await tx.all(chosen.limit(limit).offset(offset))
    if not found:
        return []
    positions = [row.position for row in found]
    return await tx.all(_listed.where(deployments.c.position.in_(positions)).order_by(*ordered))


async def total(tx: Transaction, wanted: Wanted, most: int | None = None) -> int:
    """How many deployments are wanted in all; with `most` they are counted only so far."""
    if most is None:
        query = select(func.count()).select_from(deployments).where(_condition(tx, wanted))
        return int(await tx.scalar(query))
    found = select(deployments.c.position).where(_condition(tx, wanted)).limit(most)
    return int(await tx.scalar(select(func.count()).select_from(found.subquery())))


async def steps_of(tx: Transaction, deployment_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The steps of these deployments, in order."""
    return await tx.all(_steps_of, {"ids": list(deployment_ids)})


async def updates_of(tx: Transaction, deployment_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The updates that these deployments made, oldest first."""
    return await tx.all(_updates_of, {"ids": list(deployment_ids)})


async def counts(tx: Transaction, organization_id: str) -> dict[str, int]:
    """How many deployments of an organization there are, by status."""
    rows = await tx.all(
        select(deployments.c.status, func.count().label("number"))
        .where(deployments.c.organization_id == organization_id)
        .group_by(deployments.c.status)
    )
    return {row.status: int(row.number) for row in rows}


async def paused_stacks(tx: Transaction, organization_id: str) -> Sequence[Row[Any]]:
    """The organization's paused stacks: project, name, who paused them, since when and why."""
    return await tx.all(
        select(
            stacks.c.project,
            stacks.c.name,
            stacks.c.paused_by,
            stacks.c.paused_at,
            stacks.c.pause_note,
        )
        .where(stacks.c.organization_id == organization_id, stacks.c.paused_at.isnot(None))
        .order_by(stacks.c.project, stacks.c.name)
    )


async def ahead(tx: Transaction, row: Row[Any]) -> Row[Any]:
    """How many are queued before a deployment: `in_stack`, `in_organization`; and the last of
    those of its stack: `before_id`, `before_version`."""
    found = await tx.first(
        _ahead,
        {
            "stack_id": row.stack_id,
            "organization_id": row.organization_id,
            "position": row.position,
            "created_at": row.created_at,
        },
    )
    assert found is not None  # noqa: S101 - counts always give a row
    return found


async def live_count(tx: Transaction, organization_id: str) -> int:
    """How many deployments of an organization are live."""
    return int(await tx.scalar(_live_count, {"organization_id": organization_id}))


async def recent_successes(tx: Transaction, stack_ids: Collection[str]) -> Sequence[Row[Any]]:
    """Successes among the last deployments of these stacks, newest first: `stack_id`, `operation`,
    `started_at`, `ended_at`. Only so far back that it costs little, however long a history is."""
    return await tx.all(_recent_successes, {"ids": list(stack_ids)})


async def previous_version(tx: Transaction, stack_id: str, version: int) -> int | None:
    """The number of the deployment before that one in its stack's history."""
    found: int | None = await tx.scalar(
        select(func.max(deployments.c.version)).where(
            deployments.c.stack_id == stack_id, deployments.c.version < version
        )
    )
    return found


async def unfinished(tx: Transaction, organization_id: str, limit: int) -> Sequence[Row[Any]]:
    """The organization's live deployments and the first so many queued ones, oldest first."""
    live = await tx.all(
        _listed.where(
            deployments.c.organization_id == organization_id,
            deployments.c.status.in_(LIVE_STATUSES),
        )
    )
    queued = await tx.all(
        _listed.where(
            deployments.c.organization_id == organization_id,
            deployments.c.status == QUEUED_STATUS,
        )
        .order_by(deployments.c.created_at, deployments.c.position)
        .limit(limit)
    )
    # In order here: asked for it, SQLite walks all that the organization ever had, in that order.
    return [*sorted(live, key=lambda row: row.position), *queued]


def _condition(tx: Transaction, wanted: Wanted) -> ColumnElement[bool]:
    columns = deployments.c
    conditions = [
        columns.organization_id == wanted.organization_id
        if wanted.stack_id is None
        else columns.stack_id == wanted.stack_id
    ]
    if wanted.statuses:
        conditions.append(columns.status.in_(wanted.statuses))
    if wanted.operations:
        conditions.append(columns.operation.in_(wanted.operations))
    if wanted.triggers:
        conditions.append(columns.trigger.in_(wanted.triggers))
    if wanted.since is not None:
        conditions.append(columns.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(columns.created_at < wanted.until)
    if wanted.project:
        conditions.append(columns.stack_id.in_(_stacks(wanted, stacks.c.project == wanted.project)))
    if wanted.who:
        conditions.append(columns.requested_by.in_(_users(users.c.login == wanted.who)))
    return and_(*conditions, *(_has_word(tx, wanted, word) for word in wanted.words))


def _has_word(tx: Transaction, wanted: Wanted, word: str) -> ColumnElement[bool]:
    """Names are looked up in their own small tables, once for the whole query."""
    columns = deployments.c
    full_name = stacks.c.project + "/" + stacks.c.name
    places = [
        columns.stack_id.in_(_stacks(wanted, tx.contains(full_name, word))),
        columns.requested_by.in_(_users(tx.contains(users.c.login, word))),
        tx.contains(columns.message, word),
        tx.contains(columns.source_message, word),
    ]
    if _HEX.match(word):
        places.append(dialect.begins(columns.source_commit, word.lower()))
    if _NUMBER.match(word):
        places.append(columns.version == int(word.removeprefix("#")))
    return or_(*places)


def _stacks(wanted: Wanted, condition: ColumnElement[bool]) -> Select[Any]:
    return select(stacks.c.id).where(stacks.c.organization_id == wanted.organization_id, condition)


def _users(condition: ColumnElement[bool]) -> Select[Any]:
    return select(users.c.id).where(condition)


def _shown(*columns: Any) -> Select[Any]:
    """Deployments' columns with the names of everything that they point to."""
    live = deployments.alias("live")
    return (
        select(
            *columns,
            stacks.c.project,
            stacks.c.name.label("stack"),
            stacks.c.deployment_version.label("latest_version"),
            stacks.c.paused_at.label("stack_paused_at"),
            stacks.c.paused_by.label("stack_paused_by"),
            stacks.c.pause_note.label("stack_pause_note"),
            organizations.c.login.label("organization"),
            organizations.c.deployment_limit,
            organizations.c.paused_at.label("organization_paused_at"),
            organizations.c.paused_by.label("organization_paused_by"),
            organizations.c.pause_note.label("organization_pause_note"),
            users.c.login.label("user_login"),
            users.c.name.label("user_name"),
            users.c.avatar_url.label("user_avatar_url"),
            pools.c.name.label("pool_name"),
            pools.c.last_seen_at.label("pool_last_seen_at"),
            pools.c.ready.label("pool_ready"),
            live.c.id.label("live_id"),
            live.c.version.label("live_version"),
            live.c.accepted_at.label("live_since"),
        )
        .select_from(deployments)
        .join(stacks, stacks.c.id == deployments.c.stack_id)
        .join(organizations, organizations.c.id == deployments.c.organization_id)
        .outerjoin(users, users.c.id == deployments.c.requested_by)
        .outerjoin(pools, pools.c.id == deployments.c.pool_id)
        .outerjoin(
            live, and_(live.c.stack_id == deployments.c.stack_id, live.c.status.in_(LIVE_STATUSES))
        )
    )


_listed = _shown(*[column for column in deployments.c if column.name != "settings"])
_one = _shown(deployments).where(deployments.c.stack_id == bindparam("stack_id"))
_one_by_id = _one.where(deployments.c.id == bindparam("deployment_id"))
_one_by_version = _one.where(deployments.c.version == bindparam("version"))

_steps_of = (
    select(deployment_steps)
    .where(deployment_steps.c.deployment_id.in_(bindparam("ids", expanding=True)))
    .order_by(deployment_steps.c.deployment_id, deployment_steps.c.step)
)
_updates_of = (
    select(
        updates.c.id,
        updates.c.deployment_id,
        updates.c.kind,
        updates.c.dry_run,
        updates.c.status,
        updates.c.version,
        updates.c.message,
        updates.c.environment,
        updates.c.started_at,
        updates.c.ended_at,
        updates.c.resource_changes,
    )
    .where(updates.c.deployment_id.in_(bindparam("ids", expanding=True)))
    .order_by(updates.c.deployment_id, updates.c.created_at, updates.c.id)
)
_live_count = (
    select(func.count())
    .select_from(deployments)
    .where(
        deployments.c.organization_id == bindparam("organization_id"),
        deployments.c.status.in_(LIVE_STATUSES),
    )
)
_recent_successes = (
    select(
        deployments.c.stack_id,
        deployments.c.operation,
        deployments.c.started_at,
        deployments.c.ended_at,
    )
    .join_from(stacks, deployments, deployments.c.stack_id == stacks.c.id)
    .where(
        stacks.c.id.in_(bindparam("ids", expanding=True)),
        deployments.c.version > stacks.c.deployment_version - RECENT_VERSIONS,
        deployments.c.status == literal_column(f"'{Status.SUCCEEDED}'"),
        deployments.c.started_at.isnot(None),
        deployments.c.ended_at.isnot(None),
    )
    .order_by(deployments.c.stack_id, deployments.c.version.desc())
)
_queued = deployments.alias("queued")
_before = (
    select(_queued.c.id, _queued.c.version)
    .where(
        _queued.c.stack_id == bindparam("stack_id"),
        _queued.c.status == QUEUED_STATUS,
        _queued.c.position < bindparam("position"),
    )
    .order_by(_queued.c.position.desc())
    .limit(1)
)
_ahead = select(
    select(func.count())
    .select_from(_queued)
    .where(
        _queued.c.stack_id == bindparam("stack_id"),
        _queued.c.status == QUEUED_STATUS,
        _queued.c.position < bindparam("position"),
    )
    .scalar_subquery()
    .label("in_stack"),
    select(func.count())
    .select_from(_queued)
    .where(
        _queued.c.organization_id == bindparam("organization_id"),
        _queued.c.status == QUEUED_STATUS,
        # The time bounds what the index gives; the position decides.
        _queued.c.created_at <= bindparam("created_at"),
        _queued.c.position < bindparam("position"),
    )
    .scalar_subquery()
    .label("in_organization"),
    _before.with_only_columns(_queued.c.id).scalar_subquery().label("before_id"),
    _before.with_only_columns(_queued.c.version).scalar_subquery().label("before_version"),
)
