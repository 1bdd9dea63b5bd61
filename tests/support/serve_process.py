"""`slipway serve` as a process of its own, which a test may kill and start again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx

from control_plane.app import open_world
from control_plane.config import Config
from control_plane.services import identity
from control_plane.store.migrate import migrate
from tests.support.app import ADMIN, TOKEN
from tests.support.slipway import free_port
from tests.support.waiting import wait_for
from tests.support.world import make_config


class ServeProcess:
    """A server on one port and one data directory, whose user `ada` has the tests' token."""

    def __init__(self, tmp_path: Path) -> None:
        self.data_dir = tmp_path / "data"
        self.port = free_port()
        self.starts = 0
        asyncio.run(_set_up(make_config(tmp_path)))
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        serve = [sys.executable, "-m", "control_plane", "serve", "--port", str(self.port)]
        with (self.data_dir.parent / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*serve, "--data-dir", str(self.data_dir)],
                env={k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.starts += 1
        try:
            wait_for(self._answers, f"{self.url} answers", 60)
        except AssertionError:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.data_dir.parent / "serve.log").read_text()
        try:
            return httpx.get(f"{self.url}/health/live").status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it as a failing machine would."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Kill it, and start it again on what it left."""
        self.kill()
        self.start()


async def _set_up(config: Config) -> None:
    config.data_dir.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(migrate, config.database_url)
    world = open_world(config)
    await identity.bootstrap(world, ADMIN, TOKEN)
    await world.database.close()
