"""Deliveries, looked into one after another: what each means, and what came of it.

A delivery that fails is tried again, later each time; what it had queued by then is not queued
twice, because each deployment's id is made from the delivery and the stack.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row

from control_plane.domain.github import events
from control_plane.domain.github.payloads import BadPayload, parse
from control_plane.errors import PoolOffline, Problem, QueueFull
from control_plane.services.github import changes, pulls, pushes
from control_plane.services.github.outcome import Outcome
from control_plane.services.github.ports import (
    GitHubLimited,
    GitHubProblem,
    GitHubUnavailable,
    GitUnavailable,
)
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import deliveries, installations

ROUND = 50
"""How many deliveries one look takes."""
AT_ONCE = 4
"""How many repositories are looked into at the same time."""
ATTEMPTS_MAX = 12
PATIENCE_MS = 3 * 86_400_000
WAITED_OUT = (GitHubUnavailable, GitHubLimited, GitUnavailable, QueueFull, PoolOffline)
"""What ends by itself, sooner or later."""
DELAY_MS = 1_000
DELAY_MAX_MS = 900_000
UNCLAIMED = (
    "The installation is claimed by no organization of this server. An administrator claims it at"
    " Settings > Integrations."
)

log = structlog.get_logger()


async def process_waiting(world: World) -> int:
    """Look into every delivery whose turn it is; returns how many.

    Those of one repository follow each other; one that makes us wait does not hold up the others'.
    """
    done = 0
    gate = asyncio.Semaphore(AT_ONCE)
    while rows := await next_waiting(world):
        lines: dict[tuple[int | None, str], list[Row[Any]]] = {}
        for row in rows:
            lines.setdefault((row.installation_id, row.repository), []).append(row)
        await asyncio.gather(*(_in_turn(world, line, gate) for line in lines.values()))
        done += len(rows)
    return done


async def _in_turn(world: World, rows: list[Row[Any]], gate: asyncio.Semaphore) -> None:
    for row in rows:
        async with gate:
            await process(world, row)


PAYLOADS_KEPT_MS = 14 * 86_400_000
KEPT_MS = 90 * 86_400_000
FORGET_MAX = 500


@verb
async def forget_old(world: World) -> None:
    """Drop payloads after two weeks, and deliveries with what came of them after ninety days."""
    now = world.now()
    async with world.database.transaction() as tx:
        await deliveries.forget_payloads(tx, now - PAYLOADS_KEPT_MS, FORGET_MAX)
        await deliveries.remove_old(tx, now - KEPT_MS, FORGET_MAX)


@verb
async def next_waiting(world: World) -> list[Row[Any]]:
    """Deliveries whose turn it is, in the order in which they came."""
    async with world.database.snapshot() as tx:
        return list(await deliveries.waiting(tx, world.now(), ROUND))


@verb
async def process(world: World, row: Row[Any]) -> None:
    """Look into one delivery, and note what came of it."""
    try:
        event = parse(row.event, zlib.decompress(row.payload))
        outcome = await _handled(world, row, event)
    except BadPayload as problem:
        await _fail(world, row, str(problem))
    except GitHubProblem as problem:
        await _later(world, row, problem)
    except (QueueFull, PoolOffline) as problem:
        await _later(world, row, problem)
    except Problem as problem:
        await _fail(world, row, problem.message)
    except Exception:
        log.exception("a delivery was not processed", action="github", delivery=row.id)
        await _later(world, row, None)
    else:
        await _note(world, row, outcome)


async def _handled(world: World, row: Row[Any], event: events.Event) -> Outcome:
    """What follows from an event."""
    match event:
        case events.Ignored():
            return Outcome(summary=event.event, message=event.why, ignored=True)
        case events.Ping():
            return Outcome(summary="ping", message="GitHub reaches this server.")
        case events.Installation():
            return await changes.installation_changed(world, event)
        case events.InstallationRepositories():
            return await changes.repositories_changed(world, event)
        case events.AccountRenamed():
            return await changes.account_renamed(world, event)
        case events.AuthorizationRevoked():
            return await changes.authorization_revoked(world, event)
        case events.RepositoryChanged():
            return await changes.repository_changed(world, event)
        case _:
            return await _of_organization(world, row, event)


async def _of_organization(
    world: World,
    row: Row[Any],
    event: events.Push | events.PullRequest | events.CheckRerequested | events.Approval,
) -> Outcome:
    """What follows from something that happened in a repository."""
    summary = summary_of(event)
    async with world.database.snapshot() as tx:
        installation = await installations.find(tx, event.installation_id or 0)
    if installation is None or installation.organization_id is None:
        return Outcome(summary=summary, message=UNCLAIMED, ignored=True)
    if installation.suspended_at is not None:
        return Outcome(summary=summary, message="The installation is suspended.", ignored=True)
    await changes.repository_seen(world, installation.id, event.repository)
    match event:
        case events.Push():
            return await pushes.pushed(world, installation, row.id, event, summary)
        case events.PullRequest():
            return await pulls.changed(world, installation, row.id, event, summary)
        case events.Approval():
            return await pulls.approved_by_comment(world, installation, row.id, event, summary)
        case events.CheckRerequested():
            return await pulls.check_rerequested(world, installation, row.id, event, summary)


def summary_of(
    event: events.Push | events.PullRequest | events.CheckRerequested | events.Approval,
) -> str:
    """What happened, in few words."""
    match event:
        case events.Push(deleted=True):
            return f"{event.branch or event.tag or event.ref} was deleted"
        case events.Push():
            what = f"tag {event.tag}" if event.tag else event.branch or event.ref
            return f"push to {what}: {event.commit[:8]} {event.head.title if event.head else ''}"
        case events.PullRequest():
            return f"#{event.number} {event.action}: {event.title}"
        case events.CheckRerequested():
            return f"checks of {event.commit[:8]} are wanted again"
        case events.Approval():
            return f"{event.author.login} approves {event.commit[:8]} of #{event.number}"


async def _note(world: World, row: Row[Any], outcome: Outcome) -> None:
    verdicts = msgspec.json.encode(outcome.verdicts) if outcome.verdicts else b""
    async with world.database.transaction() as tx:
        installation = await installations.find(tx, row.installation_id or 0)
        claimed_by = installation.organization_id if installation is not None else None
        await deliveries.change(
            tx,
            row.id,
            status="ignored" if outcome.ignored else "processed",
            summary=outcome.summary[:500],
            message=outcome.message[:2000],
            verdicts=zlib.compress(verdicts) if verdicts else None,
            deployment_count=outcome.deployment_count,
            organization_id=row.organization_id or claimed_by,
            processed_at=world.now(),
            attempts=row.attempts + 1,
        )


async def _fail(world: World, row: Row[Any], message: str) -> None:
    """Trying again would change nothing."""
    async with world.database.transaction() as tx:
        await deliveries.change(
            tx,
            row.id,
            status="failed",
            message=message[:2000],
            processed_at=world.now(),
            attempts=row.attempts + 1,
        )


async def _later(world: World, row: Row[Any], problem: Problem | None) -> None:
    """Try again, later each time; GitHub may say when. An outage is waited out for three days."""
    attempts = row.attempts + 1
    message = problem.message if problem else "An error of this server; its log says more."
    is_over = world.now() - row.received_at > PATIENCE_MS
    if is_over or (attempts >= ATTEMPTS_MAX and not isinstance(problem, WAITED_OUT)):
        await _fail(world, row, f"{message} It was tried {attempts} times.")
        return
    delay = min(DELAY_MAX_MS, DELAY_MS * 2**attempts)
    asked_for = problem.retry_after_seconds if isinstance(problem, GitHubLimited) else 0.0
    async with world.database.transaction() as tx:
        await deliveries.change(
            tx,
            row.id,
            message=message[:2000],
            attempts=attempts,
            next_attempt_at=world.now() + max(delay, int(asked_for * 1000)),
        )
