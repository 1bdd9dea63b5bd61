"""When an update did what, as bars of a drawing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from control_plane.domain.diagnostics import Step

WIDTH = 1000
BAR_MIN = 4
"""What took less than a second still is a bar; the engine counts in seconds."""
BARS_MAX = 100


class Bar(NamedTuple):
    """A step from `start`, `length` wide, of the drawing's WIDTH."""

    step: Step
    start: int
    length: int


def bars(steps: Sequence[Step]) -> list[Bar]:
    """Those that took longest, in the order in which they began; none where all was at once."""
    timed = [each for each in steps if each.ended is not None]
    if not timed:
        return []
    first = min(each.began for each in timed)
    span = max(each.ended or 0 for each in timed) - first
    if span <= 0:
        return []
    longest = sorted(timed, key=lambda each: -(each.seconds or 0))[:BARS_MAX]
    return [_bar(each, first, span) for each in sorted(longest, key=lambda each: each.began)]


def _bar(step: Step, first: int, span: int) -> Bar:
    length = max(BAR_MIN, (step.seconds or 0) * WIDTH // span)
    start = (step.began - first) * WIDTH // span
    return Bar(step, max(0, min(start, WIDTH - length)), length)
