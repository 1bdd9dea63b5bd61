"""Who may see a page, and which forms are taken: those that this server made for this session."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import BaseRouteHandler

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Forbidden, NotLoggedIn, Problem, RouteNotFound
from control_plane.services import sessions
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.pages import page

COOKIE = "slipway_session"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

AnyRequest = Request[Any, Any, Any]


class SignInFirst(Exception):
    """The page is for people who are signed in."""


def same_origin(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse what another site's page sends here: browsers say where a form comes from."""
    if connection.scope.get("method", "GET") in SAFE_METHODS:
        return
    site = connection.headers.get("sec-fetch-site")
    origin = connection.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is not None and urlsplit(origin).netloc == connection.headers.get("host")
    if not is_own:
        raise Forbidden(detail="This form came from another site; open the page here and use it.")


async def provide_viewer(request: AnyRequest, world: World) -> Viewer:
    """Who is signed in; without a session the sign-in page comes first."""
    try:
        viewer = await sessions.viewer(world, request.cookies.get(COOKIE, ""))
    except NotLoggedIn:
        raise SignInFirst from None
    # For the page of a problem that comes later: error handlers can ask nobody.
    request.state.viewer = viewer
    return viewer


async def provide_principal(viewer: Viewer) -> Principal:
    """The person behind the session."""
    return viewer.principal


async def provide_form(request: AnyRequest, viewer: Viewer) -> FormMultiDict:
    """The fields of a form of this session; raises Forbidden for any other."""
    form = await request.form()
    if not sessions.is_own_form(viewer, str(form.get("form_token", ""))):
        raise Forbidden(detail="This form is of another session. Load the page again.")
    return form


def text_of(form: FormMultiDict, field: str) -> str:
    """What was typed into a field, without the spaces around it; empty for none, or for a file."""
    value = form.get(field, "")
    return value.strip() if isinstance(value, str) else ""


def provide_name(organization: str, project: str, stack: str) -> StackName:
    """The stack in the address."""
    return StackName(organization, project, stack)


def to_sign_in(request: AnyRequest, _: SignInFirst) -> Response[Any]:
    """To the sign-in page, and back afterwards."""
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    onward = f"?next={quote(address, safe='')}" if request.method == "GET" else ""
    return Response(b"", status_code=303, headers={"Location": f"/sign-in{onward}"})


def on_problem(request: AnyRequest, problem: Problem) -> Response[Any]:
    """A problem as a page."""
    return _page(request, problem.status, problem.message)


def on_http_exception(request: AnyRequest, problem: HTTPException) -> Response[Any]:
    """What the framework refuses, as a page."""
    if isinstance(problem, NotFoundException):
        return on_problem(request, RouteNotFound())
    detail = problem.detail or "This address does not answer so."
    return _page(request, problem.status_code, BadRequest(detail=detail).message)


def _page(request: AnyRequest, status: int, message: str) -> Response[Any]:
    viewer = viewer_of(request)
    return page(
        "problem.html", viewer, status=status, code=status, message=message, organization=None
    )


def viewer_of(request: AnyRequest) -> Viewer | None:
    """Who is signed in, where that is known already: error handlers can ask nobody."""
    viewer: Viewer | None = request.state.get("viewer")
    return viewer


DEPENDENCIES = {
    "viewer": Provide(provide_viewer),
    "principal": Provide(provide_principal),
    "form": Provide(provide_form),
}
HANDLERS: dict[Any, Any] = {
    SignInFirst: to_sign_in,
    Problem: on_problem,
    HTTPException: on_http_exception,
}
