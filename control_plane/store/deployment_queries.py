"""Queries that show deployments: one, a page of them, and what they wait for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, select, true

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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployments: of one stack or of a whole organization, and of which kinds."""

    organization_id: str
    stack_id: str | None = None
    statuses: Collection[str] = ()
    operations: Collection[str] = ()


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
    query = _listed.where(_condition(wanted)).order_by(*ordered)
    return await tx.all(query.limit(limit).offset(offset))


async def total(tx: Transaction, wanted: Wanted) -> int:
    """How many deployments are wanted in all."""
    query = select(func.count()).select_from(deployments).where(_condition(wanted))
    return int(await tx.scalar(query))


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
    """The organization's paused stacks: project, name, and who paused them."""
    return await tx.all(
        select(stacks.c.project, stacks.c.name, stacks.c.paused_by, stacks.c.paused_at)
        .where(stacks.c.organization_id == organization_id, stacks.c.paused_at.isnot(None))
        .order_by(stacks.c.project, stacks.c.name)
    )


async def ahead(tx: Transaction, row: Row[Any]) -> Row[Any]:
    """How many are queued before a deployment: `in_stack`, `in_organization`."""
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


async def unfinished(tx: Transaction, organization_id: str, limit: int) -> Sequence[Row[Any]]:
    """The organization's live deployments and the first so many queued ones, oldest first."""
    live = await tx.all(
        _listed.where(
            deployments.c.organization_id == organization_id,
            deployments.c.status.in_(LIVE_STATUSES),
        ).order_by(deployments.c.position)
    )
    queued = await tx.all(
        _listed.where(
            deployments.c.organization_id == organization_id,
            deployments.c.status == QUEUED_STATUS,
        )
        .order_by(deployments.c.created_at, deployments.c.position)
        .limit(limit)
    )
    return [*live, *queued]


def _condition(wanted: Wanted) -> ColumnElement[bool]:
    scope = (
        deployments.c.organization_id == wanted.organization_id
        if wanted.stack_id is None
        else deployments.c.stack_id == wanted.stack_id
    )
    return and_(
        scope,
        deployments.c.status.in_(wanted.statuses) if wanted.statuses else true(),
        deployments.c.operation.in_(wanted.operations) if wanted.operations else true(),
    )


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
_queued = deployments.alias("queued")
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
)
