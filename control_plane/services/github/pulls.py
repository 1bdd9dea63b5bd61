"""A pull request: previewed, its stacks reviewed, and a fork's code approved or not."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment import Operation
from control_plane.domain.github import events, report, review_stacks, rules
from control_plane.domain.github.events import End, Person, PullRequest
from control_plane.domain.github.rules import AGAIN, Code, Deploy, Facts, No
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Trigger
from control_plane.errors import BadRequest, Conflict, NotFound
from control_plane.services import access, resubmission
from control_plane.services.github import app, deploying, ports
from control_plane.services.github import review_stacks as reviewing
from control_plane.services.github.deploying import Candidate, Scene
from control_plane.services.github.outcome import Outcome, StackVerdict
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import installations, pulls

CHECKS_MAX = 10
"""How many checks one event makes for stacks that it does not deploy."""
SHA_DIGITS = 40
"""A shorter name can be made to fit another commit."""
WRITERS = ("admin", "maintain", "write")


@verb
async def changed(
    world: World, installation: Row[Any], delivery_id: str, event: PullRequest, summary: str
) -> Outcome:
    """What follows from something that happened to a pull request, for each stack."""
    scene = await deploying.scene_of(
        world, installation, event.repository, delivery_id, event.sender
    )
    async with world.database.snapshot() as tx:
        known = await pulls.find(tx, event.repository.id, event.number)
    if known is not None and _is_overtaken(known, event):
        return Outcome(summary=summary, message="Something newer of it has been told already.")
    await _save(world, installation, event)
    approved = known.approved_sha if known is not None else ""
    return await _look(scene, event, approved, summary)


async def _look(scene: Scene, event: PullRequest, approved: str, summary: str) -> Outcome:
    """Judge the stacks and follow; templates first, since they make stacks."""
    facts = Facts(approved_commits=frozenset({approved} - {""}))
    stacks = await _concerned(scene)
    if not stacks:
        name = event.repository.full_name
        return Outcome(summary=summary, message=f"No stack's settings name {name}.")
    told, made = await _from_templates(scene, stacks, event, facts)
    if made:
        stacks = await _concerned(scene)
    if event.open:
        await reviewing.reopen(scene.world, scene.repository.id, event.number)
    else:
        await reviewing.close(scene.world, scene.repository.id, event.number)
    judged = await deploying.judge(
        scene, stacks, lambda each, known: rules.of_pull_request(each, event, known), facts
    )
    own = await _review_stack_ids(scene, event.number)
    judged = [
        (stack, _own_only(stack, own, _again(stack, made, verdict, event)))
        for stack, verdict in judged
    ]
    await _withdraw(scene, judged, event)
    verdicts = await deploying.follow(
        scene,
        judged,
        title=event.title,
        author=event.author.login if event.author else "",
    )
    await _show_refusals(scene, judged, event)
    shown = [each for each in verdicts if each.code != Code.OTHER_PULL_REQUEST]
    return Outcome(summary=summary, verdicts=(*told, *shown))


def _is_overtaken(known: Row[Any], event: PullRequest) -> bool:
    """Whether an event is of something that is no longer so.

    GitHub delivers in no certain order: an older event about the very head that is known, a
    commit's own before a label's, still has its say.
    """
    is_older = known.updated_at > _milliseconds(event.updated_at)
    return bool(is_older and (known.head_sha != event.head.sha or known.is_open != event.open))


async def _review_stack_ids(scene: Scene, number: int) -> set[str]:
    async with scene.world.database.snapshot() as tx:
        rows = await pulls.review_stacks_of(tx, scene.repository.id, number)
    return {row.stack_id for row in rows}


def _own_only(stack: Candidate, own: set[str], verdict: Any) -> Any:
    """Settings alone, which may be copied, make no review stack: only one that we made is one."""
    if stack.triggers.pull_request is None or stack.id in own or isinstance(verdict, No):
        return verdict
    return No(
        code=Code.OTHER_PULL_REQUEST,
        why="Its settings name a pull request (deployPullRequest), but it is no review stack.",
    )


def _again(stack: Candidate, made: set[StackName], verdict: Any, event: PullRequest) -> Any:
    """A stack that was made just now is deployed, also when a label was what made it."""
    if stack.name in made and isinstance(verdict, No) and verdict.code is Code.ACTION:
        again = msgspec.structs.replace(event, action=AGAIN)
        return rules.of_pull_request(stack.triggers, again)
    return verdict


async def _concerned(scene: Scene) -> list[Candidate]:
    async with scene.world.database.snapshot() as tx:
        rows = await installations.concerned(tx, scene.organization_id, scene.repository.full_name)
    return deploying.candidates(rows)


async def _from_templates(
    scene: Scene, stacks: list[Candidate], event: PullRequest, facts: Facts
) -> tuple[list[StackVerdict], set[StackName]]:
    """Make review stacks; what templates said no, and the names of the stacks."""
    templates = [each for each in stacks if each.triggers.template]
    judged = await deploying.judge(
        scene,
        templates,
        lambda each, known: review_stacks.of_template(each, event, known),
        facts,
    )
    wanting = {each.name: each for each, verdict in judged if not isinstance(verdict, No)}
    chosen, left = review_stacks.choose(list(wanting))
    refused = {each.name: verdict for each, verdict in judged if isinstance(verdict, No)} | left
    told = [
        StackVerdict(
            stack=f"{name.project}/{name.stack} (template)", code=str(no.code), message=no.why
        )
        for name, no in refused.items()
    ]
    made = {await reviewing.make(scene, wanting[name], event) for name in chosen}
    return told, made


async def _withdraw(scene: Scene, judged: list[tuple[Candidate, Any]], event: PullRequest) -> None:
    """Older previews give way to a newer commit, and end with what they were of."""
    over = {stack.id for stack, verdict in judged if isinstance(verdict, No) and verdict.withdraws}
    older = {
        stack.id for stack, verdict in judged if isinstance(verdict, Deploy) and verdict.supersedes
    }
    for pointless, keep in ((over, ""), (older, event.head.sha)):
        if pointless:
            await deploying.give_way(scene, event.number, pointless, keep)


async def _show_refusals(
    scene: Scene, judged: list[tuple[Candidate, Any]], event: PullRequest
) -> None:
    """What a rule refused is a check too where readers of the commit should know."""
    refusals = [
        check
        for stack, verdict in judged
        if isinstance(verdict, No)
        and (check := report.check_of_refusal(stack.name, Operation.PREVIEW, verdict)) is not None
    ]
    if len(refusals) > CHECKS_MAX:
        # Of many stacks on one repository most are left out by their paths; that is no news.
        refusals = [each for each in refusals if each.conclusion == "action_required"]
    if not refusals:
        return
    place = await deploying.place_of(scene)
    page = f"{scene.world.config.public_url}/{scene.principal_organization}"
    for check in refusals[:CHECKS_MAX]:
        run = ports.CheckRun(
            **msgspec.structs.asdict(check),
            details_url=f"{page}/-/settings/integrations/deliveries/{scene.delivery_id}",
        )
        # Where checks are refused, deployments go on all the same.
        with suppress(ports.GitHubMissing, ports.GitHubRefused):
            await scene.world.github.create_check_run(place, event.head.sha, run)


async def _save(world: World, installation: Row[Any], event: PullRequest) -> None:
    values = {
        "repository_id": event.repository.id,
        "number": event.number,
        "installation_id": installation.id,
        "organization_id": installation.organization_id,
        "full_name": event.repository.full_name,
        "title": event.title[:500],
        "author": event.author.login if event.author else "",
        "head_sha": event.head.sha,
        "head_ref": event.head.ref,
        "head_repository": event.head.repository.full_name if event.head.repository else "",
        "base_ref": event.base.ref,
        "is_open": event.open,
        "is_draft": event.draft,
        "is_fork": event.is_fork,
        "labels": msgspec.json.encode(event.labels).decode(),
    }
    async with world.database.transaction() as tx:
        known = await pulls.find(tx, event.repository.id, event.number)
        newest = max(_milliseconds(event.updated_at), known.updated_at if known else 0)
        await pulls.save(tx, values | {"updated_at": newest})


def _milliseconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0


# Looking again: approvals and re-runs.


@verb
async def approve(
    world: World,
    principal: Principal,
    organization: str,
    full_name: str,
    number: int,
    sha: str,
) -> Outcome:
    """Let one commit of a fork's pull request be previewed. Raises Conflict if the head moved."""
    if principal.deployment_id is not None:
        raise NotFound(what=f"Pull request #{number} of '{full_name}'")
    async with world.database.snapshot() as tx:
        owner = await access.organization(tx, principal, organization)
        row = await pulls.named(tx, owner.id, full_name, number)
        installation = await installations.find(tx, row.installation_id) if row else None
    if row is None or installation is None or installation.organization_id != owner.id:
        raise NotFound(what=f"Pull request #{number} of '{full_name}'")
    if len(sha) < SHA_DIGITS:
        raise BadRequest(detail=f"Name the commit by all of its {SHA_DIGITS} digits.")
    if row.head_sha != sha.lower():
        raise Conflict(
            detail=f"The head of #{number} is {row.head_sha[:12]} now, not {sha[:12]}: somebody"
            " pushed since it was looked at. Look at the new commits, then approve them."
        )
    return await _approved(world, installation, row, principal.user.login, "approve")


async def _approved(
    world: World, installation: Row[Any], row: Row[Any], login: str, delivery_id: str
) -> Outcome:
    async with world.database.transaction() as tx:
        await pulls.change(
            tx,
            row.repository_id,
            row.number,
            approved_sha=row.head_sha,
            approved_by=login,
            approved_at=world.now(),
        )
    key = f"{delivery_id}/{row.head_sha}"
    summary = f"{login} approved {row.head_sha[:12]} of #{row.number}"
    return await look_again(world, installation, row.full_name, row.number, key, summary)


@verb
async def approved_by_comment(
    world: World,
    installation: Row[Any],
    delivery_id: str,
    event: events.Approval,
    summary: str,
) -> Outcome:
    """Who may push to the repository may let a fork's commit be previewed, by a comment."""
    async with world.database.snapshot() as tx:
        row = await pulls.find(tx, event.repository.id, event.number)
    if row is None or row.head_sha != event.commit:
        return Outcome(
            summary=summary, message="That is not the head of the pull request.", ignored=True
        )
    credentials = await app.credentials(world)
    place = ports.Place(credentials.key, installation.id, event.repository.full_name)
    if await world.github.permission(place, event.author.login) not in WRITERS:
        return Outcome(
            summary=summary,
            message=f"{event.author.login} may not push to {event.repository.full_name}, and so"
            " may not approve either.",
            ignored=True,
        )
    return await _approved(world, installation, row, event.author.login, delivery_id)


@verb
async def check_rerequested(
    world: World,
    installation: Row[Any],
    delivery_id: str,
    event: events.CheckRerequested,
    summary: str,
) -> Outcome:
    """Run again what a check was of: the same commit, the same settings."""
    credentials = await app.credentials(world)
    if event.app_id not in (None, credentials.key.app_id):
        # Enterprise Servers tell every App of all checks.
        return Outcome(summary=summary, message="The check is another App's.", ignored=True)
    async with world.database.snapshot() as tx:
        rows = await pulls.deployments_of_commit(
            tx, installation.organization_id, event.repository.id, event.commit
        )
    wanted = [row for row in rows if event.external_id in ("", row.id)]
    verdicts = []
    for row in wanted:
        name = StackName(installation.organization, row.project, row.name)
        submitted = await resubmission.again(
            world,
            deploying.machine(installation.organization),
            name,
            row.id,
            Trigger.PUSH if row.pull_request is None else Trigger.PULL_REQUEST,
            once=f"github/{delivery_id}",
        )
        verdicts.append(
            StackVerdict(
                stack=f"{row.project}/{row.name}",
                code="deployed",
                message=f"#{row.version} was run again.",
                deployment_id=submitted.id,
                version=submitted.version,
                operation=row.operation,
            )
        )
    message = "" if verdicts else "No deployment of this commit is known."
    return Outcome(summary=summary, message=message, verdicts=tuple(verdicts))


async def look_again(
    world: World,
    installation: Row[Any],
    full_name: str,
    number: int,
    key: str,
    summary: str,
) -> Outcome:
    """Judge a pull request as it stands on GitHub now; raises what GitHub answers."""
    credentials = await app.credentials(world)
    place = ports.Place(credentials.key, installation.id, full_name)
    found = await world.github.pull_request(place, number)
    repository = await world.github.repository_by_id(
        credentials.key, installation.id, found.base_repository_id
    )
    event = event_of(found, repository, AGAIN)
    await _save(world, installation, event)
    scene = await deploying.scene_of(world, installation, event.repository, key, None)
    async with world.database.snapshot() as tx:
        row = await pulls.find(tx, event.repository.id, number)
    return await _look(scene, event, row.approved_sha if row is not None else "", summary)


def event_of(found: ports.PullRequest, repository: ports.Repository, action: str) -> PullRequest:
    """A pull request as GitHub has it, as if it had been told."""
    here = events.Repository(
        id=repository.id,
        full_name=repository.full_name,
        clone_url=repository.clone_url,
        default_branch=repository.default_branch,
        private=repository.private,
        archived=repository.archived,
        fork=repository.fork,
    )
    head = None
    if found.head_repository_id is not None:
        head = msgspec.structs.replace(here, id=found.head_repository_id)
    return PullRequest(
        action=action,
        installation_id=None,
        repository=here,
        number=found.number,
        title=found.title,
        url=found.html_url,
        head=End(sha=found.head_sha, ref=found.head_ref, repository=head),
        base=End(sha=found.base_sha, ref=found.base_ref, repository=here),
        draft=found.draft,
        open=found.state == "open",
        merged=found.merged,
        merge_commit="",
        labels=found.labels,
        author=Person(id=found.author.id, login=found.author.login),
        association="",
        sender=None,
    )
