"""What placement needs of a cluster: slots with room for one actor each, and actors with names.

The port in front of Ray: `ray_cluster.py` is the real one. `tests/support/fake_cluster.py` keeps
one in memory, and one suite of tests runs on both.
"""

from __future__ import annotations

from typing import Any, Protocol

Slot = Any
Actor = Any


class RunnerLost(Exception):
    """The stack's actor died, or could not be made or reached; the text says why."""


class ActorDied(RunnerLost):
    """The actor is dead for certain, and not only out of reach."""


class RunnerFailed(Exception):
    """The stack's actor lives, but a call of it raised: a defect of ours, never of a program."""


class Cluster(Protocol):
    """Slots and actors by name. A cancelled call has either happened or not when it returns."""

    async def make_slot(self, name: str) -> Slot:
        """Reserve room for one actor. It may have to wait for a node, and this does not."""

    async def remove_slot(self, name: str) -> None:
        """Remove a slot and kill the actor in it; nothing happens if there is none."""

    async def find_slot(self, name: str) -> Slot:
        """A slot that exists. Raises RunnerLost."""

    async def slot_names(self) -> list[str]:
        """All slots that exist, whether they have a node or not."""

    async def node_of(self, slot: Slot) -> str:
        """The node where a slot is; empty while there is none."""

    async def make_actor(self, name: str, slot: Slot) -> Actor:
        """Make an actor in a slot; it begins once the slot has a node. Raises RunnerLost.

        One that has the name already is killed: it cannot have a live deployment of the stack.
        """

    async def begun(self, actor: Actor) -> None:
        """Until an actor answers. Raises RunnerLost when it cannot begin."""

    async def actor_names(self) -> list[str]:
        """The actors that exist, begun or not."""

    async def find_actor(self, name: str) -> Actor:
        """An actor that exists. Raises RunnerLost."""

    async def slot_name_of(self, actor: Actor) -> str:
        """Ask an actor for the name of its slot. Raises RunnerLost."""

    async def kill(self, actor: Actor) -> None:
        """Kill an actor, which gets no chance to clean up; its slot and its name are free then."""

    async def call(self, actor: Actor, method: str, *arguments: Any) -> Any:
        """Call an actor once, never again. Raises ActorDied, RunnerLost, RunnerFailed."""
