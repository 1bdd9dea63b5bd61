"""What must follow a commit and may not be forgotten: notes that a loop works off.

A note is a row of `server_state` whose key names a chore and its subject. It is written in the
transaction that makes the chore necessary, and deleted when the chore is done; doing a chore twice
does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select

from control_plane.store.tables import server_state
from control_plane.store.transaction import Transaction

MATERIALISE = "materialise/"
"""Subject: an update that has ended and whose journal is not yet a state document."""
DELETE_OBJECT = "delete-object/"
"""Subject: the key of an object that nothing refers to any more."""
DELETE_LOG = "delete-log/"
"""Subject: the key prefix of log segments whose deployment is gone."""
DELETE_STACK = "delete-stack/"
"""Subject: a stack whose own deployment asked for its deletion; once that has ended."""


async def add(tx: Transaction, chore: str, subjects: Iterable[str], now: int) -> None:
    """Note that a chore is to be done for each subject."""
    rows = [{"key": chore + subject, "value": "", "at": float(now)} for subject in subjects]
    if rows:
        await tx.execute(tx.insert(server_state).on_conflict_do_nothing(), rows)


async def subjects(tx: Transaction, chore: str, limit: int) -> Sequence[str]:
    """Some subjects for which the chore is still to be done."""
    rows = await tx.all(
        select(server_state.c.key)
        .where(server_state.c.key.startswith(chore))
        .order_by(server_state.c.key)
        .limit(limit)
    )
    return [row.key.removeprefix(chore) for row in rows]


async def done(tx: Transaction, chore: str, subjects: Sequence[str]) -> None:
    """Strike out notes."""
    keys = [chore + subject for subject in subjects]
    await tx.execute(delete(server_state).where(server_state.c.key.in_(keys)))
