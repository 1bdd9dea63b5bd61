"""Servers for the client tests, each behind a recorder that reads every answer as the SDK would.

`recorded_server` is the application without Ray, and cheap; `recorded_slipway` is `slipway up`.
Both live for a module. Their addresses are the recorder's. When the module ends, an answer that the
models of `pulumi-cloud-sdk` do not describe, and that `known_differences.py` does not explain,
fails it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.clients.known_differences import explained
from tests.support.recorder import Recorder, recording
from tests.support.server import Server, serving
from tests.support.slipway import Slipway
from tests.support.world import FakeClock


@dataclass
class RecordedServer(Server):
    """The application behind a recorder."""

    recorder: Recorder


class RecordedSlipway(Slipway):
    """`slipway up` behind a recorder, whose address it takes for its own."""

    def __init__(self, recorder: Recorder, data_dir: Path) -> None:
        self.recorder = recorder
        super().__init__(data_dir, SLIPWAY_SERVER__PUBLIC_URL=recorder.url)
        recorder.stand_before(f"http://127.0.0.1:{self.port}")

    @property
    def url(self) -> str:
        return self.recorder.url


@contextmanager
def recorded_serving(place: Path, *, clock: FakeClock | None = None) -> Iterator[RecordedServer]:
    """The application behind a recorder, in a directory of its own."""
    with recording() as recorder:
        with serving(place, clock=clock, server={"public_url": recorder.url}) as server:
            recorder.stand_before(server.url)
            yield RecordedServer(recorder.url, server.world, recorder)
        require_known(recorder)


@pytest.fixture(scope="module")
def recorded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedServer]:
    with recorded_serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def recorded_slipway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedSlipway]:
    with recording() as recorder:
        server = RecordedSlipway(recorder, tmp_path_factory.mktemp("slipway"))
        server.start()
        yield server
        server.stop()
        require_known(recorder)


def require_known(recorder: Recorder) -> None:
    """Fail on a difference that is not explained."""
    assert recorder.answers, "no client has called"
    assert not recorder.misunderstood, recorder.misunderstood
    found = recorder.differences()
    unexplained = {
        difference: f"{answer.method} {answer.path}?{answer.query} {answer.status} {text(answer)}"
        for difference, answer in found.items()
        if not explained(difference, answer)
    }
    assert not unexplained, "\n".join(f"{key}\n    {value}" for key, value in unexplained.items())


def text(answer: object) -> str:
    body = getattr(answer, "body", b"")
    return str(body[:2000].decode(errors="replace"))
