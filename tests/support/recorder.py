"""A recorder between real clients and a server: it holds every answer against the Cloud REST SDK.

Bytes pass through it untouched, both ways and as they come; what it reads, it reads from a copy.
Clients are given its address in the place of the server's. They send it as `Host`, and the server
is told it as its public address, so that all agree on one name.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11

from tests.support import cloud_schema
from tests.support.waiting import wait_for

CHUNK_BYTES = 256 * 1024
HEAD_BYTES_MAX = 256 * 1024
NOT_BUILT = 501
"""The code of what is not built; a read of it has another status, so that no client repeats it."""


class Answer(NamedTuple):
    """An answer that has passed."""

    method: str
    path: str
    query: str
    status: int
    media_type: str
    body: bytes
    to_cli: bool = False
    """Whether the client goes by the CLI's types, by its `Accept`, and not by the schema."""


class Recorder:
    """The address that clients use, and what was answered to them."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.misunderstood: list[str] = []
        self._known: set[Answer] = set()
        self._upstream: tuple[str, int] | None = None
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._port = 0
        self._thread.start()
        wait_for(lambda: self._port, "the recorder listens")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def stand_before(self, url: str) -> None:
        """Name the server to which all is passed on."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def differences(self) -> dict[str, Answer]:
        """All differences from the SDK's models, each with the first answer that had it.

        One is written `GET /api/user .organizations[].role: 'owner' is none of UserRole`.
        """
        found: dict[str, Answer] = {}
        for answer in list(self.answers):
            for difference in differences(answer):
                # The one that a reader of the schema got is the worse one.
                if difference not in found or not answer.to_cli:
                    found[difference] = answer
        return found

    def titles(self) -> set[str]:
        """The operations of the schema that were answered well: `GET /api/user`."""
        operations = (
            cloud_schema.find(each.method, each.path)
            for each in list(self.answers)
            if each.status < 300
        )
        return {operation.title for operation in operations if operation is not None}

    def note(self, answer: Answer) -> None:
        """Keep an answer; a second one just like it tells nothing new."""
        if answer not in self._known:
            self._known.add(answer)
            self.answers.append(answer)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        await self._end.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        # A connection that breaks is none of the recorder's business: both sides learn of it.
        with suppress(OSError, asyncio.CancelledError):
            try:
                assert self._upstream is not None, "the recorder stands before no server"
                server, to_server = await asyncio.open_connection(*self._upstream)
                try:
                    talk = Talk(self)
                    asking = asyncio.ensure_future(_pass(client, to_server, talk.asked))
                    answering = asyncio.ensure_future(_pass(server, to_client, talk.answered))
                    await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done() and asking.exception() is None:
                        to_server.write_eof()  # The client has said all; the answer may follow.
                        await answering
                    talk.ended()
                    asking.cancel()
                    answering.cancel()
                finally:
                    to_server.close()
            finally:
                to_client.close()


async def _pass(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, copy: Callable[[bytes], None]
) -> None:
    while data := await source.read(CHUNK_BYTES):
        copy(data)
        target.write(data)
        await target.drain()


class Talk:
    """What is said on one connection, understood from copies of the bytes."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._asking = h11.Connection(h11.SERVER, HEAD_BYTES_MAX)
        self._answering: h11.Connection | None = None
        self._requests: deque[h11.Request] = deque()
        self._body = bytearray()
        self._lost = False

    def asked(self, data: bytes) -> None:
        """Bytes of the client."""
        self._unharmed(self._read_requests, data)

    def answered(self, data: bytes) -> None:
        """Bytes of the server."""
        self._unharmed(self._read_answers, data)

    def ended(self) -> None:
        """No more comes: that is the end of an answer, or cuts it, as a CLI that ends does.

        What was cut says nothing.
        """
        if not self._lost:
            with suppress(h11.RemoteProtocolError):
                self._read_answers(b"")

    def _unharmed(self, read: Callable[[bytes], None], data: bytes) -> None:
        """What cannot be understood is told at the end, and passes all the same."""
        if self._lost:
            return
        try:
            read(data)
        except Exception as error:
            self._lost = True
            self._recorder.misunderstood.append(f"{list(self._requests)}: {error!r}")

    def _read_requests(self, data: bytes) -> None:
        while True:
            self._asking.receive_data(data)
            for event in _events(self._asking):
                if isinstance(event, h11.Request):
                    self._requests.append(event)
            if self._asking.their_state is not h11.DONE:
                return
            data, _ = self._asking.trailing_data
            self._asking = h11.Connection(h11.SERVER, HEAD_BYTES_MAX)
            if not data:
                return

    def _read_answers(self, data: bytes) -> None:
        while data or self._answering is not None:
            if self._answering is None:
                self._answering = _awaiting(self._requests[0])
            self._answering.receive_data(data)
            for event in _events(self._answering):
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self._recorder.note(
                        _answer(self._requests.popleft(), self._response, bytes(self._body))
                    )
            if self._answering.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
                return
            data, _ = self._answering.trailing_data
            self._answering = None
            self._body.clear()


def _awaiting(request: h11.Request) -> h11.Connection:
    """Ready for the answer to a request; whether it has a body depends on the method."""
    connection = h11.Connection(h11.CLIENT, HEAD_BYTES_MAX)
    connection.send(
        h11.Request(method=request.method, target=request.target, headers=[("host", "-")])
    )
    connection.send(h11.EndOfMessage())
    return connection


def _answer(request: h11.Request, response: h11.Response, body: bytes) -> Answer:
    headers = {name.decode(): value.decode() for name, value in response.headers}
    accept = b"".join(value for name, value in request.headers if name == b"accept")
    target = urlsplit(request.target.decode())
    return Answer(
        method=request.method.decode(),
        path=target.path,
        query=target.query,
        status=response.status_code,
        media_type=headers.get("content-type", "").partition(";")[0],
        body=gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body,
        to_cli=b"application/json" not in accept or b"application/vnd.pulumi" in accept,
    )


def _events(connection: h11.Connection) -> Iterator[Any]:
    while True:
        event = connection.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED):
            return
        yield event
        if isinstance(event, h11.ConnectionClosed):
            return


def differences(answer: Answer) -> Iterator[str]:
    """What of an answer is not as the SDK's models have it."""
    operation = cloud_schema.find(answer.method, answer.path, answer.query)
    if answer.status >= 400:
        title = operation.title if operation is not None else answer.path
        yield from (f"{title} {each}" for each in _error_differences(answer))
    elif operation is None:
        yield f"{answer.method} {_general(answer.path)} is not in the schema"
    else:
        yield from (f"{operation.title} {each}" for each in _body_differences(answer, operation))


def _error_differences(answer: Answer) -> Iterator[str]:
    """An error is an object whose `code` repeats the status: the CLI goes by the code."""
    if answer.method == "HEAD":
        return
    try:
        body = json.loads(answer.body)
    except ValueError:
        yield f"{answer.status}: not JSON"
        return
    if not isinstance(body, dict) or body.get("code") not in (answer.status, NOT_BUILT):
        yield f"{answer.status}: no code"
    elif not isinstance(body.get("message"), str) or not body["message"]:
        yield f"{answer.status}: no message"


def _body_differences(answer: Answer, operation: cloud_schema.Operation) -> Iterator[str]:
    if answer.method == "HEAD":
        return
    if operation.answer is None:
        if answer.body not in (b"", b"{}"):
            yield ": a body where there is none"
        return
    if answer.media_type != "application/json":
        yield f": {answer.media_type or 'nothing'} where JSON belongs"
        return
    document = json.loads(answer.body)
    value = document if operation.inside is None else document[operation.inside]
    at = "" if operation.inside is None else f".{operation.inside}"
    wrong = list(cloud_schema.differences(value, operation.answer, at))
    yield from wrong
    if not wrong and (refused := cloud_schema.undecodable(value, operation.answer)):
        yield refused


IDENTIFIER = re.compile(r"[0-9a-f-]{36}|\d+")


def _general(path: str) -> str:
    """An address without what names one thing: `/api/stacks/…/deployments/…/log`."""
    path = re.sub(r"/(stacks|preview)/[^/]+/[^/]+/[^/]+", r"/\1/…", path)
    path = re.sub(r"/orgs/[^/]+", "/orgs/…", path)
    return "/".join("…" if IDENTIFIER.fullmatch(part) else part for part in path.split("/"))


@contextmanager
def recording() -> Iterator[Recorder]:
    """A recorder that has yet to be told its server."""
    recorder = Recorder()
    try:
        yield recorder
    finally:
        recorder.close()
