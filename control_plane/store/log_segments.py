"""Queries about log segments: which objects hold which bytes of a deployment's output."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select

from control_plane.store.tables import log_segments
from control_plane.store.transaction import Transaction


async def add(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    """Announce segments."""
    await tx.execute(log_segments.insert(), rows)


async def count(tx: Transaction, deployment_id: str) -> int:
    """How many segments there are."""
    return int(
        await tx.scalar(
            select(func.count())
            .select_from(log_segments)
            .where(log_segments.c.deployment_id == deployment_id)
        )
    )


async def forget(tx: Transaction, deployment_id: str) -> None:
    """Drop the announcements; the objects themselves are the log store's."""
    await tx.execute(delete(log_segments).where(log_segments.c.deployment_id == deployment_id))
