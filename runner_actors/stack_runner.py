"""One stack's runner: carries out its deployments, one at a time. The gateway makes it an actor.

A plain class whose methods take and give JSON bytes, so that nothing of ours is ever pickled. It
keeps what makes the next deployment fast: connections, the log store's client, and a spare shim,
started while there is nothing else to do.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from importlib.metadata import PackageNotFoundError, version

import msgspec

from runner_actors.contract import Grant
from runner_actors.control_plane_client import ControlPlaneClient
from runner_actors.deployment import Deployment
from runner_actors.log_store import S3LogStore, open_log_store
from runner_actors.reports import Busy, RunnerStatus, RunReport
from runner_actors.salvage import Salvage, forget_old_spools
from runner_actors.settings import RunnerSettings
from runner_actors.shim_client import ShimClient

TIDY_SECONDS_MAX = 10.0


class StackRunner:
    """The actor of one stack, `<org>/<project>/<stack>`."""

    def __init__(self, stack_path: str, settings_json: bytes) -> None:
        self._spare: ShimClient | None = ShimClient()
        self._stack_path = stack_path
        self._settings = msgspec.json.decode(settings_json, type=RunnerSettings)
        self._store = open_log_store(self._settings.log_store, self._settings.log_store_endpoint)
        if isinstance(self._store, S3LogStore):
            threading.Thread(target=self._store.connect, daemon=True).start()
        forget_old_spools(self._settings.work_dir)
        self._client: ControlPlaneClient | None = None
        self._busy: Busy | None = None
        self._running: asyncio.Task[RunReport] | None = None
        self._idle_since = time.monotonic()

    async def run(self, grant_json: bytes) -> bytes:
        """Carry out a granted deployment; gives a RunReport.

        It never raises for what users can cause, and it finishes even if its caller goes away.
        """
        grant = msgspec.json.decode(grant_json, type=Grant)
        if self._is_running(grant.deployment_id, grant.generation):
            return await self.wait(grant.deployment_id, grant.generation)
        await self._end_of_the_last()
        if problem := self._refusal(grant):
            return _encoded(_report(grant.deployment_id, grant.generation, "refused", problem))
        self._busy = Busy(deployment_id=grant.deployment_id, generation=grant.generation)
        self._running = asyncio.create_task(self._run(grant))
        return _encoded(await asyncio.shield(self._running))

    async def wait(self, deployment_id: str, generation: int) -> bytes:
        """Wait for the deployment that runs now; gives its RunReport, or `nothing`."""
        if self._running is None or not self._is_running(deployment_id, generation):
            return _encoded(_report(deployment_id, generation, "nothing"))
        return _encoded(await asyncio.shield(self._running))

    async def status(self) -> bytes:
        """What this actor is doing; a RunnerStatus."""
        idle = 0.0 if self._busy else time.monotonic() - self._idle_since
        return msgspec.json.encode(
            RunnerStatus(busy=self._busy, idle_seconds=idle, pid=os.getpid())
        )

    async def salvage(self, deployment_id: str, generation: int) -> bytes:
        """Bring home what a dead actor left here of a deployment; gives a RunReport."""
        if self._is_running(deployment_id, generation):
            return await self.wait(deployment_id, generation)
        client = self._connection()
        salvage = Salvage(self._settings, client, self._store, deployment_id, generation)
        return _encoded(await salvage.run())

    async def close(self) -> None:
        """End in order, when nothing runs: let go of the spare shim and the connections."""
        if self._spare:
            await self._spare.close()
        if self._client:
            await self._client.close()

    async def _run(self, grant: Grant) -> RunReport:
        shim, self._spare = self._spare or ShimClient(), None
        deployment = Deployment(grant, self._settings, self._connection(), self._store, shim)
        try:
            return await deployment.run()
        finally:
            await shim.close()
            self._busy = None
            self._idle_since = time.monotonic()
            self._spare = ShimClient()

    async def _end_of_the_last(self) -> None:
        """The next grant may come while the last deployment, concluded, is still tidying up."""
        if self._running:
            await asyncio.wait({self._running}, timeout=TIDY_SECONDS_MAX)

    def _connection(self) -> ControlPlaneClient:
        """Made late: it belongs to the event loop that uses it."""
        if self._client is None:
            self._client = ControlPlaneClient(self._settings.control_plane_url)
        return self._client

    def _is_running(self, deployment_id: str, generation: int) -> bool:
        return self._busy == Busy(deployment_id=deployment_id, generation=generation)

    def _refusal(self, grant: Grant) -> str:
        """Why this actor cannot take a grant; empty if it can."""
        if grant.stack_path != self._stack_path:
            return f"The actor of {self._stack_path} was given a deployment of {grant.stack_path}."
        if self._busy:
            return f"The actor is busy with the deployment {self._busy.deployment_id}."
        own = _own_version()
        if grant.slipway_version != own:
            return (
                f"The control plane is Slipway {grant.slipway_version}, this runner is {own}: "
                "install the same version on both."
            )
        return ""


def _own_version() -> str:
    try:
        return version("slipway")
    except PackageNotFoundError:
        return "unknown"


def _report(deployment_id: str, generation: int, ended: str, message: str = "") -> RunReport:
    fields = {"deployment_id": deployment_id, "generation": generation, "ended": ended}
    return msgspec.convert({**fields, "message": message}, RunReport)


def _encoded(report: RunReport) -> bytes:
    return msgspec.json.encode(report)
