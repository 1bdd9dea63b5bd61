"""Sign-in with GitHub, and the link between an account here and one there."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.params import QueryParameter

from control_plane.domain.principal import Principal
from control_plane.services.github import signing_in
from control_plane.services.world import World
from ui.guard import COOKIE, AnyRequest
from ui.sign_in import own_address, seen, signed_in

NONCE = "slipway_github"
MINUTES = 60

Next = Annotated[str, QueryParameter(name="next", max_length=2000)]
Code = Annotated[str, QueryParameter(name="code", max_length=500)]
State = Annotated[str, QueryParameter(name="state", max_length=4000)]


@get("/sign-in/github")
async def start(world: World, onward: Next = "/") -> Response[Any]:
    """To GitHub; a cookie says which browser it was."""
    way = await signing_in.start(world, own_address(onward))
    answer = seen(way.url)
    answer.set_cookie(
        NONCE,
        way.nonce,
        max_age=MINUTES * 60,
        path="/sign-in/github",
        httponly=True,
        samesite="lax",
        secure=world.config.public_url.startswith("https:"),
    )
    return answer


@get("/sign-in/github/callback")
async def callback(
    request: AnyRequest, world: World, code: Code = "", state_text: State = ""
) -> Response[Any]:
    """Back from GitHub: signed in, or on to the link of somebody who is."""
    nonce = request.cookies.get(NONCE, "")
    if not nonce:
        return seen(f"/-/github/linked?{request.url.query}")
    back = await signing_in.finish(world, code, state_text, nonce, request.cookies.get(COOKIE, ""))
    assert back.opened is not None  # noqa: S101 - signing in opens a session
    answer = signed_in(world, back.opened, back.onward)
    answer.delete_cookie(NONCE, path="/sign-in/github")
    return answer


@post("/-/github/link")
async def link(world: World, principal: Principal, form: FormMultiDict) -> Response[Any]:
    """To GitHub, to link one's account there."""
    answer = seen(await signing_in.start_link(world, principal))
    answer.delete_cookie(NONCE, path="/sign-in/github")
    return answer


@get("/-/github/linked")
async def linked(
    world: World, principal: Principal, code: Code = "", state_text: State = ""
) -> Response[Any]:
    """Back from GitHub with one's account there."""
    return seen((await signing_in.finish_link(world, principal, code, state_text)).onward)


@post("/-/github/unlink")
async def unlink(world: World, principal: Principal, form: FormMultiDict) -> Response[Any]:
    """Forget one's account there."""
    await signing_in.unlink(world, principal)
    return seen("/-/tokens")


ROUTES: list[Any] = [start, callback, link, linked, unlink]
