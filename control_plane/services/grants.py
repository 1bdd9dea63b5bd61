"""Grants: the next deployment that a pool may run, under a lease; and the poll that asks for it."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from control_plane import metrics
from control_plane.domain import deployment, tokens
from control_plane.domain.deployment import Status
from control_plane.domain.grant_settings import work_of
from control_plane.domain.principal import Pool
from control_plane.errors import Conflict
from control_plane.services import leadership
from control_plane.services.github.grant_facts import grant_facts
from control_plane.services.hints import pool_topic, stack_changed
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, queue
from control_plane.store.transaction import Transaction
from runner_actors.contract import Grant, Grants, LiveGrant, LiveGrants, Poll, seal, seal_context

SLIPWAY_VERSION = version("slipway")

STALE_POINTERS_MAX = 20
"""How many wrong pointers one grant mends before it gives up; the janitor mends the rest."""
POLL_SECONDS_MAX = 60.0
GRANTS_MAX = 100

log = structlog.get_logger()


async def poll(world: World, pool: Pool, request: Poll, gone: asyncio.Event) -> Grants:
    """Grants for the gateway that leads the pool, held until there is one or the time is over.

    `gone` is set when the client is no longer there: then nothing more is granted. A grant whose
    answer is lost all the same is found by `live_grants`, or by the end of its lease.
    """
    if pool.public_key is None:
        raise Conflict(detail="Register the pool's key first.")
    wait_seconds = max(0.0, min(request.wait_seconds, POLL_SECONDS_MAX))
    request = msgspec.structs.replace(request, wait_seconds=wait_seconds)
    deadline = time.monotonic() + wait_seconds
    term: int | None = None
    with world.broker.subscribe(pool_topic(pool.id)) as subscription:
        while not gone.is_set():
            retry = None
            if term is None:
                standing = await leadership.lead(world, pool, request)
                term, retry = standing.term, standing.retry
            grants = [] if term is None else await _grants(world, pool, request, gone)
            left = deadline - time.monotonic()
            if grants or left <= 0:
                return Grants(leader=term is not None, grants=grants)
            await _wait(subscription, left if retry is None else min(left, retry), gone)
    if term is not None:
        await leadership.stop_leading(world, pool, request.gateway_id, term)
    return Grants(leader=False)


async def _wait(subscription: Any, seconds: float, gone: asyncio.Event) -> None:
    """Until a commit says that there may be work, the client goes, or the time is over."""
    waits = {
        asyncio.ensure_future(subscription.wait(seconds)),
        asyncio.ensure_future(gone.wait()),
    }
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _grants(world: World, pool: Pool, request: Poll, gone: asyncio.Event) -> list[Grant]:
    found: list[Grant] = []
    more = request.ready
    while more and len(found) < min(request.grants_max, GRANTS_MAX) and not gone.is_set():
        # Shielded: a transaction that has begun ends by itself, whatever becomes of the client.
        taken = await asyncio.shield(take(world, pool))
        found += [taken.grant] if taken.grant is not None else []
        more = taken.more
    return found


async def grant(world: World, pool: Pool) -> Grant | None:
    """Lease the pool the oldest deployment that may start; None when none may."""
    return (await take(world, pool)).grant


class Taken(msgspec.Struct, frozen=True):
    """What a pool was leased, and whether there may be more for it."""

    grant: Grant | None = None
    more: bool = False


@verb
async def take(world: World, pool: Pool) -> Taken:
    """Lease the pool the oldest deployment that may start, in one transaction."""
    for _ in range(STALE_POINTERS_MAX):
        runner_token = tokens.new(tokens.DEPLOYMENT_RUNNER)
        cli_token = tokens.new(tokens.DEPLOYMENT_CLI)
        try:
            async with world.database.transaction() as tx:
                row = await _take_next(world, tx, pool, runner_token, cli_token)
                more = row is not None and await queue.next_organization(tx, pool.id) is not None
        except IntegrityError:
            # The index is the last judge of "one at a time"; what led here was a wrong pointer.
            log.warning("a stack was granted twice at once", action="grant", pool=pool.id)
            continue
        if row is None:
            return Taken()
        metrics.QUEUE_SECONDS.observe((world.now() - row.created_at) / 1000)
        return Taken(await _grant_of(world, pool, row, runner_token, cli_token), more)
    return Taken()


async def _take_next(
    world: World, tx: Transaction, pool: Pool, runner_token: str, cli_token: str
) -> Row[Any] | None:
    for _ in range(STALE_POINTERS_MAX):
        organization_id = await queue.next_organization(tx, pool.id)
        if organization_id is None:
            return None
        await queue.lock_organizations(tx, [organization_id])
        row = await queue.next_deployment(tx, organization_id, pool.id)
        if row is not None and _may_start(row, pool):
            await _lease(world, tx, row, runner_token, cli_token)
            return row
        metrics.QUEUE_POINTERS_MENDED.inc()
        await _mend(tx, organization_id, row)
    return None


def _may_start(row: Row[Any], pool: Pool) -> bool:
    """Judged from the deployments themselves; a pointer only proposes."""
    return bool(
        row.status == Status.NOT_STARTED
        and row.position == row.oldest_queued
        and row.pool_id == pool.id
        and row.stack_paused_at is None
        and row.organization_paused_at is None
        and not row.stack_is_live
        and row.live_count < row.deployment_limit
    )


async def _mend(tx: Transaction, organization_id: str, row: Row[Any] | None) -> None:
    stack_ids = [row.stack_id] if row is not None else []
    if row is None:
        # It names a deployment that is gone, with its stack; so are the stack's other pointers.
        await queue.drop_orphans(tx)
    await queue.refresh(tx, stack_ids=stack_ids, organization_ids=[organization_id])


async def _lease(
    world: World, tx: Transaction, row: Row[Any], runner_token: str, cli_token: str
) -> None:
    now = world.now()
    await deployments.move(
        tx,
        row.position,
        deployment.move(Status(row.status), Status.ACCEPTED),
        now,
        generation=row.generation + 1,
        accepted_at=now,
        lease_expires_at=now + int(world.config.deployments.lease_seconds * 1000),
        runner_digest=tokens.digest(runner_token),
        cli_digest=tokens.digest(cli_token),
    )
    await queue.refresh(tx, stack_ids=[row.stack_id], organization_ids=[row.organization_id])
    stack_changed(world, tx, row.id, row.stack_id, row.organization_id)


def log_prefix(organization_id: str, stack_id: str, deployment_id: str) -> str:
    """Where all log segments of a deployment are, whatever attempt wrote them."""
    return f"logs/{organization_id}/{stack_id}/{deployment_id}"


def attempt_prefix(organization_id: str, stack_id: str, deployment_id: str, generation: int) -> str:
    """Where one attempt writes: apart, so that a runner that was given up cannot write over it."""
    return f"{log_prefix(organization_id, stack_id, deployment_id)}/{generation}"


async def _grant_of(
    world: World, pool: Pool, row: Row[Any], runner_token: str, cli_token: str
) -> Grant:
    config = world.config.deployments
    generation = row.generation + 1
    stack_path = f"{row.organization}/{row.project}/{row.stack}"
    work = work_of(msgspec.json.decode(row.settings))
    facts = await grant_facts(world, row, work.source)
    source = work.source
    if source is not None:
        source = msgspec.structs.replace(
            source, token_wanted=facts.token_wanted, branch_name=facts.branch_name
        )
    return Grant(
        deployment_id=row.id,
        generation=generation,
        stack_id=row.stack_id,
        organization=row.organization,
        project=row.project,
        stack=row.stack,
        version=row.version,
        operation=row.operation,
        slot_limit=row.deployment_limit,
        lease_seconds=config.lease_seconds,
        timeout_seconds=config.timeout_seconds,
        grace_seconds=config.grace_seconds,
        sealed_runner_token=_sealed(pool, row, generation, "runner", runner_token),
        sealed_cli_token=_sealed(pool, row, generation, "cli", cli_token),
        api_url=world.config.public_url,
        console_url=f"{world.config.public_url}/{stack_path}/deployments/{row.version}",
        source=source,
        environment=work.environment,
        pre_run_commands=work.pre_run_commands,
        skip_install_dependencies=work.skip_install_dependencies,
        shell=work.shell,
        delete_after_destroy=work.delete_after_destroy,
        trust=facts.trust,
        template_stack_id=facts.template_stack_id,
        template_stack=facts.template_stack,
        targets=work.targets,
        target_dependents=work.target_dependents,
        refresh=work.refresh,
        message=work.message,
        trigger=row.trigger,
        requested_by=row.requester,
        commit_message=row.source_message,
        caches_cleared_at_ms=row.caches_cleared_at or 0,
        log_prefix=attempt_prefix(row.organization_id, row.stack_id, row.id, generation),
        slipway_version=SLIPWAY_VERSION,
    )


def _sealed(pool: Pool, row: Row[Any], generation: int, kind: str, token: str) -> str:
    assert pool.public_key is not None  # noqa: S101 - poll refuses a pool without a key
    name = f"lease/{row.id}/{generation}/{kind}"
    return seal(token.encode(), pool.public_key, seal_context(row.stack_id, name))


@verb
async def live_grants(world: World, pool: Pool) -> LiveGrants:
    """What the pool holds, for a gateway that has come up anew."""
    async with world.database.snapshot() as tx:
        rows = await deployments.live_of_pool(tx, pool.id)
    return LiveGrants(
        grants=[
            LiveGrant(
                deployment_id=row.id,
                generation=row.generation,
                organization=row.organization,
                project=row.project,
                stack=row.stack,
                slot_limit=row.deployment_limit,
                status=row.status,
                lease_seconds=world.config.deployments.lease_seconds,
            )
            for row in rows
        ]
    )
