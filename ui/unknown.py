"""What goes wrong outside the console's own pages: browsers get a page, everybody else JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ui.guard import viewer_of
from ui.pages import page

NOT_FOR_BROWSERS = ("/api", "/health", "/metrics", "/schema")
KEPT_HEADERS = ("allow", "retry-after", "x-pulumi-request-id")

AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest, Any], Response[Any]]


def with_pages(handlers: dict[Any, Handler]) -> dict[Any, Handler]:
    """The API's error handlers, whose answers to browsers are pages with the same words."""
    return {kind: _with_page(handler) for kind, handler in handlers.items()}


def _with_page(handler: Handler) -> Handler:
    def handle(request: AnyRequest, problem: Any) -> Response[Any]:
        answer = handler(request, problem)
        return _as_page(request, answer) if is_browser(request) else answer

    return handle


def is_browser(request: AnyRequest) -> bool:
    """Whether a person looks at the answer: their browser asks for HTML, and for no API address."""
    is_page = not any(
        request.url.path == each or request.url.path.startswith(f"{each}/")
        for each in NOT_FOR_BROWSERS
    )
    return is_page and "text/html" in request.headers.get("accept", "")


def _as_page(request: AnyRequest, answer: Response[Any]) -> Response[str]:
    body = msgspec.json.decode(answer.content)
    made = page(
        "problem.html",
        viewer_of(request),
        status=answer.status_code or body["code"],
        code=body["code"],
        message=body["message"],
        organization=None,
    )
    headers = {name.lower(): value for name, value in answer.headers.items()}
    made.headers.update({name: headers[name] for name in KEPT_HEADERS if name in headers})
    return made


def answering_head(app: ASGIApp) -> ASGIApp:
    """Pages answer HEAD as they answer GET, without the body (RFC 9110, section 9.3.2)."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked: Any = scope
        is_head = asked["type"] == "http" and asked["method"] == "HEAD"
        if is_head and not asked["path"].startswith("/api/"):
            await app(asked | {"method": "GET"}, receive, _headers_alone(send))
        else:
            await app(scope, receive, send)

    return answer


def _headers_alone(send: Send) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            # A stream would otherwise go on for nobody.
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return forward
