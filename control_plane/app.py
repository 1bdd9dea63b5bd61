"""The composition root: what is mounted, what is behind the ports, and which loops tick."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.types import ASGIApp

from control_plane.adapters.broker import LocalBroker
from control_plane.adapters.changed_files import open_changed_files
from control_plane.adapters.cipher import FileCipher
from control_plane.adapters.github import open_github
from control_plane.adapters.log_reader import open_log_reader
from control_plane.adapters.object_store import open_store
from control_plane.api import (
    auth,
    deployment_settings,
    deployments,
    empty,
    github,
    health,
    organization_metadata,
    organizations,
    problems,
    runner,
    secrets,
    stack_config,
    stack_moves,
    stack_outputs,
    stacks,
    unbuilt,
    updates,
    user,
)
from control_plane.api.body import BodyMiddleware
from control_plane.config import Config
from control_plane.loops import github as github_loops
from control_plane.loops.clock_watch import Monotonic
from control_plane.loops.janitor import janitor
from control_plane.services.world import World
from control_plane.store.transaction import Database
from ui.console import console
from ui.unknown import answering_head, with_pages

ROUTES: list[Any] = [
    *health.ROUTES,
    *user.ROUTES,
    *organizations.ROUTES,
    *organization_metadata.ROUTES,
    *stacks.ROUTES,
    *updates.ROUTES,
    *secrets.ROUTES,
    *deployments.ROUTES,
    *deployment_settings.ROUTES,
    *runner.ROUTES,
    *stack_config.ROUTES,
    *stack_outputs.ROUTES,
    *stack_moves.ROUTES,
    *github.ROUTES,
    *empty.ROUTES,
    *unbuilt.ROUTES,
]


def open_world(config: Config) -> World:
    """The real ports, by the settings."""
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return World(
        config=config,
        database=Database(config.database_url),
        objects=open_store(config.object_store, config.store.object_store_endpoint),
        logs=open_log_reader(config.log_store, config.store.log_store_endpoint),
        broker=LocalBroker(),
        cipher=FileCipher.open(config.data_dir / "master.key"),
        github=open_github(config),
        changed_files=open_changed_files(config),
    )


def create_app(
    world: World, *, loops: bool = True, monotonic: Monotonic = time.monotonic
) -> Litestar:
    """The application over a world; with `loops`, its background chores run while it does."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            if not loops:
                yield
                return
            async with janitor(world, monotonic), github_loops.running(world):
                yield
        finally:
            await world.github.close()

    def bounded(app: ASGIApp) -> ASGIApp:
        return BodyMiddleware(app, world.config.server.body_bytes_max)

    made = Litestar(
        [*ROUTES, console()],
        dependencies=auth.DEPENDENCIES,
        exception_handlers=with_pages(problems.HANDLERS),
        middleware=[bounded],
        state=State({"world": world}),
        lifespan=[lifespan],
        on_app_init=[_plain],
        request_max_body_size=None,
        openapi_config=OpenAPIConfig(
            title="Slipway",
            version="1",
            description="Pulumi Deployments and state, self-hosted.",
            render_plugins=[JsonRenderPlugin(), YamlRenderPlugin()],
        ),
    )
    # Routes are matched before any middleware is asked.
    made.asgi_handler = answering_head(made.asgi_handler)
    return made


def _plain(config: AppConfig) -> AppConfig:
    """No logging plugin of the framework's: structlog is set up by the process."""
    config.logging_config = None
    return config
