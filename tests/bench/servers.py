"""What is measured: a whole `slipway up`, a control plane alone, and deployments on them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import x25519

from control_plane import toolchain
from control_plane.app import open_world
from control_plane.config import Config, load
from control_plane.domain.principal import Pool
from control_plane.services import identity, pools
from control_plane.services.world import World
from control_plane.store.migrate import migrate
from runner_actors.contract import Registration
from tests.bench.wire import ROOT, Wire, now_ms
from tests.support.slipway import ENDED, TOKEN, USER, Slipway, free_port
from tests.support.waiting import wait_for

POOL_TOKEN = "slp-" + "be" * 24
DEPLOYMENT_SECONDS_MAX = 300
IN_OPEN = 0x20
EVENT = struct.Struct("iIII")

T = TypeVar("T")


@contextmanager
def slipway(data_dir: Path, *, tools: Path | None = None, **settings: str) -> Iterator[Slipway]:
    """Everything on one machine, ready, and gone without a trace afterwards."""
    if tools is not None:
        settings["PATH"] = f"{tools}:{os.environ['PATH']}"
    server = Slipway(data_dir, **settings)
    try:
        yield server.start()
    finally:
        stop(server)


def stop(server: Slipway) -> None:
    """End a server, and remove what its Ray keeps outside of the data directory for a next time."""
    ray_dir = runner_environment(server).get("SLIPWAY_RAY__TEMP_DIR")
    server.stop()
    if ray_dir is not None:
        shutil.rmtree(ray_dir, ignore_errors=True)


def runner_environment(server: Slipway) -> dict[str, str]:
    """What Ray and the gateway were started with; empty while they are not."""
    for pid in server.pids("runner_actors.local_ray")[:1]:
        with contextlib.suppress(OSError):
            pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {}


# A control plane alone.


def open_prepared(data_dir: Path, port: int = 8080, **sections: dict[str, Any]) -> World:
    """A world on a new database with the real tables."""
    config = prepare(data_dir, port, **sections)
    return open_world(config)


def prepare(data_dir: Path, port: int, **sections: dict[str, Any]) -> Config:
    overrides: dict[str, dict[str, Any]] = {
        "store": {"data_dir": str(data_dir)},
        "server": {"port": port},
        # What is granted in this process is nobody's to renew, however slow the machine is.
        "deployments": {"lease_seconds": 86_400},
        **sections,
    }
    config = load(environment={}, overrides=overrides)
    config.data_dir.mkdir(parents=True)
    migrate(config.database_url)
    return config


async def furnish(
    world: World, organizations: Sequence[str]
) -> tuple[Pool, x25519.X25519PrivateKey]:
    """A first user, organizations of that user's, and a pool whose key is known."""
    await identity.bootstrap(world, USER, TOKEN)
    for login in organizations:
        await identity.create_organization(world, login, USER)
    await pools.ensure_default(world, POOL_TOKEN)
    key = x25519.X25519PrivateKey.generate()
    registration = Registration(
        gateway_id="bench",
        hostname="bench",
        public_key=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        slipway_version="bench",
    )
    await pools.register(world, await identity.authenticate_pool(world, POOL_TOKEN), registration)
    return await identity.authenticate_pool(world, POOL_TOKEN), key


@dataclass(frozen=True)
class Served:
    """A running `slipway serve`."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def peak_mib(self) -> float:
        """The most memory that was resident since `forget_peak`."""
        return memory_mib(self.pid, "VmHWM")

    @property
    def cpu_ms(self) -> float:
        """How long all of its threads have been running so far: others do not add to that."""
        spent = 0
        for file in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # a thread that has just ended
                spent += int(file.read_text().split()[0])
        return spent / 1e6

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


def memory_mib(pid: int, field: str) -> float:
    """A field of a process's status that is an amount of memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no {field}")


@contextmanager
def control_plane(data_dir: Path, organizations: Sequence[str] = ()) -> Iterator[Served]:
    """`slipway serve` with a pool that nobody asks for work."""
    port = free_port()
    world = open_prepared(data_dir, port)
    asyncio.run(close_after(world, furnish(world, organizations)))
    with serve(data_dir, port) as served:
        yield served


@contextmanager
def serve(data_dir: Path, port: int, **variables: str) -> Iterator[Served]:
    """`slipway serve` on what is there already."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY")}
    environment |= variables
    command = [sys.executable, "-m", "control_plane", "serve", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--data-dir", str(data_dir)],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _answers(process, port), "the control plane answers", 60)
        yield Served(port, process.pid)
    finally:
        end(process)


async def close_after(world: World, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; the world is closed then."""
    try:
        return await work
    finally:
        await world.database.close()


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the control plane ended with {process.returncode}")
    with contextlib.suppress(OSError), Wire(port, TOKEN) as wire:
        return wire.send("GET", "/health/live")[1] == 200
    return False


def end(process: subprocess.Popen[Any], seconds: float = 20) -> None:
    """End a process that we started: politely, then not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# Deployments.


@dataclass(frozen=True)
class Ended:
    """A deployment that is over. Times are milliseconds since the client sent its request."""

    answered: float
    ended: float
    steps: dict[str, float]
    status: str
    sent_ms: float

    @property
    def first_step(self) -> float:
        return min(self.steps.values())


def deploy(
    wire: Wire, stack_path: str, request: dict[str, Any], *, poll_seconds: float = 0.02
) -> Ended:
    """Submit and wait for the end, asking seldom enough to disturb nothing."""
    sent, status, answer = wire.send("POST", f"{stack_path}/deployments", request)
    answered = now_ms() - sent
    if status != 202:
        raise RuntimeError(f"the submission answered {status}: {answer}")
    state: dict[str, Any] = {}
    while state.get("status") not in ENDED:
        if now_ms() - sent > DEPLOYMENT_SECONDS_MAX * 1000:
            raise RuntimeError(f"a deployment does not end: {state}")
        time.sleep(poll_seconds)
        state = wire.ask("GET", f"{stack_path}/deployments/{answer['id']}")
    steps = {
        step["name"]: unix_ms(step["started"]) - sent
        for step in state["jobs"][0]["steps"]
        if step.get("started")
    }
    ended = unix_ms(state["modified"]) - sent
    return Ended(answered, ended, steps, state["status"], sent)


def create_stack(wire: Wire, project: str, name: str) -> str:
    wire.ask("POST", f"/api/stacks/{USER}/{project}", {"stackName": name})
    return f"/api/stacks/{USER}/{project}/{name}"


def source(repository: Path, **context: Any) -> dict[str, Any]:
    """The body of a submission that updates from a repository's main branch."""
    git = {"repoUrl": str(repository), "branch": "main"}
    body: dict[str, Any] = {"operation": "update", "sourceContext": {"git": git}}
    return body | ({"operationContext": context} if context else {})


def unix_ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000


# The toolchain, and when its CLI starts.


def linked_toolchain(directory: Path) -> Path:
    """A directory of our own with the toolchain's files: whoever starts them there is ours."""
    found = toolchain.find()
    if found is None:
        raise RuntimeError("there is no Pulumi toolchain; make setup gets it")
    directory.mkdir(parents=True)
    for file in found.bin_dir.iterdir():
        try:
            os.link(file.resolve(), directory / file.name)
        except OSError:
            shutil.copy2(file, directory / file.name)
    return directory


class StartWatch:
    """Notes each moment at which `pulumi` in a directory is opened to be executed, by inotify.

    The kernel tells it, so nothing polls and nothing stands in the way of the start.
    """

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(self._descriptor, str(directory).encode(), IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {directory}")
        self._moments: list[float] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            events = os.read(self._descriptor, 1 << 16)
            moment = now_ms()
            offset = 0
            while offset < len(events):
                *_, length = EVENT.unpack_from(events, offset)
                name = events[offset + EVENT.size :][:length].rstrip(b"\0")
                offset += EVENT.size + length
                if name == b"pulumi":
                    self._moments.append(moment)

    def first_after(self, moment_ms: float) -> float:
        """The first start at or after a moment; both are Unix milliseconds."""
        for moment in list(self._moments):
            if moment >= moment_ms:
                return moment
        raise RuntimeError("no pulumi process was seen to start")
