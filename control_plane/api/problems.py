"""Every error, the framework's own too, leaves as `{"code": <status>, "message": "<text>"}`."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.exceptions import ValidationException as LitestarValidation

from control_plane.errors import (
    BadRequest,
    Internal,
    MethodNotAllowed,
    Problem,
    RouteNotFound,
)

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]


def body_of(problem: Problem) -> bytes:
    """The wire form of a problem."""
    return msgspec.json.encode({"code": problem.status, "message": problem.message})


def render(
    problem: Problem, headers: dict[str, str] | None = None, *, status: int | None = None
) -> Response[bytes]:
    """The answer to a problem; a status given here is HTTP's, the body keeps the problem's."""
    return Response(
        body_of(problem),
        status_code=status or problem.status,
        media_type="application/json",
        headers=headers or {},
    )


def on_problem(_: AnyRequest, problem: Problem) -> Response[bytes]:
    """A problem that was raised on purpose."""
    headers = {"Retry-After": "5"} if problem.status in (429, 503) else None
    return render(problem, headers)


def on_http_exception(request: AnyRequest, exception: HTTPException) -> Response[bytes]:
    """A problem that the framework found: an unknown route, a wrong verb, a wrong parameter."""
    if isinstance(exception, NotFoundException):
        return render(RouteNotFound())
    if isinstance(exception, MethodNotAllowedException):
        return render(MethodNotAllowed(method=request.method), _allowed(exception))
    if isinstance(exception, LitestarValidation):
        return render(BadRequest(detail=_validation_text(exception)))
    body = msgspec.json.encode({"code": exception.status_code, "message": exception.detail})
    return Response(body, status_code=exception.status_code, media_type="application/json")


def _allowed(exception: MethodNotAllowedException) -> dict[str, str]:
    """The header that names the right verbs (RFC 9110, section 15.5.6)."""
    verbs = (exception.headers or {}).get("allow", "").split(", ")
    return {"Allow": ", ".join(sorted(verbs))}


def _validation_text(exception: LitestarValidation) -> str:
    extra = exception.extra if isinstance(exception.extra, list) else []
    texts = [f"{_wire_name(each.get('key', ''))}: {each.get('message', '')}" for each in extra]
    return "; ".join(texts) or exception.detail


def _wire_name(parameter: str) -> str:
    """A handler's parameter as clients call it."""
    first, *rest = parameter.split("_")
    return first + "".join(word.capitalize() for word in rest)


def on_validation_error(_: AnyRequest, error: msgspec.ValidationError) -> Response[bytes]:
    """A body that does not have the shape that a service wants."""
    return render(BadRequest(detail=str(error)))


def on_unusable(request: AnyRequest, error: ValueError | OverflowError) -> Response[bytes]:
    """What no check before has found: a number too large for the database, text that is none."""
    log.warning("request unusable", action="http", path=request.url.path, exc_info=error)
    if isinstance(error, UnicodeDecodeError):
        return render(BadRequest(detail="The body is not valid UTF-8."))
    return render(BadRequest(detail="A number in the request is too large."))


def on_anything(request: AnyRequest, error: Exception) -> Response[bytes]:
    """A mistake of ours: the text stays in the log, under the id that the answer gives."""
    request_id = uuid.uuid4().hex
    log.error(
        "request failed",
        action="http",
        method=request.method,
        path=request.url.path,
        request_id=request_id,
        exc_info=error,
    )
    return render(Internal(request_id=request_id), {"X-Pulumi-Request-ID": request_id})


HANDLERS: dict[Any, Any] = {
    Problem: on_problem,
    HTTPException: on_http_exception,
    msgspec.ValidationError: on_validation_error,
    OverflowError: on_unusable,
    UnicodeDecodeError: on_unusable,
    Exception: on_anything,
}
