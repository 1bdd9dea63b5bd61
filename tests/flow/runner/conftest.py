"""Shims, spools and sources for the runner's flow tests: real processes and real repositories."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner_actors.process_tree import marked, send
from runner_actors.shim import MARKER
from runner_actors.shim_client import Begin, Command, ShimClient
from runner_actors.stop_ladder import boot_seconds
from tests.flow.runner.fake_control_plane import FakeControlPlane
from tests.flow.runner.node import Node
from tests.support.moto_process import moto_server


class Bench:
    """Starts shims over spools of its own, and knows what they leave."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started = 0
        self.mark = f"test-{os.getpid()}-{directory.name}"

    async def begin(self, client: ShimClient | None = None, **changes: object) -> ShimClient:
        client = client or ShimClient()
        await client.connect()
        client_pid = await client.begin(self.request(**changes))
        assert client_pid > 0
        await client.begin_step(0, "Get source")
        return client

    def request(self, **changes: object) -> Begin:
        spool = self.directory / "spool"
        spool.mkdir(exist_ok=True)
        given = {
            "spool": str(spool),
            "locks": [str(self.directory / "workspace.lock")],
            "marker": self.mark,
            "secrets": [],
            "lease_until": boot_seconds() + 60,
            "lease_seconds": 60.0,
            "grace_seconds": 5.0,
            "output_bytes_max": 1 << 30,
        }
        return Begin(**(given | changes))

    def command(self, *argv: str, **changes: object) -> Command:
        env = {"PATH": os.environ["PATH"]}
        return Command(**({"argv": list(argv), "cwd": str(self.directory), "env": env} | changes))

    def shell(self, script: str, **changes: object) -> Command:
        return self.command("bash", "-c", script, **changes)

    def out(self) -> bytes:
        return (self.directory / "spool" / "out").read_bytes()

    def alive(self) -> list[int]:
        """Processes of this bench's deployment; zombies have no environment any more."""
        return marked(MARKER, self.mark)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    send(bench.alive(), 9)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, str], str]:
    """Write an executable file; gives its path."""

    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
async def control_plane() -> FakeControlPlane:
    return FakeControlPlane()


@pytest.fixture
async def node(tmp_path: Path, control_plane: FakeControlPlane) -> AsyncIterator[Node]:
    async with control_plane.served() as url:
        node = Node(tmp_path, control_plane, url)
        yield node
        await node.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[Any]:
    with moto_server() as client:
        yield client
