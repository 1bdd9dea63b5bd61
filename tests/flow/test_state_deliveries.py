"""What an engine sends may come twice, late, out of order, or not to its end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.services.world import World
from tests.support.app import client
from tests.support.engine import Engine, State, engines
from tests.support.state import Stack, document, new_stack
from tests.support.world import FakeClock, make_world

LEASE_SECONDS = 300
EVENTS = 10_000
BATCH_EVENTS = 50


class Place:
    """A server in this process for all examples of a property, each with stacks of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.world = make_world(tmp_path, now=self.clock)
        self.numbers = itertools.count()
        self.runner = asyncio.Runner()
        self.open = AsyncExitStack()
        self.http = self.runner.run(self.open.enter_async_context(client(self.world)))

    async def stack(self, project: str, base: Any) -> Stack:
        made = await new_stack(self.http, f"dev{next(self.numbers)}", project)
        assert (await made.import_(base)).status_code == 200
        return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("world"))
    with made.runner:
        yield made
        made.runner.run(made.open.aclose())
        made.runner.run(made.world.database.close())


def deliveries(draw: st.DrawFn, entries: list[State]) -> list[list[State]]:
    """The entries in batches, some of them twice, in any order."""
    cuts = sorted(draw(st.sets(st.integers(1, max(len(entries) - 1, 1)), max_size=5)))
    edges = [0, *cuts, len(entries)]
    batches = [entries[start:end] for start, end in itertools.pairwise(edges)]
    again = draw(st.lists(st.sampled_from(batches), max_size=4))
    return draw(st.permutations([*batches, *again]))


@st.composite
def updates(draw: st.DrawFn) -> tuple[Engine, int, list[list[State]]]:
    """An engine, how many of its entries are sent at all, and how these arrive."""
    engine = draw(engines())
    cut = draw(st.integers(1, len(engine.steps)))
    return engine, cut, deliveries(draw, [step.entry for step in engine.steps[:cut]])


ENDS = ("succeeded", "failed", "cancel", "silence")


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(updates(), st.sampled_from(ENDS))
def test_a_journal_ends_as_the_same_update_by_checkpoints(
    place: Place, update: tuple[Engine, int, list[list[State]]], end: str
) -> None:
    engine, cut, batches = update
    journaled, saved = place.runner.run(_both(place, engine, cut, batches, end))
    assert journaled == saved == engine.steps[cut - 1].deployment


async def _both(
    place: Place, engine: Engine, cut: int, batches: list[list[State]], end: str
) -> tuple[State, State]:
    base = document(*engine.base, pending_operations=engine.left_pending)
    first = await place.stack("journaled", base)
    update = await first.start(journal=1)
    for batch in batches:
        assert (await update.journal(*batch)).status_code == 204
    # Before it has ended as well: this is what a killed engine's user sees.
    assert shown(await first.export()) == engine.steps[cut - 1].deployment
    await _end(place, first, update, end)
    second = await place.stack("saved", base)
    update = await second.start(journal=0)
    for step in engine.steps[:cut]:
        body = document()
        body["deployment"] |= step.deployment
        for _ in range(2):
            assert (await update.checkpoint(body)).status_code == 204
    await _end(place, second, update, end)
    return shown(await first.export()), shown(await second.export())


async def _end(place: Place, stack: Stack, update: Any, end: str) -> None:
    if end == "cancel":
        for _ in range(2):
            assert (await stack.post(f"/update/{update.id}/cancel")).status_code == 204
    elif end == "silence":
        place.clock.advance(LEASE_SECONDS)
    else:
        for _ in range(2):
            assert (await update.complete(end)).status_code == 204


def shown(exported: State) -> State:
    deployment = exported["deployment"]
    return {key: deployment.get(key, []) for key in ("resources", "pending_operations")}


# Events.


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield made
    await made.database.close()


async def test_ten_thousand_events_out_of_order_and_twice(world: World) -> None:
    async with client(world) as http:
        stack = await new_stack(http)
        update = await stack.start()
        events = [
            {"sequence": n, "timestamp": 1, "stdoutEvent": {"message": f"line {n}", "color": "raw"}}
            for n in range(EVENTS)
        ]
        batches = [events[n : n + BATCH_EVENTS] for n in range(0, EVENTS, BATCH_EVENTS)] * 2
        random.Random(4).shuffle(batches)
        for batch in batches:
            assert (await update.events(*batch)).status_code == 200
        assert (await update.complete()).status_code == 204
        found: list[Any] = []
        token = ""
        while token is not None:
            page = await stack.get(f"/update/{update.id}/events", continuationToken=token)
            found += page["events"]
            token = page["continuationToken"]
        assert found == events
