"""The recorder of the client tests: bytes pass through it as they are, and it sees every answer."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.recorder import Recorder, differences, recording
from tests.support.waiting import wait_for


@contextmanager
def server(*pieces: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answers a connection piece by piece, each when more has been asked; keeps what it got."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                for piece in pieces:
                    got.append(connection.recv(65536))
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", got
        thread.join()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as made:
        yield made


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


JSON = "Content-Type: application/json"


def test_bytes_pass_as_they_are_and_as_they_come(recorder: Recorder) -> None:
    first = answer(b"", "200 OK", JSON)
    packed = gzip.compress(b'{"capabilities":[]}')
    halves = answer(packed, "200 OK", JSON, "Content-Encoding: gzip")
    chunked = b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    told = [first.replace(b": 0", b": 9"), b"", halves[:40], halves[40:], chunked]
    with server(*told) as (url, got):
        recorder.stand_before(url)
        host, port = recorder.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            asked = [
                b"HEAD /api/stacks/o/p HTTP/1.1\r\nHost: somewhere\r\n\r\n",
                b"GET /api/capabilities HTTP/1.1\r\nHost: some",
                b"where\r\n\r\n",
                b"POST ",
                b"/api/x?y=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            ]
            for question, expected in zip(asked, told, strict=True):
                client.sendall(question)
                received = b""
                while len(received) < len(expected):
                    received += client.recv(65536)
                assert received == expected
        assert b"".join(got) == b"".join(asked)
    wait_for(lambda: len(recorder.answers) == 3, "three answers were seen")
    assert recorder.misunderstood == []
    seen = [(each.method, each.path, each.query, each.status) for each in recorder.answers]
    assert seen == [
        ("HEAD", "/api/stacks/o/p", "", 200),
        ("GET", "/api/capabilities", "", 200),
        ("POST", "/api/x", "y=1", 404),
    ]
    assert json.loads(recorder.answers[1].body) == {"capabilities": []}
    assert list(recorder.differences()) == ["/api/x 404: no code"]


def test_two_requests_at_once_have_their_own_answers(recorder: Recorder) -> None:
    both = answer(b"[]", "200 OK", JSON) + answer(b'{"code":404,"message":"m"}', "404 Not Found")
    with server(both) as (url, _):
        recorder.stand_before(url)
        host, port = recorder.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(
                b"GET /api/user HTTP/1.1\r\nHost: a\r\nAccept: application/vnd.pulumi+9\r\n\r\n"
                b"GET /api/user/stacks HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"
            )
            while client.recv(65536):
                pass
    wait_for(lambda: len(recorder.answers) == 2, "two answers were seen")
    assert [each.to_cli for each in recorder.answers] == [True, False]
    assert list(recorder.differences()) == ["GET /api/user : list where a User belongs"]
    assert list(differences(recorder.answers[1])) == []
    assert recorder.titles() == {"GET /api/user"}


def test_what_is_no_http_is_told_and_passes_all_the_same(recorder: Recorder) -> None:
    with server(b"whatever\r\n\r\n") as (url, _):
        recorder.stand_before(url)
        host, port = recorder.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(65536) == b"whatever\r\n\r\n"
    wait_for(lambda: recorder.misunderstood, "it is told")


def test_an_answer_that_is_cut_says_nothing(recorder: Recorder) -> None:
    half = answer(b'{"capabilities":[]}', "200 OK", JSON)[:-5]
    with server(half) as (url, _):
        recorder.stand_before(url)
        host, port = recorder.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /api/capabilities HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while data := client.recv(65536):
                received += data
            assert received == half
    assert recorder.answers == []
    assert recorder.misunderstood == []


def test_an_answer_that_ends_with_its_connection(recorder: Recorder) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[]"
    with server(whole) as (url, _):
        recorder.stand_before(url)
        host, port = recorder.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /api/user HTTP/1.1\r\nHost: a\r\n\r\n")
            while client.recv(65536):
                pass
    wait_for(lambda: recorder.answers, "the answer was seen")
    assert recorder.answers[0].body == b"[]"
