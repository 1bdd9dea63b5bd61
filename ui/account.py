"""A person's own pages: their access tokens, and where they are signed in."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict

from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import identity, sessions
from control_plane.services.github import app as github_app
from control_plane.services.github import signing_in
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import text_of
from ui.pages import page
from ui.sign_in import seen, signed_out

DAY_MS = 86_400_000
DAYS_MAX = 3650


class AccountPages(Controller):
    """`/-/tokens`."""

    path = "/-/tokens"
    include_in_schema = False

    @get()
    async def tokens(self, world: World, viewer: Viewer, principal: Principal) -> Response[str]:
        """The person's access tokens; never their values."""
        return await _tokens(world, viewer)

    @post()
    async def create(
        self, world: World, viewer: Viewer, principal: Principal, form: FormMultiDict
    ) -> Response[str]:
        """Make a token. Its value is on this answer, and nowhere else ever again."""
        name = text_of(form, "name")[:200] or "console"
        typed = {"name": name, "days": text_of(form, "days")}
        try:
            days = _days(typed["days"])
        except BadRequest as problem:
            return await _tokens(world, viewer, problem=problem, typed=typed)
        expires_at = None if days is None else world.now() + days * DAY_MS
        made = await identity.create_token(world, principal.user.login, name, expires_at)
        return await _tokens(world, viewer, made=made.value)

    @post("/{token_id:str}/delete")
    async def delete(
        self, world: World, principal: Principal, form: FormMultiDict, token_id: str
    ) -> Response[Any]:
        """Revoke a token, and with it whatever was signed in by it."""
        await identity.delete_token(world, principal, token_id)
        return seen("/-/tokens")


class SessionPages(Controller):
    """`/-/sessions`."""

    path = "/-/sessions"
    include_in_schema = False

    @get()
    async def sessions(self, world: World, viewer: Viewer) -> Response[str]:
        """Where the person is signed in."""
        return page(
            "sessions.html",
            viewer,
            organization=viewer.principal.user.login,
            sessions=await sessions.own(world, viewer),
            days=world.config.server.session_days,
        )

    @post("/{session_id:str}/end")
    async def end(
        self, world: World, viewer: Viewer, form: FormMultiDict, session_id: str
    ) -> Response[Any]:
        """End one session; this one's page then leads to the sign-in."""
        await sessions.end_one(world, viewer, session_id)
        return seen("/-/sessions")

    @post("/end")
    async def end_all(self, world: World, viewer: Viewer, form: FormMultiDict) -> Response[Any]:
        """Sign out everywhere."""
        await sessions.end_all(world, viewer)
        return signed_out()


def _days(given: str) -> int | None:
    """After how many days the token ends; None: never. Raises BadRequest."""
    if not given:
        return None
    if given.isascii() and given.isdigit() and len(given) < 5 and 0 < int(given) <= DAYS_MAX:
        return int(given)
    raise BadRequest(detail=f"A token ends after 1 to {DAYS_MAX} days; leave it empty for never.")


async def _github(world: World, viewer: Viewer) -> dict[str, Any] | None:
    """The person's account on GitHub; None where the server has no App to link it by."""
    if await github_app.show(world) is None:
        return None
    return {
        "login": await signing_in.linked_to(world, viewer.principal),
        "url": world.config.github_url,
    }


async def _tokens(
    world: World,
    viewer: Viewer,
    *,
    made: str = "",
    problem: BadRequest | None = None,
    typed: dict[str, str] | None = None,
) -> Response[str]:
    return page(
        "tokens.html",
        viewer,
        status=problem.status if problem else 200,
        organization=viewer.principal.user.login,
        tokens=await identity.list_tokens(world, viewer.principal),
        made=made,
        problem=problem,
        github=await _github(world, viewer),
        typed=typed or {"name": "", "days": ""},
        now=world.now(),
        url=world.config.public_url,
        domain=urlsplit(world.config.public_url).netloc,
        leads_to=world.config.github_url,
    )


ROUTES: list[Any] = [AccountPages, SessionPages]
