"""Polling, leading and taking over, against a control plane on a real port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner_actors import dispatcher as dispatcher_module
from runner_actors.dispatcher import Dispatcher, RefusedForGood
from runner_actors.places import Wanted
from tests.support.gateway_bench import GatewayBench, gateway_bench
from tests.support.stand_in import HOLD
from tests.support.waiting import eventually

STACK = {"organization": "acme", "project": "web", "stack": "dev"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[GatewayBench]:
    async with gateway_bench(tmp_path) as made:
        yield made


@contextlib.asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(dispatcher.run())
    yield task
    task.cancel()
    await asyncio.wait({task})


async def test_grants_of_many_stacks_run_side_by_side(bench: GatewayBench) -> None:
    async with running(bench.dispatcher()):
        ids = [bench.server.grant(f"acme/web/s{k}", environment=HOLD) for k in range(10)]
        await eventually(lambda: bench.world.most_at_once() == 10, "all run at once")
        for deployment_id in ids:
            bench.world.go(deployment_id)
        for deployment_id in ids:
            assert await bench.ended(deployment_id) == "concluded"


async def test_a_gateway_that_does_not_lead_touches_nothing(bench: GatewayBench) -> None:
    await bench.cluster.make_slot("acme/0")
    bench.server.leads = False
    bench.server.grant()
    dispatcher = bench.dispatcher()
    await dispatcher.poll_once(0.0)
    await dispatcher.reconcile()
    await dispatcher.reap()
    assert set(bench.cluster.slots) == {"acme/0"}
    bench.server.leads = True
    await dispatcher.poll_once(0.0)
    await eventually(lambda: bench.world.journal("ended"), "it leads and works")


async def test_a_new_gateway_waits_for_what_runs_and_salvages_what_does_not(
    bench: GatewayBench,
) -> None:
    first = bench.dispatcher()
    await first.poll_once(0.0)
    runs = bench.server.grant("acme/web/runs", environment=HOLD)
    await first.poll_once(1.0)
    await bench.started(runs)
    gone = bench.server.make_live("acme/web/gone")
    fresh = bench.server.grant("acme/web/fresh")
    second = bench.dispatcher()
    await second.poll_once(0.0)
    assert await bench.ended(gone) == "released: runner_lost"
    assert await bench.ended(fresh) == "concluded"
    bench.world.go(runs)
    assert await bench.ended(runs) == "concluded"
    assert not bench.world.of(runs, "salvaged")
    assert not bench.world.of(fresh, "salvaged")


async def test_leases_are_held_while_a_new_gateway_looks_around(bench: GatewayBench) -> None:
    await bench.placement.place(Wanted(**STACK, slot_limit=10), lambda _: None)
    bench.actor().answers.clear()
    bench.server.lease_seconds = 0.1
    waits = bench.server.make_live("acme/web/waits")
    over = bench.server.make_live("acme/web/over")
    taking_over = asyncio.create_task(bench.dispatcher().poll_once(0.0))
    await eventually(lambda: bench.server.waiting_for(over), "both are held")
    bench.server.end(over)
    held = len(bench.server.waiting_for(waits))
    await eventually(lambda: len(bench.server.waiting_for(waits)) > held + 3, "it is still held")
    assert not taking_over.done()
    bench.actor().answers.set()
    await taking_over
    assert await bench.ended(waits) == "released: runner_lost"


async def test_an_actor_of_an_ended_deployment_is_waited_for(bench: GatewayBench) -> None:
    first = bench.dispatcher()
    await first.poll_once(0.0)
    over = bench.server.grant(environment=HOLD)
    await first.poll_once(1.0)
    await bench.started(over)
    bench.server.end(over)
    second = bench.dispatcher()
    await second.poll_once(0.0)
    following = bench.server.grant()
    await second.poll_once(1.0)
    assert not bench.world.of(following)
    bench.world.go(over)
    assert await bench.ended(following) == "concluded"


async def test_a_gateway_that_loses_the_lead_leaves_its_actors_alone(bench: GatewayBench) -> None:
    dispatcher = bench.dispatcher()
    deployment_id = bench.server.grant(environment=HOLD)
    await dispatcher.poll_once(0.0)
    await bench.started(deployment_id)
    bench.server.leads = False
    await dispatcher.poll_once(0.0)
    assert not bench.actor().died.is_set()
    bench.server.leads = True
    await dispatcher.poll_once(0.0)
    bench.world.go(deployment_id)
    assert await bench.ended(deployment_id) == "concluded"
    assert [e["event"] for e in bench.world.of(deployment_id)] == ["started", "ended"]


async def test_a_grant_whose_answer_was_lost_is_taken_up_when_seen_twice(
    bench: GatewayBench,
) -> None:
    dispatcher = bench.dispatcher()
    await dispatcher.poll_once(0.0)
    lost = bench.server.make_live("acme/web/lost")
    await dispatcher.reconcile()
    await asyncio.sleep(0)
    assert bench.server.outcome(lost) is None
    await dispatcher.reconcile()
    assert await bench.ended(lost) == "released: runner_lost"


async def test_an_actor_that_hangs_on_an_ended_deployment_is_killed(bench: GatewayBench) -> None:
    dispatcher = bench.dispatcher()
    hangs = bench.server.grant(environment=HOLD)
    await dispatcher.poll_once(0.0)
    await bench.started(hangs)
    actor = bench.actor()
    bench.server.end(hangs)
    await dispatcher.reconcile()
    bench.now += dispatcher_module.OVERDUE_SECONDS - 1
    await dispatcher.reconcile()
    assert not actor.died.is_set()
    bench.now += 1
    await dispatcher.reconcile()
    assert actor.died.is_set()
    following = bench.server.grant()
    await dispatcher.poll_once(1.0)
    assert await bench.ended(following) == "concluded"


async def test_a_control_plane_that_is_away_is_waited_for(bench: GatewayBench) -> None:
    bench.server.unavailable = True
    async with running(bench.dispatcher()) as task:
        deployment_id = bench.server.grant()
        await asyncio.sleep(0.1)
        assert not task.done()
        bench.server.unavailable = False
        assert await bench.ended(deployment_id) == "concluded"


async def test_a_refusal_ends_the_gateway_with_the_reason(bench: GatewayBench) -> None:
    bench.server.refuses = True
    with pytest.raises(RefusedForGood, match="the token is not known"):
        await bench.dispatcher().run()
