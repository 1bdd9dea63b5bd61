"""Review stacks: made after a template for a pull request, updated by it, and gone with it."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import Row

from control_plane.domain.deployment import Operation, Reason, Status
from control_plane.domain.github import review_stacks
from control_plane.domain.github.events import PullRequest
from control_plane.domain.names import StackName
from control_plane.domain.trigger import Origin, Submission, Trigger
from control_plane.errors import Problem, StackExists
from control_plane.services import cancellation, deployment_settings, stacks, submission
from control_plane.services.github import app, deploying
from control_plane.services.github.deploying import Candidate, Scene
from control_plane.services.github.ports import GitHubProblem, Place
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments
from control_plane.store.github import installations, pulls

SWEEP_MAX = 50

log = structlog.get_logger()


async def make(scene: Scene, template: Candidate, event: PullRequest) -> StackName:
    """Make a pull request's stack after a template, unless it is there; returns its name.

    Only a stack that this has made is a review stack: one of the same name that somebody else made
    is never touched, and the review stack is called otherwise.
    """
    world = scene.world
    async with world.database.snapshot() as tx:
        known = await pulls.review_stacks_of(tx, scene.repository.id, event.number)
    own = next((row for row in known if row.template_stack_id == template.id), None)
    if own is not None:
        name = StackName(own.organization, own.project, own.name)
        has_settings = own.has_settings
    else:
        name, has_settings = await _create(scene, template, event), False
    if not has_settings:
        # An earlier attempt at the same delivery may have come so far, and no further.
        settings = review_stacks.settings_of(template.settings, event)
        await deployment_settings.replace(
            world, scene.principal, name, settings, review_stacks.SOURCE
        )
    return name


async def _create(scene: Scene, template: Candidate, event: PullRequest) -> StackName:
    """The stack and the note that it is a review stack, in one transaction."""
    world = scene.world
    review_of = {
        "template_stack_id": template.id,
        "repository_id": scene.repository.id,
        "pull_request": event.number,
        "created_at": world.now(),
    }
    async with world.database.snapshot() as tx:
        taken = await pulls.names_taken(tx, scene.organization_id, template.name.project)
    while True:
        stack = review_stacks.name_of(event.repository.full_name, event.number, taken)
        name = template.name._replace(stack=stack)
        try:
            await stacks.create(world, scene.principal, name, _tags(event), review_of=review_of)
        except StackExists:
            taken.add(stack)
        else:
            return name


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


@verb
async def reopen(world: World, repository_id: int, number: int) -> None:
    """Note that a pull request is open again: what was to go stays, if it has not begun to go."""
    async with world.database.transaction() as tx:
        await pulls.reopen_review_stacks(tx, repository_id, number)
    async with world.database.snapshot() as tx:
        rows = await pulls.unfinished(tx, repository_id, number)
    for row in rows:
        if row.operation == Operation.DESTROY and row.status == Status.NOT_STARTED:
            name = StackName(row.organization, row.project, row.name)
            principal = deploying.machine(row.organization)
            await cancellation.cancel(world, principal, name, row.id, reason=Reason.SUPERSEDED)


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
    # A fork has no review stack; its code would be run with this one's secrets.
    if pull is None or pull.is_open or pull.is_fork:
        return False
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
        _destroy(pull),
        once=f"sweep/{last.id if last is not None else row.stack_id}",
    )
    return True


def _destroy(pull: Row[Any]) -> Submission:
    """At the pull request's last commit, which GitHub keeps when the branch has been deleted."""
    ref = f"refs/pull/{pull.number}/head"
    return Submission(
        operation=Operation.DESTROY,
        request={
            "sourceContext": {"git": {"commit": pull.head_sha, "branch": ref}},
            "operationContext": {"options": {"deleteAfterDestroy": True}},
        },
        trigger=Trigger.PULL_REQUEST,
        origin=Origin(
            installation_id=pull.installation_id,
            repository_id=pull.repository_id,
            full_name=pull.full_name,
            ref=ref,
            sha=pull.head_sha,
            title=pull.title,
            author=pull.author,
            pull_request=pull.number,
        ),
    )


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
            found = await world.github.pull_request(place, row.pull_request)
        except GitHubProblem:
            continue  # Out of sight is not closed: the repository may be withheld from us.
        if found.state != "open":
            async with world.database.transaction() as tx:
                await pulls.change(tx, row.repository_id, row.pull_request, is_open=False)
            await close(world, row.repository_id, row.pull_request)
            closed += 1
    return closed
