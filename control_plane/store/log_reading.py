"""Queries that find the segments of a log: from a segment on, at an offset, of a line's number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam, func, select

from control_plane.store.tables import log_segments
from control_plane.store.transaction import Transaction

SEGMENTS_MAX = 256
"""How many segments one query gives."""


async def from_segment(tx: Transaction, deployment_id: str, segment: int) -> Sequence[Row[Any]]:
    """Segments from a number on, at most SEGMENTS_MAX."""
    return await tx.all(_from_segment, {"deployment_id": deployment_id, "segment": segment})


async def segment_at(tx: Transaction, deployment_id: str, offset: int) -> int | None:
    """The number of the segment that holds the byte at an offset of the whole log."""
    segment: int | None = await tx.scalar(
        _segment_at, {"deployment_id": deployment_id, "offset": offset}
    )
    return segment


async def where_line_begins(
    tx: Transaction, deployment_id: str, step: int, line: int
) -> Row[Any] | None:
    """The segment from which to look for a line of a step, and the line `breaks` before it.

    The line begins after so many line breaks of the step as its number says; that is in this
    segment, or where it ends. None: the step has fewer breaks.
    """
    return await tx.first(
        _where_line_begins, {"deployment_id": deployment_id, "step": step, "line": line}
    )


async def end_of_step(tx: Transaction, deployment_id: str, step: int) -> int:
    """The offset, in the whole log, after the last byte of a step; 0 when it has none."""
    return int(
        await tx.scalar(
            select(func.coalesce(func.max(log_segments.c.offset + log_segments.c.length), 0)).where(
                log_segments.c.deployment_id == deployment_id,
                log_segments.c.step == step,
                log_segments.c.length > 0,
            )
        )
    )


_from_segment = (
    select(log_segments)
    .where(
        log_segments.c.deployment_id == bindparam("deployment_id"),
        log_segments.c.segment >= bindparam("segment"),
    )
    .order_by(log_segments.c.segment)
    .limit(SEGMENTS_MAX)
)
_segment_at = (
    select(log_segments.c.segment)
    .where(
        log_segments.c.deployment_id == bindparam("deployment_id"),
        log_segments.c.offset + log_segments.c.length > bindparam("offset"),
    )
    .order_by(log_segments.c.segment)
    .limit(1)
)
_counted = (
    select(
        log_segments.c.segment,
        log_segments.c.line_breaks,
        func.sum(log_segments.c.line_breaks)
        .over(order_by=log_segments.c.segment)
        .label("breaks_to_end"),
    )
    .where(
        log_segments.c.deployment_id == bindparam("deployment_id"),
        log_segments.c.step == bindparam("step"),
    )
    .subquery()
)
_where_line_begins = (
    select(
        _counted.c.segment,
        (_counted.c.breaks_to_end - _counted.c.line_breaks).label("breaks"),
    )
    .where(_counted.c.breaks_to_end >= bindparam("line"))
    .order_by(_counted.c.segment)
    .limit(1)
)
