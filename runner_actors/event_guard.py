"""Keeps a deployment's secrets out of the engine events that its CLI reports.

What a program prints reaches the control plane twice: in the log, which the shim redacts, and in
the engine events that the Pulumi CLI posts by itself. A secret environment variable is no secret
to the CLI, so it would post its value in clear. Where a deployment has secrets, its CLI therefore
talks to this small server on loopback instead, which passes everything on as it is, but redacts the
texts in events and in the description of an update (invariant I6).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gzip
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

# As in control_plane_client.py: httpx would import a command line of its own.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import h11  # noqa: E402
import httpx  # noqa: E402
import msgspec  # noqa: E402

from runner_actors.redact import Redactor  # noqa: E402

REDACTED = re.compile(
    r"/api/stacks/[^/]+/[^/]+/[^/]+/(\w+/[^/]+/events/batch|update|preview|refresh|destroy)$"
)
"""Events and new updates: the requests in which the CLI repeats what a program said."""

ADDRESS_HEADER = "x-slipway-address"
"""Tells the control plane under which address the CLI knows it: state names that address."""

START_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 300.0
"""Longer than the CLI itself waits for any answer."""
CHUNK_BYTES = 64 * 1024
BODY_BYTES_MAX = 512 * 1024 * 1024
_HOP_BY_HOP = {b"host", b"connection", b"transfer-encoding", b"content-length", b"keep-alive"}


@contextlib.asynccontextmanager
async def guard(
    target_url: str, redactor: Redactor, listener: socket.socket | None = None
) -> AsyncIterator[str]:
    """Serve on a free port of loopback; gives the address for the CLI, without a trailing slash."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=4.0)
    verify = not target_url.startswith("http://")
    async with httpx.AsyncClient(
        base_url=target_url,
        timeout=ANSWER_SECONDS_MAX,
        limits=limits,
        verify=verify,
        trust_env=False,
    ) as client:
        listener = listener or _listener()
        relay = _Relay(client, redactor, _address(listener))
        server = await asyncio.start_server(relay.serve, sock=listener)
        try:
            yield relay.address
        finally:
            server.close()
            relay.close()


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def _address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Orders(msgspec.Struct, kw_only=True):
    """What a guard is told on its standard input: one line of JSON."""

    target_url: str
    secrets: list[bytes]
    spool_lock: str
    """Held by the shim: once it can be had, the deployment's processes are gone."""


async def start_guard(orders: Orders) -> str:
    """Start a guard as a process of its own; gives its address. Raises OSError.

    It must outlive the actor: when that is killed, the CLI is interrupted and saves its state, and
    needs its way to the control plane for it. So it leaves this process's tree, as the shim does.
    """
    try:
        # In a thread: the event loop of a Ray actor is not the main thread's, and cannot wait for
        # processes.
        started = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", __name__],
            input=msgspec.json.encode(orders) + b"\n",
            stdout=subprocess.PIPE,
            check=True,
            timeout=START_SECONDS_MAX,
        )
    except subprocess.SubprocessError as problem:
        raise OSError(f"the guard over engine events could not be started: {problem}") from None
    return started.stdout.decode().strip()


def main() -> None:
    """Take orders, listen, tell the address, and go on alone until the deployment is over."""
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    listener = _listener()
    sys.stdout.write(_address(listener))
    sys.stdout.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    asyncio.run(_until_over(orders, listener))


async def _until_over(orders: Orders, listener: socket.socket) -> None:
    async with guard(orders.target_url, Redactor(orders.secrets), listener):
        over = asyncio.get_running_loop().create_future()
        waiting = threading.Thread(target=_wait, args=(orders.spool_lock, over), daemon=True)
        waiting.start()
        await over


def _wait(lock: str, over: asyncio.Future[None]) -> None:
    with contextlib.suppress(OSError), open(lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    over.get_loop().call_soon_threadsafe(over.set_result, None)


class _Relay:
    def __init__(self, client: httpx.AsyncClient, redactor: Redactor, address: str) -> None:
        self.address = address
        self._client = client
        self._redactor = redactor
        self._connections: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        for writer in self._connections:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the CLI, with any number of requests."""
        self._connections.add(writer)
        connection = _Connection(reader, writer)
        try:
            while (request := await connection.request()) is not None:
                await self._pass_on(connection, *request)
                connection.next_cycle()
        except (OSError, h11.RemoteProtocolError, h11.LocalProtocolError):
            pass  # the CLI went away, or spoke nonsense: nobody is left to be told
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _pass_on(self, connection: _Connection, head: h11.Request, body: bytes) -> None:
        headers = [(name, value) for name, value in head.headers if name not in _HOP_BY_HOP]
        headers.append((ADDRESS_HEADER.encode(), self.address.encode()))
        path = head.target.decode("latin-1")
        if head.method == b"POST" and REDACTED.search(path.partition("?")[0]):
            body = self._clean(head, body)
        request = self._client.build_request(
            head.method.decode(), path, headers=headers, content=body
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.HTTPError as problem:
            await connection.fail(502, f"The control plane cannot be reached: {problem!r}")
            return
        try:
            await connection.answer(answer)
        finally:
            await answer.aclose()

    def _clean(self, head: h11.Request, body: bytes) -> bytes:
        zipped = (b"content-encoding", b"gzip") in [tuple(each) for each in head.headers]
        try:
            document = msgspec.json.decode(gzip.decompress(body) if zipped else body)
        except (msgspec.DecodeError, OSError, EOFError):
            return self._redactor.whole(body)
        cleaned = msgspec.json.encode(_each_text(document, self._redact))
        return gzip.compress(cleaned, 1) if zipped else cleaned

    def _redact(self, text: str) -> str:
        return self._redactor.whole(text.encode()).decode(errors="replace")


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same document with every text in it changed; keys and numbers stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    if isinstance(value, dict):
        return {key: _each_text(each, change) for key, each in value.items()}
    return value


class _Connection:
    """HTTP/1.1 as a server, by h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER)

    async def request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its whole body; None when the client has closed."""
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                raise h11.RemoteProtocolError("the body is too large")
        return head, bytes(body)

    async def _event(self) -> Any:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(await self._reader.read(CHUNK_BYTES))

    async def answer(self, answer: httpx.Response) -> None:
        """Pass an answer on, byte for byte."""
        headers = [
            (name, value) for name, value in answer.headers.raw if name.lower() not in _HOP_BY_HOP
        ]
        length = answer.headers.get("content-length")
        if length is not None:
            headers.append((b"content-length", length.encode()))
        await self._send(h11.Response(status_code=answer.status_code, headers=headers))
        async for chunk in answer.aiter_raw(CHUNK_BYTES):
            await self._send(h11.Data(data=chunk))
        await self._send(h11.EndOfMessage())

    async def fail(self, status: int, message: str) -> None:
        """Answer in the control plane's place."""
        body = msgspec.json.encode({"code": status, "message": message})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: Any) -> None:
        data = self._h11.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    def next_cycle(self) -> None:
        """Make ready for the connection's next request."""
        self._h11.start_next_cycle()


if __name__ == "__main__":
    main()
