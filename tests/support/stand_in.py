"""A small runner in the stack runner's place: tests of the gateway say how its deployments end.

Works as a Ray actor and inside a fake cluster. It keeps a journal in the work directory, waits for
files there, and tells the control plane of a conclusion, as the real one does.

As a program it is the gateway with this class for its actors.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from runner_actors.contract import Grant
from runner_actors.reports import Busy, RunnerStatus, RunReport
from runner_actors.settings import RunnerSettings
from tests.support.waiting import eventually

HOLD_SECONDS_MAX = 120.0
HOLD = {"HOLD": {"plain": "1"}}
"""The environment of a grant that runs until `World.go`."""


class World:
    """The test's side: one work directory, shared with all stand-ins."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        work_dir.mkdir(parents=True, exist_ok=True)

    def go(self, deployment_id: str) -> None:
        """Let a held deployment end."""
        (self.work_dir / f"{deployment_id}.go").touch()

    def leave(self, deployment_id: str, ended: str) -> None:
        """What a salvage of the deployment will report; by default there is nothing."""
        (self.work_dir / f"{deployment_id}.left").write_text(ended)

    def break_constructor(self, *, broken: bool = True) -> None:
        path = self.work_dir / "broken"
        path.touch() if broken else path.unlink()

    def journal(self, *events: str) -> list[dict[str, Any]]:
        path = self.work_dir / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if not events or entry["event"] in events]

    def of(self, deployment_id: str, *events: str) -> list[dict[str, Any]]:
        return [each for each in self.journal(*events) if each["deployment"] == deployment_id]

    def most_at_once(self) -> int:
        """How many deployments ran at the same time, at most."""
        most = running = 0
        for entry in self.journal("started", "ended"):
            running += 1 if entry["event"] == "started" else -1
            most = max(most, running)
        return most


class StandIn:
    """What `runner_actors.stack_runner.StackRunner` is to the gateway."""

    def __init__(self, stack_path: str, settings_json: bytes) -> None:
        self._stack_path = stack_path
        self._settings = msgspec.json.decode(settings_json, type=RunnerSettings)
        self._work_dir = Path(self._settings.work_dir)
        self._busy: Busy | None = None
        self._running: asyncio.Task[bytes] | None = None
        if (self._work_dir / "broken").exists():
            raise RuntimeError("the stand-in is broken")

    async def run(self, grant_json: bytes) -> bytes:
        grant = msgspec.json.decode(grant_json, type=Grant)
        assert grant.stack_path == self._stack_path
        assert self._busy is None
        self._busy = Busy(deployment_id=grant.deployment_id, generation=grant.generation)
        self._running = asyncio.create_task(self._run(grant))
        return await asyncio.shield(self._running)

    async def wait(self, deployment_id: str, generation: int) -> bytes:
        if self._running and self._busy == Busy(deployment_id=deployment_id, generation=generation):
            return await asyncio.shield(self._running)
        return _report(deployment_id, generation, "nothing")

    async def status(self) -> bytes:
        status = RunnerStatus(busy=self._busy, idle_seconds=0.0, pid=os.getpid())
        return msgspec.json.encode(status)

    async def salvage(self, deployment_id: str, generation: int) -> bytes:
        self._note("salvaged", deployment_id)
        left = self._work_dir / f"{deployment_id}.left"
        ended = left.read_text() if left.exists() else "nothing"
        if ended == "concluded":
            await self._conclude(deployment_id, generation)
        return _report(deployment_id, generation, ended)

    async def _run(self, grant: Grant) -> bytes:
        self._note("started", grant.deployment_id)
        try:
            if "FAIL" in grant.environment:
                raise RuntimeError("the stand-in was told to fail")
            if "HOLD" in grant.environment:
                go = self._work_dir / f"{grant.deployment_id}.go"
                await eventually(go.exists, "the test lets it go", HOLD_SECONDS_MAX)
            self._note("ended", grant.deployment_id)
            await self._conclude(grant.deployment_id, grant.generation)
        finally:
            self._busy = None
        return _report(grant.deployment_id, grant.generation, "concluded")

    async def _conclude(self, deployment_id: str, generation: int) -> None:
        event = {
            "kind": "concluded",
            "number": 1,
            "atMs": 0,
            "succeeded": True,
            "reason": "completed",
        }
        body = json.dumps({"generation": generation, "events": [event]}).encode()
        url = f"{self._settings.control_plane_url}/api/runner/deployments/{deployment_id}/events"
        await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(url, body), None, 10)

    def _note(self, event: str, deployment_id: str) -> None:
        entry = {
            "event": event,
            "deployment": deployment_id,
            "stack": self._stack_path,
            "pid": os.getpid(),
            "at": time.time_ns(),
        }
        with (self._work_dir / "journal").open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _report(deployment_id: str, generation: int, ended: str) -> bytes:
    report = {"deployment_id": deployment_id, "generation": generation, "ended": ended}
    return msgspec.json.encode(msgspec.convert(report, RunReport))


if __name__ == "__main__":
    from runner_actors import gateway

    gateway.main("tests.support.stand_in:StandIn")
