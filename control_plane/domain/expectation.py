"""When what waits will probably begin, told from how long the like of what is ahead has taken.

An estimate, and it says from what it is made; where there is nothing to go by, it says that.
Machines are left out: it does not foresee that a granted deployment will wait for a node.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import median
from typing import NamedTuple

import msgspec

SAMPLES_MAX = 10
"""Of how many last successes a usual duration is the median."""


class Basis(StrEnum):
    """What an estimate is made from, or why there is none."""

    NOTHING_AHEAD = "nothing_ahead"
    HISTORY = "history"
    OVERDUE = "overdue"
    """What is ahead has already taken longer than usual."""
    NO_HISTORY = "no_history"
    HELD = "held"
    """It, or what is before it in its stack, waits for somebody to do something."""
    NODE = "node"
    TOO_FAR = "too_far"


Kind = tuple[str, str]
"""A stack's id and an operation: what has a usual duration."""


class Usual(NamedTuple):
    """How long an operation takes on a stack: milliseconds, and of how many successes' median."""

    milliseconds: int
    samples: int


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that is live or waits."""

    id: str
    stack_id: str
    operation: str
    title: str
    """As people call it: `update #3 of shop/dev`."""
    began: int | None = None
    """When its first step began; of what waits, never."""
    held: str = ""
    """Why it cannot begin before somebody acts, such as `its stack is paused`; empty: it can."""

    @property
    def kind(self) -> Kind:
        return self.stack_id, self.operation


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """When something will probably happen (Unix milliseconds), and how one can tell."""

    at: int | None
    basis: Basis
    sentence: str


class Forecast(NamedTuple):
    """By a deployment's id: when what is live ends, and when what waits begins."""

    ends: Mapping[str, Expected]
    starts: Mapping[str, Expected]


NODE = Expected(at=None, basis=Basis.NODE, sentence="Unknown: Ray is looking for a place.")
TOO_FAR = Expected(
    at=None, basis=Basis.TOO_FAR, sentence="Unknown: too many wait before it to tell."
)


def usual_durations(successes: Iterable[tuple[str, str, int]]) -> dict[Kind, Usual]:
    """The medians of successes: (stack's id, operation, milliseconds), newest first."""
    taken: defaultdict[Kind, list[int]] = defaultdict(list)
    for stack_id, operation, milliseconds in successes:
        if len(taken[stack_id, operation]) < SAMPLES_MAX:
            taken[stack_id, operation].append(milliseconds)
    return {kind: Usual(int(median(each)), len(each)) for kind, each in taken.items()}


def forecast(
    live: Sequence[Item],
    line: Sequence[Item],
    usual: Mapping[Kind, Usual],
    *,
    limit: int,
    now: int,
) -> Forecast:
    """Play the queue forward as it is granted: one at a time per stack, `limit` in all.

    `line` is everything that waits, in its order, from the head on.
    """
    ends = {item.id: _end(item, usual, now) for item in live}
    game = _Game(line, usual, limit, now)
    for item in live:
        game.occupy(item, ends[item.id])
    return Forecast(ends, game.play())


def held(why: str) -> Expected:
    """Of what cannot begin before somebody acts."""
    return Expected(at=None, basis=Basis.HELD, sentence=f"Unknown: {why}.")


def about(milliseconds: int) -> str:
    """A length of time, as exactly as one can know it."""
    minutes = round(milliseconds / 60_000)
    if milliseconds < 45_000:
        return "less than a minute"
    if minutes < 90:
        return f"{max(1, minutes)} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"


def _end(item: Item, usual: Mapping[Kind, Usual], now: int) -> Expected:
    known = usual.get(item.kind)
    if known is None:
        return Expected(
            at=None,
            basis=Basis.NO_HISTORY,
            sentence=f"Unknown: {item.title} has no earlier success to go by.",
        )
    began = now if item.began is None else item.began
    if began + known.milliseconds < now:
        return Expected(
            at=now,
            basis=Basis.OVERDUE,
            sentence=f"Any moment: {item.title} runs longer than usual"
            f" ({about(known.milliseconds)}).",
        )
    return Expected(
        at=began + known.milliseconds, basis=Basis.HISTORY, sentence=_from_history(item, known)
    )


def _from_history(item: Item, known: Usual) -> str:
    last = "its last success" if known.samples == 1 else f"{known.samples} successes"
    return f"{_capital(item.title)} usually takes {about(known.milliseconds)} (from {last})."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Ending(NamedTuple):
    """A slot and a stack that become free."""

    at: int
    order: int
    item: Item
    expected: Expected


class _Game:
    """The queue, played forward: who ends gives the next its turn."""

    def __init__(
        self, line: Sequence[Item], usual: Mapping[Kind, Usual], limit: int, now: int
    ) -> None:
        self.usual = usual
        self.free = limit
        self.occupied = 0
        self.now = now
        self.starts: dict[str, Expected] = {}
        self.busy: dict[str, Expected] = {}
        """What each busy stack is busy with: how its end is expected."""
        self.unknown: Expected | None = None
        self.endings: list[_Ending] = []
        self.heads: list[tuple[int, Item]] = []
        self.lines: defaultdict[str, deque[tuple[int, Item]]] = defaultdict(deque)
        for place, item in enumerate(line):
            self.lines[item.stack_id].append((place, item))

    def occupy(self, item: Item, end: Expected) -> None:
        """A deployment holds its stack and a slot until its end; one without an end for ever."""
        self.free -= 1
        self.busy[item.stack_id] = end
        if end.at is None:
            self.unknown = end
        else:
            self.occupied += 1
            heapq.heappush(self.endings, _Ending(end.at, self.occupied, item, end))

    def play(self) -> dict[str, Expected]:
        for stack_id in self.lines:
            if stack_id not in self.busy:
                self._step_up(stack_id)
        at = self.now
        cause = Expected(at=at, basis=Basis.NOTHING_AHEAD, sentence="Nothing is in its way.")
        while True:
            while self.free > 0 and self.heads:
                self._begin(at, cause)
            if not self.endings:
                break
            ending = heapq.heappop(self.endings)
            at, cause = ending.at, ending.expected
            self.free += 1
            del self.busy[ending.item.stack_id]
            self._step_up(ending.item.stack_id)
        self._leave_unknown()
        return self.starts

    def _step_up(self, stack_id: str) -> None:
        """The stack's next becomes one of those that could begin; what is held blocks the rest."""
        line = self.lines[stack_id]
        if line and line[0][1].held:
            self._leave_line(stack_id, held(f"{line[0][1].title} before it is held up"))
        elif line:
            heapq.heappush(self.heads, line.popleft())

    def _begin(self, at: int, cause: Expected) -> None:
        _, item = heapq.heappop(self.heads)
        self.starts[item.id] = Expected(at=at, basis=cause.basis, sentence=cause.sentence)
        end = _end(msgspec.structs.replace(item, began=at), self.usual, at)
        self.occupy(item, end)

    def _leave_unknown(self) -> None:
        """Whoever got no turn waits for one whose end nobody can tell."""
        why = self.unknown or held("nothing may run at a time")
        for _, item in self.heads:
            self.starts[item.id] = why
            self._leave_line(item.stack_id, why)
        for stack_id in self.lines:
            self._leave_line(stack_id, self.busy.get(stack_id, why))

    def _leave_line(self, stack_id: str, why: Expected) -> None:
        for _, item in self.lines[stack_id]:
            self.starts[item.id] = held(item.held) if item.held else why
        self.lines[stack_id].clear()
