"""Pause and resume: what is live goes on, what is new queues, and nothing is begun."""

from __future__ import annotations

from functools import partial

import msgspec

from control_plane.domain import admission
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import access
from control_plane.services.hints import organization_topic, wake_pools
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployment_settings as settings
from control_plane.store import organizations, queue, stacks
from control_plane.store.transaction import Transaction

NOTE_CHARACTERS_MAX = 500


class StackMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Whether deployments of a stack would begin."""

    stack_paused: bool
    organization_paused: bool
    paused_by: str = ""
    note: str = ""


@verb
async def pause_stack(world: World, principal: Principal, name: StackName, note: str = "") -> None:
    """Begin no more deployments of a stack. Pausing twice keeps who did it first."""
    await _set_stack(world, principal, name, paused=True, note=note)


@verb
async def resume_stack(world: World, principal: Principal, name: StackName) -> None:
    """Let a stack's queue go on."""
    await _set_stack(world, principal, name, paused=False)


@verb
async def pause_organization(
    world: World, principal: Principal, login: str, note: str = ""
) -> None:
    """Begin no more deployments of an organization; only its administrators may."""
    await _set_organization(world, principal, login, paused=True, note=note)


@verb
async def resume_organization(world: World, principal: Principal, login: str) -> None:
    """Let an organization's queue go on."""
    await _set_organization(world, principal, login, paused=False)


@verb
async def stack_metadata(world: World, principal: Principal, name: StackName) -> StackMetadata:
    """Whether deployments of a stack would begin, and who stopped them if not."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
    return StackMetadata(
        stack_paused=stack.paused_at is not None,
        organization_paused=stack.organization_paused_at is not None,
        paused_by=stack.paused_by or "",
        note=stack.pause_note,
    )


async def _set_stack(
    world: World, principal: Principal, name: StackName, *, paused: bool, note: str = ""
) -> None:
    admission.require_person(principal)
    async with world.database.transaction() as tx:
        seen = await access.stack(tx, principal, name)
        await queue.lock_organizations(tx, [seen.organization_id])
        stack = await access.stack(tx, principal, name, lock=True)
        if await settings.find(tx, stack.id) is None:
            raise BadRequest(
                detail=f"The stack '{name}' has no deployment settings; save some before its"
                " deployments are paused or resumed."
            )
        if paused == (stack.paused_at is not None):
            return
        await stacks.change(
            tx,
            stack.id,
            paused_at=world.now() if paused else None,
            paused_by=principal.user.login if paused else None,
            pause_note=note[:NOTE_CHARACTERS_MAX],
        )
        await _go_on(world, tx, [stack.id], stack.organization_id)


async def _set_organization(
    world: World, principal: Principal, login: str, *, paused: bool, note: str = ""
) -> None:
    admission.require_person(principal)
    async with world.database.transaction() as tx:
        seen = await access.organization(tx, principal, login)
        access.require_admin(principal, login)
        await queue.lock_organizations(tx, [seen.id])
        found = await access.organization(tx, principal, login)
        if paused == (found.paused_at is not None):
            return
        await organizations.set_pause(
            tx,
            found.id,
            at=world.now() if paused else None,
            by=principal.user.login if paused else None,
            note=note[:NOTE_CHARACTERS_MAX],
        )
        await _go_on(world, tx, [], found.id)


async def _go_on(world: World, tx: Transaction, stack_ids: list[str], organization_id: str) -> None:
    """The queue's pointers follow in the same transaction; whoever shows it looks again."""
    ready = await queue.refresh(tx, stack_ids=stack_ids, organization_ids=[organization_id])
    wake_pools(world, tx, ready)
    for topic in [
        organization_topic(organization_id),
        *(f"stack:{stack_id}" for stack_id in stack_ids),
    ]:
        tx.after_commit(partial(world.broker.wake, topic))
