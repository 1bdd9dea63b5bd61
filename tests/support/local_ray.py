"""A real local Ray and real gateways for tests, with everything they start marked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from runner_actors.gateway import driver_environment
from runner_actors.process_tree import marked
from tests.support.gateway_bench import runner_settings
from tests.support.pool_server import POOL_TOKEN
from tests.support.slipway import free_port
from tests.support.waiting import wait_for

MARK = "LOCAL_RAY_TEST"
ROOT = Path(__file__).resolve().parent.parent.parent


class LocalRayForTest:
    """`python -m runner_actors.local_ray` on a free port, and gateways beside it."""

    python = sys.executable

    def __init__(self, work_dir: Path, control_plane_url: str, slots: int = 10) -> None:
        self.work_dir = work_dir
        self.mark = uuid.uuid4().hex
        # Not below pytest's directory: the paths of Ray's sockets must be short.
        self._temp_dir = tempfile.TemporaryDirectory(prefix="slipway-", ignore_cleanup_errors=True)
        self.temp_dir = Path(self._temp_dir.name)
        self.address = f"127.0.0.1:{free_port()}"
        (work_dir / "token").write_text(POOL_TOKEN)
        self.settings = runner_settings(
            work_dir, control_plane_url, ray_address=self.address, idle_seconds=600.0
        )
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY_", "RAY_"))},
            MARK: self.mark,
            "SLIPWAY_RAY__TEMP_DIR": str(self.temp_dir),
            "SLIPWAY_RAY__TOKEN_PATH": str(work_dir / "ray-token"),
            "SLIPWAY_RAY__SLOTS": str(slots),
        }
        for name in self.settings.__struct_fields__:
            value = getattr(self.settings, name)
            self.environment[f"SLIPWAY_RUNNER__{name.upper()}"] = str(value)

    def start(self) -> LocalRayForTest:
        (self.work_dir / "ray.log").unlink(missing_ok=True)
        self.process = self._start("runner_actors.local_ray", "ray.log")
        self.wait_for_log("ray.log", "Ray is ready")
        return self

    def gateway(self) -> subprocess.Popen[bytes]:
        """A gateway with stand-ins for its actors."""
        return self._start("tests.support.stand_in", "gateway.log")

    def driver_environment(self) -> dict[str, str]:
        """What a process of the test's own needs to join this Ray."""
        token = {"SLIPWAY_RAY__TOKEN_PATH": self.environment["SLIPWAY_RAY__TOKEN_PATH"]}
        return driver_environment(self.settings, token)

    def stop(self) -> int:
        """End Ray as a supervisor does; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        wait_for(lambda: not self.processes(), f"no process left: {self.processes()}")
        return code

    def processes(self) -> list[int]:
        """All that this object started, directly or not."""
        return marked(MARK, self.mark)

    def log(self, name: str) -> str:
        path = self.work_dir / name
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, name: str, text: str, seconds: float = 90) -> None:
        try:
            wait_for(lambda: text in self.log(name), f"{text!r} in {name}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log(name)[-5000:]}") from None

    def _start(self, module: str, log: str) -> subprocess.Popen[bytes]:
        with (self.work_dir / log).open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", module],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def resident_mib(process: subprocess.Popen[Any]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1]) / 1024
