"""Which stack has which quota slot: the gateway's own view of the cluster, and its choices.

Pure: no clock, no Ray. The control plane counts what is live and decides what may run; this is
the second referee, which never lets an organization have more places than its limit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from runner_actors.places import Wanted


@dataclass(eq=False)
class Seat:
    """One slot of an organization, held by one stack."""

    organization: str
    slot: int
    stack_path: str
    state: Literal["busy", "idle", "leaving"] = "busy"
    since: float = 0.0
    """When the state began, by the caller's clock."""
    node: str = ""

    @property
    def name(self) -> str:
        """`<org>/<k>`: the slot's placement group is named so."""
        return f"{self.organization}/{self.slot}"


@dataclass(frozen=True)
class Reuse:
    """Take the stack's own idle seat."""

    seat: Seat


@dataclass(frozen=True)
class Open:
    """Open a slot that nobody holds."""

    slot: int


@dataclass(frozen=True)
class Replace:
    """Give the slot of an idle stack to the wanted one."""

    seat: Seat


@dataclass(frozen=True)
class Remove:
    """Remove an idle seat beyond the limit first, and choose again."""

    seat: Seat


@dataclass(frozen=True)
class Wait:
    """Nothing can be taken now; choose again when a seat has changed."""

    reason: str
    blocking: Seat | None = None
    """The stack's own seat, when that is what is waited for."""


Choice = Reuse | Open | Replace | Remove | Wait


class SlotBook:
    """All seats, by name."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._seats.values()))

    def add(self, seat: Seat) -> None:
        """Enter a seat; its slot must be free."""
        if seat.name in self._seats:
            raise ValueError(f"the slot {seat.name} is taken")
        self._seats[seat.name] = seat

    def remove(self, seat: Seat) -> None:
        """Take a seat out, if it is still this one."""
        if self._seats.get(seat.name) is seat:
            del self._seats[seat.name]

    def clear(self) -> None:
        """Forget everything."""
        self._seats.clear()

    def of_stack(self, stack_path: str) -> Seat | None:
        """The stack's seat."""
        return next((s for s in self._seats.values() if s.stack_path == stack_path), None)

    def choose(self, wanted: Wanted) -> Choice:
        """How the stack gets a seat now."""
        own = self.of_stack(wanted.stack_path)
        if own is not None:
            return _own(own, wanted.slot_limit)
        seats = [s for s in self._seats.values() if s.organization == wanted.organization]
        if sum(seat.state == "busy" for seat in seats) >= wanted.slot_limit:
            return Wait("Waiting for a quota slot of the organization.")
        taken = {seat.slot for seat in seats}
        free = next(k for k in itertools.count() if k not in taken)
        if free < wanted.slot_limit:
            return Open(free)
        idle = _least_recent(seat for seat in seats if seat.slot < wanted.slot_limit)
        return Replace(idle) if idle else Wait("Waiting for a quota slot of the organization.")

    def idlest(self) -> Seat | None:
        """The seat, of whichever organization, that has been idle for longest."""
        return _least_recent(self._seats.values())

    def overdue(self, now: float, idle_seconds: float, idle_max: int) -> list[Seat]:
        """Idle seats whose time is over, and the oldest of those that are too many on a node."""
        idle = [seat for seat in self._seats.values() if seat.state == "idle"]
        idle.sort(key=lambda seat: seat.since, reverse=True)
        kept: dict[str, int] = {}
        over = []
        for seat in idle:
            kept[seat.node] = kept.get(seat.node, 0) + 1
            if kept[seat.node] > idle_max or now - seat.since >= idle_seconds:
                over.append(seat)
        return over


def _own(seat: Seat, slot_limit: int) -> Choice:
    if seat.state == "busy":
        return Wait("Waiting for the stack's previous deployment to end its processes.", seat)
    if seat.state == "leaving":
        return Wait("Waiting for a quota slot of the organization.")
    return Reuse(seat) if seat.slot < slot_limit else Remove(seat)


def _least_recent(seats: Iterable[Seat]) -> Seat | None:
    idle = [seat for seat in seats if seat.state == "idle"]
    return min(idle, key=lambda seat: seat.since, default=None)
