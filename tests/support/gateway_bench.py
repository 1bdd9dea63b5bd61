"""A gateway without Ray and without a process of its own: real HTTP, a cluster in memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from runner_actors.contract import Grant
from runner_actors.dispatcher import Dispatcher
from runner_actors.placement import ClusterPlacement
from runner_actors.pool_client import PoolClient
from runner_actors.serving import Server
from runner_actors.settings import RunnerSettings
from tests.support.fake_cluster import FakeActor, FakeCluster
from tests.support.pool_server import POOL_TOKEN, PoolServer, pool_server
from tests.support.stand_in import StandIn, World
from tests.support.waiting import eventually


def runner_settings(work_dir: Path, url: str = "http://127.0.0.1:1", **changes: object) -> Any:
    given: dict[str, object] = {
        "control_plane_url": url,
        "pool_token_path": str(work_dir / "token"),
        "pool_key_path": str(work_dir / "key"),
        "work_dir": str(work_dir),
        "toolchain_dir": "",
        "log_store": str(work_dir / "logs"),
    }
    return msgspec.convert({**given, **changes}, RunnerSettings)


class GatewayBench:
    """A gateway's parts over one cluster and one control plane."""

    def __init__(self, server: PoolServer, work_dir: Path, slots: int) -> None:
        self.server = server
        self.world = World(work_dir)
        self.now = 0.0
        self.settings = runner_settings(work_dir, server.url)
        encoded = msgspec.json.encode(self.settings)
        self.cluster = FakeCluster(lambda name: StandIn(name, encoded), slots)
        self.api = PoolClient(server.url, POOL_TOKEN)
        self.placement = ClusterPlacement(self.cluster, self.settings)
        self.serving = Server(self.api, self.placement)

    def dispatcher(self) -> Dispatcher:
        """A gateway that has just come up: it knows nothing."""
        placement = ClusterPlacement(self.cluster, self.settings)
        return Dispatcher(self.api, placement, "gateway", lambda: self.now)

    def take(self, **facts: Any) -> Grant:
        """A grant that has just been given."""
        deployment_id = self.server.make_live(**facts)
        return msgspec.convert(self.server.live[deployment_id], Grant)

    def actor(self, stack: str = "acme/web/dev") -> FakeActor:
        return self.cluster.actors[stack]

    async def started(self, deployment_id: str) -> None:
        await eventually(lambda: self.world.of(deployment_id, "started"), "it runs")

    async def ended(self, deployment_id: str) -> str:
        """How a deployment ended for the control plane."""
        return str(await eventually(lambda: self.server.outcome(deployment_id), "it ends"))


@contextlib.asynccontextmanager
async def gateway_bench(work_dir: Path, slots: int = 10) -> AsyncIterator[GatewayBench]:
    with pool_server() as server:
        bench = GatewayBench(server, work_dir, slots)
        yield bench
        await bench.api.close()
