"""How far a deployment's update has come: its events, each read once for all who look on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from control_plane.domain import engine_events
from control_plane.domain.engine_events import Interest
from control_plane.domain.progress import Counter, Progress
from control_plane.services.progress_tracker import Tracked
from control_plane.services.state_documents import worked
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import journal

READ_SECONDS = 0.5
"""At most so often the events of one update are looked for, however many look on."""
PAGE_EVENTS = 2000
WRONG_EVENTS_MAX = 200


async def of_updates(world: World, updates: Sequence[Any]) -> Progress | None:
    """Of what a deployment has made, the update that it is for; None while there is none.

    The caller has shown that who asks may see the deployment. The preview that an `up` begins
    with gives way to the update itself.
    """
    rows = [row for row in updates if not row.dry_run] or updates
    if not rows:
        return None
    row = rows[-1]
    # An engine that was killed has left no summary; its events tell what it had done.
    has_summary = row.ended_at is not None and row.resource_changes is not None
    return await (of_ended(world, row) if has_summary else of_running(world, row.id))


@verb
async def of_running(world: World, update_id: str) -> Progress:
    """How far an update has come. Events after a gap wait for what is missing."""
    tracked = world.progress.of(update_id)
    async with tracked.turn:
        if time.monotonic() - tracked.read_at >= READ_SECONDS:
            await _go_on(world, tracked, update_id)
            tracked.read_at = time.monotonic()
    return tracked.counter.progress()


@verb
async def of_ended(world: World, row: Any) -> Progress:
    """What an update did, by its engine's summary, and what went wrong."""
    async with world.database.snapshot() as tx:
        wrong = await journal.told_events(tx, row.id, Interest.WRONG, limit=WRONG_EVENTS_MAX)
    counter = Counter()
    counter.read(body for _, body in wrong)
    done = msgspec.json.decode(row.resource_changes, type=dict[str, int])
    return msgspec.structs.replace(counter.progress(), done=done)


async def _go_on(world: World, tracked: Tracked, update_id: str) -> None:
    while True:
        async with world.database.snapshot() as tx:
            found = await journal.events(tx, update_id, start=tracked.next, limit=PAGE_EVENTS)
        ready = engine_events.gapless(found, tracked.next)
        if not ready:
            return
        await worked(sum(map(len, ready)), tracked.counter.read, ready)
        tracked.next += len(ready)
        if len(ready) < PAGE_EVENTS:
            return
