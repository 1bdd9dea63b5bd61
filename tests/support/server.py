"""The real application behind a real port, in a thread of the test's process; no Ray."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from control_plane.app import create_app
from control_plane.services import identity
from control_plane.services.world import World
from tests.support.app import ADMIN, TOKEN
from tests.support.waiting import wait_for
from tests.support.world import FakeClock, make_world


@dataclass
class Server:
    """A running server, and the world behind it."""

    url: str
    world: World


@contextmanager
def serving(
    tmp_path: Path,
    *,
    clock: FakeClock | None = None,
    empty: bool = False,
    port: int = 0,
    **settings: dict[str, object],
) -> Iterator[Server]:
    """A server whose user `ada` has the tests' token; `empty`: nobody is there. `port`: 0: any."""
    world = make_world(tmp_path, config=settings, now=clock)
    monotonic = time.monotonic if clock is None else clock.monotonic
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(world, monotonic=monotonic),
            host="127.0.0.1",
            port=port,
            http="httptools",
            log_level="warning",
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
    )

    async def run() -> None:
        if not empty:
            await identity.bootstrap(world, ADMIN, TOKEN)
        await server.serve()
        await world.database.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive(), "the server has started")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Server(f"http://127.0.0.1:{port}", world)
    finally:
        server.should_exit = True
        thread.join()
