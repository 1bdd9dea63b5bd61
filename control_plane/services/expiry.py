"""What ends by time: waiting too long, running too long, logs kept too long; and wrong pointers."""

from __future__ import annotations

from control_plane import metrics
from control_plane.domain.deployment import Reason
from control_plane.services import endings
from control_plane.services.grants import log_prefix
from control_plane.services.hints import deployment_recorded, wake_lease, wake_pools
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, log_segments, queue

BATCH_MAX = 200
"""How many rows one transaction of the janitor changes."""
OVERDUE_SECONDS = 60.0
"""How long after its own timeout and grace a runner is given before it is told to stop."""
DAY_SECONDS = 86400


@verb
async def expire_queued(world: World) -> int:
    """Skip deployments that have waited too long; returns how many."""
    before = world.now() - int(world.config.deployments.queue_expiry_seconds * 1000)
    async with world.database.snapshot() as tx:
        rows = await deployments.queued_before(tx, before, BATCH_MAX)
    if not rows:
        return 0
    organizations = {row.organization_id for row in rows}
    async with world.database.transaction() as tx:
        await queue.lock_organizations(tx, organizations)
        stack_ids: set[str] = set()
        for organization_id in organizations:
            ids = [row.id for row in rows if row.organization_id == organization_id]
            stack_ids |= await endings.skip(world, tx, organization_id, ids, Reason.QUEUE_EXPIRED)
        ready = await queue.refresh(tx, stack_ids=stack_ids, organization_ids=organizations)
        wake_pools(world, tx, ready)
    return len(rows)


@verb
async def stop_overdue(world: World) -> int:
    """Tell deployments to stop now that are long past their timeout; returns how many.

    A runner keeps the time itself; this is for one that does not.
    """
    config = world.config.deployments
    allowed = config.timeout_seconds + config.grace_seconds + OVERDUE_SECONDS
    before = world.now() - int(allowed * 1000)
    async with world.database.snapshot() as tx:
        ids = await deployments.overdue(tx, before, BATCH_MAX)
    if not ids:
        return 0
    async with world.database.transaction() as tx:
        await deployments.stop_overdue(tx, ids, world.now())
        for deployment_id in ids:
            wake_lease(world, tx, deployment_id)
            deployment_recorded(world, tx, deployment_id)
    return len(ids)


@verb
async def delete_old_logs(world: World) -> int:
    """Delete logs that are over their time, objects first; returns of how many deployments.

    A crash in between leaves rows whose objects are gone; the next round deletes those too.
    """
    kept_ms = int(world.config.deployments.log_retention_days * DAY_SECONDS * 1000)
    async with world.database.snapshot() as tx:
        rows = await deployments.with_old_logs(tx, world.now() - kept_ms, BATCH_MAX)
    for row in rows:
        await world.logs.delete_prefix(log_prefix(row.organization_id, row.stack_id, row.id))
    if not rows:
        return 0
    async with world.database.transaction() as tx:
        for row in rows:
            await log_segments.forget(tx, row.id)
            await deployments.change(tx, row.position, log_deleted_at=world.now())
    return len(rows)


@verb
async def repair_pointers(world: World) -> int:
    """Mend pointers of the queue that are not what the deployments say; returns how many.

    None ever should be: this is for what nobody has thought of.
    """
    async with world.database.snapshot() as tx:
        heads = await queue.stacks_with_wrong_head(tx, BATCH_MAX)
        lines = await queue.organizations_with_wrong_line(tx, BATCH_MAX)
    if not heads and not lines:
        return 0
    organizations = {row.organization_id for row in heads} | set(lines)
    async with world.database.transaction() as tx:
        await queue.lock_organizations(tx, organizations)
        await queue.drop_orphans(tx)
        await queue.refresh(tx, stack_ids=[row.id for row in heads], organization_ids=organizations)
        await queue.add_missing_lines(tx, organizations)
        ready = await queue.refresh_organizations(tx, organizations)
        wake_pools(world, tx, ready)
    metrics.QUEUE_POINTERS_MENDED.inc(len(heads) + len(lines))
    return len(heads) + len(lines)
