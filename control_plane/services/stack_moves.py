"""Stacks that change hands: to another organization, or to another owner."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from control_plane.domain import admission, deployment_settings
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Conflict, StackExists
from control_plane.services import access, state_lock
from control_plane.services.deployment_settings import facts_of
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployment_settings as settings_store
from control_plane.store import deployments, identity, organizations, projects, queue, stacks
from control_plane.store.transaction import Transaction


@verb
async def transfer(world: World, principal: Principal, name: StackName, login: str) -> None:
    """Move a stack to another organization, which both are the caller's to administer.

    Its history, deployments and logs go with it. Its secrets stay readable: their key belongs to
    the stack's id. Raises UpdateInProgress or Conflict while something is done with it, and for
    deployment settings that the other organization's runners could not use.
    """
    new = name._replace(organization=login)
    if new == name:
        raise BadRequest(detail=f"'toOrg': the stack belongs to '{login}' already.")
    await state_lock.make_ready(world, principal, name)
    try:
        async with world.database.transaction() as tx:
            old_home = await access.organization(tx, principal, name.organization)
            home = await access.organization(tx, principal, login)
            access.require_admin(principal, name.organization)
            access.require_admin(principal, login)
            await queue.lock_organizations(tx, [old_home.id, home.id])
            stack = await state_lock.locked(world, tx, principal, name)
            await _require_idle(tx, stack)
            await _require_usable_settings(tx, stack, home)
            await _move(world, tx, stack, home.id)
    except IntegrityError:
        raise StackExists(stack=str(new)) from None


async def _require_idle(tx: Transaction, stack: Row[Any]) -> None:
    unfinished = await deployments.unfinished(tx, stack.id)
    if unfinished is not None:
        raise Conflict(
            detail=f"Deployment {unfinished.version} ({unfinished.id}) of the stack is queued or "
            "under way. Cancel it, or wait for its end."
        )


async def _require_usable_settings(tx: Transaction, stack: Row[Any], home: Row[Any]) -> None:
    """Secrets are sealed to a runner pool, and a pool may belong to one organization alone."""
    row = await settings_store.find(tx, stack.id)
    settings = {} if row is None else msgspec.json.decode(row.body)
    wanted = settings.get("agentPoolID")
    sealed = deployment_settings.ciphertexts(settings)
    if not wanted and not sealed:
        return
    before = admission.find_pool(
        wanted, await facts_of(tx, stack.organization_id, stack.organization)
    )
    after = admission.find_pool(wanted, await facts_of(tx, home.id, home.login))
    if after is None or (sealed and before is not None and before.id != after.id):
        raise Conflict(
            detail=f"The stack's deployment settings are for a runner pool that '{home.login}' does"
            " not use. Delete them, or take their agentPoolID and secrets away, and give them again"
            " after the transfer."
        )


async def _move(world: World, tx: Transaction, stack: Row[Any], organization_id: str) -> None:
    await projects.ensure(tx, organization_id, stack.project, world.now())
    await stacks.change(tx, stack.id, organization_id=organization_id)
    await deployments.change_organization(tx, stack.id, organization_id)
    await projects.remove_if_empty(tx, stack.organization_id, stack.project)
    await queue.refresh_organizations(tx, [stack.organization_id, organization_id])


@verb
async def hand_over(
    world: World, principal: Principal, name: StackName, login: str
) -> Row[Any] | None:
    """Make a member of its organization the stack's owner; returns who it was before.

    Raises BadRequest for somebody who is no member, Forbidden for a caller who is neither the
    owner nor an administrator.
    """
    async with world.database.transaction() as tx:
        await access.organization(tx, principal, name.organization)
        stack = await access.stack(tx, principal, name, lock=True)
        if stack.created_by != principal.user.id:
            access.require_admin(principal, name.organization)
        owner = await identity.user_by_id(tx, stack.created_by) if stack.created_by else None
        member = await _member(tx, stack.organization_id, login)
        await stacks.change(tx, stack.id, created_by=member.id)
    return owner


async def _member(tx: Transaction, organization_id: str, login: str) -> Row[Any]:
    for member in await organizations.members(tx, organization_id):
        if member.login == login:
            return member
    raise BadRequest(detail=f"'githubLogin': '{login[:120]}' is no member of the organization.")


@verb
async def clear_caches(world: World, principal: Principal, name: StackName) -> None:
    """Have the next deployment of each stack of the project begin without what is kept there.

    That is the clone with the dependencies installed in it. What package managers keep for all of
    an organization is told apart by its content, and stays.
    """
    admission.require_person(principal)
    async with world.database.transaction() as tx:
        stack = await access.stack(tx, principal, name)
        await stacks.change_project(
            tx, stack.organization_id, stack.project, caches_cleared_at=world.now()
        )
