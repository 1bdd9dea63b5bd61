"""One granted deployment, as the gateway sees it: placed, handed over, and seen to its end.

A deployment is handed to one actor once. Whatever happens to that actor afterwards, the grant is
never given to another: a new actor only salvages what the old one left on the node's disk, and
what cannot be salvaged goes back to the control plane, which decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
import structlog

from runner_actors.cluster import RunnerFailed, RunnerLost
from runner_actors.contract import Grant, LiveGrant, Release, Released
from runner_actors.hold import CancelRequested, Hold, Holder, LeaseOver
from runner_actors.places import Place, Placement, Wanted, Work
from runner_actors.pool_client import Refused, Unavailable
from runner_actors.reports import RunReport
from runner_actors.texts import ended_by_cancel

PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Between attempts to make a lost actor again, in seconds; the last one repeats."""
RELEASES_MAX = 20
PLACING_SECONDS_MAX = 60.0
"""How long it is tried to make an actor that cannot begin."""
LOST_TEXT = "The runner that had this deployment was lost. Its log in the cluster says more."
UNPLACEABLE_TEXT = (
    "The runner could not be started. The log of the gateway says why; deploy again once it works."
)

log = structlog.get_logger()


class Leases(Holder, Protocol):
    """What serving needs of the control plane."""

    async def release(self, deployment_id: str, release: Release) -> Released:
        """Give a grant back."""


class Server:
    """Serves grants, each in a task of its own."""

    def __init__(
        self, leases: Leases, placement: Placement, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases = leases
        self._placement = placement
        self._clock = clock
        self._places: dict[Work, Place] = {}

    async def serve(self, grant: Grant) -> None:
        """Run a grant that has just been given, to its end."""
        work = Work.of(grant)
        hold = Hold(self._leases, work, grant.lease_seconds)
        try:
            place = await self._placed(grant, work, hold, cancellable=True)
        except CancelRequested as cancel:
            log.info("cancelled while waiting", deployment=work.deployment_id)
            await self._release(work, *ended_by_cancel(cancel.by, grant.timeout_seconds))
            return
        if place is None:
            return
        with self._in(place, work):
            log.info("deployment placed", **_facts(work, place))
            report: RunReport | None
            try:
                report = await place.run(msgspec.json.encode(grant))
            except (RunnerLost, RunnerFailed) as problem:
                log.warning("runner lost", problem=str(problem), **_facts(work, place))
                report = await self._recover(place, work, hold, grant.lease_seconds)
            await self._close(work, report)

    async def resume(self, live: LiveGrant, place: Place | None) -> None:
        """Take over a live deployment: `place` is the stack's, if its actor was found."""
        work = Work.of(live)
        hold = Hold(self._leases, work, live.lease_seconds)
        if place is None:
            # Not cancellable: processes of it may still run, until salvage has seen them end.
            place = await self._placed(live, work, hold, cancellable=False)
        if place is None:
            return
        with self._in(place, work):
            log.info("deployment resumed", **_facts(work, place))
            await self._close(work, await self._recover(place, work, hold, live.lease_seconds))

    async def see_out(self, place: Place, work: Work) -> None:
        """Wait for an actor that still works on a deployment which is no longer live."""
        with self._in(place, work):
            try:
                await place.wait(work)
            except (RunnerLost, RunnerFailed) as problem:
                log.warning("ended deployment", problem=str(problem), **_facts(work, place))

    async def stop(self, work: Work) -> None:
        """Kill the actor of a deployment that is over and does not go."""
        place = self._places.get(work)
        if place is not None:
            log.warning("actor of an ended deployment killed", **_facts(work, place))
            await place.stop()

    @contextlib.contextmanager
    def _in(self, place: Place, work: Work) -> Iterator[None]:
        """A place is taken inside, and free again afterwards."""
        self._places[work] = place
        try:
            yield
        except LeaseOver:
            log.warning("lease ended", **_facts(work, place))
        finally:
            del self._places[work]
            self._placement.finished(place)

    # Finding a place.

    async def _placed(
        self, grant: Grant | LiveGrant, work: Work, hold: Hold, *, cancellable: bool
    ) -> Place | None:
        """A place for a grant; None when it has been given up, and given back.

        Raises CancelRequested where it may be cancelled.
        """
        wanted = Wanted.by(grant)
        give_up = self._clock() + PLACING_SECONDS_MAX
        for pause in _pauses():
            try:
                placing = self._place(wanted, hold, pause)
                return await hold.during(placing, cancellable=cancellable)
            except LeaseOver:
                log.warning(
                    "lease ended", deployment=work.deployment_id, stack_path=wanted.stack_path
                )
                return None
            except RunnerLost as problem:
                log.warning("runner not made", stack_path=wanted.stack_path, problem=str(problem))
            if self._clock() > give_up:
                break
        await self._release(work, "runner_lost", UNPLACEABLE_TEXT)
        return None

    async def _place(self, wanted: Wanted, hold: Hold, pause: float) -> Place:
        await asyncio.sleep(pause)
        return await self._placement.place(wanted, hold.tell)

    # After a loss.

    async def _recover(
        self, place: Place, work: Work, hold: Hold, patience_seconds: float
    ) -> RunReport | None:
        """What became of a deployment whose actor may be gone; None when nobody can say.

        It gives up a lease's time after the loss: by then the shim has ended the process tree.
        """
        give_up = self._clock() + patience_seconds
        for pause in _pauses():
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(give_up - self._clock()):
                    await hold.during(place.ensure(hold.tell))
                if await place.working_on() != work:
                    return await hold.during(place.salvage(work))
                give_up = math.inf
                return await place.wait(work)
            except (RunnerLost, RunnerFailed, TimeoutError) as problem:
                log.warning("not recovered yet", problem=str(problem), **_facts(work, place))
            now = self._clock()
            if now > give_up:
                break
            give_up = min(give_up, now + patience_seconds)
        await place.stop()
        return None

    # The end.

    async def _close(self, work: Work, report: RunReport | None) -> None:
        """A deployment whose end is not recorded goes back to the control plane."""
        ended = report.ended if report else "nothing"
        log.info("deployment ended", ended=ended, deployment=work.deployment_id)
        if report and ended in ("concluded", "lease_lost"):
            return
        reason = (report.reason if report else "") or "runner_lost"
        message = (report.message if report else "") or LOST_TEXT
        await self._release(work, reason, message)

    async def _release(self, work: Work, reason: str, message: str) -> None:
        """Give the grant back; if that cannot be said, the end of its lease says it."""
        release = Release(generation=work.generation, reason=reason, message=message)
        for pause in itertools.islice(_pauses(), RELEASES_MAX):
            await asyncio.sleep(pause)
            try:
                released = await self._leases.release(work.deployment_id, release)
            except Unavailable as problem:
                log.warning("not released", deployment=work.deployment_id, problem=str(problem))
            except Refused as problem:
                log.info("not released", deployment=work.deployment_id, problem=str(problem))
                return
            else:
                log.info("released", deployment=work.deployment_id, status=released.status)
                return


def _pauses() -> Iterator[float]:
    return itertools.chain(PAUSES, itertools.repeat(PAUSES[-1]))


def _facts(work: Work, place: Place) -> dict[str, object]:
    return {
        "deployment": work.deployment_id,
        "generation": work.generation,
        "stack_path": place.stack_path,
        "slot": place.slot,
    }
