"""Journals become state documents: when an update completes, or after it was ended from outside."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from sqlalchemy import Row

from control_plane.domain import journal
from control_plane.services import state_documents
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import journal as journals
from control_plane.store import outbox, stacks, updates
from control_plane.store.transaction import Transaction

BATCH = 100

log = structlog.get_logger()


class Built(NamedTuple):
    """What a journal amounts to."""

    document: bytes
    resources: int
    entries: int


async def build(world: World, row: Row[Any], entries: list[bytes], at: int) -> Built:
    """Replay an update's journal; `at` is the document's time."""
    base = await state_documents.load(world, row.base_checkpoint_key)
    size = len(base) + sum(map(len, entries))
    replayed = await state_documents.worked(size, journal.replay, base, entries, _manifest(row, at))
    return Built(replayed.document, replayed.resources, len(entries))


def _manifest(row: Row[Any], at: int) -> journal.Manifest:
    moment = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    environment = msgspec.json.decode(row.environment)
    version = str(environment.get("pulumi.version", ""))
    return journal.Manifest(
        time=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        version=f"v{version.removeprefix('v')}" if version else "",
    )


async def adopt(tx: Transaction, row: Row[Any], key: str, resources: int) -> dict[str, Any]:
    """Make a built document the stack's state; returns what to set in the update's row."""
    await stacks.change(tx, row.stack_id, checkpoint_key=key, resource_count=resources)
    await journals.forget(tx, row.id)
    return {"checkpoint_key": key, "resource_count": resources}


@verb
async def materialise(world: World, update_id: str) -> None:
    """Turn the journal of an update that has ended into a document; done before, it does nothing.

    The document's time is the update's end, so that doing it twice at once gives the same bytes.
    """
    async with world.database.snapshot() as tx:
        row = await updates.by_id(tx, update_id)
        entries = await journals.entries(tx, update_id)
    key, built = None, None
    if row is not None and _is_due(row):
        built = await build(world, row, entries, row.ended_at)
        key = await state_documents.keep(world, row.stack_id, row.id, 0, built.document)
    async with world.database.transaction() as tx:
        if row is not None and key is not None and built is not None:
            await _finish(tx, row, key, built)
        await outbox.done(tx, outbox.MATERIALISE, [update_id])


def _is_due(row: Row[Any]) -> bool:
    return (
        row.journal_version == updates.JOURNALED
        and row.ended_at is not None
        and row.checkpoint_key is None
    )


async def _finish(tx: Transaction, row: Row[Any], key: str, built: Built) -> None:
    if await stacks.by_id(tx, row.stack_id, lock=True) is None:
        return
    now = await updates.by_id(tx, row.id)
    if now is not None and _is_due(now):
        await updates.change(tx, row.id, **await adopt(tx, row, key, built.resources))


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
