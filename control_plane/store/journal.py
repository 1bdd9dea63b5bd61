"""Queries about what an engine reports while it works: journal entries and engine events.

Both are kept as the bytes that came, under the engine's own numbers; a number that comes twice is
kept once, since clients repeat calls whose answer they did not get.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from sqlalchemy import bindparam, delete, func, select

from control_plane.store.tables import journal_entries, update_events
from control_plane.store.transaction import Transaction

Numbered = tuple[int, bytes]
"""The engine's number of an entry or event, and its JSON."""
Event = tuple[int, bytes, int | None]
"""The same of an event, and of what interest it is."""

PARTITION = 100


async def append(tx: Transaction, update_id: str, entries: Iterable[Numbered]) -> None:
    """Keep journal entries of an update."""
    rows = [{"update_id": update_id, "sequence": n, "body": body} for n, body in entries]
    if rows:
        await tx.execute(tx.insert(journal_entries).on_conflict_do_nothing(), rows)


async def entries(tx: Transaction, update_id: str) -> list[bytes]:
    """All journal entries of an update, in order."""
    rows = await tx.all(_entries, {"update_id": update_id})
    return [row.body for row in rows]


async def partitions(tx: Transaction, update_id: str) -> AsyncIterator[list[bytes]]:
    """All journal entries of an update, in order, some at a time."""
    async for rows in tx.partitions(_entries, {"update_id": update_id}, size=PARTITION):
        yield [row.body for row in rows]


async def length(tx: Transaction, update_id: str) -> int:
    """How many journal entries an update has."""
    query = select(func.count()).where(journal_entries.c.update_id == update_id)
    return int(await tx.scalar(query))


async def forget(tx: Transaction, update_id: str) -> None:
    """Drop the journal of an update: it has become a state document."""
    await tx.execute(delete(journal_entries).where(journal_entries.c.update_id == update_id))


async def add_events(tx: Transaction, update_id: str, events: Iterable[Event]) -> None:
    """Keep engine events of an update."""
    rows = [
        {"update_id": update_id, "sequence": n, "body": body, "interest": interest}
        for n, body, interest in events
    ]
    if rows:
        await tx.execute(tx.insert(update_events).on_conflict_do_nothing(), rows)


async def events(tx: Transaction, update_id: str, *, start: int, limit: int) -> Sequence[Numbered]:
    """Engine events of an update from a number on, in order."""
    rows = await tx.all(_events, {"update_id": update_id, "start": start, "most": limit})
    return [(row.sequence, row.body) for row in rows]


async def told_events(
    tx: Transaction, update_id: str, interest: int, *, limit: int
) -> Sequence[Numbered]:
    """The first so many engine events of an update that are of an interest, in order."""
    values = {"update_id": update_id, "interest": interest, "most": limit}
    return [(row.sequence, row.body) for row in await tx.all(_told_events, values)]


async def last_event(tx: Transaction, update_id: str) -> int:
    """The highest number of an update's events; -1 when it has none."""
    query = select(func.max(update_events.c.sequence)).where(update_events.c.update_id == update_id)
    highest = await tx.scalar(query)
    return -1 if highest is None else int(highest)


_entries = (
    select(journal_entries.c.body)
    .where(journal_entries.c.update_id == bindparam("update_id"))
    .order_by(journal_entries.c.sequence)
)
_events = (
    select(update_events.c.sequence, update_events.c.body)
    .where(
        update_events.c.update_id == bindparam("update_id"),
        update_events.c.sequence >= bindparam("start"),
    )
    .order_by(update_events.c.sequence)
    .limit(bindparam("most"))
)
# Their numbers first, which the index has by itself: SQLite would else read all of the update.
_told = (
    select(update_events.c.sequence)
    .where(
        update_events.c.update_id == bindparam("update_id"),
        update_events.c.interest == bindparam("interest"),
    )
    .order_by(update_events.c.sequence)
    .limit(bindparam("most"))
)
_told_events = (
    select(update_events.c.sequence, update_events.c.body)
    .where(
        update_events.c.update_id == bindparam("update_id"),
        update_events.c.sequence.in_(_told),
    )
    .order_by(update_events.c.sequence)
)
