"""How a deployment ends, and all that ends with it, in one transaction: parts of several verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane import metrics
from control_plane.domain import deployment
from control_plane.domain.deployment import Operation, Reason, Status
from control_plane.domain.grant_settings import skips_intermediate
from control_plane.services.hints import stack_changed, wake_lease, wake_pools
from control_plane.services.world import World
from control_plane.store import deployments, log_segments, queue, steps
from control_plane.store.transaction import Transaction
from control_plane.store.updates import end_updates_of_deployment, forget_unstarted

CHANGING = (Operation.UPDATE, Operation.REFRESH, Operation.DESTROY, Operation.REMEDIATE_DRIFT)
"""Operations that write the stack's state: one that succeeds shows that the stack is well."""


async def end(
    world: World,
    tx: Transaction,
    row: Row[Any],
    status: Status,
    reason: Reason,
    *,
    message: str = "",
    exit_code: int | None = None,
) -> None:
    """End a live deployment: its lease, its updates, its steps; and let the queue go on."""
    now = world.now()
    wanted = deployment.move(Status(row.status), status)
    moved = await deployments.move(
        tx,
        row.position,
        wanted,
        now,
        reason=str(reason),
        message=message,
        exit_code=exit_code,
        ended_at=now,
        **deployments.NO_LEASE,
    )
    if not moved:
        raise deployment.IllegalMove(f"deployment {row.id} is no longer {row.status}")
    await steps.fail_running(tx, row.id, now)
    await end_updates_of_deployment(tx, row.id, now)
    if status is Status.SUCCEEDED and row.operation in CHANGING:
        await deployments.mark_for_recovery(tx, row.stack_id, None)
    await _skip_intermediate(world, tx, row)
    await _go_on(world, tx, row)
    tx.after_commit(metrics.DEPLOYMENTS_ENDED.labels(str(status), str(reason)).inc)


async def lose(
    world: World, tx: Transaction, row: Row[Any], reason: Reason, message: str = ""
) -> Status:
    """A live deployment's runner is gone: decide what becomes of it; returns its status."""
    engine_started = row.engine_started_at is not None
    wanted = deployment.after_lost_runner(
        engine_started=engine_started,
        attempt=row.generation,
        attempts_max=world.config.deployments.attempts_max,
    )
    if row.cancel_requested_at is not None:
        wanted, reason = Status.FAILED, cancel_reason(row)
    tx.after_commit(metrics.RUNNERS_LOST.labels(str(wanted)).inc)
    if wanted is Status.NOT_STARTED:
        await _queue_again(world, tx, row)
        return wanted
    text = message or _lost_text(engine_started)
    await end(world, tx, row, wanted, reason, message=text)
    if engine_started:
        await deployments.mark_for_recovery(tx, row.stack_id, world.now())
    return wanted


def _lost_text(engine_started: bool) -> str:
    if engine_started:
        return (
            "The runner was lost while the Pulumi engine was at work. Check the stack (a refresh"
            " shows what is really there) before you deploy again."
        )
    return "The runner was lost before the Pulumi engine started."


def cancel_reason(row: Row[Any]) -> Reason:
    """Who asked for the stop: a person has a name; the janitor, for time's sake, has none."""
    return Reason.TIMED_OUT if row.cancelled_by is None else Reason.CANCELLED


async def _queue_again(world: World, tx: Transaction, row: Row[Any]) -> None:
    """Back to its old place under the same version, as if it had never been granted."""
    await deployments.move(
        tx,
        row.position,
        deployment.move(Status(row.status), Status.NOT_STARTED),
        world.now(),
        accepted_at=None,
        started_at=None,
        last_event=0,
        log_length=0,
        log_complete=False,
        **deployments.NO_LEASE,
    )
    await steps.forget(tx, row.id)
    await log_segments.forget(tx, row.id)
    await forget_unstarted(tx, row.id)
    await _go_on(world, tx, row)


async def _skip_intermediate(world: World, tx: Transaction, row: Row[Any]) -> None:
    """Of each operation only the newest waiting deployment stays, if that one wants it so.

    At the end of a deployment and at no other time, never across operations: as Pulumi Cloud does.
    """
    for newest in await deployments.newest_queued(tx, row.stack_id):
        if not skips_intermediate(msgspec.json.decode(newest.settings)):
            continue
        older = await deployments.queued_older(tx, row.stack_id, newest.operation, newest.position)
        await skip(world, tx, row.organization_id, older, Reason.SUPERSEDED)


async def skip(
    world: World,
    tx: Transaction,
    organization_id: str,
    deployment_ids: Sequence[str],
    reason: Reason,
    **values: Any,
) -> set[str]:
    """End queued deployments; returns their stacks, whose pointers the caller refreshes."""
    now = world.now()
    skipped = await deployments.skip(tx, deployment_ids, reason, now, **values)
    for each in skipped:
        stack_changed(world, tx, each.id, each.stack_id, organization_id)
        tx.after_commit(metrics.DEPLOYMENTS_ENDED.labels(str(Status.SKIPPED), str(reason)).inc)
    return {each.stack_id for each in skipped}


async def _go_on(world: World, tx: Transaction, row: Row[Any]) -> None:
    ready = await queue.refresh(
        tx, stack_ids=[row.stack_id], organization_ids=[row.organization_id]
    )
    wake_pools(world, tx, ready)
    wake_lease(world, tx, row.id)
    stack_changed(world, tx, row.id, row.stack_id, row.organization_id)
