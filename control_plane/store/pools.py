"""Queries about runner pools, and which gateway leads each."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, or_, select, update

from control_plane.store.queue import LIVE_STATUSES, QUEUED_STATUS
from control_plane.store.tables import (
    deployment_settings,
    deployments,
    pools,
    queue_ready,
    stacks,
)
from control_plane.store.transaction import Transaction

_SEALED = '%"ciphertext"%'


async def by_id(tx: Transaction, pool_id: str) -> Row[Any] | None:
    """The pool of that id."""
    return await tx.first(_by_id, {"pool_id": pool_id})


async def hosted_default(tx: Transaction) -> Row[Any] | None:
    """The pool that serves every organization which has no default of its own."""
    return await tx.first(
        select(pools).where(pools.c.organization_id.is_(None), pools.c.is_default)
    )


async def usable_by(tx: Transaction, organization_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The pools that these organizations may name: their own, and the hosted ones."""
    return await tx.all(_usable_by, {"organization_ids": list(organization_ids)})


async def seen_by(tx: Transaction, organization_id: str) -> Sequence[Row[Any]]:
    """The pools that an organization may use, in full: its own first, by name."""
    return await tx.all(
        select(pools)
        .where(or_(pools.c.organization_id.is_(None), pools.c.organization_id == organization_id))
        .order_by(pools.c.organization_id.is_(None), pools.c.name, pools.c.id)
    )


async def work_of(tx: Transaction, organization_id: str) -> dict[str, tuple[int, int]]:
    """How many deployments of an organization are live, and how many queued, by pool."""
    counts: dict[str, tuple[int, int]] = {}
    for index, condition in enumerate(
        (deployments.c.status.in_(LIVE_STATUSES), deployments.c.status == QUEUED_STATUS)
    ):
        rows = await tx.all(
            select(deployments.c.pool_id, func.count().label("number"))
            .where(deployments.c.organization_id == organization_id, condition)
            .group_by(deployments.c.pool_id)
        )
        for row in rows:
            live, queued = counts.get(row.pool_id, (0, 0))
            counts[row.pool_id] = (live, row.number) if index else (row.number, queued)
    return counts


async def create(
    tx: Transaction,
    *,
    name: str,
    token_digest: bytes,
    organization_id: str | None,
    is_default: bool,
    now: int,
) -> str:
    """Add a pool; returns its id. It takes work once a gateway has registered."""
    pool_id = str(uuid.uuid4())
    await tx.execute(
        pools.insert().values(
            id=pool_id,
            name=name,
            token_digest=token_digest,
            organization_id=organization_id,
            is_default=is_default,
            created_at=now,
        )
    )
    return pool_id


async def set_token(tx: Transaction, pool_id: str, token_digest: bytes) -> None:
    """Replace the pool's token; the old one is worth nothing from now on."""
    await tx.execute(update(pools).where(pools.c.id == pool_id).values(token_digest=token_digest))


async def describe(tx: Transaction, pool_id: str, description: str) -> None:
    """Note what the pool is for."""
    await tx.execute(update(pools).where(pools.c.id == pool_id).values(description=description))


async def remove(tx: Transaction, pool_id: str) -> None:
    """Forget a pool, and the pointers to the work that it could have had."""
    await tx.execute(delete(queue_ready).where(queue_ready.c.pool_id == pool_id))
    await tx.execute(delete(pools).where(pools.c.id == pool_id))


async def settings_that_mention(
    tx: Transaction, organization_id: str, pool_id: str
) -> Sequence[Row[Any]]:
    """Deployment settings (`body`) of the organization's stacks with the pool's id in them."""
    return await tx.all(
        select(deployment_settings.c.body)
        .join_from(deployment_settings, stacks)
        .where(
            stacks.c.organization_id == organization_id,
            deployment_settings.c.body.like(f'%"{pool_id}"%'),
        )
    )


async def set_key(tx: Transaction, pool_id: str, public_key: bytes, now: int) -> None:
    """Note the pool's public key, and that its gateway was seen."""
    await tx.execute(
        update(pools).where(pools.c.id == pool_id).values(public_key=public_key, last_seen_at=now)
    )


async def lead(
    tx: Transaction, pool_id: str, gateway_id: str, *, ready: bool, now: int, until: int
) -> bool:
    """Take or keep the leadership of a pool; False while another gateway has it."""
    result = await tx.execute(
        update(pools)
        .where(
            pools.c.id == pool_id,
            or_(
                pools.c.leader.is_(None),
                pools.c.leader == gateway_id,
                pools.c.leader_expires_at <= now,
            ),
        )
        .values(leader=gateway_id, leader_expires_at=until, ready=ready, last_seen_at=now)
    )
    return bool(result.rowcount)


async def stop_leading(
    tx: Transaction, pool_id: str, gateway_id: str, *, term: int, now: int
) -> bool:
    """Give up a leadership that ends at `term`; whether the gateway still had that one."""
    result = await tx.execute(
        update(pools)
        .where(
            pools.c.id == pool_id,
            pools.c.leader == gateway_id,
            pools.c.leader_expires_at == term,
        )
        .values(leader=None, leader_expires_at=now)
    )
    return bool(result.rowcount)


async def settings_with_secrets(tx: Transaction) -> Sequence[Row[Any]]:
    """All stored deployment settings that hold sealed values: `body` and `organization_id`."""
    return await tx.all(
        select(deployment_settings.c.body, stacks.c.organization_id)
        .join_from(deployment_settings, stacks)
        .where(deployment_settings.c.body.like(_SEALED))
    )


async def has_unfinished_secrets(tx: Transaction, pool_id: str) -> bool:
    """Whether a queued or live deployment of the pool carries sealed values."""
    found = await tx.first(
        select(deployments.c.position)
        .where(
            deployments.c.pool_id == pool_id,
            deployments.c.status.in_([QUEUED_STATUS, *LIVE_STATUSES]),
            deployments.c.settings.like(_SEALED),
        )
        .limit(1)
    )
    return found is not None


_by_id = select(pools).where(pools.c.id == bindparam("pool_id"))
_usable_by = select(
    pools.c.id, pools.c.organization_id, pools.c.name, pools.c.is_default, pools.c.public_key
).where(
    or_(
        pools.c.organization_id.is_(None),
        pools.c.organization_id.in_(bindparam("organization_ids", expanding=True)),
    )
)
