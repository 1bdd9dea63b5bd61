"""Journals become state documents: when an update completes, or after it was ended from outside."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import Row

from control_plane.domain import journal
from control_plane.services import state_documents
from control_plane.services.state_documents import worked
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import journal as journals
from control_plane.store import outbox, stacks, updates
from control_plane.store.transaction import Transaction

BATCH = 100

log = structlog.get_logger()


class Kept(NamedTuple):
    """The document that a journal of so many entries amounts to."""

    key: str
    resources: int
    entries: int


async def keep(world: World, row: Row[Any], at: int) -> Kept:
    """Replay an update's journal and keep the document; `at` is the document's time.

    The journal is read bit by bit: it can be much larger than the state.
    """
    base = await state_documents.load(world, row.base_checkpoint_key)
    replayer = await worked(len(base), journal.Replayer.over, base)
    entries = 0
    async with world.database.snapshot() as tx:
        async for read in journals.partitions(tx, row.id):
            entries += len(read)
            await worked(sum(map(len, read)), replayer.add, read)
    replayed = await worked(len(base), replayer.document, _manifest(row, at))
    key = await state_documents.keep(world, row.stack_id, row.id, 0, replayed.pieces)
    return Kept(key, replayed.resources, entries)


async def build(world: World, row: Row[Any], entries: list[bytes], at: int) -> bytes:
    """The document that these entries of an update's journal amount to."""
    base = await state_documents.load(world, row.base_checkpoint_key)
    return await worked(len(base) + sum(map(len, entries)), _build, row, base, entries, at)


def _build(row: Row[Any], base: bytes, entries: list[bytes], at: int) -> bytes:
    return journal.replay(base, entries, _manifest(row, at)).document


def _manifest(row: Row[Any], at: int) -> journal.Manifest:
    moment = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    environment = msgspec.json.decode(row.environment)
    version = str(environment.get("pulumi.version", ""))
    return journal.Manifest(
        time=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        version=f"v{version.removeprefix('v')}" if version else "",
    )


async def adopt(tx: Transaction, row: Row[Any], kept: Kept) -> dict[str, Any]:
    """Make a journal's document the stack's state; returns what to set in the update's row."""
    values = {"checkpoint_key": kept.key, "resource_count": kept.resources}
    await stacks.change(tx, row.stack_id, **values)
    await journals.forget(tx, row.id)
    return values


@verb
async def materialise(world: World, update_id: str) -> None:
    """Turn the journal of an update that has ended into a document; done before, it does nothing.

    The document's time is the update's end, so that doing it twice at once gives the same bytes.
    """
    async with world.database.snapshot() as tx:
        row = await updates.by_id(tx, update_id)
    kept = None
    if row is not None and _is_due(row):
        kept = await keep(world, row, row.ended_at)
    async with world.database.transaction() as tx:
        if row is not None and kept is not None:
            await _finish(world, tx, row, kept)
        await outbox.done(tx, outbox.MATERIALISE, [update_id])


def _is_due(row: Row[Any]) -> bool:
    return (
        row.journal_version == updates.JOURNALED
        and row.ended_at is not None
        and row.checkpoint_key is None
    )


async def _finish(world: World, tx: Transaction, row: Row[Any], kept: Kept) -> None:
    if await stacks.by_id(tx, row.stack_id, lock=True) is None:
        return
    now = await updates.by_id(tx, row.id)
    if now is not None and _is_due(now):
        await updates.change(tx, row.id, **await adopt(tx, row, kept))
    elif now is not None and now.checkpoint_key != kept.key:
        # Somebody else was faster, and the journal was gone when it was read here.
        await outbox.add(tx, outbox.DELETE_OBJECT, [kept.key], world.now())


@verb
async def materialise_all(world: World) -> int:
    """Work off what is due; returns how many there were. For a loop: one failing stops no other."""
    async with world.database.snapshot() as tx:
        due = await outbox.subjects(tx, outbox.MATERIALISE, BATCH)
    for update_id in due:
        try:
            await materialise(world, update_id)
        except Exception:
            log.exception("an update's journal waits", action="materialise", update_id=update_id)
    return len(due)
