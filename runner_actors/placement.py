"""Gives stacks their places on a cluster: a quota slot of the organization, and an actor in it.

Slots are named `<org>/<k>`, actors `<org>/<project>/<stack>`. An actor that has nothing to do stays
for a while, with its slot, because the stack's next deployment begins faster with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog

from runner_actors.cluster import Actor, ActorDied, Cluster, RunnerFailed, RunnerLost
from runner_actors.places import Place, Tell, Wanted, Work
from runner_actors.reports import RunnerStatus, RunReport
from runner_actors.settings import RunnerSettings
from runner_actors.slots import Open, Remove, Replace, Reuse, Seat, SlotBook, Wait

PENDING_LOOK_SECONDS = 0.5
"""How often an actor that has not begun is looked after: does it lack a node, or only time?"""
ANSWER_SECONDS = 30.0
"""How long a living actor may take to say what it does, on a machine that is very busy."""
PREDECESSOR_SECONDS = 60.0
"""How long a stack's ended deployment may hold up the next one before its actor is killed."""

log = structlog.get_logger()


class ClusterPlace:
    """A stack's actor in a quota slot."""

    def __init__(self, placement: ClusterPlacement, seat: Seat, slot: Any) -> None:
        self._placement = placement
        self._cluster = placement.cluster
        self.seat = seat
        self.cluster_slot = slot
        self.actor: Actor = None
        self.lost = False
        """The actor is dead, and `ensure` makes another."""

    @property
    def stack_path(self) -> str:
        """Whose place it is."""
        return self.seat.stack_path

    @property
    def slot(self) -> int:
        """Which of the organization's slots it holds."""
        return self.seat.slot

    async def run(self, grant: bytes) -> RunReport:
        """Run a granted deployment (a JSON Grant) to its end."""
        return _report(await self._call("run", grant))

    async def wait(self, work: Work) -> RunReport:
        """Wait for the end of what the actor works on already."""
        return _report(await self._call("wait", work.deployment_id, work.generation))

    async def salvage(self, work: Work) -> RunReport:
        """Report what a predecessor of the actor left on this node."""
        return _report(await self._call("salvage", work.deployment_id, work.generation))

    async def working_on(self) -> Work | None:
        """What the actor works on now."""
        async with answering():
            busy = msgspec.json.decode(await self._call("status"), type=RunnerStatus).busy
        return Work(deployment_id=busy.deployment_id, generation=busy.generation) if busy else None

    async def ensure(self, tell: Tell) -> None:
        """Make the actor again, in the same slot, if it is gone."""
        if not self.lost:
            try:
                await self.working_on()
            except ActorDied:
                pass
            else:
                return
        await self._placement.make_actor(self, tell)

    async def stop(self) -> None:
        """Kill the actor, and whatever it works on with it; the place stays."""
        self.lost = True
        await self._cluster.kill(self.actor)

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return await self._cluster.call(self.actor, method, *arguments)
        except ActorDied:
            self.lost = True
            raise


class ClusterPlacement:
    """All places of the pool's cluster."""

    def __init__(
        self,
        cluster: Cluster,
        settings: RunnerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cluster = cluster
        self._idle_seconds = settings.idle_seconds
        self._idle_actors_max = settings.idle_actors_max
        self._clock = clock
        self._book = SlotBook()
        self._places: dict[Seat, ClusterPlace] = {}
        self._changed = asyncio.Event()

    # Giving places.

    async def place(self, wanted: Wanted, tell: Tell) -> ClusterPlace:
        """A place with a living actor for a stack, waiting as long as it takes."""
        patience = self._clock() + PREDECESSOR_SECONDS
        while True:
            choice = self._book.choose(wanted)
            match choice:
                case Reuse(seat):
                    return await self._reuse(seat, tell)
                case Open(slot):
                    return await self._open(wanted, slot, tell)
                case Replace(idle):
                    return await self._replace(idle, wanted, tell)
                case Remove(idle):
                    await self._remove(idle)
                case Wait():
                    tell(choice.reason)
                    await self._wait_for_change(choice, patience)

    async def _reuse(self, seat: Seat, tell: Tell) -> ClusterPlace:
        place = self._places[seat]
        seat.state = "busy"
        if place.lost:
            await self._make_or_remove(place, tell)
        return place

    async def _open(self, wanted: Wanted, slot: int, tell: Tell) -> ClusterPlace:
        seat = Seat(wanted.organization, slot, wanted.stack_path)
        self._book.add(seat)
        try:
            cluster_slot = await self.cluster.make_slot(seat.name)
        except BaseException:
            await self._vacate(seat)
            raise
        place = self._places[seat] = ClusterPlace(self, seat, cluster_slot)
        await self._make_or_remove(place, tell)
        return place

    async def _replace(self, idle: Seat, wanted: Wanted, tell: Tell) -> ClusterPlace:
        """The organization keeps its slot, and with it the node: only the actor changes."""
        log.info("evicted", stack_path=idle.stack_path, slot=idle.name)
        old = self._places.pop(idle)
        self._book.remove(idle)
        seat = Seat(wanted.organization, idle.slot, wanted.stack_path)
        self._book.add(seat)
        place = self._places[seat] = ClusterPlace(self, seat, old.cluster_slot)
        try:
            await self.cluster.kill(old.actor)
        except BaseException:
            await self._vacate(seat)
            raise
        await self._make_or_remove(place, tell)
        return place

    async def _make_or_remove(self, place: ClusterPlace, tell: Tell) -> None:
        try:
            await self.make_actor(place, tell)
        except BaseException:
            await self._vacate(place.seat)
            raise

    async def make_actor(self, place: ClusterPlace, tell: Tell) -> None:
        """Make a place's actor and wait until it answers; raises RunnerLost."""
        place.actor = await self.cluster.make_actor(place.stack_path, place.cluster_slot)
        begun = asyncio.ensure_future(self.cluster.begun(place.actor))
        try:
            while not (await asyncio.wait({begun}, timeout=PENDING_LOOK_SECONDS))[0]:
                await self._look_after(place, tell)
            begun.result()
        finally:
            begun.cancel()
        place.lost = False
        place.seat.node = await self.cluster.node_of(place.cluster_slot)
        tell("")

    async def _look_after(self, place: ClusterPlace, tell: Tell) -> None:
        """An actor has not begun yet: if there is no node for it, make room."""
        if await self.cluster.node_of(place.cluster_slot):
            return
        tell("Waiting for a free machine.")
        idle = self._book.idlest()
        if idle:
            await self._remove(idle)

    async def _wait_for_change(self, wait: Wait, patience: float) -> None:
        changed = self._changed
        left = patience - self._clock()
        if wait.blocking and left <= 0:
            log.warning("killed: its deployment is over", stack_path=wait.blocking.stack_path)
            await self._places[wait.blocking].stop()
        try:
            async with asyncio.timeout(max(left, 1.0)):
                await changed.wait()
        except TimeoutError:
            return

    # Taking places back.

    def finished(self, place: Place) -> None:
        """Nothing runs in a place any more: it may be used again, or go."""
        assert isinstance(place, ClusterPlace)  # noqa: S101 - places come from here
        place.seat.state, place.seat.since = "idle", self._clock()
        self._announce()

    async def reap(self) -> None:
        """Remove places that were idle for too long, or are too many."""
        limits = self._idle_seconds, self._idle_actors_max
        for seat in self._book.overdue(self._clock(), *limits):
            if seat.state == "idle":
                await self._remove(seat)

    async def _remove(self, seat: Seat) -> None:
        log.info("removed", stack_path=seat.stack_path, slot=seat.name)
        await self._vacate(seat)

    async def _vacate(self, seat: Seat) -> None:
        """Remove a seat's actor and group, and then the seat, whatever happens meanwhile."""
        seat.state = "leaving"
        try:
            await self.cluster.remove_slot(seat.name)
        finally:
            self._book.remove(seat)
            self._places.pop(seat, None)
            self._announce()

    def _announce(self) -> None:
        """Wake everyone who waits for a seat."""
        self._changed.set()
        self._changed = asyncio.Event()

    # Finding places.

    async def adopt(self) -> list[tuple[Place, Work | None]]:
        """Forget everything, and find the places that exist; what cannot be used is removed."""
        self._book.clear()
        self._places.clear()
        names = await self.cluster.actor_names()
        found = [each for each in await asyncio.gather(*map(self._adopt, names)) if each]
        used = {place.seat.name for place, _ in found}
        for name in await self.cluster.slot_names():
            if name not in used:
                await self.cluster.remove_slot(name)
        return [(place, work) for place, work in found]

    async def _adopt(self, name: str) -> tuple[ClusterPlace, Work | None] | None:
        """The place of an actor that answers; one that does not is killed."""
        try:
            actor = await self.cluster.find_actor(name)
        except RunnerLost:
            return None
        try:
            place = await self._recognize(name, actor)
            work = await place.working_on()
            self._book.add(place.seat)
        except (RunnerLost, RunnerFailed, ValueError) as problem:
            log.warning("killed: it cannot be adopted", stack_path=name, problem=str(problem))
            await self.cluster.kill(actor)
            return None
        self._places[place.seat] = place
        return place, work

    async def _recognize(self, name: str, actor: Actor) -> ClusterPlace:
        async with answering():
            slot_name = await self.cluster.slot_name_of(actor)
        slot = await self.cluster.find_slot(slot_name)
        seat = Seat(name.partition("/")[0], int(slot_name.rpartition("/")[2]), name)
        seat.node = await self.cluster.node_of(slot)
        place = ClusterPlace(self, seat, slot)
        place.actor = actor
        return place


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """A living actor answers within some seconds, or it counts as lost."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except TimeoutError:
        raise RunnerLost(f"The actor does not answer within {ANSWER_SECONDS:.0f} s.") from None


def _report(answer: bytes) -> RunReport:
    return msgspec.json.decode(answer, type=RunReport)
