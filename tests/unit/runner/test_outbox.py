"""Numbered events: in order, in batches, once, and across the death of the one who sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from runner_actors.contract import AnyEvent, StepEnded, StepStarted
from runner_actors.outbox import EventLog, Outbox


class Recorder:
    """A control plane that records what it gets, slowly."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.recorded = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, events: Sequence[AnyEvent]) -> int:
        await self.gate.wait()
        self.batches.append([event.number for event in events])
        self.recorded = events[-1].number
        return self.recorded


async def outbox_at(path: Path, recorder: Recorder) -> tuple[Outbox, EventLog, asyncio.Task[None]]:
    events = EventLog.at(str(path))
    await events.lock()
    outbox = Outbox(events, recorder)
    return outbox, events, asyncio.create_task(outbox.run())


async def test_one_at_once_then_together(tmp_path: Path) -> None:
    recorder = Recorder()
    outbox, events, running = await outbox_at(tmp_path / "events", recorder)
    recorder.gate.clear()
    outbox.add(StepStarted, step=0, name="a")
    await asyncio.sleep(0.01)
    for step in range(1, 300):
        outbox.add(StepStarted, step=step, name="a")
    recorder.gate.set()
    await outbox.drained()
    assert [len(batch) for batch in recorder.batches] == [1, 200, 99]
    assert list(chain(*recorder.batches)) == list(range(1, 301))
    running.cancel()
    events.close()


async def test_whoever_comes_after_counts_on(tmp_path: Path) -> None:
    path, recorder = tmp_path / "events", Recorder()
    outbox, events, running = await outbox_at(path, recorder)
    outbox.add(StepStarted, step=0, name="a")
    outbox.add(StepEnded, step=0, succeeded=True)
    await outbox.drained()
    running.cancel()
    waiting = asyncio.create_task(outbox_at(path, recorder))
    await asyncio.sleep(0.12)
    assert not waiting.done(), "one writer at a time"
    events.close()
    outbox, events, running = await waiting
    assert outbox.add(StepStarted, step=1, name="b").number == 3
    await outbox.drained()
    assert recorder.batches[-2:] == [[1, 2], [3]], "the same events under the same numbers"
    running.cancel()
    events.close()


async def test_a_torn_line_is_cut_off_and_its_number_used_again(tmp_path: Path) -> None:
    path, recorder = tmp_path / "events", Recorder()
    outbox, events, running = await outbox_at(path, recorder)
    outbox.add(StepStarted, step=0, name="a")
    running.cancel()
    events.close()
    path.write_bytes(path.read_bytes() + b'{"kind":"step-started","num')
    outbox, events, running = await outbox_at(path, recorder)
    assert outbox.add(StepStarted, step=1, name="b").number == 2
    running.cancel()
    events.close()
    assert len(path.read_bytes().splitlines()) == 2


async def test_a_damaged_file_counts_on_from_what_the_control_plane_has(tmp_path: Path) -> None:
    recorder = Recorder()
    outbox, events, running = await outbox_at(tmp_path / "events", recorder)
    events.restart(17)
    outbox.skip(17)
    assert outbox.add(StepEnded, step=3, succeeded=False).number == 18
    await outbox.drained()
    assert recorder.batches == [[18]]
    running.cancel()
    events.close()


async def test_what_was_not_recorded_is_sent_again(tmp_path: Path) -> None:
    class Forgetful(Recorder):
        async def send(self, events: Sequence[AnyEvent]) -> int:
            await super().send(events)
            return 1 if len(self.batches) == 2 else self.recorded

    recorder = Forgetful()
    outbox, events, running = await outbox_at(tmp_path / "events", recorder)
    outbox.add(StepStarted, step=0, name="a")
    await outbox.drained()
    outbox.add(StepStarted, step=1, name="a")
    outbox.add(StepStarted, step=2, name="a")
    await asyncio.wait_for(outbox.drained(), 10)
    assert recorder.batches == [[1], [2, 3], [2, 3]]
    running.cancel()
    events.close()
