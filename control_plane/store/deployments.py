"""Queries about deployments. Every change of status goes through `move`, which guards it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, func, insert, or_, select, tuple_, update

from control_plane.domain.deployment import LIVE, Reason, Status, sources_of
from control_plane.store.queue import LIVE_STATUSES, QUEUED_STATUS, lock_organizations
from control_plane.store.tables import (
    deployment_settings,
    deployments,
    organizations,
    queue_heads,
    stacks,
)
from control_plane.store.transaction import Transaction

NO_LEASE: dict[str, Any] = {
    "lease_expires_at": None,
    "runner_digest": None,
    "cli_digest": None,
    "waiting_for": "",
}
"""What ends a lease: whoever holds its tokens can write nothing from this transaction on."""

log_organization = func.coalesce(deployments.c.log_organization_id, deployments.c.organization_id)
"""Under which organization's prefix a deployment's log lies."""


async def organizations_by_login(tx: Transaction, logins: Collection[str]) -> Sequence[Row[Any]]:
    """Organizations (id, login) by their logins."""
    return await tx.all(_organizations_by_login, {"logins": list(logins)})


async def targets(tx: Transaction, names: Collection[tuple[str, str, str]]) -> Sequence[Row[Any]]:
    """Stacks by (organization's id, project, name), each with its stored settings' JSON.

    The JSON is in `settings`, None where the stack has none.
    """
    return await tx.all(_targets, {"names": list(names)})


async def add(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    """Queue deployments, in this order."""
    await tx.execute(_add, rows)


async def set_versions(tx: Transaction, versions: dict[str, int]) -> None:
    """Note the newest deployment's version of each stack."""
    rows = [{"stack": stack_id, "newest": version} for stack_id, version in versions.items()]
    await tx.execute(_set_version, rows)


async def find(tx: Transaction, stack_id: str, deployment_id: str) -> Row[Any] | None:
    """The stack's deployment of that id."""
    return await tx.first(
        select(deployments).where(
            deployments.c.id == deployment_id, deployments.c.stack_id == stack_id
        )
    )


async def versions_of(tx: Transaction, ids: Collection[str]) -> Sequence[Row[Any]]:
    """Those of these deployments that exist: id and version."""
    return await tx.all(
        select(deployments.c.id, deployments.c.version).where(deployments.c.id.in_(ids))
    )


async def by_id(tx: Transaction, deployment_id: str) -> Row[Any] | None:
    """The deployment of that id, of whatever stack."""
    return await tx.first(_by_id, {"deployment_id": deployment_id})


async def lock(tx: Transaction, deployment_id: str, *, with_queue: bool) -> Row[Any] | None:
    """The deployment, which nobody else changes until the end of the transaction.

    `with_queue` when its organization's queue changes too: the organization's lock comes first.
    """
    if not tx.locks_rows:
        return await by_id(tx, deployment_id)
    if with_queue:
        known = await by_id(tx, deployment_id)
        if known is None:
            return None
        await lock_organizations(tx, [known.organization_id])
    return await tx.first(_by_id.with_for_update(), {"deployment_id": deployment_id})


async def move(tx: Transaction, position: int, wanted: Status, now: int, **values: Any) -> bool:
    """Change a deployment's status, if it is in one that may move to the wanted one.

    The database judges once more what `domain.deployment.move` has checked; False: it refused.
    """
    result = await tx.execute(
        update(deployments)
        .where(
            deployments.c.position == position,
            deployments.c.status.in_([str(source) for source in sources_of(wanted)]),
        )
        .values(status=str(wanted), modified_at=now, **values)
    )
    return bool(result.rowcount)


async def change(tx: Transaction, position: int, **values: Any) -> None:
    """Change anything but the status of a deployment."""
    await tx.execute(update(deployments).where(deployments.c.position == position).values(**values))


async def renew_lease(
    tx: Transaction, deployment_id: str, digest: bytes, generation: int, now: int, until: int
) -> Row[Any] | None:
    """Move a lease's end, if it is this one and still stands; returns what its runner is told."""
    return await tx.first(
        _renew_lease,
        {
            "deployment_id": deployment_id,
            "digest": digest,
            "of_generation": generation,
            "moment": now,
            "until": until,
        },
    )


async def live_of_pool(tx: Transaction, pool_id: str) -> Sequence[Row[Any]]:
    """All live deployments of a pool, with their stack's names and organization's limit."""
    return await tx.all(_live_of_pool, {"pool_id": pool_id})


async def expired(tx: Transaction, now: int, limit: int) -> Sequence[str]:
    """Ids of live deployments whose lease is over."""
    rows = await tx.all(
        select(deployments.c.id)
        .where(deployments.c.status.in_(LIVE_STATUSES), deployments.c.lease_expires_at <= now)
        .limit(limit)
    )
    return [row.id for row in rows]


async def overdue(tx: Transaction, started_before: int, limit: int) -> Sequence[str]:
    """Ids of live deployments that began before a time and have not been told to stop now."""
    rows = await tx.all(
        select(deployments.c.id)
        .where(
            deployments.c.status.in_(LIVE_STATUSES),
            # An accepted one that finds no place counts from when it was accepted.
            func.coalesce(deployments.c.started_at, deployments.c.accepted_at) < started_before,
            or_(deployments.c.cancel_mode.is_(None), deployments.c.cancel_mode != "now"),
        )
        .limit(limit)
    )
    return [row.id for row in rows]


async def stop_overdue(tx: Transaction, deployment_ids: Sequence[str], now: int) -> None:
    """Request an immediate stop; without a person's name, which tells it from their cancel."""
    await tx.execute(
        update(deployments)
        .where(deployments.c.id.in_(deployment_ids), deployments.c.status.in_(LIVE_STATUSES))
        .values(
            cancel_requested_at=func.coalesce(deployments.c.cancel_requested_at, now),
            cancel_mode="now",
            modified_at=now,
        )
    )


async def extend_leases(tx: Transaction, until: int) -> int:
    """Let no live deployment's lease end before a time; returns how many are live."""
    result = await tx.execute(
        update(deployments)
        .where(
            deployments.c.status.in_(LIVE_STATUSES),
            func.coalesce(deployments.c.lease_expires_at, 0) < until,
        )
        .values(lease_expires_at=until)
    )
    return int(result.rowcount)


async def queued_before(tx: Transaction, created_before: int, limit: int) -> Sequence[Row[Any]]:
    """Queued deployments (id, organization_id) that were made before a time."""
    return await tx.all(
        select(deployments.c.id, deployments.c.organization_id)
        .where(deployments.c.status == QUEUED_STATUS, deployments.c.created_at < created_before)
        .order_by(deployments.c.position)
        .limit(limit)
    )


async def skip(
    tx: Transaction, deployment_ids: Sequence[str], reason: Reason, now: int, **values: Any
) -> Sequence[Row[Any]]:
    """End those of the deployments that still wait; returns them (id, stack_id)."""
    return await tx.all(
        update(deployments)
        .where(deployments.c.id.in_(deployment_ids), deployments.c.status == QUEUED_STATUS)
        .values(
            status=str(Status.SKIPPED),
            reason=str(reason),
            ended_at=now,
            modified_at=now,
            **values,
        )
        .returning(deployments.c.id, deployments.c.stack_id)
    )


async def newest_queued(tx: Transaction, stack_id: str) -> Sequence[Row[Any]]:
    """The newest queued deployment of each operation of a stack that has more than one of it."""
    newest = (
        select(func.max(deployments.c.position).label("position"))
        .where(deployments.c.stack_id == stack_id, deployments.c.status == QUEUED_STATUS)
        .group_by(deployments.c.operation)
        .having(func.count() > 1)
        .subquery()
    )
    return await tx.all(
        select(deployments.c.position, deployments.c.operation, deployments.c.settings).join_from(
            newest, deployments, deployments.c.position == newest.c.position
        )
    )


async def queued_older(
    tx: Transaction, stack_id: str, operation: str, position: int
) -> Sequence[str]:
    """Ids of a stack's queued deployments of an operation that are older than a position."""
    rows = await tx.all(
        select(deployments.c.id).where(
            deployments.c.stack_id == stack_id,
            deployments.c.status == QUEUED_STATUS,
            deployments.c.operation == operation,
            deployments.c.position < position,
        )
    )
    return [row.id for row in rows]


async def last_of_stack(tx: Transaction, stack_id: str) -> Row[Any] | None:
    """The stack's newest deployment."""
    return await tx.first(
        select(deployments)
        .where(deployments.c.stack_id == stack_id)
        .order_by(deployments.c.version.desc())
        .limit(1)
    )


async def unfinished(tx: Transaction, stack_id: str) -> Row[Any] | None:
    """One of the stack's deployments (id, version) that waits or is under way."""
    return await tx.first(
        select(deployments.c.id, deployments.c.version)
        .where(deployments.c.stack_id == stack_id, deployments.c.ended_at.is_(None))
        .limit(1)
    )


async def change_organization(tx: Transaction, stack_id: str, organization_id: str) -> None:
    """Let all of a stack's deployments, which have ended, belong to another organization.

    Their logs stay where they are.
    """
    await tx.execute(
        update(deployments)
        .where(deployments.c.stack_id == stack_id)
        .values(organization_id=organization_id, log_organization_id=log_organization)
    )
    await tx.execute(delete(queue_heads).where(queue_heads.c.stack_id == stack_id))


async def with_old_logs(tx: Transaction, ended_before: int, limit: int) -> Sequence[Row[Any]]:
    """Deployments (position, id, stack_id, organization_id) whose log is over its time.

    The organization is the one under whose prefix the log lies.
    """
    return await tx.all(
        select(
            deployments.c.position,
            deployments.c.id,
            deployments.c.stack_id,
            log_organization.label("organization_id"),
        )
        .where(
            deployments.c.ended_at < ended_before,
            deployments.c.log_deleted_at.is_(None),
        )
        .order_by(deployments.c.ended_at)
        .limit(limit)
    )


async def mark_for_recovery(tx: Transaction, stack_id: str, since: int | None) -> None:
    """Note that a runner was lost in the middle of a change of the stack; None: it is mended."""
    await tx.execute(
        update(stacks).where(stacks.c.id == stack_id).values(needs_recovery_since=since)
    )


_organizations_by_login = select(organizations.c.id, organizations.c.login).where(
    organizations.c.login.in_(bindparam("logins", expanding=True))
)
_targets = (
    select(
        stacks.c.id,
        stacks.c.organization_id,
        stacks.c.project,
        stacks.c.name,
        stacks.c.deployment_version,
        deployment_settings.c.body.label("settings"),
    )
    .select_from(
        stacks.outerjoin(deployment_settings, deployment_settings.c.stack_id == stacks.c.id)
    )
    .where(
        tuple_(stacks.c.organization_id, stacks.c.project, stacks.c.name).in_(
            bindparam("names", expanding=True)
        )
    )
)
_add = insert(deployments)
_set_version = (
    update(stacks)
    .where(stacks.c.id == bindparam("stack"))
    .values(deployment_version=bindparam("newest"))
)
_by_id = select(deployments).where(deployments.c.id == bindparam("deployment_id"))
_renew_lease = (
    update(deployments)
    .where(
        deployments.c.id == bindparam("deployment_id"),
        deployments.c.runner_digest == bindparam("digest"),
        deployments.c.generation == bindparam("of_generation"),
        deployments.c.status.in_([str(status) for status in LIVE]),
        deployments.c.lease_expires_at > bindparam("moment"),
    )
    .values(lease_expires_at=bindparam("until"))
    .returning(deployments.c.cancel_mode, deployments.c.cancelled_by, deployments.c.last_event)
)
_live_of_pool = (
    select(
        deployments.c.id,
        deployments.c.generation,
        deployments.c.status,
        stacks.c.project,
        stacks.c.name.label("stack"),
        organizations.c.login.label("organization"),
        organizations.c.deployment_limit,
    )
    .select_from(deployments)
    .join(stacks, stacks.c.id == deployments.c.stack_id)
    .join(organizations, organizations.c.id == stacks.c.organization_id)
    .where(
        and_(
            deployments.c.pool_id == bindparam("pool_id"),
            deployments.c.status.in_(LIVE_STATUSES),
        )
    )
    .order_by(deployments.c.position)
)
