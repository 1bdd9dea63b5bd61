"""Every route of the console as the application lists them, with an address to try each at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from litestar import Litestar
from litestar.routes import HTTPRoute

PLACES = {
    "organization": "ada",
    "project": "shop",
    "stack": "dev",
    "link": "sll-nothing",
    "name": "slipway.css",
}
"""What stands for a parameter, by its name; one that is not here stands for itself."""


class Address(NamedTuple):
    """A route, and an address of it."""

    method: str
    route: str
    path: str


def console_addresses(app: Litestar, **places: str) -> Iterator[Address]:
    """Those that `ui` answers; what leads nowhere but to another page is among them."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if not handler.fn.__module__.startswith("ui."):
                continue
            for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                yield Address(method, route.path_format, _filled(route, places))


def _filled(route: HTTPRoute, places: dict[str, str]) -> str:
    parts = []
    for part in route.path_components:
        if isinstance(part, str):
            parts.append(part)
        elif part.name in places:
            parts.append(places[part.name])
        else:
            parts.append(PLACES.get(part.name, "1" if part.type is int else "a"))
    return "/" + "/".join(parts)
