"""A real world on a temporary directory: SQLite file, object directory, keys, your clock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from control_plane.adapters.broker import LocalBroker
from control_plane.adapters.changed_files import open_changed_files
from control_plane.adapters.cipher import FileCipher
from control_plane.adapters.github import open_github
from control_plane.adapters.log_reader import open_log_reader
from control_plane.adapters.object_store import DirectoryStore
from control_plane.config import Config, load
from control_plane.services.world import World, unix_milliseconds
from control_plane.store.tables import metadata
from control_plane.store.transaction import Database


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: int | None = None) -> None:
        self.now = unix_milliseconds() if now is None else now

        self._advanced = 0.0

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass: for the wall clock, and for the clock that nobody sets."""
        self._advanced += seconds
        self.now += int(seconds * 1000)

    def monotonic(self) -> float:
        """Seconds that have passed, as `time.monotonic` counts them."""
        return self._advanced


def make_config(tmp_path: Path, overrides: dict[str, dict[str, Any]] | None = None) -> Config:
    values: dict[str, dict[str, Any]] = {"store": {"data_dir": str(tmp_path / "data")}}
    for section, keys in (overrides or {}).items():
        values.setdefault(section, {}).update(keys)
    return load(environment={}, overrides=values)


def make_world(
    tmp_path: Path,
    *,
    config: dict[str, dict[str, Any]] | None = None,
    now: Any = None,
) -> World:
    """A world whose database has the current tables; close `world.database` after use."""
    settings = make_config(tmp_path, config)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    create_tables(settings)
    return World(
        config=settings,
        database=Database(settings.database_url),
        objects=DirectoryStore(Path(settings.object_store)),
        logs=open_log_reader(settings.log_store),
        broker=LocalBroker(),
        cipher=FileCipher.open(settings.data_dir / "master.key"),
        github=open_github(settings),
        changed_files=open_changed_files(settings),
        now=now or unix_milliseconds,
    )


def create_tables(settings: Config) -> None:
    engine = create_engine(settings.database_url.replace("+aiosqlite", ""))
    metadata.create_all(engine)
    engine.dispose()


def run(coroutine: Any) -> Any:
    """Run a coroutine from a plain test."""
    return asyncio.run(coroutine)
