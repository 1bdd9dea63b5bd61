"""Telling GitHub: check runs, comments, commit statuses, GitHub deployments.

What GitHub shows is compared with what it should show, and only the difference is sent; so nothing
is told twice after a crash, and a burst of changes becomes one report of the last of them. A limit
of GitHub's, or its absence, only delays a report.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from sqlalchemy import Row

from control_plane.domain.deployment import ENDED, Operation
from control_plane.domain.github import comment, report
from control_plane.domain.github.telling import Told
from control_plane.services.github import app, telling_facts
from control_plane.services.github.app import Credentials
from control_plane.services.github.ports import (
    CheckRun,
    GitHubLimited,
    GitHubMissing,
    GitHubProblem,
    GitHubRefused,
    Place,
)
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import installations, pulls

ROUND = 20
AT_ONCE = 4
ATTEMPTS_MAX = 10
DELAY_MS = 2_000
DELAY_MAX_MS = 900_000

log = structlog.get_logger()


@dataclass
class _Report:
    """One deployment's report under way."""

    world: World
    place: Place
    row: Row[Any]
    told: Told
    sent: dict[str, str]
    """Digests of what GitHub shows already, by the place where it shows it."""
    noted: dict[str, Any]
    """Columns to note, whatever happens later."""

    def is_new(self, part: str, shown: Any) -> bool:
        """Whether GitHub shows something else there."""
        digest = hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:16]
        if self.sent.get(part) == digest:
            return False
        self._digest = digest
        return True

    def keep(self, part: str) -> None:
        """GitHub shows it now."""
        self.sent[part] = self._digest


async def report_all(world: World) -> int:
    """Send every report whose turn it is; returns how many there were."""
    credentials = await app.find_credentials(world)
    if credentials is None:
        return 0
    done = 0
    while rows := await _due(world):
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_guarded(world, credentials, row, gate) for row in rows))
        done += len(rows)
    return done


@verb
async def _due(world: World) -> Sequence[Row[Any]]:
    async with world.database.snapshot() as tx:
        return await pulls.open_reports(tx, world.now(), ROUND)


async def _guarded(
    world: World, credentials: Credentials, row: Row[Any], gate: asyncio.Semaphore
) -> None:
    async with gate:
        try:
            await send(world, credentials, row)
        except Exception:
            log.exception("a report was not sent", action="github", deployment=row.deployment_id)
            await _later(world, row, "An error of this server; its log says more.", 0)


@verb
async def send(world: World, credentials: Credentials, row: Row[Any]) -> None:
    """Bring what GitHub shows of one deployment up to date."""
    async with world.database.snapshot() as tx:
        installation = await installations.find(tx, row.installation_id)
        repository = await installations.repository(tx, row.repository_id)
    if installation is None or installation.suspended_at is not None or repository is None:
        await _give_up(world, row, {}, "The App is not installed there any more.")
        return
    made = _Report(
        world=world,
        place=Place(credentials.key, row.installation_id, repository.full_name),
        row=row,
        told=await telling_facts.told(world, row, repository.full_name),
        sent=msgspec.json.decode(row.reported_state, type=dict[str, str]),
        noted={},
    )
    try:
        await _send_parts(made, with_comment=installation.comments)
    except (GitHubMissing, GitHubRefused) as problem:
        await _refused(made, problem)
    except GitHubProblem as problem:
        seconds = problem.retry_after_seconds if isinstance(problem, GitHubLimited) else 0.0
        await _note_state(made)
        await _later(world, row, problem.message, seconds)
        if isinstance(problem, GitHubLimited):
            await _delay_others(world, row, seconds)
    except BaseException:
        await _note_state(made)
        raise
    else:
        await _sent(made)


async def _send_parts(made: _Report, *, with_comment: bool) -> None:
    row = made.row
    await _check_run(made)
    if row.pull_request is None:
        await _commit_status(made)
    changes = row.operation in (Operation.UPDATE, Operation.DESTROY)
    if changes:
        await _github_deployment(made)
    if row.pull_request is not None and with_comment:
        await _comment(made)


async def _check_run(made: _Report) -> None:
    shown = report.check_run(made.told)
    if not made.is_new("check", shown):
        return
    row = made.row
    check = CheckRun(
        **msgspec.structs.asdict(shown),
        details_url=made.told.url,
        external_id=row.deployment_id,
        started_at_ms=row.started_at,
        completed_at_ms=row.ended_at if shown.status == "completed" else None,
    )
    known = made.noted.get("check_run_id") or row.check_run_id
    if known is None:
        made.noted["check_run_id"] = await made.world.github.create_check_run(
            made.place, row.sha, check
        )
    else:
        await made.world.github.update_check_run(made.place, known, check)
    made.keep("check")


async def _commit_status(made: _Report) -> None:
    shown = report.commit_status(made.told)
    if not made.is_new("status", shown):
        return
    await made.world.github.set_commit_status(
        made.place,
        made.row.sha,
        state=shown.state,  # type: ignore[arg-type]
        context=shown.context,
        description=shown.description,
        target_url=made.told.url,
    )
    made.keep("status")


async def _github_deployment(made: _Report) -> None:
    shown = report.deployment_status(made.told)
    if not made.is_new("deployment", shown):
        return
    known = made.noted.get("environment_id") or made.row.environment_id
    if known is None:
        known = await made.world.github.create_deployment(
            made.place,
            made.row.sha,
            environment=shown.environment,
            description=shown.description,
            transient=shown.transient,
        )
        made.noted["environment_id"] = known
    await made.world.github.set_deployment_status(
        made.place,
        known,
        state=shown.state,  # type: ignore[arg-type]
        log_url=made.told.url,
        description=shown.description,
    )
    made.keep("deployment")


async def _comment(made: _Report) -> None:
    """One comment for each stack: of an older deployment nothing more is said there."""
    world, row = made.world, made.row
    key = {
        "repository_id": row.repository_id,
        "pull_request": row.pull_request,
        "stack_id": row.stack_id,
    }
    async with world.database.snapshot() as tx:
        if await pulls.is_overtaken(tx, row.deployment_id, **key):
            return
        known = await pulls.comment(tx, row.repository_id, row.pull_request, row.stack_id)
    body = comment.render(made.told)
    digest = hashlib.sha256(body.encode()).digest()
    if known is not None and known.body_digest == digest:
        return
    comment_id = await _write_comment(made, known.comment_id if known else None, body)
    async with world.database.transaction() as tx:
        values = {"comment_id": comment_id, "body_digest": digest, "modified_at": world.now()}
        await pulls.save_comment(tx, key | values)


async def _write_comment(made: _Report, known: int | None, body: str) -> int:
    """Edit the stack's comment; it is looked for before another one is written."""
    github, number = made.world.github, made.row.pull_request
    if known is not None:
        try:
            return (await github.update_comment(made.place, known, body)).id
        except GitHubMissing:
            pass  # Somebody deleted it.
    found = await github.find_comment(made.place, number, comment.marker(made.told.stack_id))
    if found is not None:
        return (await github.update_comment(made.place, found.id, body)).id
    return (await github.create_comment(made.place, number, body)).id


# What is noted.


async def _sent(made: _Report) -> None:
    ended = made.row.status in ENDED
    async with made.world.database.transaction() as tx:
        await pulls.change_source(
            tx,
            made.row.deployment_id,
            is_open=not ended,
            reported_at=made.row.modified_at,
            reported_state=msgspec.json.encode(made.sent).decode(),
            report_attempts=0,
            report_problem="",
            **made.noted,
        )


async def _note_state(made: _Report) -> None:
    """What was sent before something failed is not sent again."""
    async with made.world.database.transaction() as tx:
        await pulls.change_source(
            tx,
            made.row.deployment_id,
            reported_state=msgspec.json.encode(made.sent).decode(),
            **made.noted,
        )


async def _refused(made: _Report, problem: GitHubProblem) -> None:
    """Trying again would change nothing: a repository is gone, a permission is missing."""
    await _note_state(made)
    if made.row.status in ENDED:
        await _give_up(made.world, made.row, made.noted, problem.message)
        return
    async with made.world.database.transaction() as tx:
        await pulls.change_source(
            tx,
            made.row.deployment_id,
            reported_at=made.row.modified_at,
            report_problem=problem.message[:1000],
        )


async def _give_up(world: World, row: Row[Any], noted: dict[str, Any], message: str) -> None:
    async with world.database.transaction() as tx:
        await pulls.change_source(
            tx, row.deployment_id, is_open=False, report_problem=message[:1000], **noted
        )


async def _later(world: World, row: Row[Any], message: str, seconds: float) -> None:
    attempts = row.report_attempts + 1
    if attempts >= ATTEMPTS_MAX and row.status in ENDED and not seconds:
        await _give_up(world, row, {}, message)
        return
    delay = max(min(DELAY_MAX_MS, DELAY_MS * 2**attempts), int(seconds * 1000))
    async with world.database.transaction() as tx:
        await pulls.change_source(
            tx,
            row.deployment_id,
            report_attempts=attempts,
            report_problem=message[:1000],
            next_report_at=world.now() + delay,
        )


async def _delay_others(world: World, row: Row[Any], seconds: float) -> None:
    """A limit is one of the whole installation."""
    async with world.database.transaction() as tx:
        until = world.now() + int(seconds * 1000)
        await pulls.delay_reports(tx, row.installation_id, until)
