"""What serving needs: places for stacks.

A *place* is a stack's actor in one quota slot of its organization; `placement.py` gives them out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from runner_actors.contract import Grant, LiveGrant
from runner_actors.reports import RunReport

Tell = Callable[[str], None]
"""Says what a deployment waits for, in words for its user; empty when it no longer waits."""


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """Whose place is wanted, and how many of them the organization may have at once."""

    organization: str
    project: str
    stack: str
    slot_limit: int

    @classmethod
    def by(cls, grant: Grant | LiveGrant) -> Wanted:
        """What a grant needs."""
        return cls(
            organization=grant.organization,
            project=grant.project,
            stack=grant.stack,
            slot_limit=grant.slot_limit,
        )

    @property
    def stack_path(self) -> str:
        """`<org>/<project>/<stack>`: the stack's actor is named so."""
        return f"{self.organization}/{self.project}/{self.stack}"


class Work(msgspec.Struct, kw_only=True, frozen=True):
    """One attempt at one deployment."""

    deployment_id: str
    generation: int

    @classmethod
    def of(cls, grant: Grant | LiveGrant) -> Work:
        """What a grant asks for."""
        return cls(deployment_id=grant.deployment_id, generation=grant.generation)


class Place(Protocol):
    """A stack's actor in a quota slot. All calls raise RunnerLost or RunnerFailed."""

    @property
    def stack_path(self) -> str:
        """Whose place it is."""

    @property
    def slot(self) -> int:
        """Which of the organization's slots it holds, counted from 0."""

    async def run(self, grant: bytes) -> RunReport:
        """Run a granted deployment (a JSON Grant) to its end."""

    async def wait(self, work: Work) -> RunReport:
        """Wait for the end of what the actor works on already."""

    async def salvage(self, work: Work) -> RunReport:
        """Report what a predecessor of the actor left on this node; its processes end first."""

    async def working_on(self) -> Work | None:
        """What the actor works on now."""

    async def ensure(self, tell: Tell) -> None:
        """Make the actor again, in the same slot, if it is gone."""

    async def stop(self) -> None:
        """Kill the actor, and whatever it works on with it; the place stays."""


class Placement(Protocol):
    """The places of a cluster, as the leading gateway keeps them."""

    async def adopt(self) -> list[tuple[Place, Work | None]]:
        """Forget everything, and find the places that exist, with what each works on.

        Each counts as taken until it is `finished`; what cannot be used is removed.
        """

    async def place(self, wanted: Wanted, tell: Tell) -> Place:
        """A place with a living actor for a stack, waiting as long as it takes.

        Cancelled, it leaves nothing behind. Raises RunnerLost when the actor cannot be made.
        """

    def finished(self, place: Place) -> None:
        """Nothing runs in a place any more: it may be used again, or go."""

    async def reap(self) -> None:
        """Remove places that were idle for too long, or are too many."""
