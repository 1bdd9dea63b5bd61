"""One deployment in the gateway's hands: handed over once, held while it waits, never lost (I4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from runner_actors import placement as placement_module
from runner_actors import serving as serving_module
from runner_actors.contract import LeaseState, LiveGrant
from runner_actors.places import Work
from runner_actors.serving import Server
from tests.support.gateway_bench import GatewayBench, gateway_bench
from tests.support.stand_in import HOLD
from tests.support.waiting import eventually

FAIL = {"FAIL": {"plain": "1"}}


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GatewayBench]:
    monkeypatch.setattr(placement_module, "PENDING_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(serving_module, "PAUSES", (0.0, 0.01))
    monkeypatch.setattr(serving_module, "PLACING_SECONDS_MAX", 0.1)
    async with gateway_bench(tmp_path, slots=1) as made:
        yield made


async def test_a_deployment_runs_to_its_end(bench: GatewayBench) -> None:
    grant = bench.take()
    await bench.serving.serve(grant)
    assert bench.server.ended == {grant.deployment_id: "concluded"}
    assert not bench.server.holds, "a free slot needs no hold"


async def test_a_warm_actor_takes_the_next_one(bench: GatewayBench) -> None:
    for _ in range(3):
        await bench.serving.serve(bench.take())
    assert len({entry["pid"] for entry in bench.world.journal("started")}) == 1
    assert bench.cluster.made == 1


async def test_while_it_waits_its_lease_is_held_and_says_why(bench: GatewayBench) -> None:
    bench.server.lease_seconds = 0.1
    first = bench.take(stack="one/web/dev", environment=HOLD)
    running = asyncio.create_task(bench.serving.serve(first))
    await bench.started(first.deployment_id)
    second = bench.take(stack="two/web/dev")
    waiting = asyncio.create_task(bench.serving.serve(second))
    why = "Waiting for a free machine."
    await eventually(
        lambda: bench.server.waiting_for(second.deployment_id).count(why) > 3, "it is held"
    )
    assert not bench.server.waiting_for(first.deployment_id), "its actor holds that lease"
    bench.world.go(first.deployment_id)
    await asyncio.gather(running, waiting)
    assert bench.server.ended[second.deployment_id] == "concluded"


async def test_a_lease_that_ends_while_it_waits_is_given_up(bench: GatewayBench) -> None:
    bench.server.lease_seconds = 0.1
    first = bench.take(stack="one/web/dev", environment=HOLD)
    running = asyncio.create_task(bench.serving.serve(first))
    await bench.started(first.deployment_id)
    second = bench.take(stack="two/web/dev")
    waiting = asyncio.create_task(bench.serving.serve(second))
    await eventually(lambda: bench.server.waiting_for(second.deployment_id), "it is held")
    bench.server.end(second.deployment_id)
    await waiting
    assert set(bench.cluster.slots) == {"one/0"}
    assert not bench.server.releases
    running.cancel()


async def test_a_deployment_that_is_cancelled_while_it_waits_is_given_back(
    bench: GatewayBench,
) -> None:
    bench.server.lease_seconds = 0.1
    first = bench.take(stack="one/web/dev", environment=HOLD)
    running = asyncio.create_task(bench.serving.serve(first))
    await bench.started(first.deployment_id)
    second = bench.take(stack="two/web/dev")
    bench.server.cancelled.add(second.deployment_id)
    await bench.serving.serve(second)
    assert bench.server.ended[second.deployment_id] == "released: cancelled"
    assert bench.server.releases[0]["message"] == "Cancelled by ada."
    assert not bench.world.of(second.deployment_id)
    running.cancel()


async def test_a_stop_by_the_control_plane_itself_is_told_as_the_time_limit(
    bench: GatewayBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped(*_: object) -> LeaseState:
        return LeaseState(lease_seconds=0.1, cancel="now")

    bench.server.lease_seconds = 0.1
    bench.cluster.slots_total = 0
    monkeypatch.setattr(bench.api, "hold", stopped)
    grant = bench.take()
    await bench.serving.serve(grant)
    assert bench.server.ended[grant.deployment_id] == "released: timed_out"
    assert "did not end within 60 s" in bench.server.releases[0]["message"]


@pytest.mark.parametrize("left", ["concluded", "lease_lost", "not_started", "nothing"])
async def test_what_a_dead_actor_left_is_salvaged_in_the_same_slot(
    bench: GatewayBench, left: str
) -> None:
    grant = bench.take(environment=HOLD)
    serving = asyncio.create_task(bench.serving.serve(grant))
    await bench.started(grant.deployment_id)
    bench.world.leave(grant.deployment_id, left)
    bench.cluster.die(bench.actor())
    await serving
    events = [entry["event"] for entry in bench.world.of(grant.deployment_id)]
    assert events == ["started", "salvaged"], "it is never handed over twice"
    assert bench.cluster.used == {"acme/0"}
    expected = {"concluded": "concluded", "lease_lost": None}
    assert bench.server.outcome(grant.deployment_id) == expected.get(left, "released: runner_lost")


async def test_a_run_that_raises_is_salvaged_by_the_same_actor(bench: GatewayBench) -> None:
    grant = bench.take(environment=FAIL)
    await bench.serving.serve(grant)
    assert [e["event"] for e in bench.world.of(grant.deployment_id)] == ["started", "salvaged"]
    assert bench.cluster.made == 1
    assert bench.server.outcome(grant.deployment_id) == "released: runner_lost"


async def test_the_lease_is_held_while_a_lost_actor_is_made_again(bench: GatewayBench) -> None:
    bench.server.lease_seconds = 0.5
    grant = bench.take(environment=HOLD)
    serving = asyncio.create_task(bench.serving.serve(grant))
    await bench.started(grant.deployment_id)
    bench.cluster.slots_total = 0
    bench.cluster.slots["acme/0"].node = ""
    bench.cluster.slots["acme/0"].placed.clear()
    bench.cluster.die(bench.actor())
    why = "Waiting for a free machine."
    await eventually(lambda: why in bench.server.waiting_for(grant.deployment_id), "it is held")
    # No machine comes, so at some time it is given up.
    await serving
    assert bench.server.outcome(grant.deployment_id) == "released: runner_lost"


async def test_an_actor_that_cannot_begin_is_tried_again_and_then_given_up(
    bench: GatewayBench,
) -> None:
    bench.world.break_constructor()
    grant = bench.take()
    await bench.serving.serve(grant)
    assert bench.cluster.made > 2
    assert bench.server.outcome(grant.deployment_id) == "released: runner_lost"
    assert "stand-in" not in bench.server.releases[0]["message"], "defects are for the log"
    bench.world.break_constructor(broken=False)
    again = bench.take()
    await bench.serving.serve(again)
    assert bench.server.outcome(again.deployment_id) == "concluded"


async def test_a_control_plane_that_is_away_does_not_hurt(bench: GatewayBench) -> None:
    bench.server.lease_seconds = 0.1
    grant = bench.take(environment=HOLD)
    serving = asyncio.create_task(bench.serving.serve(grant))
    await bench.started(grant.deployment_id)
    bench.server.unavailable = True
    bench.cluster.die(bench.actor())
    await eventually(lambda: bench.world.of(grant.deployment_id, "salvaged"), "it is salvaged")
    assert not serving.done()
    bench.server.unavailable = False
    await serving
    assert bench.server.outcome(grant.deployment_id) == "released: runner_lost"


async def test_a_live_deployment_is_taken_over_from_its_actor(bench: GatewayBench) -> None:
    grant = bench.take(environment=HOLD)
    first = asyncio.create_task(bench.serving.serve(grant))
    await bench.started(grant.deployment_id)
    first.cancel()
    ((place, work),) = await bench.placement.adopt()
    assert work == Work.of(grant)
    resuming = asyncio.create_task(bench.serving.resume(_live(grant), place))
    bench.world.go(grant.deployment_id)
    await resuming
    assert bench.server.outcome(grant.deployment_id) == "concluded"
    assert not bench.world.of(grant.deployment_id, "salvaged")
    assert not bench.server.releases


async def test_an_actor_that_dies_long_after_it_was_taken_over_is_salvaged(
    bench: GatewayBench,
) -> None:
    grant = bench.take(environment=HOLD)
    first = asyncio.create_task(bench.serving.serve(grant))
    await bench.started(grant.deployment_id)
    first.cancel()
    ((place, _),) = await bench.placement.adopt()
    later = Server(bench.api, bench.placement, lambda: bench.now)
    resuming = asyncio.create_task(later.resume(_live(grant), place))
    await eventually(lambda: "wait" in bench.cluster.calls, "it waits for the actor")
    bench.now += 3600
    bench.cluster.die(bench.actor())
    await resuming
    assert bench.world.of(grant.deployment_id, "salvaged")


async def test_a_live_deployment_without_an_actor_is_salvaged(bench: GatewayBench) -> None:
    grant = bench.take()
    bench.server.cancelled.add(grant.deployment_id)
    await bench.serving.resume(_live(grant), None)
    assert [e["event"] for e in bench.world.of(grant.deployment_id)] == ["salvaged"]
    assert bench.server.outcome(grant.deployment_id) == "released: runner_lost"


def _live(grant: object) -> LiveGrant:
    facts = msgspec.to_builtins(grant)
    return msgspec.convert({**facts, "status": "running"}, LiveGrant)
