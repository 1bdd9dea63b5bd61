"""HTTP clients over the real application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from control_plane.app import create_app
from control_plane.services import identity
from control_plane.services.world import World

ADMIN = "ada"
TOKEN = "pul-" + "a" * 48


@asynccontextmanager
async def client(
    world: World, token: str | None = TOKEN, *, login: str = ADMIN
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged in as `login` with `token` (made on first use); None: as nobody."""
    if token is not None:
        await identity.bootstrap(world, login, token)
    headers = {"Authorization": f"token {token}"} if token is not None else {}
    transport = httpx.ASGITransport(create_app(world, loops=False), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://slipway.test", headers=headers, timeout=60
    ) as http:
        yield http
