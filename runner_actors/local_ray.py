"""A Ray of one node on this machine, as a child process: `python -m runner_actors.local_ray`.

It runs this Python's own `ray start` and ends with it: on SIGTERM or SIGINT, when its parent dies
and when Ray dies, everything is gone, down to processes that Ray itself has lost sight of. Shims
alone may take their time, because they let the programs of their deployments end in order.

Settings are environment variables: `SLIPWAY_RUNNER__RAY_ADDRESS` (host:port, on loopback),
`SLIPWAY_RAY__TEMP_DIR`, `SLIPWAY_RAY__TOKEN_PATH`, `SLIPWAY_RAY__SLOTS`,
`SLIPWAY_RAY__STOP_SECONDS`. Ray is never imported here; it is only started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner_actors import ray_files
from runner_actors.process_tree import descendants, end_descendants, marked, send

SPARE_WORKERS = 2
"""Processes that Ray starts ahead of need; what it thinks are CPUs (our actors ask for none)."""
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Near the least that Ray accepts: nothing large ever passes through it."""
START_SECONDS_MAX = 120.0
PRUNE_SECONDS = 60.0
POLL_SECONDS = 0.05
TEMP_DIR_BYTES_MAX = 107 - len("/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
PRELOADED = (
    "runner_actors.stack_runner",
    # What Ray itself would import when a process becomes an actor: a sixth of a second.
    "ray._common.pydantic_compat",
    "ray._private.arrow_serialization",
    "pydantic.v1",
)
MARKER = "SLIPWAY_LOCAL_RAY"
"""In the environment of all processes of Ray: its directory, to find those that outlived a kill."""
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class LocalRayError(RuntimeError):
    """Ray cannot run here; the text says why and what to do."""


class LocalRaySettings(msgspec.Struct, kw_only=True, frozen=True):
    """Where Ray listens and what it offers."""

    address: str
    temp_dir: str
    """For Ray's own files; short, because the paths of Unix sockets end at 107 bytes."""
    token_path: str
    """Who reads this file may run code on the cluster; it is made if it does not exist."""
    slots: int = 10
    """How many deployments may run on this machine at once."""
    stop_seconds: float = 60.0
    """How long the programs of running deployments may take to end."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> LocalRaySettings:
        """Read the variables named above; raises LocalRayError."""
        names = {field: f"SLIPWAY_RAY__{field.upper()}" for field in cls.__struct_fields__}
        names["address"] = "SLIPWAY_RUNNER__RAY_ADDRESS"
        values = {field: environment[name] for field, name in names.items() if name in environment}
        try:
            settings = msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as problem:
            raise LocalRayError(f"{problem}. Set {', '.join(names.values())}.") from None
        if len(os.fsencode(settings.temp_dir)) > TEMP_DIR_BYTES_MAX:
            limit = f"{TEMP_DIR_BYTES_MAX} bytes is the most"
            raise LocalRayError(f"{names['temp_dir']} is too long for Ray's sockets: {limit}.")
        return settings

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> str:
        """The port of the cluster's control service."""
        return self.address.rpartition(":")[2]

    @property
    def ray_dir(self) -> Path:
        """Ray's own directory."""
        return ray_files.ray_dir(Path(self.temp_dir))


def main() -> int:
    """Run Ray until a signal or its end; the exit code is 0 only for a signal."""
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        return 0
    try:
        settings = LocalRaySettings.from_environment(os.environ)
        with ray_files.exclusive(Path(settings.temp_dir)):
            return LocalRay(settings).run()
    except (LocalRayError, ray_files.InUse) as problem:
        _say("Ray cannot run", problem=str(problem))
        return 1


class LocalRay:
    """One run of `ray start --block`, from clean files to the last process."""

    def __init__(self, settings: LocalRaySettings) -> None:
        self._settings = settings
        self._ray_dir = settings.ray_dir
        self._began = time.monotonic()
        self._prune_at = self._began + PRUNE_SECONDS
        self._exit_code: int | None = None

    def run(self) -> int:
        """Start, watch and end Ray; gives this program's exit code."""
        send(marked(MARKER, str(self._ray_dir)), signal.SIGKILL)
        ray_files.make_anew(Path(self._settings.temp_dir))
        ray_files.ensure_token(Path(self._settings.token_path))
        self._ray = self._start()
        told_to_stop = self._watch()
        self._end_all()
        if told_to_stop:
            ray_files.remove(Path(self._settings.temp_dir))
            return 0
        # The session's own logs stay for whoever looks into it, until the next start.
        _say("Ray has ended", exit_code=self._exit_code, output=ray_files.tail(self._output))
        return 1

    @property
    def _output(self) -> Path:
        return self._ray_dir / "ray_start.log"

    def _start(self) -> subprocess.Popen[bytes]:
        executable = Path(sys.executable).with_name("ray")
        if not executable.exists():
            raise LocalRayError(f"{executable} does not exist. Install Ray into this environment.")
        with self._output.open("wb") as output:
            return subprocess.Popen(
                [str(executable), *ray_arguments(self._settings)],
                env=ray_environment(self._settings, os.environ),
                cwd=self._ray_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_be_an_ordinary_child,
            )

    def _watch(self) -> bool:
        """Until a signal says to stop (True), or Ray has ended by itself (False)."""
        ready = False
        while True:
            signalled = signal.sigtimedwait(_WATCHED, PRUNE_SECONDS if ready else POLL_SECONDS)
            if signalled and signalled.si_signo != signal.SIGCHLD:
                return True
            self._reap()
            if self._exit_code is not None:
                return False
            if not ready:
                ready = self._check_ready()
            self._prune()

    def _check_ready(self) -> bool:
        """Ray writes its address down when the node is up."""
        seconds = time.monotonic() - self._began
        if ray_files.address_file(self._ray_dir).exists():
            _say("Ray is ready", address=self._settings.address, seconds=round(seconds, 2))
            return True
        if seconds > START_SECONDS_MAX:
            _say("Ray does not come up", seconds=round(seconds))
            send([self._ray.pid], signal.SIGKILL)
        return False

    def _prune(self) -> None:
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_SECONDS
            ray_files.prune_logs(self._ray_dir)

    def _reap(self) -> bool:
        """Collect what has ended, orphans of Ray too; True when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._ray.pid:
                self._exit_code = os.waitstatus_to_exitcode(status)

    def _end_all(self) -> None:
        """Kill Ray and its workers, then wait for the shims that their end sets going.

        Ray has nothing to save and its own shutdown takes seconds, so it is not asked first.
        """
        deadline = time.monotonic() + self._settings.stop_seconds
        while not self._reap():
            send(self._of_ray(), signal.SIGKILL)
            signalled = signal.sigtimedwait(_WATCHED, POLL_SECONDS)
            told_again = signalled is not None and signalled.si_signo != signal.SIGCHLD
            if told_again or time.monotonic() > deadline:
                end_descendants(os.getpid())

    def _of_ray(self) -> list[int]:
        """Ray keeps to the session it was started in, while a shim begins one of its own."""
        return [pid for pid in descendants(os.getpid()) if _session(pid) == self._ray.pid]


def ray_arguments(settings: LocalRaySettings) -> list[str]:
    """The command line of `ray start`: nothing that one machine with our own console can spare."""
    return [
        "start",
        "--head",
        "--block",
        f"--node-ip-address={settings.host}",
        f"--port={settings.port}",
        f"--temp-dir={settings.ray_dir}",
        f"--num-cpus={SPARE_WORKERS}",
        f"--resources={msgspec.json.encode({'deployment_slot': settings.slots}).decode()}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--no-monitor",
        "--disable-usage-stats",
        # All other ports are whatever is free, so that several clusters fit on one machine.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
    ]


def ray_environment(settings: LocalRaySettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """What Ray is started with, and with it every worker; Slipway's own variables stay out."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("SLIPWAY_", "RAY_"))
    }
    return kept | {
        MARKER: str(settings.ray_dir),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": settings.token_path,
        # Without it Ray replaces a loopback address by the machine's own and listens to everybody.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_START_HOOK": "runner_actors.local_ray.adjust",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "warning",
        "RAY_ROTATION_MAX_BYTES": str(5 * 1024 * 1024),
        "RAY_ROTATION_BACKUP_COUNT": "1",
        # An actor is never killed because other programs of this machine use memory.
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_worker_niceness": "0",
        "RAY_preload_python_modules": ",".join(PRELOADED),
        "RAY_enable_worker_prestart": "1",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_idle_worker_killing_time_threshold_ms": str(24 * 3600 * 1000),
    }


def adjust(ray_params: Any, head: bool) -> None:
    """Called by `ray start` in its own process: leave out what no option leaves out.

    That is the server for remote clients, and the dashboard's, which even without its dashboard
    takes a second and a hundred megabytes to do nothing.
    """
    ray_params.ray_client_server_port = None
    sys.modules["ray._private.node"].Node.start_api_server = lambda *_, **__: None


def _be_an_ordinary_child() -> None:
    """Undo in the child what is particular to this process.

    When this process is killed Ray is asked to end, which takes it some seconds: killed itself, it
    would leave workers behind that have just been started.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _say(event: str, **facts: object) -> None:
    print(msgspec.json.encode({"event": event, **facts}).decode(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
