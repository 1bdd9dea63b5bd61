"""The queue's pointers: which deployment an organization would get next, kept in two small tables.

`queue_heads` has the oldest queued deployment of each stack that could start one, `queue_ready`
the oldest head of each organization and pool. Whoever changes what they depend on calls `refresh`
at the end of the same transaction: it computes both anew from `deployments`, so there is nothing
that could drift, and taking the next deployment costs the same however long the queue is.

On PostgreSQL every writer locks the organization's row first (`lock_organizations`), or two of
them could compute pointers from each other's past. SQLite has one writer anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    Row,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    null,
    select,
    update,
)

from control_plane.domain.deployment import LIVE, Status
from control_plane.store.tables import (
    deployments,
    organizations,
    queue_heads,
    queue_ready,
    stacks,
    users,
)
from control_plane.store.transaction import Transaction

# Literals, not parameters: a planner uses a partial index only when it sees the index's condition.
LIVE_STATUSES: list[Any] = [literal_column(f"'{status}'") for status in LIVE]
QUEUED_STATUS: Any = literal_column(f"'{Status.NOT_STARTED}'")

_queued = deployments.alias("queued")
_live = deployments.alias("live")
_head = deployments.alias("head_of_line")


class Ready(NamedTuple):
    """A pool that has work of an organization."""

    organization_id: str
    pool_id: str


async def lock_organizations(tx: Transaction, organization_ids: Collection[str]) -> None:
    """Take the turn to change these organizations' queues; held until the end of the transaction.

    In one order, so that nobody waits in a circle.
    """
    if tx.locks_rows and organization_ids:
        await tx.execute(_lock, {"ids": sorted(organization_ids)})


async def refresh(
    tx: Transaction, *, stack_ids: Collection[str], organization_ids: Collection[str]
) -> set[Ready]:
    """Recompute the pointers of these stacks and organizations; returns who has work now."""
    if stack_ids:
        await tx.execute(_heads_upsert(tx), {"stack_ids": list(stack_ids)})
    rows = await tx.all(_ready_update, {"organization_ids": list(organization_ids)})
    return {Ready(row.organization_id, row.pool_id) for row in rows if row.ready is not None}


async def refresh_organizations(tx: Transaction, organization_ids: Collection[str]) -> set[Ready]:
    """Recompute the pointers after a pause, a resume or a change of an organization's limit."""
    return await refresh(tx, stack_ids=(), organization_ids=organization_ids)


async def add_lines(tx: Transaction, lines: Iterable[Ready]) -> None:
    """Make sure that each organization has a pointer for each pool that it uses."""
    rows = [{"organization_id": line.organization_id, "pool_id": line.pool_id} for line in lines]
    await tx.execute(tx.insert(queue_ready).on_conflict_do_nothing(), rows)


async def next_organization(tx: Transaction, pool_id: str) -> str | None:
    """The organization whose work is the oldest that the pool may take."""
    organization_id: str | None = await tx.scalar(_next_organization, {"pool_id": pool_id})
    return organization_id


async def next_deployment(tx: Transaction, organization_id: str, pool_id: str) -> Row[Any] | None:
    """What the organization's pointer names, with all that decides whether it may start.

    Besides the deployment's columns: `project`, `stack`, `organization`, `deployment_limit`,
    `stack_paused_at`, `caches_cleared_at`, `organization_paused_at`, `requester`, `live_count`,
    `stack_is_live`, and `oldest_queued`, the position of the stack's oldest queued deployment.
    """
    return await tx.first(
        _next_deployment, {"organization_id": organization_id, "pool_id": pool_id}
    )


async def queued_counts(tx: Transaction, organization_ids: Collection[str]) -> dict[str, int]:
    """How many deployments wait, by organization; organizations without any are left out."""
    rows = await tx.all(_queued_counts, {"organization_ids": list(organization_ids)})
    return {row.organization_id: row.queued for row in rows}


async def stacks_with_wrong_head(tx: Transaction, limit: int) -> list[Row[Any]]:
    """Stacks (id, organization_id) whose pointer is not what the deployments say."""
    query = (
        select(stacks.c.id, stacks.c.organization_id)
        .select_from(stacks.outerjoin(queue_heads, queue_heads.c.stack_id == stacks.c.id))
        .outerjoin(_head, _head_condition)
        .where(_head.c.position.is_distinct_from(queue_heads.c.head))
        .limit(limit)
    )
    return list(await tx.all(query))


async def organizations_with_wrong_line(tx: Transaction, limit: int) -> list[str]:
    """Organizations with a pointer that is not what their heads say, or that is missing."""
    wrong = select(queue_ready.c.organization_id).where(
        queue_ready.c.ready.is_distinct_from(_ready_value)
    )
    missing = select(queue_heads.c.organization_id).where(
        queue_heads.c.head.is_not(None),
        ~exists().where(
            queue_ready.c.organization_id == queue_heads.c.organization_id,
            queue_ready.c.pool_id == queue_heads.c.pool_id,
        ),
    )
    rows = await tx.all(wrong.union(missing).limit(limit))
    return [row.organization_id for row in rows]


async def add_missing_lines(tx: Transaction, organization_ids: Collection[str]) -> None:
    """Add the pointers that the organizations' heads need."""
    rows = await tx.all(
        select(queue_heads.c.organization_id, queue_heads.c.pool_id)
        .where(
            queue_heads.c.organization_id.in_(list(organization_ids)),
            queue_heads.c.head.is_not(None),
        )
        .distinct()
    )
    if rows:
        await add_lines(tx, [Ready(row.organization_id, row.pool_id) for row in rows])


async def drop_orphans(tx: Transaction) -> None:
    """Forget heads that belong to an organization in which their stack is no longer."""
    await tx.execute(
        delete(queue_heads).where(
            ~exists().where(
                stacks.c.id == queue_heads.c.stack_id,
                stacks.c.organization_id == queue_heads.c.organization_id,
            )
        )
    )


_lock = (
    select(organizations.c.id)
    .where(organizations.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(organizations.c.id)
    .with_for_update()
)

_oldest_queued = (
    select(func.min(_queued.c.position))
    .where(_queued.c.stack_id == stacks.c.id, _queued.c.status == QUEUED_STATUS)
    .correlate(stacks)
    .scalar_subquery()
)
_stack_is_live = (
    exists()
    .where(_live.c.stack_id == stacks.c.id, _live.c.status.in_(LIVE_STATUSES))
    .correlate(stacks)
)
_head_condition = and_(
    _head.c.position == _oldest_queued, stacks.c.paused_at.is_(None), ~_stack_is_live
)
_heads_now = (
    select(
        stacks.c.id,
        stacks.c.organization_id,
        func.coalesce(_head.c.pool_id, ""),
        _head.c.position,
    )
    .select_from(stacks.outerjoin(_head, _head_condition))
    .where(stacks.c.id.in_(bindparam("stack_ids", expanding=True)))
)


def _make_heads_upsert(tx: Transaction) -> Any:
    statement = tx.insert(queue_heads).from_select(
        ["stack_id", "organization_id", "pool_id", "head"], _heads_now
    )
    return statement.on_conflict_do_update(
        index_elements=[queue_heads.c.stack_id],
        set_={
            "organization_id": statement.excluded.organization_id,
            "pool_id": statement.excluded.pool_id,
            "head": statement.excluded.head,
        },
    )


_heads_upserts: dict[bool, Any] = {}


def _heads_upsert(tx: Transaction) -> Any:
    """The statement of this dialect, built once: it is on every path."""
    if tx.locks_rows not in _heads_upserts:
        _heads_upserts[tx.locks_rows] = _make_heads_upsert(tx)
    return _heads_upserts[tx.locks_rows]


_live_count = (
    select(func.count())
    .select_from(_live)
    .where(_live.c.organization_id == organizations.c.id, _live.c.status.in_(LIVE_STATUSES))
    .correlate(organizations)
    .scalar_subquery()
)
_has_room = (
    exists()
    .where(
        organizations.c.id == queue_ready.c.organization_id,
        organizations.c.paused_at.is_(None),
        _live_count < organizations.c.deployment_limit,
    )
    .correlate(queue_ready)
)
_oldest_head = (
    select(func.min(queue_heads.c.head))
    .where(
        queue_heads.c.organization_id == queue_ready.c.organization_id,
        queue_heads.c.pool_id == queue_ready.c.pool_id,
        queue_heads.c.head.is_not(None),
    )
    .correlate(queue_ready)
    .scalar_subquery()
)
_ready_value = case((_has_room, _oldest_head), else_=null())
_ready_update = (
    update(queue_ready)
    .where(queue_ready.c.organization_id.in_(bindparam("organization_ids", expanding=True)))
    .values(ready=_ready_value)
    .returning(queue_ready.c.organization_id, queue_ready.c.pool_id, queue_ready.c.ready)
)

_next_organization = (
    select(queue_ready.c.organization_id)
    .where(queue_ready.c.pool_id == bindparam("pool_id"), queue_ready.c.ready.is_not(None))
    .order_by(queue_ready.c.ready)
    .limit(1)
)
_next_deployment = (
    select(
        deployments,
        stacks.c.project,
        stacks.c.name.label("stack"),
        stacks.c.paused_at.label("stack_paused_at"),
        stacks.c.caches_cleared_at,
        organizations.c.login.label("organization"),
        organizations.c.deployment_limit,
        organizations.c.paused_at.label("organization_paused_at"),
        func.coalesce(users.c.login, "").label("requester"),
        _live_count.label("live_count"),
        _stack_is_live.label("stack_is_live"),
        _oldest_queued.label("oldest_queued"),
    )
    .select_from(queue_ready)
    .join(deployments, deployments.c.position == queue_ready.c.ready)
    .join(stacks, stacks.c.id == deployments.c.stack_id)
    .join(organizations, organizations.c.id == stacks.c.organization_id)
    .outerjoin(users, users.c.id == deployments.c.requested_by)
    .where(
        queue_ready.c.organization_id == bindparam("organization_id"),
        queue_ready.c.pool_id == bindparam("pool_id"),
    )
)
_queued_counts = (
    select(deployments.c.organization_id, func.count().label("queued"))
    .where(
        deployments.c.organization_id.in_(bindparam("organization_ids", expanding=True)),
        deployments.c.status == QUEUED_STATUS,
    )
    .group_by(deployments.c.organization_id)
)
