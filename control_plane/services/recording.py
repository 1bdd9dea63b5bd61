"""Record what a runner says of its deployment: numbered events, each once, under its lease."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain import deployment, tokens
from control_plane.domain.deployment import Reason, Status
from control_plane.errors import BadRequest
from control_plane.services import endings
from control_plane.services.grants import attempt_prefix
from control_plane.services.hints import deployment_recorded, stack_changed
from control_plane.services.leases import lease_end, reason_of, require_lease
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, log_segments, steps
from control_plane.store.transaction import Transaction
from runner_actors.contract import (
    AnyEvent,
    Concluded,
    Events,
    LeaseState,
    LogEnded,
    LogSegment,
    SourceResolved,
    StepEnded,
    StepStarted,
    segment_key,
)

EVENTS_MAX = 1000
MESSAGE_CHARACTERS_MAX = 4000
NAME_CHARACTERS_MAX = 200
STEPS_MAX = 1000


class _Recording(msgspec.Struct):
    """The deployment while a batch is being recorded: its row, and what the events change in it."""

    world: World
    tx: Transaction
    row: Row[Any]
    now: int
    changes: dict[str, Any] = {}
    segments: list[dict[str, Any]] = []
    segment_count: int | None = None
    concluded: Concluded | None = None
    started: bool = False

    def value(self, name: str) -> Any:
        """A column as it is after the events so far."""
        return self.changes.get(name, getattr(self.row, name))

    def clip(self, at_ms: int) -> int:
        """A runner's time, kept between the grant and now: its clock is not ours."""
        return max(min(at_ms, self.now), self.row.accepted_at or 0)


@verb
async def record(world: World, deployment_id: str, token: str, batch: Events) -> LeaseState:
    """Record a batch in one transaction and renew the lease; sent again, it changes nothing.

    Events after a gap are left out, and the answer's `acknowledged` tells. Raises LeaseEnded.
    """
    if len(batch.events) > EVENTS_MAX:
        raise BadRequest(detail=f"A batch holds at most {EVENTS_MAX} events.")
    concludes = any(isinstance(event, Concluded) for event in batch.events)
    async with world.database.transaction() as tx:
        row = await deployments.lock(tx, deployment_id, with_queue=concludes)
        require_lease(world, row, tokens.digest(token), batch.generation)
        assert row is not None  # noqa: S101 - require_lease refuses None
        recording = _Recording(world, tx, row, world.now())
        acknowledged = await _apply_all(recording, batch.events)
        await _write(recording, acknowledged)
    return LeaseState(
        lease_seconds=world.config.deployments.lease_seconds,
        cancel=row.cancel_mode,
        cancelled_by=row.cancelled_by or "",
        acknowledged=acknowledged,
    )


async def _apply_all(recording: _Recording, events: list[AnyEvent]) -> int:
    """Apply what is new and follows without a gap; returns the last number that is recorded."""
    last: int = recording.row.last_event
    for event in events:
        if event.number <= last:
            continue
        if event.number != last + 1 or recording.concluded is not None:
            break
        await _apply(recording, event)
        last = event.number
    return last


async def _apply(recording: _Recording, event: AnyEvent) -> None:
    match event:
        case StepStarted():
            await _step_started(recording, event)
        case StepEnded():
            await steps.finish(
                recording.tx,
                recording.row.id,
                event.step,
                succeeded=event.succeeded,
                message=event.message[:MESSAGE_CHARACTERS_MAX],
                at=recording.clip(event.at_ms),
            )
        case SourceResolved():
            recording.changes |= {
                "source_commit": event.commit[:NAME_CHARACTERS_MAX],
                "source_message": event.message[:MESSAGE_CHARACTERS_MAX],
                "source_author": event.author[:NAME_CHARACTERS_MAX],
            }
        case LogSegment():
            await _log_segment(recording, event)
        case LogEnded():
            await _log_ended(recording, event)
        case Concluded():
            recording.concluded = event


async def _step_started(recording: _Recording, event: StepStarted) -> None:
    if not 0 <= event.step < STEPS_MAX:
        raise BadRequest(detail=f"step {event.step} is not between 0 and {STEPS_MAX - 1}.")
    at = recording.clip(event.at_ms)
    name = event.name[:NAME_CHARACTERS_MAX]
    await steps.start(recording.tx, recording.row.id, event.step, name, at)
    if recording.row.status == Status.ACCEPTED and not recording.started:
        recording.started = True
        recording.changes |= {"started_at": at, "waiting_for": ""}


async def _log_segment(recording: _Recording, event: LogSegment) -> None:
    count, length = await _segment_count(recording), recording.value("log_length")
    if (event.segment, event.offset) != (count, length) or event.length < 0:
        raise BadRequest(
            detail=f"log segment {event.segment} at offset {event.offset} does not follow: segment"
            f" {count} at offset {length} is next."
        )
    row = recording.row
    prefix = attempt_prefix(row.organization_id, row.stack_id, row.id, row.generation)
    recording.segments.append(
        {
            "deployment_id": row.id,
            "segment": event.segment,
            "step": event.step,
            "offset": event.offset,
            "length": event.length,
            "line_breaks": event.line_breaks,
            "object_key": segment_key(prefix, event.segment),
            "marks": msgspec.json.encode(event.marks).decode(),
        }
    )
    recording.changes["log_length"] = length + event.length


async def _segment_count(recording: _Recording) -> int:
    if recording.segment_count is None:
        recording.segment_count = await log_segments.count(recording.tx, recording.row.id)
    return recording.segment_count + len(recording.segments)


async def _log_ended(recording: _Recording, event: LogEnded) -> None:
    """A log is complete when the end marker says as much as has been announced."""
    announced = (await _segment_count(recording), recording.value("log_length"))
    recording.changes["log_complete"] = announced == (event.segments, event.length)


async def _write(recording: _Recording, acknowledged: int) -> None:
    world, tx, row = recording.world, recording.tx, recording.row
    if recording.segments:
        await log_segments.add(tx, recording.segments)
    values = recording.changes | {
        "last_event": acknowledged,
        "lease_expires_at": lease_end(world, recording.now),
    }
    if recording.started:
        wanted = deployment.move(Status(row.status), Status.RUNNING)
        await deployments.move(tx, row.position, wanted, recording.now, **values)
        stack_changed(world, tx, row.id, row.stack_id, row.organization_id)
    else:
        await deployments.change(tx, row.position, modified_at=recording.now, **values)
    deployment_recorded(world, tx, row.id)
    if recording.concluded is not None:
        await _conclude(recording, recording.concluded)


async def _conclude(recording: _Recording, event: Concluded) -> None:
    row: Row[Any] | None = recording.row
    if recording.started:
        row = await deployments.by_id(recording.tx, recording.row.id)
    assert row is not None  # noqa: S101 - it was read and locked in this transaction
    message = event.message[:MESSAGE_CHARACTERS_MAX]
    if not event.succeeded and event.reason == Reason.RUNNER_LOST:
        # Whoever notices that a runner is gone, here its own rest, one place decides what follows.
        await endings.lose(recording.world, recording.tx, row, Reason.RUNNER_LOST, message)
        return
    status, reason = _outcome(row, event)
    await endings.end(
        recording.world,
        recording.tx,
        row,
        status,
        reason,
        message=message,
        exit_code=event.exit_code,
    )


def _outcome(row: Row[Any], event: Concluded) -> tuple[Status, Reason]:
    """How and why it ended; what was to be cancelled and did not succeed, was cancelled."""
    if event.succeeded:
        return Status.SUCCEEDED, Reason.COMPLETED
    if row.cancel_requested_at is not None:
        return Status.FAILED, endings.cancel_reason(row)
    return Status.FAILED, reason_of(event.reason, Reason.INTERNAL)
