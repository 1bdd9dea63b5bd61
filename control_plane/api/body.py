"""Request bodies: inflated, bounded, and decoded with errors that name the field."""

from __future__ import annotations

import codecs
import io
import zlib
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPRequestEvent,
    HTTPScope,
    Receive,
    ReceiveMessage,
    Scope,
    Send,
)
from litestar.utils.scope.state import ScopeState

from control_plane.api import problems
from control_plane.errors import BadRequest, Problem, RouteNotFound, TooLarge, UnknownEncoding

T = TypeVar("T")

ANONYMOUS_BYTES_MAX = 1024 * 1024
"""How large a body without credentials may be: it is read before anybody is turned away."""
WEBHOOK_PATH = "/webhooks/github"
WEBHOOK_BYTES_MAX = 25 * 1024 * 1024
"""GitHub sends no credentials but a signature, which is looked at when the body is there."""

AnyRequest = Request[Any, Any, Any]


async def decode(request: AnyRequest, shape: type[T]) -> T:
    """The request's JSON body as the shape; an empty body counts as `{}`. Raises BadRequest."""
    return decode_bytes(await request.body(), shape)


def decode_bytes(body: bytes, shape: type[T]) -> T:
    """JSON bytes as the shape; raises BadRequest naming what is wrong."""
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except msgspec.ValidationError as error:
        raise BadRequest(detail=f"The body is not as expected: {error}") from None
    except msgspec.DecodeError as error:
        raise BadRequest(detail=f"The body is not valid JSON: {error}") from None
    except UnicodeDecodeError:
        raise BadRequest(detail="The body is not valid UTF-8.") from None
    except RecursionError:
        raise BadRequest(detail="The body is nested too deeply.") from None


class BodyMiddleware:
    """Reads request bodies whole, inflating gzip, and refuses what is over the limit with 413.

    It stands before the application, because the framework would answer a body that is too large
    or damaged in its own shape.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self.app = app
        self.limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        try:
            _require_no_nul(scope)
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                body = await self._read(scope, receive)
                # Where the framework keeps what it has read: if it read this, it would copy it.
                ScopeState.from_scope(scope).body = body
                receive = _replay(body, receive)
        except Problem as problem:
            await _refuse(problem, send)
            return
        await self.app(scope, receive, send)

    async def _read(self, scope: HTTPScope, receive: Receive) -> bytes:
        limit = self._limit(scope)
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced[:20]) > limit:
            raise TooLarge(limit_bytes=limit)
        inflate = _inflater(_header(scope, b"content-encoding").lower())
        # What is kept as it comes is not read in full before it is answered, or replayed.
        text = codecs.getincrementaldecoder("utf-8")()
        whole = io.BytesIO()
        size = 0
        async for chunk in _chunks(receive):
            piece = self._inflate(inflate, chunk, limit - size)
            size += len(piece)
            if size > limit:
                raise TooLarge(limit_bytes=limit)
            _require_text(text, piece)
            whole.write(piece)
        if inflate is not None and not inflate.eof:
            raise BadRequest(detail="The gzip body is cut short.")
        _require_text(text, b"", final=True)
        return whole.getvalue()

    def _limit(self, scope: HTTPScope) -> int:
        if _header(scope, b"authorization"):
            return self.limit_bytes
        if scope["path"] == WEBHOOK_PATH and _header(scope, b"x-hub-signature-256"):
            return min(self.limit_bytes, WEBHOOK_BYTES_MAX)
        return min(self.limit_bytes, ANONYMOUS_BYTES_MAX)

    def _inflate(self, inflate: Any, chunk: bytes, room: int) -> bytes:
        if inflate is None:
            return chunk
        try:
            # One byte over the room is enough to know that the limit is passed.
            piece = bytes(inflate.decompress(chunk, room + 1)) if chunk else b""
        except zlib.error:
            raise BadRequest(detail="The gzip body is damaged.") from None
        if inflate.unused_data:
            raise BadRequest(detail="The gzip body goes on after its end.")
        return piece


def _require_no_nul(scope: HTTPScope) -> None:
    """Nothing here is called so, and PostgreSQL would not even look for it."""
    if "\0" in scope["path"]:
        raise RouteNotFound()
    if b"%00" in scope["query_string"]:
        raise BadRequest(detail="A parameter of the query has NUL in it.")


def _inflater(encoding: bytes) -> Any:
    """What undoes an encoding; None for none. Raises UnknownEncoding."""
    if encoding in (b"", b"identity"):
        return None
    if encoding in (b"gzip", b"x-gzip"):
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    raise UnknownEncoding(encoding=encoding[:100].decode("latin-1"))


def _require_text(decoder: codecs.IncrementalDecoder, piece: bytes, final: bool = False) -> None:
    """Raise BadRequest when the body, as far as it has come, cannot be UTF-8."""
    if piece.isascii() and not final and not decoder.getstate()[0]:
        return
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        raise BadRequest(detail="The body is not valid UTF-8.") from None


def _header(scope: HTTPScope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


async def _chunks(receive: Receive) -> Any:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            # Nobody will read this; but what has come so far must not be taken for the whole.
            raise BadRequest(detail="The body was not sent to its end.")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _replay(body: bytes, receive: Receive) -> Receive:
    whole: list[HTTPRequestEvent] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> ReceiveMessage:
        return whole.pop() if whole else await receive()

    return next_message


async def _refuse(problem: Problem, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    body = problems.body_of(problem)
    await send({"type": "http.response.body", "body": body, "more_body": False})
