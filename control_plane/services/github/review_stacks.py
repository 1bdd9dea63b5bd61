"""Review stacks: made after a template for a pull request, updated by it, and gone with it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Row

from control_plane.domain.deployment import Operation
from control_plane.domain.github import review_stacks
from control_plane.domain.github.events import PullRequest
from control_plane.domain.names import StackName
from control_plane.domain.trigger import Submission, Trigger
from control_plane.errors import Problem, StackExists
from control_plane.services import deployment_settings, stacks, submission
from control_plane.services.github import app, deploying
from control_plane.services.github.deploying import Candidate, Scene
from control_plane.services.github.ports import GitHubMissing, Place
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments
from control_plane.store import stacks as stack_store
from control_plane.store.github import installations, pulls

SWEEP_MAX = 50

log = structlog.get_logger()


async def make(scene: Scene, template: Candidate, event: PullRequest) -> StackName:
    """Make a pull request's stack after a template, unless it is there; returns its name."""
    world = scene.world
    async with world.database.snapshot() as tx:
        known = await pulls.review_stacks_of(tx, scene.repository.id, event.number)
    for row in known:
        if row.template_stack_id == template.id:
            return StackName(row.organization, row.project, row.name)
    taken = await _taken(world, template.name)
    name = template.name._replace(
        stack=review_stacks.name_of(event.repository.full_name, event.number, taken)
    )
    # It exists when an earlier attempt at the same delivery came so far, and no further.
    with suppress(StackExists):
        await stacks.create(world, scene.principal, name, _tags(event))
    await deployment_settings.replace(
        world,
        scene.principal,
        name,
        review_stacks.settings_of(template.settings, event),
        review_stacks.SOURCE,
    )
    async with world.database.transaction() as tx:
        stack = await stack_store.find(tx, name)
        if stack is not None:
            await pulls.add_review_stack(
                tx,
                {
                    "stack_id": stack.id,
                    "template_stack_id": template.id,
                    "repository_id": scene.repository.id,
                    "pull_request": event.number,
                    "created_at": world.now(),
                },
            )
    return name


async def _taken(world: World, template: StackName) -> set[str]:
    """Names of the project's review stacks of other pull requests."""
    async with world.database.snapshot() as tx:
        rows = await pulls.open_review_stacks(tx)
    return {
        row.name
        for row in rows
        if (row.organization, row.project) == (template.organization, template.project)
    }


def _tags(event: PullRequest) -> dict[str, str]:
    return {
        "slipway:pullRequest": str(event.number),
        "slipway:repository": event.repository.full_name,
    }


@verb
async def close(world: World, repository_id: int, number: int) -> None:
    """Note that a pull request is over: its stacks are to go, whatever fails on the way."""
    async with world.database.transaction() as tx:
        for row in await pulls.review_stacks_of(tx, repository_id, number):
            if row.closed_at is None:
                await pulls.close_review_stack(tx, row.stack_id, world.now())


async def sweep(world: World) -> int:
    """Destroy review stacks that are left over: closed, still there, and nothing under way."""
    async with world.database.snapshot() as tx:
        rows = await pulls.leftover_review_stacks(tx, SWEEP_MAX)
    begun = 0
    for row in rows:
        try:
            begun += await _destroy_leftover(world, row)
        except Problem as problem:
            log.warning(
                "a review stack is left over",
                action="github",
                stack=f"{row.organization}/{row.project}/{row.name}",
                problem=problem.message,
            )
    return begun


RETRY_MS = 3_600_000
"""How long after a destroy that failed the next one is tried."""


async def _destroy_leftover(world: World, row: Row[Any]) -> bool:
    now = world.now()
    async with world.database.snapshot() as tx:
        last = await deployments.last_of_stack(tx, row.stack_id)
        pull = await pulls.find(tx, row.repository_id, row.pull_request)
    if last is not None and last.ended_at is None:
        return False
    failed = last is not None and last.operation == Operation.DESTROY
    if failed and last is not None and now - last.ended_at < RETRY_MS:
        return False
    name = StackName(row.organization, row.project, row.name)
    await submission.submit(
        world,
        deploying.machine(row.organization),
        name,
        Submission(
            operation=Operation.DESTROY,
            request=_source_of(pull)
            | {"operationContext": {"options": {"deleteAfterDestroy": True}}},
            trigger=Trigger.PULL_REQUEST,
        ),
        once=f"sweep/{last.id if last is not None else row.stack_id}",
    )
    return True


def _source_of(pull: Row[Any] | None) -> dict[str, Any]:
    """The pull request's last commit, which GitHub keeps when the branch has been deleted."""
    if pull is None:
        return {}
    ref = f"refs/pull/{pull.number}/head"
    return {"sourceContext": {"git": {"commit": pull.head_sha, "branch": ref}}}


async def close_forgotten(world: World) -> int:
    """Close review stacks whose pull requests were closed while nobody told us."""
    async with world.database.snapshot() as tx:
        rows = await pulls.open_review_stacks(tx)
        places: dict[int, Any] = {
            row.repository_id: await installations.repository(tx, row.repository_id) for row in rows
        }
    credentials = await app.find_credentials(world)
    if credentials is None:
        return 0
    closed = 0
    for row in rows:
        repository = places[row.repository_id]
        if repository is None:
            continue
        place = Place(credentials.key, repository.installation_id, repository.full_name)
        try:
            is_open = (await world.github.pull_request(place, row.pull_request)).state == "open"
        except GitHubMissing:
            is_open = False
        if not is_open:
            await close(world, row.repository_id, row.pull_request)
            closed += 1
    return closed
