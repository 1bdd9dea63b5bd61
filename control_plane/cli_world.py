"""What the command line's commands share: settings, and the server's services over its database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from control_plane.config import Config, ConfigError, load

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of settings.", dir_okay=False)
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where everything is kept. Default: .slipway")
]


def configured(file: Path | None, data_dir: Path | None, port: int | None = None) -> Config:
    """The settings in force; ends the command when they are wrong."""
    overrides: dict[str, dict[str, Any]] = {}
    if data_dir is not None:
        overrides["store"] = {"data_dir": str(data_dir)}
    if port is not None:
        overrides["server"] = {"port": port}
    try:
        return load(file, overrides=overrides)
    except ConfigError as problem:
        fail(str(problem), 2)


def fail(message: str, status: int = 1) -> NoReturn:
    """End the command with an error."""
    typer.echo(message, err=True)
    raise typer.Exit(status)


def first_user(config: Config) -> str:
    """Whom `slipway up` has made; ends the command where it never ran."""
    return saved_user(config) or fail("Name the user: --user LOGIN", 2)


def saved_user(config: Config) -> str:
    """Whom `slipway up` has made; empty where it never ran."""
    try:
        return (config.data_dir / "access" / "user").read_text().strip()
    except FileNotFoundError:
        return ""


def with_world(config: Config, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something with services; a problem ends the command with its message."""
    from control_plane.app import open_world
    from control_plane.errors import Problem
    from control_plane.store.migrate import migrate as bring_up_to_date

    if not config.data_dir.exists():
        fail(f"There is no Slipway data in {config.data_dir}; name it with --data-dir.", 2)
    bring_up_to_date(config.database_url)

    async def run() -> Any:
        world = open_world(config)
        try:
            return await work(world)
        finally:
            await world.github.close()
            await world.database.close()

    try:
        return asyncio.run(run())
    except Problem as problem:
        fail(problem.message)
