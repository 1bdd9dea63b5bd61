"""Keeps a grant's lease alive while no actor does: while it is being placed, or recovered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

import structlog

from runner_actors.contract import Hold as HoldRequest
from runner_actors.contract import LeaseState
from runner_actors.places import Work
from runner_actors.pool_client import LeaseEnded, Refused, Unavailable

HOLDS_PER_LEASE = 5
HOLD_SECONDS_MAX = 2.0
"""A cancel of a deployment that waits is seen within this time."""
RETRY_SECONDS = 0.5

log = structlog.get_logger()
_T = TypeVar("_T")


class LeaseOver(Exception):
    """The lease has ended: the deployment is no longer ours."""


class CancelRequested(Exception):
    """Someone has cancelled a deployment that has no place yet."""

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


class Holder(Protocol):
    """What a hold needs of the control plane."""

    async def hold(self, deployment_id: str, hold: HoldRequest) -> LeaseState:
        """Keep a grant's lease alive. Raises LeaseEnded, Unavailable, Refused."""


class Hold:
    """The lease of one grant."""

    def __init__(self, holder: Holder, work: Work, lease_seconds: float) -> None:
        self._holder = holder
        self._work = work
        self._every = min(lease_seconds / HOLDS_PER_LEASE, HOLD_SECONDS_MAX)
        self._waiting_for = ""
        self._told = asyncio.Event()
        self._failing = False

    def tell(self, waiting_for: str) -> None:
        """What the deployment waits for; the control plane learns of it at once."""
        if waiting_for != self._waiting_for:
            self._waiting_for = waiting_for
            # Nothing to wait for any more is no news: the first event of the actor says so.
            if waiting_for:
                self._told.set()

    async def during(self, work: Coroutine[Any, Any, _T], *, cancellable: bool = False) -> _T:
        """Hold the lease while something is done; when it ends early, so does what is done.

        Raises LeaseOver, and CancelRequested where the work may be cancelled.
        """
        doing = asyncio.ensure_future(work)
        holding = asyncio.ensure_future(self._post_forever(cancellable))
        try:
            await asyncio.wait({doing, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                holding.result()
            return await doing
        finally:
            for task in (doing, holding):
                task.cancel()
            with contextlib.suppress(BaseException):
                await asyncio.gather(doing, holding, return_exceptions=True)

    async def keep(self) -> None:
        """Hold the lease until cancelled, or until it is over."""
        with contextlib.suppress(LeaseOver):
            await self._post_forever(cancellable=False)

    async def _post_forever(self, cancellable: bool) -> None:
        """Ends only by raising: LeaseOver, CancelRequested."""
        pause = self._every
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._told.wait()
            self._told.clear()
            pause = await self._post(cancellable)

    async def _post(self, cancellable: bool) -> float:
        """One call; returns the seconds until the next."""
        request = HoldRequest(generation=self._work.generation, waiting_for=self._waiting_for)
        try:
            state = await self._holder.hold(self._work.deployment_id, request)
        except LeaseEnded as problem:
            raise LeaseOver(str(problem)) from None
        except (Unavailable, Refused) as problem:
            if not self._failing:
                log.warning("no hold", deployment=self._work.deployment_id, problem=str(problem))
            self._failing = True
            return min(RETRY_SECONDS, self._every)
        self._failing = False
        if cancellable and state.cancel is not None:
            raise CancelRequested(state.cancelled_by)
        return self._every


@contextlib.asynccontextmanager
async def held(holds: Iterable[Hold]) -> AsyncIterator[None]:
    """Keep many leases at once; one that is over anyway does not disturb the others."""
    tasks = [asyncio.ensure_future(hold.keep()) for hold in holds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
