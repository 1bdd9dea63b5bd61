"""Who is signed in to the console: by a personal access token, or by a one-time link.

A session is a random token in a signed cookie; the database knows its digest. The signature
refuses what this server never gave out without asking the database.
"""

from __future__ import annotations

import base64
import hmac
import secrets

import msgspec

from control_plane.domain import tokens
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, LinkUsed, NotFound, NotLoggedIn
from control_plane.services import identity
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import identity as users
from control_plane.store import sessions
from control_plane.store.transaction import Transaction


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is signed in, and what their forms must carry."""

    principal: Principal
    cookie: str
    form_token: str
    """Proves that a form was made by this server for this session."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A session that has just begun: its cookie, and how long that may be kept."""

    cookie: str
    seconds: int


class OwnSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of somebody's sessions, as they see it."""

    id: str
    begun_at: int
    ends_at: int
    token_name: str | None
    """Of the access token that it began with; None after a one-time link."""
    is_this: bool


async def viewer(world: World, cookie: str) -> Viewer:
    """Who is signed in with a cookie; raises NotLoggedIn."""
    digest = tokens.digest(_token_in(world, cookie))
    principal = world.token_cache.get(digest)
    if principal is None:
        async with world.database.snapshot() as tx:
            user = await sessions.user_of(tx, digest, world.now())
            if user is None:
                raise NotLoggedIn()
            principal = await identity.principal_of(tx, user)
        world.token_cache.put(digest, principal)
    form_token = _masked(world.cipher.sign(cookie, "form"))
    return Viewer(principal=principal, cookie=cookie, form_token=form_token)


def is_own_form(found: Viewer, form_token: str) -> bool:
    """Whether a form's token is this session's; in constant time."""
    return hmac.compare_digest(_unmasked(found.form_token), _unmasked(form_token))


@verb
async def sign_in(world: World, token: str, before: str = "") -> Opened:
    """Begin a session with a personal access token; raises NotLoggedIn.

    `before` is the cookie that the browser had; a session of the same user in it is over.
    """
    principal = await identity.authenticate(world, token)
    if not principal.token_id:
        raise NotLoggedIn()
    async with world.database.transaction() as tx:
        await _end(world, tx, before, principal.user.id)
        return await _open(world, tx, principal.user.id, principal.token_id)


@verb
async def nobody_yet(world: World) -> bool:
    """Whether the server still waits to be set up."""
    async with world.database.snapshot() as tx:
        return not await sessions.any_user(tx)


@verb
async def make_link(world: World, login: str) -> str:
    """Make a one-time link's token for a user; a server without users gives one to its setup."""
    value = tokens.new(tokens.LOGIN_LINK)
    async with world.database.transaction() as tx:
        user = await users.user_by_login(tx, login)
        if user is None and await sessions.any_user(tx):
            if not login:
                raise BadRequest(
                    detail="Say whom the link signs in: slipway login-link --user LOGIN"
                )
            raise NotFound(what=f"User '{login}'")
        expires_at = world.now() + int(world.config.server.login_link_minutes * 60_000)
        user_id = None if user is None else user.id
        await sessions.add_link(tx, user_id, tokens.digest(value), expires_at)
    return value


@verb
async def leads_to_setup(world: World, token: str) -> bool:
    """Whether a one-time link is to a server's setup; raises LinkUsed. It can still be used."""
    async with world.database.snapshot() as tx:
        found = await sessions.link(tx, tokens.digest(token), world.now())
    if found is None:
        raise LinkUsed()
    return found.user_id is None


@verb
async def sign_in_by_link(world: World, token: str, before: str = "") -> Opened:
    """Use a one-time link; raises LinkUsed. The user's session in the cookie `before` is over."""
    async with world.database.transaction() as tx:
        found = await sessions.take_link(tx, tokens.digest(token), world.now())
        if found is None or found.user_id is None:
            raise LinkUsed()
        await _end(world, tx, before, found.user_id)
        return await _open(world, tx, found.user_id, None)


@verb
async def set_up(world: World, token: str, login: str) -> Opened:
    """Make the first user of a server, and begin their session; raises LinkUsed, BadRequest."""
    async with world.database.transaction() as tx:
        found = await sessions.take_link(tx, tokens.digest(token), world.now())
        if found is None or found.user_id is not None or await sessions.any_user(tx):
            raise LinkUsed()
        user_id = await identity.create_first_user(world, tx, login)
        return await _open(world, tx, user_id, None)


@verb
async def sign_out(world: World, found: Viewer) -> None:
    """End a session."""
    async with world.database.transaction() as tx:
        digest = tokens.digest(_token_in(world, found.cookie))
        await sessions.end(tx, digest, found.principal.user.id)
        tx.after_commit(world.token_cache.clear)


@verb
async def own(world: World, found: Viewer) -> list[OwnSession]:
    """Where the viewer is signed in, newest first."""
    this = tokens.digest(_token_in(world, found.cookie))
    async with world.database.snapshot() as tx:
        rows = await sessions.of_user(tx, found.principal.user.id, world.now())
    return [
        OwnSession(
            id=row.id,
            begun_at=row.created_at,
            ends_at=row.expires_at,
            token_name=row.token_name,
            is_this=row.digest == this,
        )
        for row in rows
    ]


@verb
async def end_one(world: World, found: Viewer, session_id: str) -> None:
    """End one of the viewer's sessions; raises NotFound."""
    async with world.database.transaction() as tx:
        if not await sessions.end_one(tx, found.principal.user.id, session_id):
            raise NotFound(what=f"Session '{session_id}'")
        tx.after_commit(world.token_cache.clear)


@verb
async def end_all(world: World, found: Viewer) -> None:
    """Sign the viewer out everywhere, here too."""
    async with world.database.transaction() as tx:
        await sessions.end_all(tx, found.principal.user.id)
        tx.after_commit(world.token_cache.clear)


def _masked(code: bytes) -> str:
    """A code that looks different each time: the same bytes on page after page, compressed beside
    words that a stranger chose, could be guessed by the pages' length."""
    pad = secrets.token_bytes(len(code))
    return _encoded(pad + _xor(pad, code))


def _unmasked(text: str) -> bytes:
    """The code under a mask; nothing of what is none."""
    try:
        both = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return b""
    half = len(both) // 2
    return _xor(both[:half], both[half:])


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


async def _end(world: World, tx: Transaction, cookie: str, user_id: str) -> None:
    try:
        digest = tokens.digest(_token_in(world, cookie))
    except NotLoggedIn:
        return
    await sessions.end(tx, digest, user_id)
    tx.after_commit(world.token_cache.clear)


async def open_for(world: World, tx: Transaction, user_id: str, before: str) -> Opened:
    """Inside another verb: begin a user's session, in the place of the browser's one before."""
    await _end(world, tx, before, user_id)
    return await _open(world, tx, user_id, None)


async def _open(world: World, tx: Transaction, user_id: str, token_id: str | None) -> Opened:
    value = tokens.new(tokens.SESSION)
    seconds = int(world.config.server.session_days * 86_400)
    now = world.now()
    await sessions.add(
        tx,
        user_id,
        tokens.digest(value),
        access_token_id=token_id,
        now=now,
        expires_at=now + seconds * 1000,
    )
    return Opened(cookie=f"{value}.{_signature(world, value)}", seconds=seconds)


def _token_in(world: World, cookie: str) -> str:
    value, _, signature = cookie.partition(".")
    if not hmac.compare_digest(_signature(world, value).encode(), signature.encode()):
        raise NotLoggedIn()
    return value


def _signature(world: World, value: str) -> str:
    return _encoded(world.cipher.sign(value, "session"))


def _encoded(code: bytes) -> str:
    return base64.urlsafe_b64encode(code).rstrip(b"=").decode()
