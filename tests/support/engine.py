"""An engine reduced to what it saves: each step as a journal entry, and as a whole state.

The whole states are made in the way of a CLI that saves checkpoints, from a list of resources and
nothing of a journal; so they are what a replay has to come to.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.support.state import entry, resource

State = dict[str, Any]


class Step(NamedTuple):
    """One entry of the journal, and the deployment that a checkpoint would have saved after it."""

    entry: State
    deployment: State


class Move(NamedTuple):
    """What an engine does next, to which of the resources that it may be done to, and how it ends.

    `ends`: True, it succeeds; False, it fails; None, it is under way for the rest of the update.
    """

    what: str
    which: int
    ends: bool | None


@dataclass
class Old:
    """A resource of the base."""

    place: int
    state: State
    marked: bool = False
    done: bool = False


@dataclass
class New:
    """A resource that this update has added."""

    operation: int
    state: State
    removed: bool = False


@dataclass
class Engine:
    """An update of a base state, move by move."""

    base: list[State]
    left_pending: list[State]
    """Operations that an earlier update did not end."""
    steps: list[Step] = field(default_factory=list)
    refreshed: bool = False
    names: int = 0

    def __post_init__(self) -> None:
        self.new: list[New] = []
        self.pending: dict[int, State] = {}
        self.operation = 0
        self._count_base(self.base)
        provider = {"type": "passphrase", "state": {"salt": "x"}}
        self._note(6, 0, secretsProvider=provider)

    def _count_base(self, resources: list[State]) -> None:
        self.old = [Old(place, state) for place, state in enumerate(resources)]

    def move(self, move: Move) -> None:
        """Make a move, if there is anything to make it with."""
        getattr(self, "_" + move.what)(move)

    # The moves.

    def _same(self, move: Move) -> None:
        old = self._untouched(move.which)
        if old is not None:
            self._end(self._next(), state=old.state, removeOld=old)

    def _create(self, move: Move) -> None:
        state = self._fresh()
        number = self._begin("creating", state)
        self._finish(move, number, state=state)

    def _update(self, move: Move) -> None:
        old = self._untouched(move.which)
        if old is not None:
            state = {**old.state, "outputs": {"changed": self._next_name()}}
            self._finish(move, self._begin("updating", state), state=state, removeOld=old)

    def _replace(self, move: Move) -> None:
        """The new one is there first; the old one is marked, and deleted later or never."""
        old = self._untouched(move.which)
        if old is not None:
            state = {**old.state, "id": self._next_name()}
            self._finish(move, self._begin("creating", state), state=state, deleteOld=old)

    def _delete_first(self, move: Move) -> None:
        """The old one is deleted, and stays in the state as what is to be made again."""
        old = self._untouched(move.which)
        if old is not None:
            self._finish(move, self._begin("deleting", old.state), pendingReplacementOld=old)

    def _delete(self, move: Move) -> None:
        left = [each for each in self.old if not each.done]
        if left:
            old = left[move.which % len(left)]
            self._finish(move, self._begin("deleting", old.state), removeOld=old)

    def _remove_new(self, move: Move) -> None:
        new = self._added(move.which)
        if new is not None:
            self._finish(move, self._begin("deleting", new.state), removeNew=new)

    def _outputs(self, move: Move) -> None:
        new = self._added(move.which)
        if new is not None:
            new.state = {**new.state, "outputs": {"registered": self._next_name()}}
            self._note(4, self._next(), state=new.state, removeNew=new.operation)

    def _refresh(self, move: Move) -> None:
        """A resource is looked at: it has changed, or it is gone."""
        old = self._untouched(move.which)
        if old is None:
            return
        self.refreshed = True
        if move.ends:
            old.state = {**old.state, "outputs": {"seen": self._next_name()}}
            self._note(3, self._next(), state=old.state, removeOld=old.place)
        else:
            old.done = True
            self._note(3, self._next(), removeOld=old.place)
        # What has been looked at is changed only when a new base has been made of it.
        old.marked = True

    def _rebuild(self, move: Move) -> None:
        """What there is now becomes the base, as after the refresh that comes before an update."""
        if not self.pending:
            self._count_base(self._deployment()["resources"])
            self.new = []
            self._note(7, 0)

    # How they are told.

    def _begin(self, kind: str, state: State) -> int:
        number = self._next()
        self.pending[number] = {"resource": copy.deepcopy(state), "type": kind}
        self._note(0, number, operation=self.pending[number])
        return number

    def _finish(self, move: Move, number: int, **what: Any) -> None:
        if move.ends:
            self._end(number, **what)
        elif move.ends is False:
            del self.pending[number]
            self._note(2, number)

    def _end(self, number: int, **what: Any) -> None:
        self.pending.pop(number, None)
        told: State = {}
        for key, value in what.items():
            told[key] = value
            if isinstance(value, Old):
                told[key] = value.place
                value.done |= key == "removeOld"
                value.marked |= key != "removeOld"
                if key == "deleteOld":
                    value.state = {**value.state, "delete": True}
                if key == "pendingReplacementOld":
                    value.state = {**value.state, "pendingReplacement": True}
            if isinstance(value, New):
                told[key] = value.operation
                value.removed = True
        if "state" in what:
            self.new.append(New(number, what["state"]))
        self._note(1, number, **told)

    def _note(self, kind: int, number: int, **keys: Any) -> None:
        told = copy.deepcopy(entry(len(self.steps) + 1, kind, number, **keys))
        self.steps.append(Step(told, copy.deepcopy(self._deployment())))

    # What a checkpoint holds.

    def _deployment(self) -> State:
        resources = self._resources()
        if self.refreshed:
            resources = _without_dangling(resources)
        creating = [each for each in self.left_pending if each["type"] == "creating"]
        under_way = [self.pending[number] for number in sorted(self.pending)]
        return {"resources": resources, "pending_operations": [*under_way, *creating]}

    def _resources(self) -> list[State]:
        added = [each.state for each in self.new if not each.removed]
        return [*added, *(each.state for each in self.old if not each.done)]

    def _untouched(self, which: int) -> Old | None:
        left = [each for each in self.old if not each.done and not each.marked]
        return left[which % len(left)] if left else None

    def _added(self, which: int) -> New | None:
        left = [each for each in self.new if not each.removed]
        return left[which % len(left)] if left else None

    def _fresh(self) -> State:
        before = [each["urn"] for each in self._resources()]
        return depending(resource(self._next_name()), before[-2:])

    def _next(self) -> int:
        self.operation += 1
        return self.operation

    def _next_name(self) -> str:
        self.names += 1
        return f"n{self.names}"


def _without_dangling(resources: list[State]) -> list[State]:
    """Without dependencies on what does not come before."""
    seen: set[str] = set()
    kept = []
    for each in resources:
        kept.append(depending(each, [urn for urn in each.get("dependencies", ()) if urn in seen]))
        seen.add(each["urn"])
    return kept


MOVES = (
    "same",
    "create",
    "update",
    "replace",
    "delete_first",
    "delete",
    "remove_new",
    "outputs",
    "refresh",
    "rebuild",
)

moves = st.builds(
    Move,
    st.sampled_from(MOVES),
    st.integers(0, 7),
    st.sampled_from([True, True, True, False, None]),
)


def chain(length: int) -> list[State]:
    """Resources of which each depends on the one before."""
    names = [f"b{number}" for number in range(length)]
    urns = [resource(name)["urn"] for name in names]
    return [depending(resource(name), urns[max(n - 1, 0) : n]) for n, name in enumerate(names)]


def depending(state: State, urns: list[str]) -> State:
    """The resource with just these dependencies; an engine writes none as no key."""
    left = {key: value for key, value in state.items() if key != "dependencies"}
    return {**left, "dependencies": urns} if urns else left


@st.composite
def engines(draw: st.DrawFn) -> Engine:
    """Engines that have made some moves on some base."""
    kinds = draw(st.lists(st.sampled_from(["creating", "updating", "deleting"]), max_size=2))
    left = [
        {"resource": resource(f"left{number}"), "type": kind} for number, kind in enumerate(kinds)
    ]
    engine = Engine(chain(draw(st.integers(0, 4))), left)
    for move in draw(st.lists(moves, max_size=14)):
        engine.move(move)
    return engine
