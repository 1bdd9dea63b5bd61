"""What GitHub is told of a deployment, gathered from what is recorded of it."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment import ENDED, Operation, Reason, Status
from control_plane.domain.diagnostics import Message
from control_plane.domain.github import resource_changes
from control_plane.domain.github.resource_changes import Changes
from control_plane.domain.github.telling import Told
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import Problem
from control_plane.services import deployment_logs, deployment_queries, stack_outputs, update_events
from control_plane.services.github.deploying import machine
from control_plane.services.state_documents import worked
from control_plane.services.world import World
from control_plane.store import updates
from control_plane.store.github import pulls

LOG_TAIL_BYTES = 48 * 1024
EVENTS_MAX = 20_000


async def told(world: World, row: Row[Any], full_name: str) -> Told:
    """A deployment as GitHub's readers see it; `row` is one of `pulls.open_reports`."""
    name = StackName(row.organization, row.project, row.stack)
    principal = machine(row.organization)
    ended = row.status in ENDED
    async with world.database.snapshot() as tx:
        review = await pulls.review_stack(tx, row.stack_id)
        made = await updates.of_deployment(tx, row.deployment_id) if ended else ()
    changes, counts = Changes(), dict[str, int]()
    messages: tuple[Message, ...] = ()
    if made:
        changes, messages = await _account(world, principal, name, made[-1].id)
        counts = msgspec.json.decode(made[-1].resource_changes or "{}")
    until = row.ended_at or world.now()
    return Told(
        stack=name,
        stack_id=row.stack_id,
        operation=Operation(row.operation),
        status=Status(row.status),
        version=row.version,
        url=f"{world.config.public_url}/{'/'.join(name)}/deployments/{row.version}",
        commit=row.sha,
        commit_url=f"{world.config.github_url}/{full_name}/commit/{row.sha}",
        reason=Reason(row.reason) if row.reason else None,
        message=row.message or "",
        waiting=await _waiting(world, principal, name, row),
        seconds=None if row.started_at is None else (until - row.started_at) // 1000,
        counts=counts,
        changes=changes,
        messages=messages,
        outputs=await _outputs(world, principal, name) if ended and review else None,
        log_tail=await _log_tail(world, principal, name, row.deployment_id) if ended else "",
        pull_request=row.pull_request,
        review_stack=review is not None,
        fork=row.is_fork,
    )


async def _account(
    world: World, principal: Principal, name: StackName, update_id: str
) -> tuple[Changes, tuple[Message, ...]]:
    bodies: list[bytes] = []
    start: int | None = 0
    while start is not None and len(bodies) < EVENTS_MAX:
        page = await update_events.read(world, principal, name, update_id, start=start)
        bodies += page.events
        start = page.next if page.events else None
    changes = await worked(sum(map(len, bodies)), resource_changes.read, bodies)
    account = await update_events.account(world, principal, name, update_id)
    return changes, tuple(account.messages)


async def _waiting(world: World, principal: Principal, name: StackName, row: Row[Any]) -> str:
    if row.status in ENDED or row.status == Status.RUNNING:
        return ""
    try:
        shown = await deployment_queries.show(world, principal, name, row.deployment_id)
    except Problem:
        return ""
    return shown.waiting.waiting_for if shown.waiting else ""


async def _outputs(world: World, principal: Principal, name: StackName) -> Any:
    """The stack's outputs; what is secret in them is masked by who shows them."""
    try:
        found = await stack_outputs.show(world, principal, name, "")
        return msgspec.json.decode(found.values)
    except Problem:
        return None


async def _log_tail(world: World, principal: Principal, name: StackName, deployment_id: str) -> str:
    try:
        found = await deployment_logs.describe(world, principal, name, deployment_id)
        start = max(0, found.length - LOG_TAIL_BYTES)
        parts = [part async for part in deployment_logs.read(world, found, start, found.length)]
    except Problem:
        return ""
    return b"".join(parts).decode(errors="replace")
