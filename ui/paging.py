"""The addresses of the pages before and after one of a list."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode


class Neighbours(NamedTuple):
    """Queries that lead to the page before and to the page after; empty where there is none."""

    before: str
    after: str


def neighbours(number: int, size: int, total: int, **chosen: str) -> Neighbours:
    """Those of the page of that number, from 1; they keep what was chosen, as far as it is."""
    kept = {name: value for name, value in chosen.items() if value}

    def address(of: int) -> str:
        return "?" + urlencode(kept | {"page": str(of)})

    return Neighbours(
        before=address(number - 1) if number > 1 else "",
        after=address(number + 1) if number * size < total else "",
    )
