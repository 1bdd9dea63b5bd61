"""Queries about updates: their leases, the state lock they hold, and their history.

Who locks several rows takes them in this order: organization, deployment, stack, update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, func, or_, select, update

from control_plane.domain.deployment import LIVE
from control_plane.domain.update import Status
from control_plane.store import outbox
from control_plane.store.tables import deployments, organizations, stacks, updates, users
from control_plane.store.transaction import Transaction

JOURNALED = 1
"""The only journal version there is."""


async def add(tx: Transaction, **values: Any) -> None:
    """Record a new update."""
    await tx.execute(updates.insert().values(**values))


async def change(tx: Transaction, update_id: str, **values: Any) -> None:
    """Change columns of an update."""
    await tx.execute(update(updates).where(updates.c.id == update_id).values(**values))


async def find(
    tx: Transaction, stack_id: str, update_id: str, *, lock: bool = False
) -> Row[Any] | None:
    """The stack's update of that id."""
    query = select(updates).where(updates.c.id == update_id, updates.c.stack_id == stack_id)
    return await tx.first(query.with_for_update() if lock and tx.locks_rows else query)


async def by_id(tx: Transaction, update_id: str) -> Row[Any] | None:
    """The update of that id, of whatever stack."""
    return await tx.first(_by_id, {"update_id": update_id})


async def leased(tx: Transaction, update_id: str, *, lock: bool = False) -> Row[Any] | None:
    """The update with its stack's names, as calls under its lease need it."""
    query = _leased_locked if lock and tx.locks_rows else _leased
    return await tx.first(query, {"update_id": update_id})


async def unsettled(tx: Transaction, stack_id: str) -> Row[Any] | None:
    """The stack's newest update, if it has ended and its journal is not yet a document."""
    return await tx.first(_unsettled, {"stack_id": stack_id})


async def end(tx: Transaction, row: Row[Any], status: Status, now: int, **values: Any) -> None:
    """End a running update: its lease, the state lock it holds; what its journal says stays due.

    The lease's digest is kept, so that a repeated `complete` can be told from a stranger's call;
    a lease without a time, of an update that has ended, opens nothing.
    """
    await change(tx, row.id, status=str(status), ended_at=now, lease_expires_at=None, **values)
    if row.dry_run:
        return
    await tx.execute(
        update(stacks)
        .where(stacks.c.id == row.stack_id, stacks.c.current_update_id == row.id)
        .values(current_update_id=None)
    )
    saved = values.get("checkpoint_key", row.checkpoint_key)
    if row.journal_version == JOURNALED and saved is None:
        await outbox.add(tx, outbox.MATERIALISE, [row.id], now)


async def expired(tx: Transaction, now: int, limit: int) -> Sequence[Row[Any]]:
    """Running updates whose lease is over."""
    return await tx.all(
        select(updates)
        .where(updates.c.lease_digest.isnot(None), updates.c.lease_expires_at <= now)
        .order_by(updates.c.stack_id)
        .limit(limit)
    )


async def extend_leases(tx: Transaction, until: int) -> None:
    """Let no running update's lease end before a time."""
    await tx.execute(
        update(updates)
        .where(updates.c.lease_digest.isnot(None), updates.c.lease_expires_at < until)
        .values(lease_expires_at=until)
    )


async def end_updates_of_deployment(tx: Transaction, deployment_id: str, now: int) -> None:
    """End what a deployment's engine still has open, in the transaction that ends its lease (I3).

    What is in their journals becomes the state by `services.materialising`, which a note orders.
    """
    rows = await tx.all(
        select(updates).where(
            updates.c.deployment_id == deployment_id,
            updates.c.status.in_([str(Status.NOT_STARTED), str(Status.RUNNING)]),
        )
    )
    for row in rows:
        if tx.locks_rows:
            await tx.first(select(stacks.c.id).where(stacks.c.id == row.stack_id).with_for_update())
        await end(tx, row, Status.FAILED, now)


async def forget_unstarted(tx: Transaction, deployment_id: str) -> None:
    """Delete what a deployment's CLI has made and not started: its next attempt makes its own."""
    await tx.execute(
        delete(updates).where(
            updates.c.deployment_id == deployment_id,
            updates.c.status == str(Status.NOT_STARTED),
        )
    )


async def mark_engine_started(tx: Transaction, deployment_id: str, now: int) -> None:
    """Note when the deployment's engine started: from then on nobody may run it a second time."""
    await tx.execute(
        update(deployments)
        .where(deployments.c.id == deployment_id, deployments.c.engine_started_at.is_(None))
        .values(engine_started_at=now)
    )


async def deployment_lives(tx: Transaction, deployment_id: str, generation: int, now: int) -> bool:
    """Whether a deployment's lease of that generation stands; holds it until the transaction ends.

    Only for writing transactions: the deployment's row is locked, the first of all.
    """
    query = select(deployments.c.id).where(
        deployments.c.id == deployment_id,
        deployments.c.generation == generation,
        deployments.c.status.in_([str(status) for status in LIVE]),
        deployments.c.cli_digest.isnot(None),
        deployments.c.lease_expires_at > now,
    )
    return await tx.first(query.with_for_update() if tx.locks_rows else query) is not None


async def live_deployment(tx: Transaction, stack_id: str) -> Row[Any] | None:
    """The stack's live deployment (id, version), if there is one."""
    return await tx.first(
        select(deployments.c.id, deployments.c.version).where(
            deployments.c.stack_id == stack_id,
            deployments.c.status.in_([str(status) for status in LIVE]),
        )
    )


async def of_deployment(tx: Transaction, deployment_id: str) -> Sequence[Row[Any]]:
    """The updates that a deployment made, with who asked for them; oldest first.

    The preview phase of an `up` is left out once the update itself is there.
    """
    rows = await tx.all(
        _presented.where(updates.c.deployment_id == deployment_id).order_by(
            updates.c.created_at, updates.c.id
        )
    )
    return [row for row in rows if not row.dry_run] or rows


async def history(tx: Transaction, stack_id: str, *, limit: int, offset: int) -> Sequence[Row[Any]]:
    """The stack's updates without previews, newest first."""
    return await tx.all(
        _presented.where(updates.c.stack_id == stack_id, updates.c.version.isnot(None))
        .order_by(updates.c.version.desc())
        .limit(limit)
        .offset(offset)
    )


async def history_length(tx: Transaction, stack_id: str) -> int:
    """How many updates the stack has had, without previews."""
    query = select(func.count()).where(
        updates.c.stack_id == stack_id, updates.c.version.isnot(None)
    )
    return int(await tx.scalar(query))


async def of_version(tx: Transaction, stack_id: str, version: int) -> Row[Any] | None:
    """The stack's update of that number."""
    return await tx.first(
        _presented.where(updates.c.stack_id == stack_id, updates.c.version == version)
    )


async def presented(tx: Transaction, stack_id: str, update_id: str) -> Row[Any] | None:
    """An update with who asked for it."""
    return await tx.first(
        _presented.where(updates.c.stack_id == stack_id, updates.c.id == update_id)
    )


async def previews(
    tx: Transaction,
    stack_id: str,
    *,
    since: int,
    until: int | None,
    ascending: bool,
    limit: int,
    offset: int,
) -> Sequence[Row[Any]]:
    """The stack's previews that were made in a span of time."""
    created = updates.c.created_at
    return await tx.all(
        _presented.where(_previews_between(stack_id, since, until))
        .order_by(created.asc() if ascending else created.desc(), updates.c.id)
        .limit(limit)
        .offset(offset)
    )


async def previews_length(tx: Transaction, stack_id: str, since: int, until: int | None) -> int:
    """How many previews the stack has had in a span of time."""
    query = select(func.count()).where(_previews_between(stack_id, since, until))
    return int(await tx.scalar(query))


async def activity(
    tx: Transaction, stack_id: str, *, dry_run: bool | None, limit: int, offset: int
) -> Sequence[Row[Any]]:
    """The stack's updates and previews, newest first, each with its deployment's number."""
    order = (updates.c.created_at.desc(), updates.c.id)
    # Chosen by what the index holds; only the page's rows are read in full.
    chosen = select(updates.c.id).where(*_active(stack_id, dry_run)).order_by(*order)
    ids = [row.id for row in await tx.all(chosen.limit(limit).offset(offset))]
    return await tx.all(_with_deployment.where(updates.c.id.in_(ids)).order_by(*order))


async def activity_length(tx: Transaction, stack_id: str, *, dry_run: bool | None) -> int:
    """How many updates and previews the stack has had."""
    query = select(func.count()).select_from(updates).where(*_active(stack_id, dry_run))
    return int(await tx.scalar(query))


async def active(tx: Transaction, stack_id: str, update_id: str) -> Row[Any] | None:
    """An update or preview with its deployment's number."""
    return await tx.first(
        _with_deployment.where(updates.c.stack_id == stack_id, updates.c.id == update_id)
    )


def _active(stack_id: str, dry_run: bool | None) -> list[ColumnElement[bool]]:
    """What was made and never started (a CLI that died between two calls) is no activity."""
    wanted = [
        updates.c.stack_id == stack_id,
        updates.c.status != str(Status.NOT_STARTED),
    ]
    return wanted if dry_run is None else [*wanted, updates.c.dry_run.is_(dry_run)]


async def document_keys(tx: Transaction, stack_id: str) -> Sequence[str]:
    """Keys of all state documents that the stack's updates have left or started from."""
    rows = await tx.all(
        select(updates.c.checkpoint_key, updates.c.base_checkpoint_key).where(
            updates.c.stack_id == stack_id,
            or_(updates.c.checkpoint_key.isnot(None), updates.c.base_checkpoint_key.isnot(None)),
        )
    )
    return sorted({key for row in rows for key in row if key is not None})


def _previews_between(stack_id: str, since: int, until: int | None) -> ColumnElement[bool]:
    bounds = [updates.c.created_at >= since, updates.c.dry_run.is_(True)]
    if until is not None:
        bounds.append(updates.c.created_at < until)
    return and_(updates.c.stack_id == stack_id, *bounds)


_by_id = select(updates).where(updates.c.id == bindparam("update_id"))
_leased = (
    select(
        updates,
        stacks.c.project,
        stacks.c.name.label("stack"),
        organizations.c.login.label("organization"),
    )
    .select_from(updates)
    .join(stacks, stacks.c.id == updates.c.stack_id)
    .join(organizations, organizations.c.id == stacks.c.organization_id)
    .where(updates.c.id == bindparam("update_id"))
)
_leased_locked = _leased.with_for_update(of=updates)
_unsettled = (
    select(updates)
    .join_from(
        stacks,
        updates,
        and_(updates.c.stack_id == stacks.c.id, updates.c.version == stacks.c.version),
    )
    .where(
        stacks.c.id == bindparam("stack_id"),
        updates.c.journal_version == JOURNALED,
        updates.c.ended_at.isnot(None),
        updates.c.checkpoint_key.is_(None),
    )
)
_presented = (
    select(
        updates,
        stacks.c.version.label("latest_version"),
        users.c.login.label("user_login"),
        users.c.name.label("user_name"),
        users.c.avatar_url.label("user_avatar_url"),
    )
    .select_from(updates)
    .join(stacks, stacks.c.id == updates.c.stack_id)
    .outerjoin(users, users.c.id == updates.c.requested_by)
)
_with_deployment = _presented.add_columns(
    deployments.c.version.label("deployment_version")
).outerjoin(deployments, deployments.c.id == updates.c.deployment_id)
