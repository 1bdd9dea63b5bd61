"""`slipway up`: control plane, local Ray and gateway as supervised children of one process.

Each child logs to a file in the data directory and is started again when it dies. On Ctrl-C the
runner side goes first while the control plane still answers, so that engines that are at work can
save their state; then the rest.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import hashlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from control_plane.config import Config

PR_SET_PDEATHSIG = 1
BACKLOG = 2048
RAY_TEMP_DIR_BYTES_MAX = 41
STOP_MARGIN_SECONDS = 10.0
LOG_BYTES_MAX = 20 * 1024 * 1024
READY_SECONDS = 120.0
STOP_SECONDS = 30.0
RESTART_SECONDS_FIRST = 0.3
RESTART_SECONDS_MAX = 5.0
HEALTHY_SECONDS = 30.0


class SupervisorError(RuntimeError):
    """Slipway cannot come up; the text says why and what to do."""


@dataclass
class Child:
    """One supervised process: started again when it ends, until it is told to stop."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log_file: Path
    socket: socket.socket | None = None
    """Handed down to the process: it outlives it, so that clients of a restart wait in line."""
    process: asyncio.subprocess.Process | None = None
    _stopping: bool = False
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begin to supervise."""
        self._task = asyncio.create_task(self._run(), name=f"child {self.name}")

    async def _run(self) -> None:
        pause = RESTART_SECONDS_FIRST
        while not self._stopping:
            started = asyncio.get_running_loop().time()
            with self._open_log() as log:
                self.process = await asyncio.create_subprocess_exec(
                    *self.command,
                    env=self.environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[self.socket.fileno()] if self.socket else [],
                    # Ctrl-C in the terminal is for the supervisor alone: it knows the order.
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
            await self.process.wait()
            if self._stopping:
                return
            lived = asyncio.get_running_loop().time() - started
            pause = RESTART_SECONDS_FIRST if lived > HEALTHY_SECONDS else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, RESTART_SECONDS_MAX)

    def _open_log(self) -> _Log:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES_MAX:
            self.log_file.replace(self.log_file.with_suffix(".old.log"))
        return _Log(self.log_file)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the process: SIGTERM, and SIGKILL when it takes too long."""
        self._stopping = True
        if self._task is None:
            return
        process = self.process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def tail(self, lines: int = 15) -> str:
        """The end of the log, for an error message."""
        try:
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies, so that no child is left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class _Log:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


@dataclass
class Slipway:
    """Everything that `slipway up` runs."""

    config: Config
    toolchain_dir: Path
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict)

    def start(self, child: Child) -> None:
        """Begin to supervise a child."""
        self.children[child.name] = child
        child.start()

    async def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until a deployment could run; raises SupervisorError with the children's logs."""
        url = f"{_local_url(self.config)}/health/ready"
        missing = "the control plane does not answer yet"
        deadline = asyncio.get_running_loop().time() + seconds
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            while asyncio.get_running_loop().time() < deadline:
                try:
                    answer = await http.get(url)
                    if answer.status_code == 200:
                        return
                    missing = ", ".join(answer.json().get("missing", [])) or missing
                except (httpx.HTTPError, ValueError):
                    pass
                await asyncio.sleep(0.05)
        raise SupervisorError(self._not_ready(missing, seconds))

    def _not_ready(self, missing: str, seconds: float) -> str:
        logs = "\n".join(
            f"--- {child.log_file} ---\n{child.tail()}" for child in self.children.values()
        )
        return f"Slipway was not ready after {seconds:.0f} s: {missing}.\n{logs}"

    def _patience(self) -> float:
        """How long a deployment's processes may take to end, in seconds."""
        return self.config.deployments.grace_seconds + STOP_MARGIN_SECONDS

    async def stop(self) -> None:
        """End all children in order; waits for process trees of deployments to be gone."""
        order = ("gateway", "ray", "serve")
        for name in order:
            if name == "serve":
                await self._wait_for_shims()
            if name in self.children:
                await self.children[name].stop(self._patience() + STOP_MARGIN_SECONDS)

    async def _wait_for_shims(self) -> None:
        """A shim holds its spool's lock as long as anything of its deployment lives."""
        deadline = asyncio.get_running_loop().time() + self._patience()
        said = False
        while _held_locks(Path(self.config.work_dir) / "spool"):
            if asyncio.get_running_loop().time() > deadline:
                self.say("A deployment's processes did not end in time; look for them by hand.")
                return
            if not said:
                self.say("Waiting for running deployments to stop and save their state…")
                said = True
            await asyncio.sleep(0.05)


def _held_locks(spool: Path) -> int:
    return sum(_is_locked(lock) for lock in spool.glob("*/lock"))


def _is_locked(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@asynccontextmanager
async def running(
    config: Config,
    toolchain_dir: Path,
    say: Callable[[str], None],
    prepare: Callable[[Config], Awaitable[None]],
) -> AsyncIterator[Slipway]:
    """Start everything, give it, and stop it all at the end, whatever happens in between.

    Ray takes longest to start and needs nothing of the database, so `prepare` runs beside it.
    """
    with _exclusive(config.data_dir):
        listener = _listen(config)
        slipway = Slipway(config, toolchain_dir, say)
        ray, *others = _children(config, toolchain_dir, listener)
        try:
            slipway.start(ray)
            await prepare(config)
            for child in others:
                slipway.start(child)
            yield slipway
        finally:
            await asyncio.shield(slipway.stop())
            listener.close()


@asynccontextmanager
async def interruptible() -> AsyncIterator[asyncio.Event]:
    """An event that is set by SIGINT or SIGTERM instead of an exception in the middle."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def pool_token(config: Config) -> str:
    """The local pool's token, from its file; made at the first start."""
    path = _pool_token_path(config)
    if not path.exists() or not path.read_text().strip():
        write_secret(path, "slp-" + secrets.token_hex(24))
    return path.read_text().strip()


def write_secret(path: Path, value: str) -> None:
    """Write a file that only this user may read: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    Path(beside).replace(path)


def _pool_token_path(config: Config) -> Path:
    return config.data_dir / "pool" / "token"


def _children(config: Config, toolchain_dir: Path, listener: socket.socket) -> list[Child]:
    logs = config.data_dir / "log"
    ray_port = _free_port()
    runner = _runner_environment(config, toolchain_dir, ray_port)
    python = sys.executable
    return [
        Child("ray", [python, "-m", "runner_actors.local_ray"], runner, logs / "ray.log"),
        Child(
            "serve",
            [python, "-m", "control_plane", "serve", "--socket", str(listener.fileno())],
            _serve(config),
            logs / "serve.log",
            listener,
        ),
        Child("gateway", [python, "-m", "runner_actors.gateway"], runner, logs / "gateway.log"),
    ]


def _serve(config: Config) -> dict[str, str]:
    """The same settings as this process has, given as variables whatever their source was."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")
    }
    for section in config.__struct_fields__:
        values = getattr(config, section)
        for key in values.__struct_fields__:
            environment[f"SLIPWAY_{section.upper()}__{key.upper()}"] = str(getattr(values, key))
    environment["SLIPWAY_STORE__DATA_DIR"] = str(config.data_dir)
    return environment


def _runner_environment(config: Config, toolchain_dir: Path, ray_port: int) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLIPWAY_", "RAY_"))
    }
    settings = {
        "control_plane_url": _local_url(config),
        "pool_token_path": str(_pool_token_path(config)),
        "pool_key_path": str(config.data_dir / "pool" / "key"),
        "work_dir": config.work_dir,
        "toolchain_dir": str(toolchain_dir),
        "log_store": config.log_store,
        "log_store_endpoint": config.store.log_store_endpoint,
        "ray_address": f"127.0.0.1:{ray_port}",
        "idle_seconds": str(config.runner.idle_seconds),
        "idle_actors_max": str(config.runner.idle_actors_max),
        "allow_local_sources": "true",
    }
    for key, value in settings.items():
        environment[f"SLIPWAY_RUNNER__{key.upper()}"] = value
    return environment | {
        "SLIPWAY_RAY__TEMP_DIR": str(_ray_temp_dir(config)),
        "SLIPWAY_RAY__TOKEN_PATH": str(config.data_dir / "pool" / "ray-token"),
        "SLIPWAY_RAY__SLOTS": str(config.runner.slots),
        "SLIPWAY_RAY__STOP_SECONDS": str(config.deployments.grace_seconds + STOP_MARGIN_SECONDS),
        # Else Ray takes the machine's own address in place of 127.0.0.1, and listens there.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(config.data_dir / "pool" / "ray-token"),
        "PYTHONUNBUFFERED": "1",
    }


def _ray_temp_dir(config: Config) -> Path:
    """Short, because Ray makes Unix sockets under it, whose paths hold 107 bytes at most."""
    digest = hashlib.sha256(str(config.data_dir).encode()).hexdigest()[:10]
    name = f"slipway-{digest}"
    place = Path(tempfile.gettempdir()) / name
    short = len(os.fsencode(place)) <= RAY_TEMP_DIR_BYTES_MAX
    return place if short else Path("/tmp") / name  # noqa: S108 - Ray's starter makes it 0700


def _local_url(config: Config) -> str:
    host = "127.0.0.1" if config.server.host in ("0.0.0.0", "::", "") else config.server.host  # noqa: S104
    return f"http://{host}:{config.server.port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listen(config: Config) -> socket.socket:
    """Bind the port here, not in `serve`: while that is started again, connections wait."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.server.host, config.server.port))
    except OSError as problem:
        listener.close()
        raise SupervisorError(
            f"Port {config.server.port} on {config.server.host} cannot be used "
            f"({problem.strerror}). Choose another: slipway up --port N (make up PORT=N)."
        ) from None
    listener.listen(BACKLOG)
    return listener


class _exclusive:  # noqa: N801 - reads as a statement
    """One `slipway up` per data directory."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = data_dir / "up.lock"

    def __enter__(self) -> None:
        self._file = self._path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise SupervisorError(
                f"Another slipway is running on {self._path.parent}. Stop it, or choose another "
                "directory: slipway up --data-dir DIR."
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()
