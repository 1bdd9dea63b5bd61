"""A raw HTTP/1.1 client: what measures a server may not cost more than the server.

`Wire` is one blocking keep-alive connection. Run as a module it is a load generator: a process of
its own that sends prepared requests over many connections and reports when the answers came.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
RECEIVE_BYTES = 1 << 16


class Wire:
    """One connection, one request at a time."""

    def __init__(self, port: int, token: str, scheme: str = "token") -> None:
        self._token = token
        self._scheme = scheme
        self._socket = socket.create_connection((HOST, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, method: str, path: str, body: Any = None) -> tuple[float, int, Any]:
        """When the request was sent (Unix milliseconds), the answer's status and its JSON."""
        sent, answer = self.send_raw(encode(method, path, self._token, body, self._scheme))
        text = answer.partition(b"\r\n\r\n")[2]
        return sent, status_of(answer), json.loads(text) if text else None

    def send_raw(self, request: bytes) -> tuple[float, bytes]:
        """When a prepared request was sent (Unix milliseconds), and the whole answer."""
        sent = now_ms()
        self._socket.sendall(request)
        while (size := answer_size(self._received)) is None or len(self._received) < size:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                line = request.partition(b"\r\n")[0].decode()
                raise ConnectionError(f"{line}: the server closed the connection")
            self._received += data
        answer, self._received = self._received[:size], self._received[size:]
        return sent, answer

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that must be good."""
        _, status, answer = self.send(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path} answered {status}: {answer}")
        return answer


def now_ms() -> float:
    return time.time_ns() / 1e6


def encode(method: str, path: str, token: str, body: Any = None, scheme: str = "token") -> bytes:
    text = b"" if body is None else json.dumps(body).encode()
    return encode_with(method, path, {"Authorization": f"{scheme} {token}"}, text)


def encode_with(method: str, path: str, headers: Mapping[str, str], text: bytes) -> bytes:
    """A request with headers of its own beside those that every request has."""
    named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{named}"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def answer_size(received: bytes) -> int | None:
    """How long the first answer is, as soon as its head has come."""
    head, separator, _ = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(head) + len(separator) + int(line[15:])
        if line.startswith(b"transfer-encoding:"):
            raise ValueError("an answer in chunks is beyond this client")
    return len(head) + len(separator)


def status_of(answer: bytes) -> int:
    return int(answer[9:12])


# The load generator.


@dataclass(frozen=True)
class Load:
    """What a load generator saw."""

    seconds: float
    latencies_ms: list[float]
    statuses: dict[str, int]
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return len(self.latencies_ms) / self.seconds


def generate(
    port: int, token: str, requests: Sequence[tuple[str, str, Any]], connections: int
) -> Load:
    """Send all requests as fast as they are answered, from a process of its own."""
    encoded = [encode(method, path, token, body) for method, path, body in requests]
    return generate_raw(port, encoded, connections)


def generate_raw(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """The same with requests that are prepared already."""
    texts = [each.decode() for each in requests]
    task = {"port": port, "requests": texts, "connections": connections}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.wire"],
        input=json.dumps(task).encode(),
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
        start_new_session=True,
    )
    return Load(**json.loads(done.stdout))


@dataclass
class _Work:
    requests: Iterator[bytes]
    waiting: int
    finished: asyncio.Future[None]
    latencies_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)


class _Connection(asyncio.Protocol):
    """Sends the next request the moment the answer to the last one is whole."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._received = b""
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._work.requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        size = answer_size(self._received)
        if size is None or len(self._received) < size:
            return
        work = self._work
        work.latencies_ms.append((time.perf_counter() - self._sent) * 1000)
        status = str(status_of(self._received))
        work.statuses[status] = work.statuses.get(status, 0) + 1
        self._received = self._received[size:]
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._work.waiting -= 1
        if not self._work.waiting and not self._work.finished.done():
            self._work.finished.set_result(None)


async def _generate(task: dict[str, Any]) -> Load:
    encoded = [text.encode() for text in task["requests"]]
    loop = asyncio.get_running_loop()
    work = _Work(iter(encoded), task["connections"], loop.create_future())
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(task["connections"]):
        await loop.create_connection(lambda: _Connection(work), HOST, task["port"])
    await work.finished
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if len(work.latencies_ms) != len(encoded):
        raise ConnectionError(f"{len(encoded) - len(work.latencies_ms)} requests got no answer")
    return Load(seconds, work.latencies_ms, work.statuses, cpu)


def main() -> None:
    import uvloop  # only the generator needs it

    seen = uvloop.run(_generate(json.load(sys.stdin)))
    json.dump(seen.__dict__, sys.stdout)


if __name__ == "__main__":
    main()
