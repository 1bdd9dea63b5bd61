"""Many watchers, one look for each wake."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from control_plane.adapters.broker import LocalBroker
from control_plane.services.watching import Watch, Watches
from tests.support.waiting import eventually

WATCHERS = 50


class Looker:
    """Counts its looks, and fails when told to."""

    def __init__(self) -> None:
        self.looks = 0
        self.value = "first"
        self.fails = False

    async def __call__(self, before: str | None) -> str:
        self.looks += 1
        await asyncio.sleep(0)
        if self.fails:
            raise KeyError(self.value)
        return self.value


async def test_each_wake_costs_one_look_for_all() -> None:
    broker, watches, look = LocalBroker(), Watches(), Looker()
    with ExitStack() as stack:
        watching = [stack.enter_context(watches.watch(broker, "t", look)) for _ in range(WATCHERS)]
        found = await asyncio.gather(*(each.after(0, 10) for each in watching))
        assert found == [(1, "first")] * WATCHERS
        assert look.looks == 1
        waiting = [asyncio.create_task(each.after(1, 10)) for each in watching]
        await asyncio.sleep(0)
        look.value = "second"
        broker.wake("t")
        assert await asyncio.gather(*waiting) == [(2, "second")] * WATCHERS
        assert look.looks == 2
        assert await watching[0].after(0, 10) == (2, "second"), "who is slow sees the newest"
        assert await watching[0].after(2, 0.01) is None


async def test_the_last_who_leaves_ends_it_and_the_next_begins_anew() -> None:
    broker, watches, look = LocalBroker(), Watches(), Looker()
    for number in (1, 2):
        with watches.watch(broker, "t", look) as first, watches.watch(broker, "t", look) as second:
            assert first is second
            await first.after(0, 10)
            assert look.looks == number
    await eventually(lambda: len(asyncio.all_tasks()) == 1, "no task is left")
    broker.wake("t")
    assert look.looks == 2


async def test_a_look_that_fails_fails_for_all_who_wait_and_not_for_who_comes_later() -> None:
    broker, watches, look = LocalBroker(), Watches(), Looker()

    async def wait(watch: Watch[str], number: int) -> str:
        try:
            found = await watch.after(number, 10)
        except KeyError as problem:
            return f"failed: {problem.args[0]}"
        return found.value if found else "nothing"

    with watches.watch(broker, "t", look) as watch:
        assert await wait(watch, 0) == "first"
        look.fails, look.value = True, "why"
        waiting = [asyncio.create_task(wait(watch, 1)) for _ in range(WATCHERS)]
        await asyncio.sleep(0)
        broker.wake("t")
        assert await asyncio.gather(*waiting) == ["failed: why"] * WATCHERS
        assert await wait(watch, 1) == "failed: why"
        look.fails, look.value = False, "again"
        with watches.watch(broker, "t", look) as other:
            assert await wait(other, 0) == "again"


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    broker, watches, look = LocalBroker(), Watches(), Looker()
    with watches.watch(broker, "t", look) as watch:
        gone = asyncio.create_task(watch.after(1, 10))
        await watch.after(0, 10)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        broker.wake("t")
        assert await watch.after(1, 10) == (2, "first")
