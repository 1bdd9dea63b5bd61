"""What administrators change about an organization: its name and limit, and who belongs to it."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Row

from control_plane.domain import tokens
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Conflict, Forbidden, NotFound
from control_plane.services import access, identity
from control_plane.services.hints import wake_pools
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import identity as users
from control_plane.store import organizations, queue, sessions
from control_plane.store.transaction import Transaction

LIMIT_MAX = 1000
"""The most that a server's administrator may allow an organization."""
NAME_CHARACTERS_MAX = 100
INVITATION_MS = 24 * 3_600_000
ROLES = ("member", "admin")


class Bounds(NamedTuple):
    """Between what somebody may set an organization's limit."""

    low: int
    high: int


def limit_bounds(world: World, principal: Principal, current: int) -> Bounds:
    """Up to what a new organization gets; only a server's administrator gives more.

    Otherwise one organization could take the whole cluster for itself.
    """
    if principal.user.site_admin:
        return Bounds(1, LIMIT_MAX)
    return Bounds(1, max(world.config.deployments.organization_limit, current))


@verb
async def change(world: World, principal: Principal, login: str, *, name: str, limit: int) -> None:
    """Rename an organization, or change its limit; raises BadRequest, Forbidden, NotFound.

    More room lets what waits begin at once; less stops nothing that is live.
    """
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_MAX:
        raise BadRequest(detail=f"The name must have 1 to {NAME_CHARACTERS_MAX} characters.")
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        bounds = limit_bounds(world, principal, found.deployment_limit)
        if not bounds.low <= limit <= bounds.high:
            raise BadRequest(
                detail=f"The limit must be between {bounds.low} and {bounds.high}."
                + ("" if principal.user.site_admin else " A server's administrator may set more.")
            )
        await organizations.change(tx, found.id, name=name, limit=limit)
        wake_pools(world, tx, await queue.refresh_organizations(tx, [found.id]))
        tx.after_commit(partial(world.broker.wake, f"org:{found.id}"))


@verb
async def create(world: World, principal: Principal, login: str) -> None:
    """Add a shared organization; a server's administrator may, and becomes its first one."""
    if not principal.user.site_admin:
        raise Forbidden(detail="Only an administrator of this server makes organizations.")
    await identity.create_organization(world, login, principal.user.login)


@verb
async def add_member(
    world: World, principal: Principal, login: str, user: str, role: str = "member"
) -> None:
    """Make a user of this server a member; raises NotFound, Conflict, BadRequest, Forbidden."""
    _require_role(role)
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        member = await users.user_by_login(tx, user)
        if member is None:
            raise NotFound(what=f"User '{user}'")
        if await organizations.role_of(tx, found.id, member.id) is not None:
            raise Conflict(detail=f"'{user}' is a member of '{login}' already.")
        await organizations.join(tx, found.id, member.id, role)
        tx.after_commit(world.token_cache.clear)


@verb
async def invite(
    world: World, principal: Principal, login: str, user: str, role: str = "member"
) -> str:
    """Make a new user, a member from the start; returns a one-time link's token for them.

    For a server's administrators. Never for a user who exists: the link signs in as them.
    """
    _require_role(role)
    if not principal.user.site_admin:
        raise Forbidden(detail="Only an administrator of this server invites new users.")
    value = tokens.new(tokens.LOGIN_LINK)
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        user_id = await identity.add_user(world, tx, user)
        await organizations.join(tx, found.id, user_id, role)
        expires_at = world.now() + INVITATION_MS
        await sessions.add_link(tx, user_id, tokens.digest(value), expires_at)
    return value


@verb
async def change_role(world: World, principal: Principal, login: str, user: str, role: str) -> None:
    """Change a member's role; the last administrator stays one."""
    _require_role(role)
    async with world.database.transaction() as tx:
        found = await _administered(tx, principal, login)
        member = await _member(tx, found, user)
        if role != "admin":
            await _require_another_admin(tx, found, member)
        await organizations.join(tx, found.id, member.id, role)
        tx.after_commit(world.token_cache.clear)


@verb
async def remove_member(world: World, principal: Principal, login: str, user: str) -> None:
    """End a membership: an administrator's doing, or the member's own; the last administrator
    stays."""
    async with world.database.transaction() as tx:
        if user == principal.user.login:
            found = await _locked(tx, principal, login)
        else:
            found = await _administered(tx, principal, login)
        member = await _member(tx, found, user)
        await _require_another_admin(tx, found, member)
        await organizations.leave(tx, found.id, member.id)
        tx.after_commit(world.token_cache.clear)


async def _locked(tx: Transaction, principal: Principal, login: str) -> Row[Any]:
    """The organization, held until the end: two who demote each other take turns."""
    seen = await access.organization(tx, principal, login)
    await queue.lock_organizations(tx, [seen.id])
    return await access.organization(tx, principal, login)


async def _administered(tx: Transaction, principal: Principal, login: str) -> Row[Any]:
    found = await _locked(tx, principal, login)
    access.require_admin(principal, login)
    # The principal may be remembered from a moment ago.
    if await organizations.role_of(tx, found.id, principal.user.id) != "admin":
        raise Forbidden(detail=f"Only an administrator of '{login}' may do this.")
    return found


async def _member(tx: Transaction, found: Row[Any], login: str) -> Row[Any]:
    user = await users.user_by_login(tx, login)
    role = None if user is None else await organizations.role_of(tx, found.id, user.id)
    if user is None or role is None:
        raise NotFound(what=f"Member '{login}'")
    return user


async def _require_another_admin(tx: Transaction, found: Row[Any], member: Row[Any]) -> None:
    if found.personal and found.login == member.login:
        raise Conflict(
            detail=f"'{found.login}' is {member.login}'s own organization; they stay its"
            " administrator."
        )
    role = await organizations.role_of(tx, found.id, member.id)
    if role == "admin" and await organizations.count_admins(tx, found.id) == 1:
        raise Conflict(
            detail=f"'{member.login}' is the last administrator of '{found.login}'."
            " Make somebody else one first."
        )


def _require_role(role: str) -> None:
    if role not in ROLES:
        raise BadRequest(detail=f"'{role}' is no role; use member or admin.")
