"""Signing in and out, the one-time links, a server's setup, and `pulumi login`'s browser flow."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from litestar import Response, get, post
from litestar.params import QueryParameter

from control_plane.errors import BadRequest, NotLoggedIn
from control_plane.services import identity, sessions
from control_plane.services.sessions import Opened, Viewer
from control_plane.services.world import World
from ui.guard import COOKIE, AnyRequest
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
async def ask(onward: Next = "/") -> Response[str]:
    """The page to sign in on."""
    return page("sign_in.html", onward=own_address(onward), problem=None)


@post("/sign-in")
async def sign_in(request: AnyRequest, world: World) -> Response[Any]:
    """Sign in with a personal access token."""
    form = await request.form()
    onward = own_address(str(form.get("next", "/")))
    try:
        opened = await sessions.sign_in(world, str(form.get("token", "")).strip())
    except NotLoggedIn:
        return page(
            "sign_in.html",
            status=401,
            onward=onward,
            problem="This is no access token of this server, or it is over.",
        )
    return _signed_in(world, opened, onward)


@get("/sign-in/{link:str}")
async def ask_by_link(world: World, link: str) -> Response[str]:
    """A one-time link: a button, since looking at a link must not use it up."""
    setup = await sessions.leads_to_setup(world, link)
    return page("setup.html" if setup else "sign_in_by_link.html", link=link, problem=None)


@post("/sign-in/{link:str}")
async def sign_in_by_link(request: AnyRequest, world: World, link: str) -> Response[Any]:
    """Use a one-time link up."""
    if not await sessions.leads_to_setup(world, link):
        return _signed_in(world, await sessions.sign_in_by_link(world, link), "/")
    form = await request.form()
    try:
        opened = await sessions.set_up(world, link, str(form.get("login", "")).strip())
    except BadRequest as problem:
        return page("setup.html", status=400, link=link, problem=problem.message)
    return _signed_in(world, opened, "/")


@post("/sign-out")
async def sign_out(world: World, viewer: Viewer, form: Any) -> Response[Any]:
    """End the session."""
    await sessions.sign_out(world, viewer)
    answer = seen("/sign-in")
    answer.delete_cookie(COOKIE)
    return answer


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
    """An address of this server; whatever leads elsewhere becomes the front page."""
    parts = urlsplit(address)
    is_own = not parts.scheme and not parts.netloc and address.startswith("/")
    return address if is_own and "\\" not in address and not address.startswith("//") else "/"


def _signed_in(world: World, opened: Opened, onward: str) -> Response[Any]:
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


ROUTES: list[Any] = [
    front,
    ask,
    sign_in,
    ask_by_link,
    sign_in_by_link,
    sign_out,
    ask_for_cli,
    log_cli_in,
]
