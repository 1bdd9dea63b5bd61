"""Places on a cluster in memory: given, kept warm, evicted, taken back, found again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from runner_actors import placement as placement_module
from runner_actors.cluster import RunnerLost
from runner_actors.placement import ClusterPlace, ClusterPlacement
from runner_actors.places import Wanted, Work
from tests.support.fake_cluster import FakeCluster
from tests.support.gateway_bench import runner_settings
from tests.support.stand_in import HOLD, StandIn, World
from tests.support.waiting import eventually


class Bench:
    """A placement on a fake cluster, with a clock that only the test moves."""

    def __init__(self, work_dir: Path, slots: int = 10, **changes: object) -> None:
        self.world = World(work_dir)
        self.now = 0.0
        given = runner_settings(work_dir, **changes)
        encoded = msgspec.json.encode(given)
        self.cluster = FakeCluster(lambda name: StandIn(name, encoded), slots)
        self.placement = ClusterPlacement(self.cluster, given, lambda: self.now)
        self.told: list[str] = []

    async def place(self, stack: str = "dev", organization: str = "acme", limit: int = 10):
        return await self.placement.place(wanted(stack, organization, limit), self.told.append)

    def placing(self, *stack: object) -> asyncio.Task[ClusterPlace]:
        return asyncio.create_task(self.place(*stack))  # type: ignore[arg-type]

    async def idle(self, *stack: object) -> ClusterPlace:
        """A place that has been used and is free again, one second after the last."""
        place = await self.place(*stack)  # type: ignore[arg-type]
        self.now += 1
        self.placement.finished(place)
        return place


def wanted(stack: str = "dev", organization: str = "acme", limit: int = 10) -> Wanted:
    return Wanted(organization=organization, project="web", stack=stack, slot_limit=limit)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **facts: Bench(tmp_path, **facts)


async def test_slots_and_actors_are_named_after_organization_and_stack(bench) -> None:
    b = bench()
    await b.place("dev")
    await b.place("we.ird_na-me")
    assert b.cluster.used == {"acme/0", "acme/1"}
    assert set(b.cluster.actors) == {"acme/web/dev", "acme/web/we.ird_na-me"}


async def test_a_warm_actor_is_used_again(bench) -> None:
    b = bench()
    first = await b.idle("dev")
    assert await b.place("dev") is first
    assert b.cluster.made == 1


async def test_an_idle_stack_of_the_organization_makes_room_in_its_own_slot(bench) -> None:
    b = bench()
    old = await b.idle("old", "acme", 2)
    await b.idle("young", "acme", 2)
    place = await b.place("new", "acme", 2)
    assert place.slot == old.slot
    assert set(b.cluster.actors) == {"acme/web/young", "acme/web/new"}
    assert len(b.cluster.slots) == 2


async def test_idle_stacks_of_others_make_room_when_the_cluster_is_full(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_module, "PENDING_LOOK_SECONDS", 0.01)
    b = bench(slots=2)
    await b.idle("a", "one")
    await b.idle("b", "two")
    await b.place("c", "three")
    assert b.cluster.used == {"two/0", "three/0"}
    assert "Waiting for a free machine." in b.told


async def test_a_full_cluster_without_idle_stacks_is_waited_for(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_module, "PENDING_LOOK_SECONDS", 0.01)
    b = bench(slots=1)
    first = await b.place("a", "one")
    second = b.placing("b", "two")
    await eventually(lambda: "Waiting for a free machine." in b.told, "it says what it waits for")
    assert not second.done()
    b.placement.finished(first)
    assert (await second).stack_path == "two/web/b"
    assert b.told[-1] == ""


async def test_ten_busy_slots_are_never_exceeded(bench) -> None:
    b = bench(slots=50)
    placing = [b.placing(f"s{k}") for k in range(25)]
    given: list[ClusterPlace] = []
    while placing:
        await asyncio.wait(placing, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        given += [task.result() for task in placing if task.done()]
        placing = [task for task in placing if not task.done()]
        assert len(given) <= 10
        assert len(b.cluster.slots) <= 10
        b.placement.finished(given.pop(0))
    assert b.cluster.made == 25


async def test_a_stacks_next_deployment_waits_for_the_previous_one(bench) -> None:
    b = bench()
    first = await b.place("dev")
    second = b.placing("dev")
    await eventually(lambda: b.told, "it says that it waits")
    assert not second.done()
    b.placement.finished(first)
    assert await second is first


async def test_a_previous_deployment_that_does_not_go_is_killed(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = bench()
    first = await b.place("dev")
    monkeypatch.setattr(placement_module, "PREDECESSOR_SECONDS", 0.0)
    second = b.placing("dev")
    await eventually(lambda: first.lost, "the actor is killed")
    assert not second.done()
    b.placement.finished(first)
    assert ((await second).slot, b.cluster.made) == (first.slot, 2)


async def test_a_warm_actor_that_is_known_to_be_dead_is_made_again_in_its_slot(bench) -> None:
    b = bench()
    place = await b.place("dev")
    b.cluster.die(place.actor)
    with pytest.raises(RunnerLost):
        await place.working_on()
    b.placement.finished(place)
    again = await b.place("dev")
    assert (again.slot, b.cluster.made) == (0, 2)
    assert await again.working_on() is None


async def test_what_is_cancelled_leaves_nothing(bench) -> None:
    b = bench(slots=1)
    await b.place("a", "one")
    for steps in range(12):
        placing = b.placing("b", "two")
        for _ in range(steps):
            await asyncio.sleep(0)
        placing.cancel()
        await asyncio.wait({placing})
        assert set(b.cluster.slots) == {"one/0"}
        assert set(b.cluster.actors) == {"one/web/a"}


async def test_an_actor_that_cannot_begin_leaves_nothing(bench) -> None:
    b = bench()
    b.world.break_constructor()
    with pytest.raises(RunnerLost, match="the stand-in is broken"):
        await b.place("dev")
    assert not b.cluster.slots
    b.world.break_constructor(broken=False)
    await b.place("dev")


async def test_idle_places_go_after_their_time_and_busy_ones_stay(bench) -> None:
    b = bench(idle_seconds=60.0)
    await b.idle("idle")
    await b.place("busy")
    b.now = 30.0
    await b.placement.reap()
    assert len(b.cluster.actors) == 2
    b.now = 61.0
    await b.placement.reap()
    assert set(b.cluster.actors) == {"acme/web/busy"}
    assert b.cluster.used == {"acme/1"}


async def test_only_so_many_idle_places_stay(bench) -> None:
    b = bench(idle_actors_max=2)
    for name in ("a", "b", "c"):
        place = await b.place(name)
        b.now += 1
        b.placement.finished(place)
    await b.placement.reap()
    assert set(b.cluster.actors) == {"acme/web/b", "acme/web/c"}


async def test_a_new_gateway_finds_places_and_what_they_work_on(bench) -> None:
    b = bench()
    busy, idle = await b.place("busy"), await b.place("idle")
    running = asyncio.create_task(busy.run(grant_json("d1", "busy")))
    await eventually(lambda: b.world.of("d1", "started"), "it runs")
    await b.cluster.make_slot("acme/7")
    other = ClusterPlacement(b.cluster, runner_settings(b.world.work_dir), lambda: b.now)
    found = {place.stack_path: (place.slot, work) for place, work in await other.adopt()}
    assert found == {
        "acme/web/busy": (busy.slot, Work(deployment_id="d1", generation=1)),
        "acme/web/idle": (idle.slot, None),
    }
    assert set(b.cluster.slots) == {"acme/0", "acme/1"}
    running.cancel()


async def test_an_actor_that_does_not_answer_is_not_adopted(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement_module, "ANSWER_SECONDS", 0.05)
    b = bench()
    place = await b.place("dev")
    place.actor.answers.clear()
    assert await b.placement.adopt() == []
    assert not b.cluster.slots
    assert not b.cluster.actors


def grant_json(deployment_id: str, stack: str) -> bytes:
    grant = {
        "deploymentId": deployment_id,
        "generation": 1,
        "stackId": stack,
        "organization": "acme",
        "project": "web",
        "stack": stack,
        "version": 1,
        "operation": "update",
        "slotLimit": 10,
        "leaseSeconds": 30,
        "timeoutSeconds": 60,
        "graceSeconds": 5,
        "sealedRunnerToken": "",
        "sealedCliToken": "",
        "apiUrl": "",
        "consoleUrl": "",
        "environment": HOLD,
        "logPrefix": "",
        "slipwayVersion": "0",
    }
    return msgspec.json.encode(grant)
