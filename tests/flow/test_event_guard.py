"""I6: what a program prints of a secret does not reach the control plane in an engine event."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from litestar import Litestar, Request, Response, route

from runner_actors.event_guard import ADDRESS_HEADER, guard
from runner_actors.redact import Redactor
from tests.support.slipway import free_port
from tests.support.waiting import eventually

SECRET = "hunter2\"<with>&quotes'"


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server that notes what it gets, and answers with what was asked of it."""
    seen: list[dict[str, Any]] = []

    @route(["/", "/{path:path}"], http_method=["GET", "POST", "DELETE"])
    async def anything(request: Request[Any, Any, Any]) -> Response[bytes]:
        body = await request.body()
        seen.append(
            {
                "method": request.method,
                "path": request.scope["path"],
                "query": request.scope["query_string"].decode(),
                "headers": {k.lower(): v for k, v in request.headers.items()},
                "body": body,
            }
        )
        status = int(request.query_params.get("status", 200))
        return Response(
            b"" if status == 204 else b"the answer " + body,
            status_code=status,
            headers={"x-own": "kept"},
        )

    port = free_port()
    app = Litestar([anything], logging_config=None, openapi_config=None, request_max_body_size=None)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, "the server is up")
    try:
        yield f"http://127.0.0.1:{port}", seen
    finally:
        server.should_exit = True
        await task


async def test_events_are_redacted_zipped_or_not() -> None:
    path = "/api/stacks/o/p/s/update/u1/events/batch"
    event = {"sequence": 7, "timestamp": 12, "diagnosticEvent": {"message": f"it is {SECRET}!"}}
    body = json.dumps({"events": [event]}).encode()
    redactor = Redactor([SECRET.encode(), b"12"])
    async with upstream() as (url, seen), guard(url, redactor) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            await http.post(path, content=body)
            headers = {"Content-Encoding": "gzip", "Authorization": "update-token t"}
            await http.post(path, content=gzip.compress(body), headers=headers)
        plain = json.loads(seen[0]["body"])
        zipped = json.loads(gzip.decompress(seen[1]["body"]))
    assert plain == zipped
    assert plain["events"][0]["diagnosticEvent"]["message"] == "it is [secret]!"
    assert plain["events"][0]["timestamp"] == 12, "numbers are no texts"
    assert seen[1]["headers"]["authorization"] == "update-token t"
    assert seen[1]["headers"][ADDRESS_HEADER] == address


async def test_everything_else_passes_unchanged() -> None:
    async with upstream() as (url, seen), guard(url, Redactor([b"hunter2"])) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            exported = await http.get("/api/stacks/o/p/s/export?x=hunter2")
            patched = await http.post("/api/stacks/o/p/s/import", content=b'{"a": "hunter2"}')
            empty = await http.delete("/api/stacks/o/p/s?status=204")
            missing = await http.get("/api/user?status=404")
    assert exported.content == b"the answer "
    assert patched.content == b'the answer {"a": "hunter2"}'
    assert seen[0]["query"] == "x=hunter2"
    assert (empty.status_code, empty.content) == (204, b"")
    assert (missing.status_code, missing.headers["x-own"]) == (404, "kept")


async def test_many_at_once_and_a_large_body() -> None:
    large = b"x" * 20_000_000
    async with upstream() as (url, _), guard(url, Redactor([b"hunter2"])) as address:
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            answers = await asyncio.gather(
                http.post("/api/stacks/o/p/s/import", content=large),
                *(http.get(f"/api/stacks/o/p/s/updates?page={n}") for n in range(40)),
            )
    assert answers[0].content == b"the answer " + large
    assert {answer.status_code for answer in answers} == {200}


async def test_a_control_plane_that_is_away_is_told_as_502() -> None:
    async with guard(f"http://127.0.0.1:{free_port()}", Redactor([b"hunter2"])) as address:
        async with httpx.AsyncClient(base_url=address) as http:
            answer = await http.get("/api/user")
    assert answer.status_code == 502
    assert answer.json()["code"] == 502
