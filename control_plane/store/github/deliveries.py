"""Queries about what GitHub has told, and what came of it; and about branches' last heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, func, null, select, update

from control_plane.store.github.tables import deliveries, heads
from control_plane.store.transaction import Transaction

RECEIVED = "received"


async def known(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Which of these deliveries have been received before."""
    found = await tx.all(select(deliveries.c.id).where(deliveries.c.id.in_(ids)))
    return {row.id for row in found}


async def add(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep deliveries; one that is known already stays as it is."""
    await tx.execute(tx.insert(deliveries).on_conflict_do_nothing(), list(rows))


async def waiting(tx: Transaction, now: int, count: int) -> Sequence[Row[Any]]:
    """Deliveries whose turn it is, in the order in which they came."""
    return await tx.all(
        select(deliveries)
        .where(deliveries.c.status == RECEIVED, deliveries.c.next_attempt_at <= now)
        .order_by(deliveries.c.next_attempt_at, deliveries.c.received_at)
        .limit(count)
    )


async def change(tx: Transaction, delivery_id: str, **values: Any) -> None:
    """Note what came of a delivery."""
    await tx.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**values))


async def find(tx: Transaction, delivery_id: str) -> Row[Any] | None:
    """A delivery with everything that is kept of it."""
    return await tx.first(select(deliveries).where(deliveries.c.id == delivery_id))


async def listed(
    tx: Transaction, organization_id: str, *, offset: int, count: int
) -> tuple[Sequence[Row[Any]], int]:
    """Deliveries of an organization, newest first, without their payloads; and how many."""
    of_organization = deliveries.c.organization_id == organization_id
    columns = [each for each in deliveries.c if each.name not in ("payload", "verdicts")]
    rows = await tx.all(
        select(*columns)
        .where(of_organization)
        .order_by(deliveries.c.received_at.desc())
        .offset(offset)
        .limit(count)
    )
    total = await tx.scalar(select(func.count()).select_from(deliveries).where(of_organization))
    return rows, total or 0


async def forget_payloads(tx: Transaction, before: int, count: int) -> int:
    """Drop payloads of deliveries that are over and older; returns how many."""
    old = (
        select(deliveries.c.id)
        .where(
            deliveries.c.received_at < before,
            deliveries.c.payload.isnot(None),
            deliveries.c.status != RECEIVED,
        )
        .limit(count)
    )
    done = await tx.execute(
        update(deliveries).where(deliveries.c.id.in_(old)).values(payload=null())
    )
    return done.rowcount


async def remove_old(tx: Transaction, before: int, count: int) -> int:
    """Forget deliveries that are over and older; returns how many."""
    old = (
        select(deliveries.c.id)
        .where(deliveries.c.received_at < before, deliveries.c.status != RECEIVED)
        .limit(count)
    )
    return (await tx.execute(delete(deliveries).where(deliveries.c.id.in_(old)))).rowcount


async def is_waiting(tx: Transaction, repository: str) -> bool:
    """Whether something of a repository is still to be looked into."""
    found = await tx.first(
        select(deliveries.c.id)
        .where(deliveries.c.status == RECEIVED, deliveries.c.repository == repository)
        .limit(1)
    )
    return found is not None


async def head(tx: Transaction, repository_id: int, ref: str) -> Row[Any] | None:
    """The last known head of a branch or tag."""
    return await tx.first(
        select(heads).where(heads.c.repository_id == repository_id, heads.c.ref == ref)
    )


async def save_head(
    tx: Transaction,
    repository_id: int,
    ref: str,
    *,
    before: str,
    sha: str,
    pushed_at: int,
    now: int,
) -> None:
    """Note a branch's head."""
    values = {"sha": sha, "before": before, "pushed_at": pushed_at, "modified_at": now}
    await tx.execute(
        tx.insert(heads)
        .values(repository_id=repository_id, ref=ref, **values)
        .on_conflict_do_update(index_elements=[heads.c.repository_id, heads.c.ref], set_=values)
    )
