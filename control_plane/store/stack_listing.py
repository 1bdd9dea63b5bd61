"""Queries for the console's list of an organization's stacks: found by words, sorted, by pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, exists, func, select

from control_plane.store.queue import LIVE_STATUSES, QUEUED_STATUS
from control_plane.store.tables import deployments, stacks, updates
from control_plane.store.transaction import Transaction

_live = deployments.alias("live")
_queued = deployments.alias("queued")
_newest = updates.alias("newest")

_is_live = exists().where(_live.c.stack_id == stacks.c.id, _live.c.status.in_(LIVE_STATUSES))
_is_queued = exists().where(_queued.c.stack_id == stacks.c.id, _queued.c.status == QUEUED_STATUS)

_by_name = (stacks.c.project, stacks.c.name)
SORTS: dict[str, Sequence[ColumnElement[Any]]] = {
    "name": _by_name,
    "updated": (func.coalesce(stacks.c.last_update_at, 0).desc(), *_by_name),
    "resources": (stacks.c.resource_count.desc(), *_by_name),
}
STATES: dict[str, ColumnElement[bool]] = {
    "running": _is_live,
    "waiting": _is_queued,
    "paused": stacks.c.paused_at.is_not(None),
    "failed": exists().where(
        _newest.c.id == stacks.c.newest_update_id, _newest.c.status.in_(["failed", "cancelled"])
    ),
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which stacks of an organization."""

    organization_id: str
    words: Collection[str] = ()
    """Each is somewhere in the stack's `project/name`."""
    project: str = ""
    state: str = ""
    """One of STATES, or empty for all."""


async def page(
    tx: Transaction, wanted: Wanted, *, sort: str, limit: int, offset: int
) -> Sequence[Row[Any]]:
    """A page of stacks, with how their last update ended and what their deployments do."""
    chosen = select(stacks.c.id).where(_condition(tx, wanted)).order_by(*SORTS[sort])
    ids = [row.id for row in await tx.all(chosen.limit(limit).offset(offset))]
    if not ids:
        return []
    return await tx.all(_listed.where(stacks.c.id.in_(ids)).order_by(*SORTS[sort]))


async def total(tx: Transaction, wanted: Wanted) -> int:
    """How many stacks are wanted in all."""
    query = select(func.count()).select_from(stacks).where(_condition(tx, wanted))
    return int(await tx.scalar(query))


async def projects(tx: Transaction, organization_id: str, limit: int) -> Sequence[str]:
    """Names of the organization's projects that have stacks, the first so many."""
    query = (
        select(stacks.c.project)
        .where(stacks.c.organization_id == organization_id)
        .distinct()
        .order_by(stacks.c.project)
        .limit(limit)
    )
    return [row.project for row in await tx.all(query)]


def _condition(tx: Transaction, wanted: Wanted) -> ColumnElement[bool]:
    full_name = stacks.c.project + "/" + stacks.c.name
    conditions = [stacks.c.organization_id == wanted.organization_id]
    conditions += [tx.contains(full_name, word) for word in wanted.words]
    if wanted.project:
        conditions.append(stacks.c.project == wanted.project)
    if wanted.state:
        conditions.append(STATES[wanted.state])
    return and_(*conditions)


_queued_count = (
    select(func.count())
    .select_from(_queued)
    .where(_queued.c.stack_id == stacks.c.id, _queued.c.status == QUEUED_STATUS)
    .correlate(stacks)
    .scalar_subquery()
)
_listed = (
    select(
        stacks.c.project,
        stacks.c.name,
        stacks.c.resource_count,
        stacks.c.last_update_at,
        stacks.c.current_update_id,
        stacks.c.paused_at,
        stacks.c.paused_by,
        stacks.c.pause_note,
        stacks.c.needs_recovery_since,
        _newest.c.kind.label("update_kind"),
        _newest.c.status.label("update_status"),
        _newest.c.version.label("update_version"),
        _live.c.operation.label("live_operation"),
        _live.c.status.label("live_status"),
        _live.c.version.label("live_version"),
        _queued_count.label("queued"),
    )
    .select_from(stacks)
    .outerjoin(_newest, _newest.c.id == stacks.c.newest_update_id)
    .outerjoin(_live, and_(_live.c.stack_id == stacks.c.id, _live.c.status.in_(LIVE_STATUSES)))
)
