"""The gateway on a real Ray: slots, eviction, lost workers, lost gateways, and no process left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_ray import LocalRayForTest, resident_mib
from tests.support.pool_server import PoolServer, pool_server
from tests.support.stand_in import HOLD, World
from tests.support.waiting import wait_for

SLOTS = 12
GATEWAY_MIB_MAX = 250


class Cluster:
    """A local Ray with one gateway, the control plane's side of both, and the actors' journal."""

    def __init__(self, work_dir: Path, server: PoolServer) -> None:
        self.server = server
        self.world = World(work_dir)
        self.ray = LocalRayForTest(work_dir, server.url, SLOTS).start()
        self.gateway = self.ray.gateway()
        wait_for(lambda: server.polls, f"the gateway polls\n{self.ray.log('gateway.log')}", 90)

    def ended(self, deployment_id: str) -> str:
        """How a deployment ended for the control plane."""
        wait_for(lambda: self.server.outcome(deployment_id), self.ray.log("gateway.log"), 60)
        return str(self.server.outcome(deployment_id))

    def started(self, deployment_id: str) -> int:
        """The pid of the actor that runs a deployment, once it does."""
        entries = wait_for(
            lambda: self.world.of(deployment_id, "started"), self.ray.log("gateway.log"), 60
        )
        return int(entries[0]["pid"])

    def run(self, stack: str, slot_limit: int = 10) -> int:
        """Run a deployment to its end; gives the actor's pid."""
        deployment_id = self.server.grant(stack, slot_limit=slot_limit)
        assert self.ended(deployment_id) == "concluded"
        return self.started(deployment_id)

    def slots(self) -> dict[str, str]:
        """Ray's own word, from a driver of its own: slot name -> stack of the actor in it.

        Ray's tables follow what happens; the word counts when they agree with one another.
        """
        looks: list[subprocess.CompletedProcess[str]] = []
        try:
            wait_for(lambda: looks.append(self._look()) or looks[-1].returncode == 0, "agreement")
        except AssertionError:
            raise AssertionError(looks[-1].stderr) from None
        return dict(line.split(" ") for line in looks[-1].stdout.splitlines() if "/" in line)

    def _look(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.ray.python, "-c", LOOK, self.ray.address],
            env=self.ray.environment | self.ray.driver_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def close(self) -> None:
        self.gateway.send_signal(signal.SIGTERM)
        assert self.gateway.wait(10) == 0
        assert self.ray.stop() == 0


LOOK = """
import sys, ray
from ray.util.placement_group import placement_group_table
from ray._private.state import actors
ray.init(sys.argv[1], namespace="slipway", log_to_driver=False, logging_level="ERROR")
living = [a for a in actors().values() if a["State"] == "ALIVE" and a["Name"]]
for name in {a["Name"] for a in living}:
    actor = ray.get_actor(name)
    group = ray.get(actor.__ray_call__.remote(
        lambda _: ray.util.get_current_placement_group().id.hex()))
    print(placement_group_table()[group]["name"], name)
states = [g["state"] for g in placement_group_table().values()]
assert states.count("CREATED") == len(living), (states, living)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pool_server() as server:
        made = Cluster(tmp_path_factory.mktemp("cluster"), server)
        yield made
        made.close()


def test_a_stacks_actor_stays_warm_in_its_slot(cluster: Cluster) -> None:
    first, second = cluster.run("warm/web/dev"), cluster.run("warm/web/dev")
    assert first == second
    assert cluster.slots()["warm/0"] == "warm/web/dev"


def test_the_least_recently_used_stack_makes_room(cluster: Cluster) -> None:
    for stack in ("a", "b", "a", "c"):
        cluster.run(f"lru/web/{stack}", slot_limit=2)
    assert {name: stack for name, stack in cluster.slots().items() if name.startswith("lru/")} == {
        "lru/0": "lru/web/a",
        "lru/1": "lru/web/c",
    }


def test_never_more_than_ten_at_once_and_idle_stacks_of_others_go(cluster: Cluster) -> None:
    """I2 by the second referee: the control plane gives 15, and ten run."""
    ids = [cluster.server.grant(f"ten/web/s{k}", environment=HOLD) for k in range(15)]
    wait_for(lambda: sum(bool(cluster.world.of(i)) for i in ids) >= 10, "ten run", 90)
    slots = [name for name in cluster.slots() if name.startswith("ten/")]
    assert sorted(slots) == [f"ten/{k}" for k in range(10)]
    for deployment_id in ids:
        cluster.world.go(deployment_id)
    for deployment_id in ids:
        assert cluster.ended(deployment_id) == "concluded"
    entries = [e for e in cluster.world.journal("started", "ended") if e["deployment"] in ids]
    counts = [0]
    for entry in entries:
        counts.append(counts[-1] + (1 if entry["event"] == "started" else -1))
    assert max(counts) == 10


def test_what_a_killed_worker_left_is_salvaged_in_the_same_slot(cluster: Cluster) -> None:
    deployment_id = cluster.server.grant("killed/web/dev", environment=HOLD)
    pid = cluster.started(deployment_id)
    cluster.world.leave(deployment_id, "concluded")
    os.kill(pid, signal.SIGKILL)
    assert cluster.ended(deployment_id) == "concluded"
    (salvaged,) = cluster.world.of(deployment_id, "salvaged")
    assert salvaged["pid"] != pid
    assert len(cluster.world.of(deployment_id, "started")) == 1
    assert cluster.slots()["killed/0"] == "killed/web/dev"


def test_a_killed_gateway_is_followed_by_one_that_goes_on(cluster: Cluster) -> None:
    runs = cluster.server.grant("adopted/web/runs", environment=HOLD)
    cluster.started(runs)
    cluster.gateway.kill()
    cluster.gateway.wait()
    gone = cluster.server.make_live("adopted/web/gone")
    cluster.gateway = cluster.ray.gateway()
    assert cluster.ended(gone) == "released: runner_lost"
    cluster.world.go(runs)
    assert cluster.ended(runs) == "concluded"
    assert [e["event"] for e in cluster.world.of(runs)] == ["started", "ended"]
    cluster.run("adopted/web/runs")


def test_a_gateway_is_small_and_stops_at_once_without_its_actors(cluster: Cluster) -> None:
    deployment_id = cluster.server.grant("stop/web/dev", environment=HOLD)
    pid = cluster.started(deployment_id)
    assert resident_mib(cluster.gateway) < GATEWAY_MIB_MAX
    cluster.gateway.send_signal(signal.SIGTERM)
    assert cluster.gateway.wait(2) == 0
    assert Path(f"/proc/{pid}").exists()
    cluster.gateway = cluster.ray.gateway()
    cluster.world.go(deployment_id)
    assert cluster.ended(deployment_id) == "concluded"


def test_nothing_is_left_when_ray_is_killed(tmp_path: Path) -> None:
    """Ray dies under a running deployment: all its processes go, and the gateway says so."""
    with pool_server() as server:
        cluster = Cluster(tmp_path, server)
        cluster.started(server.grant(environment=HOLD))
        (service,) = [p for p in cluster.ray.processes() if _program(p) == "gcs_server"]
        os.kill(service, signal.SIGKILL)
        assert cluster.ray.process.wait(30) == 1
        assert cluster.gateway.wait(30) == 3
        assert "Ray has ended" in cluster.ray.log("ray.log")
        assert "does not answer any more" in cluster.ray.log("gateway.log")
        wait_for(lambda: not cluster.ray.processes(), "no process is left")


def test_nothing_is_left_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    local = LocalRayForTest(tmp_path, "http://127.0.0.1:1").start()
    assert len(local.processes()) > 5
    local.process.kill()
    local.process.wait()
    wait_for(lambda: not local.processes(), "no process is left")
    # What it left on the disk does not disturb the next one.
    local.start()
    assert local.stop() == 0
    assert not local.temp_dir.exists()


def _program(pid: int) -> str:
    return Path(os.readlink(f"/proc/{pid}/exe")).name
