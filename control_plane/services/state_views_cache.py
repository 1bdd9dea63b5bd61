"""What was read of state documents, kept for those who look at the same ones next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from control_plane.domain.resource_tree import Row

ROWS_MAX = 50_000
"""How many resources are kept in all; each takes less than a kilobyte."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to see of a state."""

    rows: Sequence[Row]
    outputs: dict[str, Any]
    output_bytes: int
    secrets_by: str
    """The kind of secrets provider that sealed its secrets: `service` is this server."""


class Views:
    """What was read of states, by the document's key; the longest unused goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, View] = OrderedDict()
        self._rows = 0

    def get(self, key: str) -> View | None:
        """What was read of that document, if it is kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: str, view: View) -> None:
        """Keep what was read, if it is not too much."""
        if len(view.rows) > ROWS_MAX or key in self._kept:
            return
        self._kept[key] = view
        self._rows += len(view.rows) + 1
        while self._rows > ROWS_MAX:
            _, gone = self._kept.popitem(last=False)
            self._rows -= len(gone.rows) + 1
