"""Everything that differs between SQLite and PostgreSQL: engines, locking, upsert."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

WAIT_SECONDS = 30.0


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite database."""
    return url.startswith("sqlite")


def writer_engine(url: str) -> AsyncEngine:
    """The engine of writing transactions: on SQLite one connection, since it has one writer."""
    if not is_sqlite(url):
        return create_async_engine(
            url, pool_size=20, max_overflow=10, pool_pre_ping=True, hide_parameters=True
        )
    engine = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": WAIT_SECONDS, "isolation_level": None},
    )
    _prepare_sqlite(engine, begin="BEGIN IMMEDIATE", query_only=False, cache_kib=16_000)
    return engine


def reader_engine(url: str, writer: AsyncEngine) -> AsyncEngine:
    """The engine of read-only transactions: on SQLite several snapshots beside the writer."""
    if not is_sqlite(url):
        return writer
    engine = create_async_engine(
        url,
        pool_size=8,
        max_overflow=8,
        # The connections of quiet times are few, and warm.
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"timeout": WAIT_SECONDS, "isolation_level": None},
    )
    # Each has a cache of its own; behind all of them is the operating system's.
    _prepare_sqlite(engine, begin="BEGIN", query_only=True, cache_kib=2_000)
    return engine


def _prepare_sqlite(engine: AsyncEngine, *, begin: str, query_only: bool, cache_kib: int) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            "journal_mode = WAL",
            # A 202 means that it is on the disk.
            "synchronous = FULL",
            "foreign_keys = ON",
            f"cache_size = -{cache_kib}",
            "temp_store = MEMORY",
            f"query_only = {'ON' if query_only else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def insert(dialect: str, table: Table) -> Any:
    """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def contains(dialect: str, value: ColumnElement[str], words: str) -> ColumnElement[bool]:
    """Whether a text contains another, in whatever case."""
    pattern = "%" + _escaped(words) + "%"
    # SQLite's LIKE ignores case by itself (of ASCII letters), and faster than lower() would.
    if dialect == "sqlite":
        return value.like(pattern, escape="\\")
    return value.ilike(pattern, escape="\\")


def begins(value: ColumnElement[str], words: str) -> ColumnElement[bool]:
    """Whether a text begins with another."""
    return value.like(_escaped(words) + "%", escape="\\")


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
