"""What GitHub told while nobody listened: found by its list of deliveries, and by branches' heads.

GitHub keeps deliveries for three days and does not repeat one that failed. What is older is found
by comparing the heads of the branches that stacks follow with those that were seen last.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from sqlalchemy import Row

from control_plane.domain.github import triggers
from control_plane.services.github import app, changes, receiving
from control_plane.services.github.app import Credentials
from control_plane.services.github.ports import (
    Commit,
    Delivery,
    GitHubMissing,
    GitHubProblem,
    GitHubRefused,
    Place,
)
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import deliveries, installations

OVERLAP_MS = 600_000
"""How far each look goes back before the last one."""
PAGES_MAX = 50

log = structlog.get_logger()


@verb
async def find(world: World) -> int:
    """Look for what was missed; returns how many deliveries were found."""
    credentials = await app.find_credentials(world)
    if credentials is None:
        return 0
    await changes.refresh_all(world)
    return await _from_deliveries(world, credentials) + await _from_heads(world, credentials)


async def _from_deliveries(world: World, credentials: Credentials) -> int:
    now = world.now()
    async with world.database.snapshot() as tx:
        row = await installations.find_app(tx)
    since = (row.deliveries_checked_at if row is not None else None) or 0
    found, cursor, pages = 0, "", 0
    while pages < PAGES_MAX:
        page = await world.github.deliveries(credentials.key, cursor)
        found += await _take(world, credentials, page.items)
        pages, cursor = pages + 1, page.cursor
        oldest = min((each.delivered_at_ms for each in page.items), default=0)
        if not cursor or oldest < since - OVERLAP_MS:
            break
    async with world.database.transaction() as tx:
        await installations.change_app(tx, deliveries_checked_at=now)
    return found


async def _take(world: World, credentials: Credentials, items: tuple[Delivery, ...]) -> int:
    """Fetch those that we do not know. They come newest first, and are taken oldest first."""
    async with world.database.snapshot() as tx:
        known = await deliveries.known(tx, [each.guid for each in items])
    found = 0
    for each in reversed(items):
        if each.guid in known:
            continue
        try:
            payload = (await world.github.delivery(credentials.key, each.id)).payload
        except (GitHubMissing, GitHubRefused):
            continue  # GitHub has thrown it away meanwhile.
        row = receiving.row_of(world, each.guid, each.event, msgspec.json.encode(payload))
        found += await receiving.keep(world, row)
    if found:
        log.info("missed deliveries were found", action="github", count=found)
    return found


async def _from_heads(world: World, credentials: Credentials) -> int:
    async with world.database.snapshot() as tx:
        rows = await installations.followed(tx)
    found = 0
    for row, branch in sorted(_branches(rows), key=lambda each: (each[0].full_name, each[1])):
        try:
            found += await _compare(world, credentials, row, branch)
        except GitHubProblem as problem:
            log.warning(
                "a head was not compared",
                action="github",
                repository=row.full_name,
                problem=problem.message,
            )
    return found


def _branches(rows: Any) -> set[tuple[Any, str]]:
    """Each repository's branches that some stack follows."""
    found = set()
    for row in rows:
        read = triggers.read(msgspec.json.decode(row.body))
        if read is not None and read.deploy_commits and read.branch:
            repository = _Followed(row.repository_id, row.installation_id, row.full_name)
            found.add((repository, read.branch))
    return found


class _Followed(msgspec.Struct, frozen=True):
    repository_id: int
    installation_id: int
    full_name: str


async def _compare(world: World, credentials: Credentials, repository: Any, branch: str) -> bool:
    """Whether a branch has moved without a word; then a push is kept as if it had been told."""
    ref = f"refs/heads/{branch}"
    place = Place(credentials.key, repository.installation_id, repository.full_name)
    sha = await world.github.branch_head(place, branch)
    if sha is None:
        return False
    async with world.database.snapshot() as tx:
        head = await deliveries.head(tx, repository.repository_id, ref)
        is_told = await deliveries.is_waiting(tx, repository.full_name)
    if head is not None and (head.sha == sha or is_told or _is_fresh(world, head)):
        return False
    if head is None:
        # Where we begin: what was pushed before anybody asked deploys nothing.
        async with world.database.transaction() as tx:
            await deliveries.save_head(
                tx,
                repository.repository_id,
                ref,
                before="",
                sha=sha,
                pushed_at=0,
                now=world.now(),
            )
        return False
    commit = await world.github.commit(place, sha)
    return await receiving.keep(world, _push_row(world, repository, ref, head, commit))


def _is_fresh(world: World, head: Row[Any]) -> bool:
    """Whether it was noted since the last look: GitHub's own answer may be older than that."""
    seconds = world.config.github.missed_interval_seconds
    return bool(head.modified_at > world.now() - seconds * 1000)


def _push_row(
    world: World, repository: Any, ref: str, head: Row[Any], commit: Commit
) -> dict[str, Any]:
    body = msgspec.json.encode(
        {
            "ref": ref,
            "before": head.sha,
            "after": commit.sha,
            # So that what differs is asked of git: nobody listed the commits between.
            "forced": True,
            "head_commit": {
                "id": commit.sha,
                "message": commit.message,
                "author": {"name": commit.author_name, "username": commit.author_login},
            },
            "repository": {
                "id": repository.repository_id,
                "full_name": repository.full_name,
                "clone_url": f"{world.config.github_url}/{repository.full_name}.git",
            },
            "installation": {"id": repository.installation_id},
        }
    )
    guid = f"head-{repository.repository_id}-{head.modified_at}-{commit.sha[:12]}"
    return receiving.row_of(world, guid, "push", body)
