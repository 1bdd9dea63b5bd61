"""A push: which stacks are updated by it, and which are not, and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from control_plane.domain.github import rules
from control_plane.domain.github.events import Push
from control_plane.services.github import deploying
from control_plane.services.github.outcome import Outcome
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import deliveries, installations


@verb
async def pushed(
    world: World, installation: Row[Any], delivery_id: str, push: Push, summary: str
) -> Outcome:
    """Update the stacks that follow the branch or tag; an overtaken push updates none."""
    async with world.database.snapshot() as tx:
        head = await deliveries.head(tx, push.repository.id, push.ref)
        rows = await installations.concerned(
            tx, installation.organization_id, push.repository.full_name
        )
    if head is not None and _is_known(head, push):
        return Outcome(summary=summary, message="This head has been looked into already.")
    if head is not None and push.pushed_at is None and push.before != head.sha:
        return Outcome(summary=summary, message="The branch has moved on since that was seen.")
    if head is not None and _is_overtaken(head, push):
        return Outcome(
            summary=summary,
            message=f"A newer push of this branch came before this one: {head.sha[:12]}.",
        )
    outcome = await _follow(world, installation, delivery_id, push, summary, rows)
    async with world.database.transaction() as tx:
        await deliveries.save_head(
            tx,
            push.repository.id,
            push.ref,
            before=push.before,
            sha=push.after,
            pushed_at=_pushed_at(world, push),
            now=world.now(),
        )
    return outcome


async def _follow(
    world: World,
    installation: Row[Any],
    delivery_id: str,
    push: Push,
    summary: str,
    rows: Any,
) -> Outcome:
    stacks = deploying.candidates(rows)
    if not stacks:
        name = push.repository.full_name
        return Outcome(summary=summary, message=f"No stack's settings name {name}.")
    scene = await deploying.scene_of(world, installation, push.repository, delivery_id, push.sender)
    judged = await deploying.judge(
        scene, stacks, lambda triggers, facts: rules.of_push(triggers, push, facts)
    )
    head = push.head
    verdicts = await deploying.follow(
        scene,
        judged,
        title=head.title if head else "",
        author=head.author if head else push.pusher,
    )
    return Outcome(summary=summary, verdicts=verdicts)


def _pushed_at(world: World, push: Push) -> int:
    return world.now() if push.pushed_at is None else push.pushed_at * 1000


def _is_known(head: Row[Any], push: Push) -> bool:
    """Told by another delivery, or found by comparing heads, while this one was under way."""
    is_older = push.pushed_at is not None and push.pushed_at * 1000 <= head.pushed_at
    return bool(head.sha == push.after and (is_older or head.before == push.before))


def _is_overtaken(head: Row[Any], push: Push) -> bool:
    """GitHub delivers in no certain order, and what failed is delivered again much later."""
    if push.pushed_at is None:
        return False
    at = push.pushed_at * 1000
    return bool(at < head.pushed_at or (at == head.pushed_at and head.before == push.after))
