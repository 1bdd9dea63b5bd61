"""`slipway serve`: the control plane as one process."""

from __future__ import annotations

import os
import socket

import uvicorn

from control_plane import heap, logging
from control_plane.app import create_app, open_world
from control_plane.config import Config
from control_plane.store.migrate import migrate

STOP_SECONDS = 3


def serve(config: Config, listener: int | None = None) -> None:
    """Bring the database up to date and serve until SIGTERM or SIGINT. Blocking.

    `listener` is the descriptor of a listening socket that a supervisor has bound already.
    """
    # Whatever is written holds states and logs: for this user alone.
    os.umask(0o077)
    heap.set_up()
    logging.set_up(config.server.log_format)
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    migrate(config.database_url)
    world = open_world(config)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(world),
            host=config.server.host,
            port=config.server.port,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            # Long polls are held open; after this they are cut, and their clients come back.
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
    heap.settle()
    server.run(None if listener is None else [socket.socket(fileno=listener)])
