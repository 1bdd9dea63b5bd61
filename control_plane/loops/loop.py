"""The one loop that all background work runs in: a round, then a wait for the timer or a wake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger()

FAILURE_SECONDS_MAX = 30.0
STOP_SECONDS = 2.0
"""A round that takes longer to finish is cut: each of its verbs is whole by itself."""


class Loop:
    """Runs `run_once` again and again; a round that fails is logged, and the next one comes later.

    `run_once` is all that a test needs; nothing but time is in here.
    """

    def __init__(
        self, name: str, run_once: Callable[[], Awaitable[object]], interval_seconds: float
    ) -> None:
        self.name = name
        self._run_once = run_once
        self._interval_seconds = interval_seconds
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Let the next round begin now."""
        self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Loop]:
        """Run while the block does; at its end the current round may finish, but not for long."""
        self._stopping = False
        task = asyncio.create_task(self.run(), name=f"loop {self.name}")
        try:
            yield self
        finally:
            self._stopping = True
            self._wake.set()
            await asyncio.wait({task}, timeout=STOP_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> None:
        """Round after round, until stopped."""
        failures = 0
        while not self._stopping:
            try:
                await self._run_once()
                failures = 0
            except Exception:
                failures += 1
                log.exception("a round failed", action=self.name, failures=failures)
            await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        seconds = self._interval_seconds * 2**failures
        if failures:
            seconds = min(seconds, max(FAILURE_SECONDS_MAX, self._interval_seconds))
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
