"""What one process keeps in mind of the updates that somebody looks at."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from control_plane.domain.progress import Counter

TRACKED_MAX = 64
"""How many updates are kept in mind; one that was forgotten is read anew."""


class Tracked:
    """An update's events so far, and where to go on."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.next = 0
        self.read_at = float("-inf")
        self.turn = asyncio.Lock()


class Tracker:
    """The updates, by their ids."""

    def __init__(self) -> None:
        self._updates: OrderedDict[str, Tracked] = OrderedDict()

    def of(self, update_id: str) -> Tracked:
        """The update's place; the one that was asked for longest ago gives way."""
        tracked = self._updates.setdefault(update_id, Tracked())
        self._updates.move_to_end(update_id)
        if len(self._updates) > TRACKED_MAX:
            self._updates.popitem(last=False)
        return tracked
