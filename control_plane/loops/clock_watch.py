"""Leases end by the wall clock; this notices when that one is set ahead."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from control_plane.services.world import World

Monotonic = Callable[[], float]

log = structlog.get_logger()


class ClockWatch:
    """Compares, from round to round, the wall clock with the time that has really passed."""

    def __init__(self, world: World, monotonic: Monotonic = time.monotonic) -> None:
        self._world = world
        self._monotonic = monotonic
        self._lead_ms = self._current_lead_ms()

    async def forgive_jump(self, extend: Callable[[World], Awaitable[object]]) -> None:
        """Let live leases be extended if the clock has jumped since the last round.

        Nobody could renew in time that never passed. Less than half a lease is left to the
        renewals, which come more often than that.
        """
        lead_ms = self._current_lead_ms()
        jump_ms = lead_ms - self._lead_ms
        if jump_ms > self._world.config.deployments.lease_seconds * 1000 / 2:
            log.warning("the clock was set ahead", action="janitor", seconds=jump_ms / 1000)
            await extend(self._world)
        # Only now: a jump that could not be forgiven is still there in the next round.
        self._lead_ms = lead_ms

    def _current_lead_ms(self) -> float:
        return self._world.now() - self._monotonic() * 1000
