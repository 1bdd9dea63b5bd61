"""`slipway up`: everything on one machine, and optionally the demonstration."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from alembic.util import CommandError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from control_plane import supervisor, toolchain
from control_plane.app import open_world
from control_plane.config import Config
from control_plane.demo import Demo, DemoError
from control_plane.errors import Problem
from control_plane.services import identity, pools, sessions
from control_plane.store.migrate import migrate

T = TypeVar("T")

DEFAULT_USER = "admin"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

console = Console(stderr=True, highlight=False)


class Interrupted(Exception):
    """The user pressed Ctrl-C while something was under way."""


@dataclass(frozen=True)
class Access:
    """Who the first user is, and the token to log in with."""

    login: str
    token: str


def up(config: Config, *, demo: bool, once: bool) -> int:
    """Bring everything up and stay until Ctrl-C; the answer is the exit status. Blocking."""
    config = msgspec.structs.replace(
        config, deployments=msgspec.structs.replace(config.deployments, local_sources=True)
    )
    try:
        tools = toolchain.ensure(_progress, config.toolchain.cache_dir)
        return asyncio.run(_up(config, Path(tools.bin_dir), demo=demo, once=once))
    except (supervisor.SupervisorError, toolchain.ToolchainError, DemoError) as problem:
        return _failed(str(problem))
    except Problem as problem:
        return _failed(problem.message)
    except (ValueError, SQLAlchemyError, CommandError) as problem:
        return _failed(f"The data in {config.data_dir} cannot be used: {problem}")


def _failed(text: str) -> int:
    console.print(text, style="red", markup=False)
    return 1


def _progress(text: str) -> None:
    console.print(text, markup=False)


async def _up(config: Config, toolchain_dir: Path, *, demo: bool, once: bool) -> int:
    async with supervisor.interruptible() as interrupt:
        try:
            # Ray takes longest, so it starts first and the database is prepared meanwhile.
            async with supervisor.running(config, toolchain_dir, _progress, _prepare) as slipway:
                console.print("Starting Slipway…")
                await _unless(interrupt, slipway.wait_until_ready())
                access = _read_access(config)
                status = 0
                if demo:
                    status = await _unless(interrupt, _demonstrate(config, access))
                if once:
                    return status
                _tell(config, access, await _login_link(config, access.login))
                await interrupt.wait()
                console.print("\nStopping…")
                return 0
        except Interrupted:
            console.print("\nStopped.")
            return 130


async def _prepare(config: Config) -> None:
    """Everything that must be in the database before the first request."""
    before = os.umask(0o077)
    try:
        await asyncio.to_thread(migrate, config.database_url)
        world = open_world(config)
    finally:
        os.umask(before)
    try:
        saved = _saved(config, "user")
        login = os.environ.get("SLIPWAY_BOOTSTRAP_USER") or saved or DEFAULT_USER
        kept = _saved(config, "token") if saved in (None, login) else None
        fixed = os.environ.get("SLIPWAY_BOOTSTRAP_TOKEN") or kept
        token = await identity.bootstrap(world, login, fixed)
        if token is None:
            token = (await identity.create_token(world, login, "slipway up")).value
        _save(config, "user", login)
        _save(config, "token", token)
        await pools.ensure_default(world, supervisor.pool_token(config))
    finally:
        await world.database.close()


def _access_file(config: Config, name: str) -> Path:
    return config.data_dir / "access" / name


def _saved(config: Config, name: str) -> str | None:
    try:
        return _access_file(config, name).read_text().strip() or None
    except FileNotFoundError:
        return None


def _save(config: Config, name: str, value: str) -> None:
    """The token is kept beside the master key, for this user's eyes only (mode 0600)."""
    if _saved(config, name) != value:
        supervisor.write_secret(_access_file(config, name), value)


def _read_access(config: Config) -> Access:
    return Access(_saved(config, "user") or DEFAULT_USER, _saved(config, "token") or "")


async def _unless(interrupt: asyncio.Event, work: Awaitable[T]) -> T:
    """Do the work, but give up as soon as the user interrupts."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.create_task(interrupt.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Interrupted
        return task.result()
    finally:
        for each in (task, waiter):
            each.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)


async def _demonstrate(config: Config, access: Access) -> int:
    def write(text: str) -> None:
        # Colours are for a terminal; a file or another program gets the text alone.
        print(text if sys.stdout.isatty() else ANSI.sub("", text), end="", flush=True)

    demo = Demo(config.public_url, access.token, access.login, config.data_dir)
    return 0 if await demo.run(write) else 1


async def _login_link(config: Config, login: str) -> str:
    world = open_world(config)
    try:
        return f"{config.public_url}/sign-in/{await sessions.make_link(world, login)}"
    finally:
        await world.database.close()


def _tell(config: Config, access: Access, link: str) -> None:
    url = config.public_url
    print(
        f"\nSlipway serves {url} (API documents: {url}/schema)\n"
        f"Open the console, signed in (the link works once): {link}\n"
        f"Access token of {access.login}: {access.token}\n\n"
        f"Log in from another terminal:\n"
        f"    PULUMI_ACCESS_TOKEN={access.token} pulumi login {url}\n\n"
        f"Ctrl-C stops everything; what was deployed stays.",
        flush=True,
    )
