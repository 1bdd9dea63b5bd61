"""Sign-in with GitHub: for people whose account here is linked to one there.

Nobody becomes a user by having a GitHub account; a user links theirs, while signed in another way.
"""

from __future__ import annotations

import hmac
import secrets

import msgspec

from control_plane.domain.principal import Principal
from control_plane.errors import Conflict, Forbidden
from control_plane.services import sessions
from control_plane.services.github import app, states
from control_plane.services.github.ports import GitHubRefused
from control_plane.services.github.ports import User as GitHubUser
from control_plane.services.github.states import State
from control_plane.services.sessions import Opened
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import people

SIGN_IN = "sign-in"
LINK = "link"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The way to GitHub: its address, and what the browser must show when it comes back."""

    url: str
    nonce: str = ""


class Back(msgspec.Struct, frozen=True, kw_only=True):
    """Back from GitHub: a session, or a link of a user who had one; and where they wanted to go."""

    onward: str
    opened: Opened | None = None


def callback_url(world: World) -> str:
    """Where GitHub sends people back to."""
    return f"{world.config.public_url}/sign-in/github/callback"


@verb
async def start(world: World, onward: str) -> Way:
    """To GitHub, to sign in. Raises NotFound without an App."""
    nonce = secrets.token_urlsafe(24)
    state = State(purpose=SIGN_IN, next=onward, nonce=nonce)
    return Way(url=await _url(world, state), nonce=nonce)


@verb
async def start_link(world: World, principal: Principal) -> str:
    """To GitHub, to link the account there to the user here."""
    return await _url(world, State(purpose=LINK, user_id=principal.user.id, next="/-/tokens"))


async def _url(world: World, state: State) -> str:
    found = await app.credentials(world)
    return world.github.authorize_url(
        found.client_id, callback_url(world), states.write(world, state)
    )


@verb
async def finish(world: World, code: str, state_text: str, nonce: str, before: str = "") -> Back:
    """Sign in who comes back. Raises Forbidden for a stranger, or for another browser's way."""
    state = states.read(world, state_text, SIGN_IN)
    if not nonce or not hmac.compare_digest(state.nonce.encode(), nonce.encode()):
        raise Forbidden(detail="This sign-in was begun in another browser. Begin again.")
    person = await _person(world, code)
    async with world.database.transaction() as tx:
        user = await people.by_github_id(tx, person.id)
        if user is None:
            raise Forbidden(
                detail=f"Nobody here is linked to the GitHub account '{person.login}'. Sign in"
                " with a token or a one-time link, and link it on your account's page."
            )
        opened = await sessions.open_for(world, tx, user.id, before)
    return Back(onward=state.next or "/", opened=opened)


@verb
async def finish_link(world: World, principal: Principal, code: str, state_text: str) -> Back:
    """Link the GitHub account of who comes back. Raises Conflict if it is somebody else's."""
    state = states.read(world, state_text, LINK, principal.user.id)
    person = await _person(world, code)
    async with world.database.transaction() as tx:
        known = await people.by_github_id(tx, person.id)
        if known is not None and known.id != principal.user.id:
            raise Conflict(
                detail=f"The GitHub account '{person.login}' is linked to '{known.login}' here."
            )
        await people.link(tx, principal.user.id, person.id, person.login, world.now())
    return Back(onward=state.next)


@verb
async def linked_to(world: World, principal: Principal) -> str:
    """The login of the GitHub account that a user is linked to; empty for none."""
    async with world.database.snapshot() as tx:
        row = await people.of_user(tx, principal.user.id)
    return "" if row is None else str(row.login)


@verb
async def unlink(world: World, principal: Principal) -> None:
    """Forget a user's GitHub account."""
    async with world.database.transaction() as tx:
        row = await people.of_user(tx, principal.user.id)
        if row is not None:
            await people.unlink(tx, row.github_id)


async def _person(world: World, code: str) -> GitHubUser:
    found = await app.credentials(world)
    try:
        token = await world.github.exchange_code(
            found.client_id, found.client_secret, code, callback_url(world)
        )
    except GitHubRefused:
        raise Forbidden(
            detail="GitHub does not know this code any more. Begin again with: Sign in with GitHub."
        ) from None
    return await world.github.user(token.token)
