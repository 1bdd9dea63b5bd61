"""What every cluster does, checked on the one in memory and on a real local Ray."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner_actors.cluster import ActorDied, Cluster, RunnerFailed, RunnerLost
from runner_actors.reports import RunnerStatus
from tests.support.fake_cluster import FakeCluster
from tests.support.local_ray import LocalRayForTest
from tests.support.waiting import eventually

pytestmark = pytest.mark.xdist_group("test_cluster")

SLOTS = 3


class Probe:
    """An actor that can do what the suite asks of one."""

    def __init__(self, name: str, _settings_json: bytes = b"") -> None:
        if name.endswith("broken"):
            raise RuntimeError("it cannot begin")
        self._name = name

    async def name(self) -> str:
        return self._name

    async def fail(self) -> None:
        raise RuntimeError("it was told to fail")

    async def hang(self) -> None:
        await asyncio.Event().wait()

    async def status(self) -> bytes:
        return msgspec.json.encode(RunnerStatus(busy=None, idle_seconds=0.0, pid=os.getpid()))


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    local = LocalRayForTest(tmp_path_factory.mktemp("ray"), "http://127.0.0.1:1", SLOTS).start()
    os.environ.update(local.driver_environment())
    from runner_actors.ray_cluster import RayCluster

    try:
        yield RayCluster.join(local.settings, Probe)
    finally:
        import ray

        ray.shutdown()
        for name in local.driver_environment():
            del os.environ[name]
        assert local.stop() == 0


@pytest.fixture(params=["fake", pytest.param("ray", marks=pytest.mark.e2e)])
async def cluster(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        yield FakeCluster(Probe, SLOTS)
        return
    made = request.getfixturevalue("ray_cluster")
    yield made
    for name in await made.slot_names():
        await made.remove_slot(name)


async def test_an_actor_answers_in_its_slot(cluster: Cluster) -> None:
    slot = await cluster.make_slot("acme/0")
    actor = await cluster.make_actor("acme/we.ird_na-me/dev", slot)
    await cluster.begun(actor)
    assert await cluster.call(actor, "name") == "acme/we.ird_na-me/dev"
    assert await cluster.slot_name_of(actor) == "acme/0"
    assert await cluster.node_of(slot)
    assert await cluster.slot_names() == ["acme/0"]
    assert await cluster.actor_names() == ["acme/we.ird_na-me/dev"]


async def test_slots_and_actors_are_found_by_name(cluster: Cluster) -> None:
    await cluster.begun(await cluster.make_actor("a/b/c", await cluster.make_slot("a/0")))
    found = await cluster.find_actor("a/b/c")
    assert await cluster.call(found, "name") == "a/b/c"
    assert await cluster.node_of(await cluster.find_slot("a/0"))
    with pytest.raises(RunnerLost):
        await cluster.find_actor("a/b/other")
    with pytest.raises(RunnerLost):
        await cluster.find_slot("a/1")


async def test_a_slot_beyond_the_clusters_size_has_no_node_until_another_goes(
    cluster: Cluster,
) -> None:
    names = [f"a/{k}" for k in range(SLOTS + 1)]
    slots = [await cluster.make_slot(name) for name in names]
    late = asyncio.create_task(cluster.begun(await cluster.make_actor("a/b/late", slots[-1])))
    await eventually(lambda: _all_placed(cluster, slots[:-1]), "the others have a node")
    assert not await cluster.node_of(slots[-1])
    assert not late.done()
    await cluster.remove_slot("a/1")
    await late
    assert await cluster.node_of(slots[-1])


async def _all_placed(cluster: Cluster, slots: list[Any]) -> bool:
    return all([await cluster.node_of(slot) for slot in slots])


async def test_removing_a_slot_kills_its_actor(cluster: Cluster) -> None:
    actor = await cluster.make_actor("a/b/c", await cluster.make_slot("a/0"))
    await cluster.begun(actor)
    hanging = asyncio.create_task(cluster.call(actor, "hang"))
    await cluster.call(actor, "name")
    await cluster.remove_slot("a/0")
    with pytest.raises(RunnerLost):
        await hanging
    await cluster.remove_slot("a/0")


async def test_after_a_kill_name_and_slot_are_free_at_once(cluster: Cluster) -> None:
    slot = await cluster.make_slot("a/0")
    for _ in range(3):
        actor = await cluster.make_actor("a/b/c", slot)
        await cluster.begun(actor)
        hanging = asyncio.create_task(cluster.call(actor, "hang"))
        await cluster.call(actor, "name")
        await cluster.kill(actor)
        with pytest.raises(ActorDied):
            await hanging
        await cluster.kill(actor)


async def test_an_actor_replaces_one_that_has_its_name(cluster: Cluster) -> None:
    first = await cluster.make_actor("a/b/c", await cluster.make_slot("a/0"))
    await cluster.begun(first)
    second = await cluster.make_actor("a/b/c", await cluster.make_slot("a/1"))
    await cluster.begun(second)
    assert await cluster.slot_name_of(second) == "a/1"
    with pytest.raises(RunnerLost):
        await cluster.call(first, "name")


async def test_a_slot_replaces_one_that_has_its_name(cluster: Cluster) -> None:
    first = await cluster.make_actor("a/b/c", await cluster.make_slot("a/0"))
    await cluster.begun(first)
    await cluster.begun(await cluster.make_actor("a/b/d", await cluster.make_slot("a/0")))
    assert await cluster.slot_names() == ["a/0"]
    with pytest.raises(RunnerLost):
        await cluster.call(first, "name")


async def test_what_goes_wrong_has_a_name(cluster: Cluster) -> None:
    slot = await cluster.make_slot("a/0")
    broken = await cluster.make_actor("a/b/broken", slot)
    with pytest.raises(RunnerLost, match="it cannot begin"):
        await cluster.begun(broken)
    actor = await cluster.make_actor("a/b/c", slot)
    with pytest.raises(RunnerFailed, match="it was told to fail"):
        await cluster.call(actor, "fail")
    assert await cluster.call(actor, "name") == "a/b/c"


async def test_a_cancelled_call_reaches_no_later_one(cluster: Cluster) -> None:
    actor = await cluster.make_actor("a/b/c", await cluster.make_slot("a/0"))
    hanging = asyncio.create_task(cluster.call(actor, "hang"))
    await cluster.begun(actor)
    hanging.cancel()
    assert await cluster.call(actor, "name") == "a/b/c"


@pytest.mark.e2e
async def test_a_killed_worker_is_noticed_at_once(ray_cluster: Any, tmp_path: Path) -> None:
    actor = await ray_cluster.make_actor("a/b/c", await ray_cluster.make_slot("a/0"))
    pid = msgspec.json.decode(await ray_cluster.call(actor, "status"))["pid"]
    hanging = asyncio.create_task(ray_cluster.call(actor, "hang"))
    await ray_cluster.call(actor, "name")
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        with pytest.raises(ActorDied):
            await hanging
    await ray_cluster.remove_slot("a/0")
