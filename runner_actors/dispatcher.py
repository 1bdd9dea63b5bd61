"""What the gateway does all day: poll for grants, begin each, and watch over what is live."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import structlog

from runner_actors.cluster import RunnerLost
from runner_actors.contract import LiveGrant, Poll
from runner_actors.hold import Hold, held
from runner_actors.places import Placement, Wanted, Work
from runner_actors.pool_client import PoolClient, Refused, Unavailable
from runner_actors.serving import Server

POLL_SECONDS = 20.0
GRANTS_MAX = 10
FOLLOWER_SECONDS = 0.5
"""Between the polls of a gateway that does not lead, in case they are not held."""
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.05, 2.0
RECONCILE_SECONDS = 10.0
OVERDUE_SECONDS = 60.0
"""How long an actor may go on with a deployment that is no longer live: it ends its processes."""
REAP_SECONDS = 1.0
END_SECONDS = 1.0

log = structlog.get_logger()
_T = TypeVar("_T")


class RefusedForGood(Exception):
    """The control plane does not take this gateway: its token, its key or its version."""


class Dispatcher:
    """Polls while it leads or waits to lead, and keeps an eye on what is live."""

    def __init__(
        self,
        api: PoolClient,
        placement: Placement,
        gateway_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._placement = placement
        self._gateway_id = gateway_id
        self._clock = clock
        self._server = Server(api, placement, clock)
        self._tasks: dict[Work, asyncio.Task[None]] = {}
        self._unserved: set[Work] = set()
        self._over_since: dict[Work, float] = {}
        self._leads = False

    async def run(self) -> None:
        """Work until cancelled, or until something unforeseen is raised."""
        await first_to_end(
            self._poll_forever(),
            _each(REAP_SECONDS, self.reap),
            _each(RECONCILE_SECONDS, self.reconcile),
        )

    async def _poll_forever(self) -> None:
        # The first answer tells at once whether this gateway leads, so that what is live is
        # taken over before any new work comes.
        wait_seconds = 0.0
        while True:
            await self.poll_once(wait_seconds)
            wait_seconds = POLL_SECONDS
            if not self._leads:
                await asyncio.sleep(FOLLOWER_SECONDS)

    async def poll_once(self, wait_seconds: float) -> None:
        """Ask for work once, and begin what is given."""
        poll = Poll(gateway_id=self._gateway_id, grants_max=GRANTS_MAX, wait_seconds=wait_seconds)
        answer = await insist("poll", lambda: self._api.poll(poll))
        if answer.leader and not self._leads:
            log.info("leading", gateway=self._gateway_id)
            await self._take_over({Work.of(grant) for grant in answer.grants})
        elif self._leads and not answer.leader:
            self._step_down()
        self._leads = answer.leader
        for grant in answer.grants:
            self._begin(Work.of(grant), self._server.serve(grant))

    async def _take_over(self, new: set[Work]) -> None:
        """Find the cluster's actors, and see every live deployment to its end."""
        answer = await insist("grants", self._api.live_grants)
        live = {
            Wanted.by(grant).stack_path: grant
            for grant in answer.grants
            if Work.of(grant) not in new
        }
        # Looking around takes as long as the slowest actor, and nobody else holds what waits.
        async with held(
            Hold(self._api, Work.of(grant), grant.lease_seconds) for grant in answer.grants
        ):
            found = await self._placement.adopt()
        for place, work in found:
            grant = live.pop(place.stack_path, None)
            if grant is not None:
                self._begin(Work.of(grant), self._server.resume(grant, place))
            elif work is not None:
                self._begin(work, self._server.see_out(place, work))
            else:
                self._placement.finished(place)
        for grant in live.values():
            self._begin(Work.of(grant), self._server.resume(grant, None))

    def _step_down(self) -> None:
        """Another gateway leads, and looks after everything from now on."""
        log.warning("not leading any more", gateway=self._gateway_id)
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def reconcile(self) -> None:
        """Compare what is live with what is served here, and mend what stays different."""
        if not self._leads:
            return
        try:
            live = {Work.of(grant): grant for grant in (await self._api.live_grants()).grants}
        except (Unavailable, Refused):
            return
        self._take_up_unserved(live)
        await self._stop_overdue(live)

    def _take_up_unserved(self, live: Mapping[Work, LiveGrant]) -> None:
        """Grants whose answer was lost on the way: seen twice, they are not just coming."""
        unserved = {work for work in live if work not in self._tasks}
        for work in unserved & self._unserved:
            log.warning("grant without a task", deployment=work.deployment_id)
            self._begin(work, self._server.resume(live[work], None))
        self._unserved = unserved

    async def _stop_overdue(self, live: Mapping[Work, LiveGrant]) -> None:
        """Kill actors that hang on a deployment whose lease ended long ago: they hold a slot."""
        now = self._clock()
        over = {work for work in self._tasks if work not in live}
        self._over_since = {work: self._over_since.get(work, now) for work in over}
        for work, since in self._over_since.items():
            if now - since >= OVERDUE_SECONDS:
                await self._server.stop(work)

    async def reap(self) -> None:
        """Remove places that nobody needs."""
        if self._leads:
            await self._placement.reap()

    def _begin(self, work: Work, serving: Coroutine[Any, Any, None]) -> None:
        if work in self._tasks:
            log.error("granted twice", deployment=work.deployment_id)
            serving.close()
            return
        task = asyncio.create_task(serving, name=f"deployment {work.deployment_id}")
        self._tasks[work] = task
        task.add_done_callback(lambda task: self._ended(work, task))

    def _ended(self, work: Work, task: asyncio.Task[None]) -> None:
        if self._tasks.get(work) is task:
            del self._tasks[work]
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("serving failed", deployment=work.deployment_id, exc_info=problem)


async def insist(what: str, call: Callable[[], Awaitable[_T]]) -> _T:
    """Call until there is an answer, with growing pauses; raises RefusedForGood."""
    pause = RETRY_SECONDS_FIRST
    last = ""
    while True:
        try:
            answer = await call()
        except Unavailable as problem:
            if str(problem) != last:
                log.warning("control plane unavailable", call=what, problem=str(problem))
            last = str(problem)
        except Refused as problem:
            raise RefusedForGood(f"The control plane refuses to {what}: {problem}") from None
        else:
            if last:
                log.info("control plane is back", call=what)
            return answer
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
        pause = min(pause * 2, RETRY_SECONDS_MAX)


async def _each(seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await chore()
        except RunnerLost as problem:
            log.warning("cluster unavailable", problem=str(problem))


async def first_to_end(*programs: Coroutine[Any, Any, None]) -> None:
    """Run programs side by side until one ends or fails; the others are cancelled."""
    tasks = [asyncio.ensure_future(program) for program in programs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_SECONDS)
