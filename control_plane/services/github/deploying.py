"""From verdicts to deployments: what pushes and pull requests have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment import Operation, Reason
from control_plane.domain.github import events, triggers
from control_plane.domain.github.rules import NOTHING, Deploy, Facts, Need, No, Verdict
from control_plane.domain.github.triggers import Triggers
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal, User
from control_plane.domain.trigger import Origin, Submission, Trigger
from control_plane.errors import PoolOffline, Problem, QueueFull
from control_plane.services import cancellation, submission
from control_plane.services.github import app
from control_plane.services.github.outcome import StackVerdict
from control_plane.services.github.ports import (
    READS_SOURCE,
    CommitMissing,
    GitHubMissing,
    Place,
)
from control_plane.services.world import World
from control_plane.store.github import people, pulls

MACHINE = "github"
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Git's name of a directory without files: what a first commit is compared with."""
BODY_KEPT_MAX = 4_096
READ_KEPT_MAX = 10_000
"""How many settings are remembered with what they say, and up to how many characters of each."""


@dataclass(frozen=True)
class Candidate:
    """A stack that an event may concern, with what its settings say of GitHub."""

    id: str
    name: StackName
    triggers: Triggers
    body: str
    """The stored settings, as JSON."""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings; most events only want to know the triggers in them."""
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


@dataclass(frozen=True)
class Scene:
    """Where an event happened, and for whom deployments are made of it."""

    world: World
    principal: Principal
    organization_id: str
    installation_id: int
    repository: events.Repository
    delivery_id: str

    @property
    def principal_organization(self) -> str:
        """The organization's login."""
        return next(iter(self.principal.organizations))


def candidates(rows: Sequence[Row[Any]]) -> list[Candidate]:
    """Stacks whose settings name the event's repository."""
    found = []
    for row in rows:
        read = _read_often(row.body) if len(row.body) <= BODY_KEPT_MAX else _read(row.body)
        if read is not None:
            name = StackName(row.organization, row.project, row.name)
            found.append(Candidate(row.id, name, read, row.body))
    return found


def _read(body: str) -> Triggers | None:
    return triggers.read(msgspec.json.decode(body))


_read_often = lru_cache(maxsize=READ_KEPT_MAX)(_read)
"""The same text says the same: of a thousand stacks, hardly one has other settings than before."""


def machine(organization: str) -> Principal:
    """Who acts when nobody here does: the organization, by what happened on GitHub."""
    return Principal(
        user=User(id="", login=MACHINE, name="GitHub"), organizations=frozenset({organization})
    )


async def scene_of(
    world: World,
    installation: Row[Any],
    repository: events.Repository,
    delivery_id: str,
    sender: events.Person | None,
) -> Scene:
    """For a sender who is linked to a member, deployments are that member's."""
    principal = machine(installation.organization)
    if sender is not None:
        async with world.database.snapshot() as tx:
            user = await people.member_by_github_id(tx, installation.organization_id, sender.id)
        if user is not None:
            known = User(id=user.id, login=user.login, name=user.name, email=user.email)
            principal = msgspec.structs.replace(principal, user=known)
    return Scene(
        world=world,
        principal=principal,
        organization_id=installation.organization_id,
        installation_id=installation.id,
        repository=repository,
        delivery_id=delivery_id,
    )


async def judge(
    scene: Scene,
    stacks: Sequence[Candidate],
    rule: Callable[[Triggers, Facts], Any],
    facts: Facts = NOTHING,
    pull_request: bool = False,
) -> list[tuple[Candidate, Any]]:
    """Each stack's verdict; what the payload does not tell is looked up once, for all."""
    judged = [(each, rule(each.triggers, facts)) for each in stacks]
    needs = [verdict for _, verdict in judged if isinstance(verdict, Need)]
    if not needs:
        return judged
    facts = await _look_up(scene, facts, needs)
    return [(each, rule(each.triggers, facts)) for each, _ in judged]


async def _look_up(scene: Scene, facts: Facts, needs: Sequence[Need]) -> Facts:
    one = needs[0]
    if any(need.files for need in needs) and facts.files is None:
        found = await _files(scene, next(need for need in needs if need.files))
        facts = msgspec.structs.replace(facts, files=found, files_unknowable=found is None)
    if any(need.message for need in needs) and facts.head_message is None:
        place = await place_of(scene)
        try:
            message = (await scene.world.github.commit(place, one.head)).message
        except GitHubMissing:
            message = ""
        facts = msgspec.structs.replace(facts, head_message=message)
    return facts


async def _files(scene: Scene, need: Need) -> tuple[str, ...] | None:
    """The files that differ, by git; None when the commits are gone."""
    credentials = await app.credentials(scene.world)
    token = await scene.world.github.mint_token(
        credentials.key,
        scene.installation_id,
        [scene.repository.id],
        READS_SOURCE,
    )
    compare = scene.world.changed_files
    base = need.base or EMPTY_TREE
    look = compare.of_pull_request if need.from_fork_point else compare.between
    try:
        files = await look(
            scene.repository.id, scene.repository.clone_url, token.token, base, need.head
        )
    except CommitMissing:
        return None
    return None if files.cut else files.names


async def place_of(scene: Scene) -> Place:
    """The event's repository, as the installation reaches it."""
    credentials = await app.credentials(scene.world)
    return Place(credentials.key, scene.installation_id, scene.repository.full_name)


async def follow(
    scene: Scene,
    judged: Sequence[tuple[Candidate, Verdict]],
    *,
    title: str,
    author: str,
) -> tuple[StackVerdict, ...]:
    """Queue what is wanted; each stack's verdict in the order in which they were judged."""
    queued = await asyncio.gather(
        *(
            _queue(scene, stack, verdict, title, author)
            for stack, verdict in judged
            if isinstance(verdict, Deploy)
        ),
        return_exceptions=True,
    )
    for each in queued:
        if isinstance(each, BaseException):
            # The whole delivery is tried again; what was queued is not queued twice.
            raise each
    # Of a thousand stacks most say no, and waiting for nothing a thousand times takes its time.
    in_turn = iter([each for each in queued if isinstance(each, StackVerdict)])
    return tuple(
        next(in_turn) if isinstance(verdict, Deploy) else _refusal(stack, verdict)
        for stack, verdict in judged
    )


def _refusal(stack: Candidate, verdict: No | Need) -> StackVerdict:
    label = f"{stack.name.project}/{stack.name.stack}"
    if isinstance(verdict, Need):
        return StackVerdict(stack=label, code="unknown", message="GitHub did not say enough.")
    return StackVerdict(stack=label, code=str(verdict.code), message=verdict.why)


async def _queue(
    scene: Scene, stack: Candidate, verdict: Deploy, title: str, author: str
) -> StackVerdict:
    label = f"{stack.name.project}/{stack.name.stack}"
    try:
        submitted = await _submit(scene, stack, verdict, title, author)
    except (QueueFull, PoolOffline):
        raise
    except Problem as problem:
        return StackVerdict(stack=label, code=problem.slug, message=problem.message)
    return StackVerdict(
        stack=label,
        code="deployed",
        message=f"{verdict.operation} of {verdict.commit[:12]}",
        deployment_id=submitted.id,
        version=submitted.version,
        operation=str(verdict.operation),
    )


async def _submit(
    scene: Scene, stack: Candidate, wanted: Deploy, title: str, author: str
) -> submission.Submitted:
    origin = Origin(
        installation_id=scene.installation_id,
        repository_id=scene.repository.id,
        full_name=scene.repository.full_name,
        ref=wanted.ref,
        sha=wanted.commit,
        delivery_id=scene.delivery_id,
        title=title[:500],
        author=author[:200],
        pull_request=wanted.pull_request,
        is_fork=wanted.fork,
    )
    return await submission.submit(
        scene.world,
        scene.principal,
        stack.name,
        Submission(
            operation=wanted.operation,
            request=_request(wanted),
            trigger=Trigger.PUSH if wanted.pull_request is None else Trigger.PULL_REQUEST,
            origin=origin,
        ),
        once=f"github/{scene.delivery_id}",
    )


def _request(wanted: Deploy) -> dict[str, Any]:
    """The commit, and the ref under which a server gives it out; the runner tells the rest."""
    request: dict[str, Any] = {
        "sourceContext": {"git": {"commit": wanted.commit, "branch": wanted.ref}}
    }
    operation: dict[str, Any] = {}
    if wanted.tag:
        operation["environmentVariables"] = {"PULUMI_CI_TAG_NAME": wanted.tag}
    if wanted.then_remove:
        operation["options"] = {"deleteAfterDestroy": True}
    if operation:
        request["operationContext"] = operation
    return request


async def give_way(scene: Scene, number: int, stack_ids: set[str] | None, keep_sha: str) -> int:
    """End a pull request's previews of other commits, waiting or running; returns how many.

    Only previews: what changes something is never stopped because of a newer commit.
    """
    async with scene.world.database.snapshot() as tx:
        rows = await pulls.unfinished(tx, scene.repository.id, number)
    ended = 0
    for row in rows:
        concerns = stack_ids is None or row.stack_id in stack_ids
        if row.operation != Operation.PREVIEW or row.sha == keep_sha or not concerns:
            continue
        name = StackName(row.organization, row.project, row.name)
        await cancellation.cancel(
            scene.world, machine(row.organization), name, row.id, reason=Reason.SUPERSEDED
        )
        ended += 1
    return ended
