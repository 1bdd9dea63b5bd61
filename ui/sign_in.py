"""Signing in and out, the one-time links, a server's setup, and `pulumi login`'s browser flow."""

from __future__ import annotations

import re
import string
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from litestar import Response, get, post
from litestar.params import QueryParameter

from control_plane.domain import tokens
from control_plane.errors import BadRequest, NotLoggedIn
from control_plane.services import identity, sessions
from control_plane.services.github import app as github_app
from control_plane.services.sessions import Opened, Viewer
from control_plane.services.world import World
from ui.guard import COOKIE, AnyRequest, text_of
from ui.pages import page

Next = Annotated[str, QueryParameter(name="next")]
SessionPort = Annotated[int, QueryParameter(name="cliSessionPort")]
SessionNonce = Annotated[str, QueryParameter(name="cliSessionNonce")]
SessionDescription = Annotated[str, QueryParameter(name="cliSessionDescription")]


@get("/")
async def front(viewer: Viewer) -> Response[Any]:
    """To the home of the viewer's own organization."""
    return seen(f"/{viewer.principal.user.login}")


@get("/sign-in")
async def ask(world: World, onward: Next = "/") -> Response[str]:
    """The page to sign in on."""
    return await _ask(world, own_address(onward))


@post("/sign-in")
async def sign_in(request: AnyRequest, world: World) -> Response[Any]:
    """Sign in with a personal access token."""
    form = await request.form()
    onward = own_address(text_of(form, "next") or "/")
    token = text_of(form, "token")
    if not token:
        return await _ask(world, onward, "Paste an access token.", 401)
    try:
        opened = await sessions.sign_in(world, token, _cookie(request))
    except NotLoggedIn:
        return await _ask(world, onward, _why_not(token), 401)
    return signed_in(world, opened, onward)


@get("/sign-in/{link:str}")
async def ask_by_link(world: World, link: str) -> Response[str]:
    """A one-time link: a button, since looking at a link must not use it up."""
    setup = await sessions.leads_to_setup(world, link)
    template = "setup.html" if setup else "sign_in_by_link.html"
    return page(template, link=link, problem=None, login="", days=_days(world))


@post("/sign-in/{link:str}")
async def sign_in_by_link(request: AnyRequest, world: World, link: str) -> Response[Any]:
    """Use a one-time link up."""
    if not await sessions.leads_to_setup(world, link):
        opened = await sessions.sign_in_by_link(world, link, _cookie(request))
        return signed_in(world, opened, "/")
    login = text_of(await request.form(), "login")
    try:
        opened = await sessions.set_up(world, link, login)
    except BadRequest as problem:
        return page(
            "setup.html",
            status=400,
            link=link,
            problem=problem.message,
            login=login,
            days=_days(world),
        )
    return signed_in(world, opened, "/")


@post("/sign-out")
async def sign_out(world: World, viewer: Viewer, form: Any) -> Response[Any]:
    """End the session."""
    await sessions.sign_out(world, viewer)
    return signed_out()


@get("/cli-login")
async def ask_for_cli(
    viewer: Viewer,
    port: SessionPort,
    nonce: SessionNonce,
    description: SessionDescription = "",
) -> Response[str]:
    """`pulumi login` has opened the browser: ask whether it is to get a token."""
    return page(
        "cli_login.html",
        viewer,
        port=port,
        nonce=nonce,
        description=description[:200],
        organization=None,
        leads_to="http://localhost:*",
    )


@post("/cli-login")
async def log_cli_in(world: World, viewer: Viewer, form: Any) -> Response[Any]:
    """Make a token for the CLI and hand it over on loopback, as the CLI waits for it there."""
    port = str(form.get("port", ""))
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadRequest(detail="The port of the waiting CLI is missing. Run: pulumi login")
    name = str(form.get("description", ""))[:200] or "pulumi login"
    made = await identity.create_token(world, viewer.principal.user.login, name)
    query = urlencode({"accessToken": made.value, "nonce": str(form.get("nonce", ""))})
    return seen(f"http://localhost:{int(port)}/?{query}")


def seen(address: str) -> Response[Any]:
    """Go on to another page, by GET."""
    return Response(b"", status_code=303, headers={"Location": address})


def own_address(address: str) -> str:
    """An address of this server; whatever leads elsewhere becomes the front page.

    Browsers drop tabs and line breaks and take a backslash for a slash, so none of them may be in
    it; and no line break may come into a header.
    """
    is_own = address.startswith("/") and not address.startswith("//")
    if not is_own or "\\" in address or re.search(r"[\x00-\x20\x7f]", address):
        return "/"
    return quote(address, safe=string.punctuation, errors="replace")


def signed_out() -> Response[Any]:
    """To the sign-in page, without the session's cookie."""
    answer = seen("/sign-in")
    answer.delete_cookie(COOKIE)
    return answer


async def _ask(world: World, onward: str, problem: str = "", status: int = 200) -> Response[str]:
    return page(
        "sign_in.html",
        status=status,
        onward=onward,
        problem=problem,
        nobody_yet=await sessions.nobody_yet(world),
        with_github=await github_app.show(world) is not None,
        days=_days(world),
    )


def _why_not(token: str) -> str:
    """Pulumi Cloud's tokens, and this server's, begin alike; whatever does not is a mistake."""
    if token.startswith(tokens.RESERVED):
        return "This token is of another kind: here one signs in with a personal access token."
    return "This is no access token of this server, or it is over."


def _cookie(request: AnyRequest) -> str:
    return str(request.cookies.get(COOKIE, ""))


def _days(world: World) -> str:
    """How long a session lasts, for people."""
    return f"{world.config.server.session_days:g} days"


def signed_in(world: World, opened: Opened, onward: str) -> Response[Any]:
    """To a page, with a session's cookie."""
    answer = seen(onward)
    answer.set_cookie(
        COOKIE,
        opened.cookie,
        max_age=opened.seconds,
        httponly=True,
        samesite="lax",
        secure=world.config.public_url.startswith("https:"),
    )
    return answer


@get("/welcome/cli")
async def welcome_cli(world: World, request: AnyRequest) -> Response[str]:
    """Where the CLI leads the browser once it has its token."""
    try:
        viewer = await sessions.viewer(world, _cookie(request))
    except NotLoggedIn:
        viewer = None
    return page(
        "welcome_cli.html",
        viewer,
        organization=viewer.principal.user.login if viewer else None,
    )


@get("/user/settings/tokens")
async def tokens_as_the_cli_calls_them() -> Response[Any]:
    """Where `pulumi login` says that access tokens are made."""
    return seen("/-/tokens")


ROUTES: list[Any] = [
    front,
    ask,
    sign_in,
    ask_by_link,
    sign_in_by_link,
    sign_out,
    ask_for_cli,
    log_cli_in,
    welcome_cli,
    tokens_as_the_cli_calls_them,
]
