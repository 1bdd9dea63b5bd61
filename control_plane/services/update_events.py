"""Engine events: recorded under an update's lease, read by who follows the update."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from sqlalchemy import Row

from control_plane.domain import diagnostics, engine_events
from control_plane.domain.engine_events import Filter, Interest
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update import Status
from control_plane.errors import BadRequest, NotFound
from control_plane.services import access, update_lease
from control_plane.services.hints import deployment_recorded
from control_plane.services.state_documents import worked
from control_plane.services.update_lease import Lease
from control_plane.services.updates import told
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import journal, updates
from control_plane.store.transaction import Transaction

PAGE_EVENTS = 500
ALL_EVENTS_MAX = 20_000
"""How many events are given out at once."""
TOLD_EVENTS_MAX = {
    # Each step is reported before and after.
    Interest.DONE: 2 * diagnostics.SHOWN_OPERATIONS_MAX,
    Interest.SAID: diagnostics.SHOWN_MESSAGES_MAX - 200,
    Interest.WRONG: 200,
    Interest.UNSORTED: 20_000,
}
"""How many events of each interest an account of an update is made from."""


class Page(NamedTuple):
    """Some events, and the number from which the next page goes on; None at the very end."""

    events: list[bytes]
    next: int | None


@verb
async def record(world: World, lease: Lease, events: Sequence[Raw]) -> None:
    """Keep a batch of events; batches may come out of order, and twice."""
    numbered = [(_read(raw), bytes(raw)) for raw in events]
    summary = next((event.summary for event, _ in numbered if event.summary), None)
    kept = [(event.sequence, body, engine_events.interest_of(body)) for event, body in numbered]
    async with world.database.transaction() as tx:
        row = await update_lease.hold(tx, lease, world.now(), lock=True)
        await journal.add_events(tx, row.id, kept)
        if summary is not None:
            changes = msgspec.json.encode(summary.resource_changes or {}).decode()
            await updates.change(tx, row.id, resource_changes=changes)
        told(world, tx, row.id)
        if row.deployment_id is not None:
            deployment_recorded(world, tx, row.deployment_id)


def _read(raw: Raw) -> engine_events.Numbered:
    try:
        return engine_events.read(raw)
    except engine_events.InvalidEvent as error:
        raise BadRequest(detail=f"An event is not as expected: {error}") from None


@verb
async def read(
    world: World,
    principal: Principal,
    name: StackName,
    update_id: str,
    *,
    start: int = 0,
    wanted: Filter = Filter(),  # noqa: B008 - a value, never changed
) -> Page:
    """Events from a number on. While the update runs there is always a next page, and it begins
    at the same number as long as nothing new has come."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await updates.find(tx, stack.id, update_id)
        if row is None:
            raise NotFound(what=f"Update '{update_id}'")
        found = await journal.events(tx, row.id, start=start, limit=PAGE_EVENTS)
        page = await _page(tx, row, found, start)
    return Page([event for event in page.events if wanted.admits(event)], page.next)


@verb
async def account(
    world: World, principal: Principal, name: StackName, update_id: str
) -> diagnostics.Account:
    """What the update said and did, in few words; raises NotFound.

    It is made from the first so many events of each interest; so what an account costs does not
    grow with the stack, and errors, which come last, are among them however much else there is.
    """
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await updates.find(tx, stack.id, update_id)
        if row is None:
            raise NotFound(what=f"Update '{update_id}'")
        told = {
            interest: await journal.told_events(tx, row.id, interest, limit=limit)
            for interest, limit in TOLD_EVENTS_MAX.items()
        }
        closing = [] if row.ended_at is None else await _closing(tx, row, 0)
    is_cut = any(len(told[interest]) == limit for interest, limit in TOLD_EVENTS_MAX.items())
    bodies = [body for _, body in sorted(itertools.chain(*told.values()))] + closing
    made = await worked(sum(map(len, bodies)), diagnostics.account, bodies)
    return msgspec.structs.replace(made, more=made.more or is_cut)


async def all_of(
    world: World, principal: Principal, name: StackName, update_id: str
) -> list[bytes]:
    """The update's events as they came, the first `ALL_EVENTS_MAX` of them; raises NotFound."""
    bodies: list[bytes] = []
    start: int | None = 0
    while start is not None and len(bodies) < ALL_EVENTS_MAX:
        page = await read(world, principal, name, update_id, start=start)
        bodies += page.events
        # An update that runs has always a next page.
        start = page.next if page.events else None
    return bodies


async def _page(
    tx: Transaction, row: Row[Any], found: Sequence[tuple[int, bytes]], start: int
) -> Page:
    if row.ended_at is None:
        ready = engine_events.gapless(found, start)
        return Page(ready, start + len(ready))
    bodies = [body for _, body in found]
    if len(found) == PAGE_EVENTS:
        return Page(bodies, found[-1][0] + 1)
    return Page([*bodies, *await _closing(tx, row, start)], None)


async def _closing(tx: Transaction, row: Row[Any], start: int) -> list[bytes]:
    """Readers judge an update by its events alone; so a failure must show in them."""
    if row.status == Status.SUCCEEDED or row.resource_changes is not None:
        return []
    last = await journal.last_event(tx, row.id)
    return engine_events.closing(
        max(last + 1, start),
        at=row.ended_at // 1000,
        seconds=(row.ended_at - (row.started_at or row.ended_at)) // 1000,
        preview=row.dry_run,
        cancelled=row.status == Status.CANCELLED,
    )
