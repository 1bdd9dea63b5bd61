"""A proxy between a client and a server that can repeat calls, lose answers, or kill somebody."""

from __future__ import annotations

import gzip
import http.client
import http.server
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")

REPEATED = {
    ("POST", "encrypt"),
    ("POST", "decrypt"),
    ("POST", "batch-encrypt"),
    ("POST", "batch-decrypt"),
    ("POST", "renew_lease"),
    ("PATCH", "checkpoint"),
    ("PATCH", "checkpointverbatim"),
    ("PATCH", "checkpointdelta"),
    ("PATCH", "journalentries"),
    ("POST", "complete"),
    ("POST", "cancel"),
    ("POST", "batch"),
}
"""Calls that the CLI sends again when it gets no answer, by the last word of their address
(pulumi 3.259, `pkg/backend/httpstate/client`: those made with `RetryAllMethods`); `batch` is of
engine events. All GETs are repeated as well."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Call:
    """One request on its way."""

    number: int
    """Counts the proxy's calls, from 1."""
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    server: str

    @property
    def word(self) -> str:
        """The last word of the address."""
        return urlsplit(self.path).path.rstrip("/").rpartition("/")[2]

    @property
    def kind(self) -> tuple[str, str]:
        """Method and last word."""
        return self.method, self.word

    def json(self) -> Any:
        """The body, inflated and decoded."""
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)

    def forward(self) -> Answer:
        """Let the server execute the call; may be used more than once. Raises OSError."""
        place = urlsplit(self.server)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        try:
            connection.request(self.method, self.path, self.body or None, self.headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        kept = [each for each in answer.getheaders() if each[0].lower() not in HOP_BY_HOP]
        return Answer(answer.status, kept, body)


Disturb = Callable[[Call], Answer | None]
"""Answers a call, usually by forwarding it; None cuts the client's connection instead."""


def plain(call: Call) -> Answer:
    """No disturbance."""
    return call.forward()


def twice(call: Call) -> Answer:
    """Every call that clients may repeat is executed twice, and the second answer counts."""
    if call.kind in REPEATED:
        call.forward()
    return call.forward()


@dataclass
class Proxy:
    """A running proxy. `disturb` may be replaced at any time."""

    url: str
    disturb: Disturb
    calls: list[Call] = field(default_factory=list)

    def kinds(self) -> set[tuple[str, str]]:
        """The kinds of all calls so far."""
        return {call.kind for call in self.calls}


@contextmanager
def proxy(server: str, disturb: Disturb = plain) -> Iterator[Proxy]:
    """A proxy before the server at that address. Clients' `Host` is kept."""
    numbers = itertools.count(1)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            call = Call(
                next(numbers),
                self.command,
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("content-length") or 0)),
                server,
            )
            running.calls.append(call)
            answer = running.disturb(call)
            if answer is None:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

    class Listener(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no error here."""

    listener = Listener(("127.0.0.1", 0), Handler)
    running = Proxy(f"http://127.0.0.1:{listener.server_address[1]}", disturb)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield running
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
