"""Tells of steps, in the order in which a reader of the log meets them.

A step's end and the next one's beginning follow the announcement of the output before them, so
that a reader who sees the next step knows the last one's log to be complete. But not for long:
when the log store is slow or away, steps are told without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from runner_actors.contract import Event, StepEnded, StepStarted
from runner_actors.log_sink import LogSink
from runner_actors.outbox import Outbox, now_ms
from runner_actors.shim_client import ShimClient

PATIENCE_SECONDS = 0.25


@dataclass(frozen=True)
class _Waiting:
    total: int
    patient_until: float
    kind: type[Event]
    at_ms: int
    fields: dict[str, Any]


class Announcer:
    """Events that wait for the log bytes before them."""

    def __init__(self, outbox: Outbox, sink: LogSink) -> None:
        self._outbox = outbox
        self._sink = sink
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()

    def add(self, total: int, kind: type[Event], at_ms: int | None = None, **fields: Any) -> None:
        """Tell of an event once `total` bytes of the log have been announced."""
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        self._waiting.put_nowait(_Waiting(total, until, kind, at_ms or now_ms(), fields))

    async def run(self) -> None:
        """Work for ever."""
        while True:
            each = await self._waiting.get()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(each.patient_until):
                    await self._sink.announced(each.total)
            self._outbox.add(each.kind, each.at_ms, **each.fields)
            self._waiting.task_done()

    async def told(self) -> None:
        """Return when all events so far are on their way."""
        await self._waiting.join()


class Steps:
    """The steps of a deployment as they happen. The first one is told of before anything else."""

    def __init__(self, announcer: Announcer, shim: ShimClient) -> None:
        self._announcer = announcer
        self._shim = shim
        self._current = 0
        self._ended_ms: int | None = None

    async def began(self, number: int, name: str) -> None:
        """A step begins, so the one before it has succeeded. Raises ShimGone."""
        total = await self._shim.begin_step(number, name)
        if number > 0:
            self._end(total, succeeded=True)
            self._announcer.add(total, StepStarted, step=number, name=name)
        self._current, self._ended_ms = number, None

    def ended(self) -> None:
        """The step is over."""
        self._ended_ms = now_ms()

    def close(self, total: int, succeeded: bool, message: str) -> None:
        """No step follows: how the last one ended is how the deployment ended."""
        self._end(total, succeeded=succeeded, message=message)

    def _end(self, total: int, **how: Any) -> None:
        self._announcer.add(total, StepEnded, self._ended_ms, step=self._current, **how)
