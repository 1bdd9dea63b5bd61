"""How a process tree is stopped: SIGINT, after the grace SIGTERM, a little later SIGKILL for all.

Pure decisions; the shim acts on them. Times are seconds of CLOCK_BOOTTIME, which goes on while the
machine is suspended: a lease must not seem young to a machine that slept through its end.
"""

from __future__ import annotations

import signal
import time

TERMINATE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""
MARGIN_SECONDS_MAX = 1.0
"""How long before the end of the lease the last process must be dead."""


def boot_seconds() -> float:
    """The time by the clock of leases, the same in all processes of the machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The right to run, which ends by itself unless it is renewed."""

    def __init__(self, until: float, seconds: float, grace_seconds: float) -> None:
        self.until = until
        self._margin = min(MARGIN_SECONDS_MAX, seconds / 10)
        self._notice = max(min(grace_seconds, seconds / 3), self._margin)

    @property
    def stop_at(self) -> float:
        """When to begin a graceful stop if no renewal comes."""
        return self.until - self._notice

    @property
    def kill_at(self) -> float:
        """When nothing may be left alive, whatever grace was promised."""
        return self.until - self._margin


class StopLadder:
    """One stop in progress. The first reason stays; a stronger mode shortens it."""

    def __init__(self, reason: str, mode: str, now: float, grace_seconds: float) -> None:
        self.reason = reason
        self._rungs = [
            (now, signal.SIGINT),
            (now + grace_seconds, signal.SIGTERM),
            (now + grace_seconds + TERMINATE_SECONDS, signal.SIGKILL),
        ]
        if mode == "now":
            self.kill_now(now)

    def kill_now(self, now: float) -> None:
        """Leave out what is left of the grace."""
        self._rungs = [(now, signal.SIGKILL)]

    def due(self, now: float, lease: Lease) -> signal.Signals | None:
        """The strongest signal whose time has come; SIGKILL again and again, others once."""
        if now >= lease.kill_at:
            self.kill_now(now)
        reached = None
        while self._rungs and self._rungs[0][0] <= now:
            reached = self._rungs[0][1]
            if reached == signal.SIGKILL:
                break
            self._rungs.pop(0)
        return reached

    def next_at(self, lease: Lease) -> float:
        """When to look again."""
        return min(self._rungs[0][0], lease.kill_at)
