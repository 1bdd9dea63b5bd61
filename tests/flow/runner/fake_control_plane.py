"""The runner API as the contract tells it, in the test's own event loop, with faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import uvicorn

from runner_actors.contract import (
    AnyEvent,
    CancelMode,
    Concluded,
    Events,
    LeaseRenewal,
    LeaseState,
)
from tests.support.waiting import eventually


class FakeControlPlane:
    """Keeps what it is told of one deployment, and refuses what a real one would refuse."""

    def __init__(self, token: str = "runner-token", lease_seconds: float = 30.0) -> None:
        self.token = token
        self.lease_seconds = lease_seconds
        self.events: list[AnyEvent] = []
        self.alive = True
        self.generation = 1
        self.cancel: CancelMode | None = None
        self.faults: list[int] = []
        """Statuses to answer with instead, one call each; 0 answers right but drops the answer."""
        self.away = False
        """True: every call fails, until it is False again."""
        self.calls: list[str] = []
        self._changed = asyncio.Event()

    def request_cancel(self, mode: CancelMode) -> None:
        self.cancel = mode
        self._changed.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def conclusion(self) -> Concluded | None:
        return next(iter(self.of(Concluded)), None)

    async def until(self, kind: type, seconds: float = 20.0) -> Any:
        await eventually(lambda: self.of(kind), f"a {kind.__name__}", seconds)
        return self.of(kind)[-1]

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve on a free port; gives the address."""
        config = uvicorn.Config(self, port=0, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started, "the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            self.alive = False
            self._changed.set()
            server.should_exit = True
            server.force_exit = True
            await serving

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        route = scope["path"].rsplit("/", 1)[1]
        self.calls.append(route)
        fault = self.faults.pop(0) if self.faults else None
        if self.away or fault:
            status, answer = fault or 503, b'{"code": 503, "message": "away"}'
        else:
            given = dict(scope["headers"]).get(b"authorization", b"").decode()
            status, answer = await self._answer(route, given, body)
            if fault == 0:
                status, answer = 502, b""
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, route: str, given: str, body: bytes) -> tuple[int, bytes]:
        if given != f"token {self.token}":
            return 401, b'{"code": 401, "message": "who are you?"}'
        if route == "lease":
            renewal = msgspec.json.decode(body, type=LeaseRenewal)
            if not self._stands(renewal.generation):
                return 409, b'{"code": 409, "message": "the lease has ended"}'
            await self._hold(renewal)
            return self._state(renewal.generation)
        batch = msgspec.json.decode(body, type=Events)
        known = batch.events[-1].number <= len(self.events)
        if not known and not self._stands(batch.generation):
            return 409, b'{"code": 409, "message": "the lease has ended"}'
        self._record(batch.events)
        return self._state(batch.generation, ended=known)

    def _stands(self, generation: int) -> bool:
        return self.alive and generation == self.generation

    async def _hold(self, renewal: LeaseRenewal) -> None:
        if self.cancel is None or self.cancel == renewal.seen_cancel:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), renewal.wait_seconds)

    def _record(self, events: list[AnyEvent]) -> None:
        for event in events:
            if event.number <= len(self.events):
                assert event == self.events[event.number - 1], "a number means one event for ever"
                continue
            assert event.number == len(self.events) + 1, "events have no gaps"
            assert not self.conclusion, "nothing follows the conclusion"
            self.events.append(event)
        if self.conclusion:
            self.alive = False

    def _state(self, generation: int, ended: bool = False) -> tuple[int, bytes]:
        if not (ended or self._stands(generation) or self.conclusion):
            return 409, json.dumps({"code": 409, "message": "the lease has ended"}).encode()
        state = LeaseState(
            lease_seconds=self.lease_seconds,
            cancel=self.cancel,
            cancelled_by="ana" if self.cancel else "",
            acknowledged=len(self.events),
        )
        return 200, msgspec.json.encode(state)
