"""What happens to request bodies before a handler sees them."""

from __future__ import annotations

import gzip
from typing import Annotated, Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, get, post
from litestar.params import QueryParameter

from control_plane.api import problems
from control_plane.api.body import ANONYMOUS_BYTES_MAX, BodyMiddleware, decode, decode_bytes
from control_plane.errors import BadRequest, NotFound

LIMIT = 64 * 1024


class Shape(msgspec.Struct):
    number: int = 0


@post("/shape", status_code=200)
async def shape(request: Request[Any, Any, Any]) -> dict[str, int]:
    return {"number": (await decode(request, Shape)).number}


@post("/length", status_code=200)
async def length(request: Request[Any, Any, Any]) -> dict[str, int]:
    return {"length": len(await request.body())}


@get("/missing")
async def missing() -> None:
    raise NotFound(what="Stack 'a/b/c'")


@get("/broken")
async def broken() -> None:
    raise RuntimeError("a secret detail")


@get("/overflow")
async def overflow() -> None:
    raise OverflowError("Python int too large to convert to SQLite INTEGER")


@get("/undecodable")
async def undecodable() -> None:
    b"\xff".decode()


@get("/typed")
async def typed(
    count: int, page_size: Annotated[int, QueryParameter(name="pageSize")] = 1
) -> dict[str, int]:
    return {"count": count * page_size}


APP = Litestar(
    [shape, length, missing, broken, overflow, undecodable, typed],
    middleware=[lambda app: BodyMiddleware(app, LIMIT)],
    exception_handlers=problems.HANDLERS,
    logging_config=None,
    request_max_body_size=None,
)


def http() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@given(st.text(max_size=4096), st.booleans())
async def test_gzip_or_not_is_the_same(text: str, zipped: bool) -> None:
    body = text.encode(errors="replace")
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    content = gzip.compress(body) if zipped else body
    async with http() as client:
        answer = await client.post("/length", content=content, headers=headers)
    assert answer.json() == {"length": len(body)}


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"x" * (LIMIT + 1), {}, 413, str(LIMIT)),
        (
            gzip.compress(b"0" * (100 * LIMIT), mtime=0),
            {"Content-Encoding": "gzip"},
            413,
            str(LIMIT),
        ),
        (gzip.compress(b"{}", mtime=0)[:-6], {"Content-Encoding": "gzip"}, 400, "cut short"),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400, "damaged"),
        (
            gzip.compress(b"{}", mtime=0) + gzip.compress(b"{}", mtime=0),
            {"Content-Encoding": "gzip"},
            400,
            "after its end",
        ),
        (b"{}", {"Content-Length": str(LIMIT + 1)}, 413, str(LIMIT)),
        (b'{"unknown": "\xff"}', {}, 400, "UTF-8"),
        (b'{"unknown": "\xe2\x82', {}, 400, "UTF-8"),
        (b"{}", {"Content-Encoding": "br"}, 415, "br"),
        (b"{", {}, 400, "JSON"),
        (b'{"number": "one"}', {}, 400, "number"),
        (b"[]", {}, 400, "object"),
    ],
    ids=[
        "long",
        "bomb",
        "cut",
        "damaged",
        "double",
        "announced",
        "no-text",
        "half-text",
        "unknown",
        "no-json",
        "wrong-type",
        "no-object",
    ],
)
async def test_bad_bodies_are_named(
    content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    async with http() as client:
        answer = await client.post("/shape", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["code"] == status
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/missing", 404, "Not Found: Stack 'a/b/c' not found"),
        ("GET", "/nowhere", 404, "Not Found"),
        ("DELETE", "/missing", 405, "DELETE"),
        ("GET", "/typed?count=some", 400, "count"),
        ("GET", "/typed?count=1&pageSize=some", 400, "pageSize"),
        ("GET", "/typed?count=%00", 400, "NUL"),
        ("GET", "/typed%00", 404, "Nothing is served"),
        ("GET", "/broken", 500, "request id"),
        ("GET", "/overflow", 400, "too large"),
        ("GET", "/undecodable", 400, "UTF-8"),
    ],
)
async def test_every_error_has_one_shape(method: str, path: str, status: int, words: str) -> None:
    async with http() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}
    assert answer.json()["code"] == status
    assert words in answer.json()["message"]
    assert "secret detail" not in answer.text


def test_a_body_that_is_no_text_is_named() -> None:
    with pytest.raises(BadRequest, match="UTF-8"):
        decode_bytes(b'{"a": "\xff"}', dict[str, str])


@pytest.mark.parametrize("zipped", [False, True])
async def test_without_credentials_a_body_may_be_small_only(zipped: bool) -> None:
    bare = Litestar([length], logging_config=None, request_max_body_size=None)
    app = BodyMiddleware(bare, 4 * ANONYMOUS_BYTES_MAX)
    encoding = {"Content-Encoding": "gzip"} if zipped else {}
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for size, known, status in (
            (ANONYMOUS_BYTES_MAX, False, 200),
            (ANONYMOUS_BYTES_MAX + 1, False, 413),
            (ANONYMOUS_BYTES_MAX + 1, True, 200),
        ):
            body = b"x" * size
            answer = await client.post(
                "/length",
                content=gzip.compress(body) if zipped else body,
                headers=encoding | ({"Authorization": "token x"} if known else {}),
            )
            assert answer.status_code == status


async def test_a_body_whose_sender_has_gone_is_not_taken_for_a_short_one() -> None:
    heard = iter(
        [
            {"type": "http.request", "body": b'{"number": 1', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    said: list[Any] = []

    async def receive() -> Any:
        return next(heard)

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/length",
        "query_string": b"",
        "headers": [],
    }
    await BodyMiddleware(APP, LIMIT)(scope, receive, send)  # type: ignore[arg-type]
    assert said[0]["status"] == 400
    assert b"to its end" in said[1]["body"]
