"""A deployment's way to its readers: its events and its log, under one lease.

Used by the actor that runs a deployment, and by the one that salvages what a dead actor left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from runner_actors.announcer import Announcer
from runner_actors.contract import Concluded, Event, Grant, LogEnded, LogSegment
from runner_actors.control_plane_client import HeldLease, LeaseLost
from runner_actors.job import Outcome
from runner_actors.log_sink import LogSink, Segment, SpoolDamaged
from runner_actors.log_store import LogStore
from runner_actors.outbox import EventLog, Outbox
from runner_actors.spool import SpoolReader

LOG_DRAIN_SECONDS_MAX = 900.0
"""How long a deployment that is over waits for a log store that does not take its log."""
_MESSAGE_CHARACTERS_MAX = 2000
_LOOK_SECONDS = 0.5

log = logging.getLogger("slipway.runner")


class Reporter:
    """Posts events, uploads the log and keeps the lease, until it has told of the conclusion."""

    def __init__(
        self,
        grant: Grant,
        lease: HeldLease,
        store: LogStore,
        events: EventLog,
        spool: SpoolReader,
    ) -> None:
        self.lease = lease
        self.outbox = Outbox(events, self.lease)
        stored = [event for event in events.events if isinstance(event, LogSegment)]
        length = stored[-1].offset + stored[-1].length if stored else 0
        self.sink = LogSink(
            spool, store, grant.log_prefix, self._announce, segments=len(stored), length=length
        )
        self.announcer = Announcer(self.outbox, self.sink)
        self.lost = False
        self.on_lost: Callable[[], None] = lambda: None
        self._losing = asyncio.Event()
        self._spool = spool
        self._events = events

    def start(self) -> None:
        """Begin to post, to watch the lease and to upload."""
        self._posting = asyncio.create_task(self._until_lost(self.outbox.run()))
        self._watching = asyncio.create_task(self._until_lost(self.lease.watch()))
        self._uploading = asyncio.create_task(self.sink.run())
        self._telling = asyncio.create_task(self.announcer.run())

    async def conclude(self, outcome: Outcome, log_complete: bool = True) -> bool:
        """Tell the rest of the log and then how it ended, which ends the lease.

        Gives whether the log is complete. Raises LeaseLost.
        """
        return await self._unless_lost(self._conclude(outcome, log_complete))

    async def close(self) -> None:
        """Stop whatever is still going on, and close the files."""
        tasks = (self._posting, self._watching, self._uploading, self._telling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._spool.close()
        self._events.close()

    async def _conclude(self, outcome: Outcome, log_complete: bool) -> bool:
        """What an earlier actor has already put down, only sent by nobody, is not told twice."""
        self.sink.close()
        log_complete = await self._uploaded() and log_complete
        await self._steps_told()
        if log_complete and not self._has(LogEnded):
            self.outbox.add(LogEnded, length=self.sink.length, segments=self.sink.segments)
        # The lease ends with the conclusion: a renewal that crosses it would find it lost.
        self._watching.cancel()
        if not self._has(Concluded):
            self.outbox.add(
                Concluded,
                succeeded=outcome.succeeded,
                reason=outcome.reason,
                message=outcome.message[:_MESSAGE_CHARACTERS_MAX],
                exit_code=outcome.exit_code,
            )
        await self.outbox.drained()
        return log_complete

    async def _steps_told(self) -> None:
        told = asyncio.create_task(self.announcer.told())
        await asyncio.wait({told, self._telling}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()

    def _has(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in self._events.events[-2:])

    async def _uploaded(self) -> bool:
        """Wait for the rest of the log; not for ever, and not against a cancel that says `now`."""
        deadline = asyncio.get_running_loop().time() + LOG_DRAIN_SECONDS_MAX
        while not self._uploading.done():
            late = asyncio.get_running_loop().time() >= deadline
            if late or self.lease.cancel == "now":
                self._uploading.cancel()
            await asyncio.wait({self._uploading}, timeout=_LOOK_SECONDS)
        if self._uploading.cancelled():
            log.error("a part of the log was given up: the log store does not take it")
            return False
        problem = self._uploading.exception()
        if problem:
            log.error("a part of the log is lost: %s", problem)
            if not isinstance(problem, SpoolDamaged | OSError):
                raise problem
        return problem is None

    def _announce(self, segment: Segment) -> None:
        self.outbox.add(LogSegment, **msgspec.structs.asdict(segment))

    async def _until_lost(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LeaseLost as problem:
            log.warning("the lease is lost: %s", problem)
        except Exception:
            log.exception("the lease is given up, since the runner cannot report")
        if not self.lost:
            self.lost = True
            self._losing.set()
            self.on_lost()

    async def _unless_lost(self, work: Coroutine[Any, Any, bool]) -> bool:
        working = asyncio.create_task(work)
        losing = asyncio.create_task(self._losing.wait())
        await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
        losing.cancel()
        if working.done():
            return working.result()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        raise LeaseLost("the lease ended before the conclusion was recorded")
