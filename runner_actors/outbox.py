"""The numbered events of one deployment, on their way to the control plane.

Each event is written to the spool before it is sent, so that whoever comes after a dead actor
sends the same events under the same numbers and goes on counting from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from typing import Any, Protocol, TypeVar

import msgspec

from runner_actors.contract import AnyEvent, Event
from runner_actors.control_plane_client import RETRY_SECONDS_MAX

BATCH_EVENTS_MAX = 200
E = TypeVar("E", bound=Event)

log = logging.getLogger("slipway.runner")


class Sender(Protocol):
    """What the outbox needs of a lease."""

    async def send(self, events: list[AnyEvent]) -> int:
        """Post events until they are recorded; gives the number acknowledged."""


class EventLog:
    """The events of one deployment as a file; one writer at a time, held by a lock.

    Two actors that number events of one deployment would contradict each other, so a salvaging
    one waits until the other has ended.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.events: list[AnyEvent] = []
        self.before = 0
        """The number before the first of them; they follow each other without gaps."""
        self._torn = False

    @classmethod
    def at(cls, path: str) -> EventLog:
        """The log in a file, which is made if it is not there; raises OSError."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    async def lock(self) -> None:
        """Wait to be the only writer, then read what is there."""
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._load()
            await asyncio.sleep(0.05)

    def append(self, event: AnyEvent) -> None:
        """Write an event down. On a full disk it is sent all the same."""
        self.events.append(event)
        line = msgspec.json.encode(event) + b"\n"
        try:
            if not self._torn and os.write(self._descriptor, line) < len(line):
                raise OSError("disk full")
        except OSError as problem:
            self._torn = True
            log.warning("event %d is not in the spool: %s", event.number, problem)

    def restart(self, number: int) -> None:
        """Count on from a number that only the control plane remembers: this file is damaged."""
        self.events.clear()
        self.before = number

    def close(self) -> None:
        """Let the next writer in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _load(self) -> None:
        """All whole lines; a torn one at the end, from a writer that was killed, is cut off."""
        data = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        good = 0
        for line in data.splitlines(keepends=True):
            try:
                self.events.append(msgspec.json.decode(line, type=AnyEvent))
            except msgspec.DecodeError:
                break
            good += len(line)
        os.ftruncate(self._descriptor, good)
        os.lseek(self._descriptor, good, os.SEEK_SET)


class Outbox:
    """Sends events in order: at once when idle, and in batches while a call is under way."""

    def __init__(self, events: EventLog, sender: Sender) -> None:
        self._log = events
        self._sender = sender
        self._acknowledged = 0
        self._added = asyncio.Event()
        self._moved = asyncio.Condition()

    @property
    def last_number(self) -> int:
        """The number of the newest event; 0 if there is none."""
        return self._log.before + len(self._log.events)

    def add(self, kind: type[E], at_ms: int | None = None, **fields: Any) -> E:
        """Number an event, write it down and have it sent."""
        event = kind(number=self.last_number + 1, at_ms=at_ms or now_ms(), **fields)
        self._log.append(event)  # type: ignore[arg-type]
        self._added.set()
        return event

    def skip(self, acknowledged: int) -> None:
        """The control plane has these already."""
        self._acknowledged = max(self._acknowledged, acknowledged)

    async def run(self) -> None:
        """Send for ever; ends only by an exception of the sender, such as LeaseLost."""
        while True:
            self._added.clear()
            while batch := self._unsent():
                await self._send(batch)
            await self._added.wait()

    async def drained(self) -> None:
        """Return when all events so far are recorded."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._acknowledged >= self.last_number)

    def _unsent(self) -> list[AnyEvent]:
        begin = max(0, self._acknowledged - self._log.before)
        return self._log.events[begin : begin + BATCH_EVENTS_MAX]

    async def _send(self, batch: list[AnyEvent]) -> None:
        acknowledged = await self._sender.send(batch)
        if acknowledged <= self._acknowledged:
            log.error("the control plane did not record event %d", batch[0].number)
            await asyncio.sleep(RETRY_SECONDS_MAX)
        async with self._moved:
            self._acknowledged = acknowledged
            self._moved.notify_all()


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
