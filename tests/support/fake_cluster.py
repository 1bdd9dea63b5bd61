"""A cluster in memory: what `runner_actors.cluster.Cluster` promises, without Ray."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from runner_actors.cluster import ActorDied, RunnerFailed, RunnerLost


class FakeSlot:
    def __init__(self, name: str) -> None:
        self.name = name
        self.node = ""
        self.placed = asyncio.Event()
        self.actor: FakeActor | None = None


class FakeActor:
    def __init__(self, name: str, slot: FakeSlot) -> None:
        self.name = name
        self.slot = slot
        self.instance: Any = None
        self.died = asyncio.Event()
        self.begun = asyncio.Event()
        self.problem = "the actor was killed"
        self.answers = asyncio.Event()
        self.answers.set()
        """Cleared, the actor hangs: it lives, and answers nothing."""


class FakeCluster:
    """So many slots on one node; `make` makes an actor's object from its name."""

    def __init__(self, make: Callable[[str], Any], slots: int = 10) -> None:
        self._make = make
        self.slots_total = slots
        self.slots: dict[str, FakeSlot] = {}
        self.actors: dict[str, FakeActor] = {}
        self.made = 0
        self.calls: list[str] = []
        """The methods of actors that are being called now."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def used(self) -> set[str]:
        """The names of the slots that have a node."""
        return {slot.name for slot in self.slots.values() if slot.node}

    async def make_slot(self, name: str) -> FakeSlot:
        await self.remove_slot(name)
        slot = self.slots[name] = FakeSlot(name)
        self._assign()
        return slot

    async def remove_slot(self, name: str) -> None:
        await asyncio.sleep(0)
        slot = self.slots.pop(name, None)
        for actor in list(self.actors.values()):
            if actor.slot is slot:
                self.die(actor, "its slot was removed")
        self._assign()

    async def find_slot(self, name: str) -> FakeSlot:
        await asyncio.sleep(0)
        if name not in self.slots:
            raise RunnerLost(f"no slot {name}")
        return self.slots[name]

    async def slot_names(self) -> list[str]:
        return list(self.slots)

    async def node_of(self, slot: FakeSlot) -> str:
        await asyncio.sleep(0)
        return slot.node

    async def make_actor(self, name: str, slot: FakeSlot) -> FakeActor:
        await asyncio.sleep(0)
        if name in self.actors:
            self.die(self.actors[name])
        self.made += 1
        actor = self.actors[name] = FakeActor(name, slot)
        if self.slots.get(slot.name) is not slot:
            self.die(actor, "its slot was removed")
        task = asyncio.create_task(self._begin(actor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return actor

    async def begun(self, actor: FakeActor) -> None:
        await self._unless_dead(actor, actor.begun.wait())

    async def actor_names(self) -> list[str]:
        return list(self.actors)

    async def find_actor(self, name: str) -> FakeActor:
        await asyncio.sleep(0)
        if name not in self.actors:
            raise RunnerLost(f"no actor {name}")
        return self.actors[name]

    async def slot_name_of(self, actor: FakeActor) -> str:
        await self.begun(actor)
        await self._unless_dead(actor, actor.answers.wait())
        return actor.slot.name

    async def kill(self, actor: FakeActor) -> None:
        await asyncio.sleep(0)
        self.die(actor)

    async def call(self, actor: FakeActor, method: str, *arguments: Any) -> Any:
        await self.begun(actor)

        async def called() -> Any:
            self.calls.append(method)
            try:
                await actor.answers.wait()
                return await getattr(actor.instance, method)(*arguments)
            finally:
                self.calls.remove(method)

        return await self._unless_dead(actor, called())

    def die(self, actor: FakeActor, problem: str = "the actor was killed") -> None:
        """An actor ends, with whatever it was doing."""
        actor.problem = problem
        actor.died.set()
        if self.actors.get(actor.name) is actor:
            del self.actors[actor.name]
        if actor.slot.actor is actor:
            actor.slot.actor = None

    def _assign(self) -> None:
        """Give nodes to slots in the order in which they came."""
        free = self.slots_total - len(self.used)
        for slot in itertools.islice([s for s in self.slots.values() if not s.node], max(0, free)):
            slot.node = "node"
            slot.placed.set()

    async def _begin(self, actor: FakeActor) -> None:
        await actor.slot.placed.wait()
        if actor.died.is_set():
            return
        if actor.slot.actor is not None:
            self.die(actor, f"the slot {actor.slot.name} has an actor already")
            return
        actor.slot.actor = actor
        try:
            actor.instance = self._make(actor.name)
        except Exception as problem:
            self.die(actor, f"the actor could not begin: {problem}")
            return
        actor.begun.set()

    async def _unless_dead(self, actor: FakeActor, work: Any) -> Any:
        doing = asyncio.ensure_future(work)
        dying = asyncio.ensure_future(actor.died.wait())
        try:
            await asyncio.wait({doing, dying}, return_when=asyncio.FIRST_COMPLETED)
            if dying.done():
                raise ActorDied(actor.problem)
            return doing.result()
        except (ActorDied, asyncio.CancelledError):
            raise
        except Exception as problem:
            raise RunnerFailed(str(problem)) from None
        finally:
            doing.cancel()
            dying.cancel()
            await asyncio.gather(doing, dying, return_exceptions=True)
