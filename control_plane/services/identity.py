"""Who is who: first user, access tokens, and what a token stands for."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain import names, tokens
from control_plane.domain.principal import Pool, Principal, User
from control_plane.errors import BadRequest, NotFound, NotLoggedIn
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import identity, organizations, stacks
from control_plane.store.transaction import Transaction

TOUCH_MS = 60_000
"""How exactly it is noted when a token was last used."""


class NewToken(msgspec.Struct, kw_only=True):
    """A token that was just made: the only time its value is seen."""

    id: str
    value: str


async def authenticate(world: World, token: str) -> Principal:
    """What a token of a person or of a deployment's CLI stands for; raises NotLoggedIn."""
    digest = tokens.digest(token)
    known = world.token_cache.get(digest)
    if known is not None:
        return known
    async with world.database.snapshot() as tx:
        if token.startswith(tokens.DEPLOYMENT_CLI):
            return await _deployment_principal(tx, digest, world.now())
        principal, used_at = await _user_principal(tx, digest, world.now())
    world.token_cache.put(digest, principal)
    if used_at is None or used_at < world.now() - TOUCH_MS:
        async with world.database.transaction() as tx:
            await identity.touch_access_token(tx, principal.token_id, world.now())
    return principal


async def _user_principal(tx: Transaction, digest: bytes, now: int) -> tuple[Principal, int | None]:
    """Whose token it is, and when it was last noted as used."""
    row = await identity.by_access_token(tx, digest)
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        raise NotLoggedIn()
    person = await principal_of(tx, row)
    principal = msgspec.structs.replace(person, token_id=row.token_id, token_name=row.token_name)
    return principal, row.last_used_at


async def principal_of(tx: Transaction, user: Row[Any]) -> Principal:
    """What a person may reach, by their memberships."""
    memberships = await organizations.of_user(tx, user.id)
    return Principal(
        user=_user(user),
        organizations=frozenset(each.login for each in memberships),
        admin_of=frozenset(each.login for each in memberships if each.role == "admin"),
    )


@verb
async def principal_by_login(world: World, login: str) -> Principal:
    """What a person may reach, for somebody who has the server itself; raises NotFound."""
    async with world.database.snapshot() as tx:
        user = await identity.user_by_login(tx, login)
        if user is None:
            raise NotFound(what=f"User '{login}'")
        return await principal_of(tx, user)


async def _deployment_principal(tx: Transaction, digest: bytes, now: int) -> Principal:
    """Also past the lease's time the digest stands until a transaction ends it; so check both."""
    row = await identity.by_deployment_token(tx, digest)
    if row is None or row.lease_expires_at is None or row.lease_expires_at <= now:
        raise NotLoggedIn()
    stack = await stacks.by_id(tx, row.stack_id)
    user = await identity.user_by_id(tx, row.requested_by) if row.requested_by else None
    if stack is None:
        raise NotLoggedIn()
    return Principal(
        user=_user(user) if user is not None else User(id="", login="slipway", name="Slipway"),
        organizations=frozenset({stack.organization}),
        reads=(
            frozenset() if row.is_fork else await _read_by_deployment(tx, user, stack.organization)
        ),
        is_fork=bool(row.is_fork),
        deployment_id=row.id,
        stack_id=row.stack_id,
        generation=row.generation,
        token_name=f"deployment {row.id}",
    )


async def _read_by_deployment(
    tx: Transaction, user: Row[Any] | None, organization: str
) -> frozenset[str]:
    """Nobody's deployment acts for the organization; a person's sees what the person sees."""
    if user is None:
        return frozenset({organization})
    memberships = await organizations.of_user(tx, user.id)
    return frozenset({organization} & {each.login for each in memberships})


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        login=row.login,
        name=row.name,
        email=row.email,
        avatar_url=row.avatar_url,
        site_admin=row.site_admin,
    )


async def authenticate_pool(world: World, token: str) -> Pool:
    """The pool behind a pool token; raises NotLoggedIn."""
    async with world.database.snapshot() as tx:
        row = await identity.pool_by_token(tx, tokens.digest(token))
    if row is None:
        raise NotLoggedIn()
    return Pool(
        id=row.id, name=row.name, organization_id=row.organization_id, public_key=row.public_key
    )


@verb
async def bootstrap(world: World, login: str, token: str | None) -> str | None:
    """Make sure that a first user exists, with a personal organization.

    With a token given, that token works afterwards (for scripts; run again it changes nothing).
    Without, a token is made for a new user only; returned, this once. None: nothing new.
    """
    _require_legal(login, "a user")
    if token is not None and token.startswith(tokens.RESERVED):
        raise BadRequest(
            detail="SLIPWAY_BOOTSTRAP_TOKEN must not begin like a token of another kind "
            f"({', '.join(tokens.RESERVED)})."
        )
    async with world.database.transaction() as tx:
        row = await identity.user_by_login(tx, login)
        user_id = row.id if row is not None else await _create_user(world, tx, login, True)
        if token is not None:
            owner = await identity.by_access_token(tx, tokens.digest(token))
            if owner is None:
                await _add_token(world, tx, user_id, token, "bootstrap")
            elif owner.id != user_id:
                raise BadRequest(detail=f"The given token is not '{login}'s but '{owner.login}'s.")
            return token
        return None if row is not None else await _new_token(world, tx, user_id, "bootstrap")


async def create_first_user(world: World, tx: Transaction, login: str) -> str:
    """Add the user who sets a server up; returns the id."""
    _require_legal(login, "a user")
    return await _create_user(world, tx, login, True)


async def _create_user(world: World, tx: Transaction, login: str, site_admin: bool) -> str:
    user_id = await identity.create_user(tx, login, site_admin=site_admin, now=world.now())
    organization_id = await organizations.create(
        tx,
        login,
        personal=True,
        limit=world.config.deployments.organization_limit,
        now=world.now(),
    )
    await organizations.join(tx, organization_id, user_id, "admin")
    return user_id


async def _new_token(world: World, tx: Transaction, user_id: str, name: str) -> str:
    value = tokens.new(tokens.PERSONAL)
    await _add_token(world, tx, user_id, value, name)
    return value


async def _add_token(
    world: World,
    tx: Transaction,
    user_id: str,
    value: str,
    name: str,
    expires_at: int | None = None,
) -> str:
    return await identity.add_access_token(
        tx, user_id, tokens.digest(value), name=name, now=world.now(), expires_at=expires_at
    )


@verb
async def create_user(world: World, login: str) -> None:
    """Add a user with a personal organization; raises BadRequest when the login is taken."""
    async with world.database.transaction() as tx:
        await add_user(world, tx, login)


async def add_user(world: World, tx: Transaction, login: str) -> str:
    """Add a user with a personal organization; returns the id. Raises BadRequest."""
    _require_legal(login, "a user")
    taken = await organizations.find(tx, login)
    if taken is not None or await identity.user_by_login(tx, login) is not None:
        raise BadRequest(detail=f"The name '{login}' is taken.")
    return await _create_user(world, tx, login, False)


@verb
async def create_token(
    world: World, login: str, name: str, expires_at: int | None = None
) -> NewToken:
    """Make a personal access token for a user; its value is in the answer and nowhere else."""
    async with world.database.transaction() as tx:
        user = await identity.user_by_login(tx, login)
        if user is None:
            raise NotFound(what=f"User '{login}'")
        value = tokens.new(tokens.PERSONAL)
        token_id = await _add_token(world, tx, user.id, value, name, expires_at)
    return NewToken(id=token_id, value=value)


@verb
async def list_tokens(world: World, principal: Principal) -> Any:
    """The caller's tokens, newest first; never their values."""
    async with world.database.snapshot() as tx:
        return await identity.access_tokens_of(tx, principal.user.id)


@verb
async def delete_token(world: World, principal: Principal, token_id: str) -> None:
    """Revoke one of the caller's tokens; raises NotFound."""
    async with world.database.transaction() as tx:
        if not await identity.delete_access_token(tx, principal.user.id, token_id):
            raise NotFound(what=f"Access token '{token_id}'")
        tx.after_commit(world.token_cache.clear)


@verb
async def create_organization(world: World, login: str, admin: str) -> None:
    """Add a shared organization with its first administrator."""
    _require_legal(login, "an organization")
    async with world.database.transaction() as tx:
        user = await identity.user_by_login(tx, admin)
        if user is None:
            raise NotFound(what=f"User '{admin}'")
        if await organizations.find(tx, login) is not None:
            raise BadRequest(detail=f"The name '{login}' is taken.")
        limit = world.config.deployments.organization_limit
        organization_id = await organizations.create(
            tx, login, personal=False, limit=limit, now=world.now()
        )
        await organizations.join(tx, organization_id, user.id, "admin")
        tx.after_commit(world.token_cache.clear)


@verb
async def add_member(world: World, organization: str, login: str, role: str) -> None:
    """Make a user a member of an organization, or change their role (`member` or `admin`)."""
    if role not in ("member", "admin"):
        raise BadRequest(detail=f"'{role}' is no role; use member or admin.")
    async with world.database.transaction() as tx:
        user = await identity.user_by_login(tx, login)
        found = await organizations.find(tx, organization)
        if user is None or found is None:
            missing = f"User '{login}'" if user is None else f"Organization '{organization}'"
            raise NotFound(what=missing)
        await organizations.join(tx, found.id, user.id, role)
        tx.after_commit(world.token_cache.clear)


def _require_legal(name: str, what: str) -> None:
    if name in names.RESERVED:
        raise BadRequest(detail=f"'{name}' cannot name {what}: addresses here begin so.")
    if not names.is_legal(name):
        raise BadRequest(
            detail=f"'{name}' cannot name {what}: use up to 100 letters, digits, '-', '_', '.'."
        )
