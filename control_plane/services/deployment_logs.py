"""A deployment's log for its readers: as a stream of lines, by numbers of lines, and as bytes.

The database says which segments there are, the log store has their bytes; no transaction is open
while the log store is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment import ENDED, Operation, Reason, Status
from control_plane.domain.log_lines import (
    WINDOW_BYTES_MAX,
    Cursor,
    Line,
    Mark,
    NumberedLines,
    Page,
    Piece,
    Step,
    cursor_of,
    page,
)
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, LogDeleted, LogUnreadable, NotFound
from control_plane.services import access
from control_plane.services.hints import deployment_topic
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, log_reading, steps, updates
from control_plane.store.transaction import Transaction

HOLD_SECONDS = 0.4
"""How long an answer without news is held back. The Pulumi CLI sleeps 0.5 s after one itself."""
READS_AT_ONCE = 8
CHUNK_BYTES = 1024 * 1024
COUNT_MAX = 499
NUMBER_MAX = 2**31 - 1

T = TypeVar("T")


class StepLines(msgspec.Struct, frozen=True, kw_only=True):
    """Some lines of a step; `next_offset` is the number of the next line, None after the last."""

    name: str
    lines: Sequence[Line]
    next_offset: int | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log as bytes: how long it is now, and whether its end marker came."""

    deployment_id: str
    attempt: int
    length: int
    complete: bool


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says of a log at one moment."""

    row: Any
    steps: Sequence[Any]
    segments: Sequence[Any]
    made_update: bool

    @property
    def ended(self) -> bool:
        """Whether nothing will be added to the log."""
        return self.row.status in ENDED


@verb
async def stream(
    world: World, principal: Principal, name: StackName, deployment_id: str, token: str
) -> Page:
    """The next lines after a token, from the start without one. An answer without news is held."""
    cursor = cursor_of(token) if token else Cursor()

    async def look() -> Page:
        return await _next_page(world, principal, name, deployment_id, cursor)

    return await _held(world, deployment_id, look, lambda page: bool(page.lines) or not page.next)


@verb
async def step_lines(
    world: World,
    principal: Principal,
    name: StackName,
    deployment_id: str,
    *,
    step: int,
    offset: int = 0,
    count: int = 100,
) -> StepLines:
    """Lines of a step by their numbers, both from 0; fewer than asked where they are long."""
    if not 1 <= count <= COUNT_MAX:
        raise BadRequest(detail=f"count must be between 1 and {COUNT_MAX}.")
    if not 0 <= step <= NUMBER_MAX:
        raise BadRequest(detail="step must be the number of a step, from 0.")
    if not 0 <= offset <= NUMBER_MAX:
        raise BadRequest(detail="offset must be the number of a line, from 0.")

    async def look() -> StepLines:
        return await _numbered(world, principal, name, deployment_id, step, offset, count)

    return await _held(
        world, deployment_id, look, lambda found: bool(found.lines) or found.next_offset is None
    )


@verb
async def describe(world: World, principal: Principal, name: StackName, deployment_id: str) -> Log:
    """How long a log is; raises LogDeleted after its time."""
    async with world.database.snapshot() as tx:
        row = await _find(tx, principal, name, deployment_id)
    if row.log_deleted_at is not None:
        raise LogDeleted(days=_days(world))
    return Log(
        deployment_id=row.id,
        attempt=row.generation,
        length=row.log_length,
        complete=row.log_complete,
    )


async def read(world: World, log: Log, start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes of a log between two offsets, piece by piece. Raises LogUnreadable midway."""
    at = start
    async with world.database.snapshot() as tx:
        segment = await log_reading.segment_at(tx, log.deployment_id, at) or 0
    while at < end:
        async with world.database.snapshot() as tx:
            rows = await log_reading.from_segment(tx, log.deployment_id, segment)
            row = await deployments.by_id(tx, log.deployment_id)
        if not rows or row is None or row.generation != log.attempt:
            raise LogUnreadable(segment=segment)
        for each in rows:
            while at < min(end, each.offset + each.length):
                size = min(CHUNK_BYTES, each.offset + each.length - at, end - at)
                yield await _bytes(world, each, at - each.offset, size)
                at += size
        segment = rows[-1].segment + 1


async def piece(world: World, row: Row[Any], start: int, size: int) -> Piece:
    """So many bytes of a segment, with the times at which they were written."""
    return _piece(row, start, await _bytes(world, row, start, size))


async def _held(
    world: World,
    deployment_id: str,
    look: Callable[[], Awaitable[T]],
    has_news: Callable[[T], bool],
) -> T:
    """What `look` finds; without news it looks again after each wake, for a short while."""
    with world.broker.subscribe(deployment_topic(deployment_id)) as wakes:
        until = asyncio.get_running_loop().time() + HOLD_SECONDS
        found = await look()
        while not has_news(found) and (left := until - asyncio.get_running_loop().time()) > 0:
            await wakes.wait(left)
            found = await look()
    return found


async def _next_page(
    world: World, principal: Principal, name: StackName, deployment_id: str, cursor: Cursor
) -> Page:
    async with world.database.snapshot() as tx:
        row = await _find(tx, principal, name, deployment_id)
        if cursor.attempt != row.generation:
            cursor = Cursor(attempt=row.generation)
        begun = await steps.of_deployment(tx, row.id)
        known = _Known(
            row=row,
            steps=begun,
            segments=await log_reading.from_segment(tx, row.id, cursor.segment),
            made_update=await _made_update(tx, row, begun[cursor.headers :]),
        )
    if row.log_deleted_at is not None:
        return Page([Line(header=LogDeleted(days=_days(world)).message)], None)
    pieces, more = await _pieces(world, known.segments, cursor.offset)
    found = page(cursor, _steps(known), pieces, more=more, ended=known.ended)
    if found.next is None:
        found.lines.extend(_last_words(row))
    return found


async def _find(
    tx: Transaction, principal: Principal, name: StackName, deployment_id: str
) -> Row[Any]:
    stack = await access.stack(tx, principal, name)
    row = await deployments.find(tx, stack.id, deployment_id)
    if row is None:
        raise NotFound(what=f"Deployment '{deployment_id}'")
    return row


async def _made_update(tx: Transaction, row: Row[Any], unseen: Sequence[Row[Any]]) -> bool:
    """Whether the update that the deployment is for exists; asked while a reader waits for it."""
    if not any(step.name == _engine_step(row) for step in unseen):
        return False
    made = await updates.of_deployment(tx, row.id)
    return any(not each.dry_run or row.operation == Operation.PREVIEW for each in made)


def _steps(known: _Known) -> list[Step]:
    """The steps by their numbers, with the headers that clients expect."""
    found = [Step(header="")] * (max((row.step for row in known.steps), default=-1) + 1)
    for row in known.steps:
        found[row.step] = _step(known, row)
    return found


def _step(known: _Known, row: Row[Any]) -> Step:
    """A step as it is announced; the one that runs the engine waits for the engine's update.

    The Pulumi CLI leaves the log at the header `pulumi <operation>` and looks for the update: it
    fails when there is none, and would not show the log, which says why. So that header is told
    only once there is an update, and another when there was none. The CLI knows no display for
    the operations on drift: their header is the command that runs.
    """
    operation = Operation(known.row.operation)
    if row.name != _engine_step(known.row):
        return Step(header=row.name, started_at=row.started_at)
    if operation in _COMMANDS:
        return Step(header=_COMMANDS[operation], started_at=row.started_at)
    over = known.ended or row.ended_at is not None
    header = row.name if known.made_update else f"{row.name} (it made no update)"
    return Step(header=header, ready=known.made_update or over, started_at=row.started_at)


def _engine_step(row: Row[Any]) -> str:
    return f"pulumi {row.operation}"


_COMMANDS = {
    Operation.DETECT_DRIFT: "pulumi refresh --preview-only",
    Operation.REMEDIATE_DRIFT: "pulumi up --refresh",
}


def _last_words(row: Row[Any]) -> list[Line]:
    """What the log itself cannot say: why there is none, or that its end is missing."""
    if row.status == Status.SKIPPED:
        return [Line(header=f"Skipped: {_skipped(row)}", at_ms=row.ended_at)]
    if row.log_complete or row.status == Status.SUCCEEDED:
        return []
    why = row.message or f"The deployment {row.status}: {row.reason}."
    return [Line(header=f"The log ends here without its end. {why}", at_ms=row.ended_at)]


def _skipped(row: Row[Any]) -> str:
    match row.reason:
        case Reason.CANCELLED:
            return f"cancelled by {row.cancelled_by or 'someone'} before it began"
        case Reason.SUPERSEDED:
            return "a newer deployment took its place in the queue"
        case Reason.QUEUE_EXPIRED:
            return "it waited in the queue for too long"
    return row.message or str(row.reason)


async def _pieces(
    world: World, segments: Sequence[Row[Any]], offset: int
) -> tuple[list[Piece], bool]:
    """The bytes from an offset on, up to a window; and whether there are more already."""
    wanted: list[tuple[Row[Any], int, int]] = []
    room = WINDOW_BYTES_MAX
    for row in segments:
        if room == 0:
            break
        skip = min(max(0, offset - row.offset), row.length)
        size = min(row.length - skip, room)
        wanted.append((row, skip, size))
        room -= size
    turn = asyncio.Semaphore(READS_AT_ONCE)

    async def part(row: Row[Any], skip: int, size: int) -> Piece:
        async with turn:
            return await piece(world, row, skip, size)

    pieces = list(await asyncio.gather(*(part(*each) for each in wanted)))
    cut = bool(pieces) and not pieces[-1].whole
    more = cut or len(wanted) < len(segments) or len(segments) == log_reading.SEGMENTS_MAX
    return pieces, more


def _piece(row: Row[Any], skip: int, body: bytes) -> Piece:
    marks = [
        (row.offset + offset, at_ms)
        for offset, at_ms in msgspec.json.decode(row.marks, type=list[Mark])
    ]
    return Piece(
        segment=row.segment,
        step=row.step,
        offset=row.offset + skip,
        body=body,
        marks=marks,
        whole=skip + len(body) == row.length,
    )


async def _bytes(world: World, row: Row[Any], start: int, size: int) -> bytes:
    """So many bytes of a segment, all of them; raises LogUnreadable."""
    if size == 0:
        return b""
    try:
        body = await world.shared_reads.read(world.logs, row.object_key, start, size)
    except KeyError:
        raise LogUnreadable(segment=row.segment) from None
    if len(body) != size:
        raise LogUnreadable(segment=row.segment)
    return body


async def _numbered(
    world: World,
    principal: Principal,
    name: StackName,
    deployment_id: str,
    step: int,
    offset: int,
    count: int,
) -> StepLines:
    async with world.database.snapshot() as tx:
        row = await _find(tx, principal, name, deployment_id)
        begun = await steps.of_deployment(tx, row.id)
        begins = await log_reading.where_line_begins(tx, row.id, step, offset)
        end = await log_reading.end_of_step(tx, row.id, step)
    known = next((each for each in begun if each.step == step), None)
    if known is None:
        raise BadRequest(detail=f"step {step} has not begun; {len(begun)} steps have, from 0.")
    over = row.status in ENDED or known.ended_at is not None or begun[-1].step > step
    if begins is None or row.log_deleted_at is not None:
        return StepLines(name=known.name, lines=[], next_offset=None if over else offset)
    lines = NumberedLines(skip=offset - int(begins.breaks), count=count)
    await _collect(world, row.id, step, begins.segment, lines)
    if over:
        lines.close(end)
    left = (lines.is_full and (lines.taken_to or 0) < end) or not over
    return StepLines(
        name=known.name,
        lines=lines.lines,
        next_offset=offset + len(lines.lines) if left else None,
    )


async def _collect(
    world: World, deployment_id: str, step: int, segment: int, lines: NumberedLines
) -> None:
    """Read a step's segments until the lines are full; those without a break only where needed."""
    while not lines.is_full:
        async with world.database.snapshot() as tx:
            rows = await log_reading.from_segment(tx, deployment_id, segment)
        for row in rows:
            if row.step > step or lines.is_full:
                return
            if row.step == step:
                await _collect_segment(world, row, lines)
        if len(rows) < log_reading.SEGMENTS_MAX:
            return
        segment = rows[-1].segment + 1


async def _collect_segment(world: World, row: Row[Any], lines: NumberedLines) -> None:
    if row.line_breaks == 0 and lines.needs_only_breaks:
        lines.pass_over(row.length)
        return
    for start in range(0, row.length, CHUNK_BYTES):
        if lines.is_full:
            return
        lines.take(await piece(world, row, start, min(CHUNK_BYTES, row.length - start)))


def _days(world: World) -> str:
    return f"{world.config.deployments.log_retention_days:g}"
