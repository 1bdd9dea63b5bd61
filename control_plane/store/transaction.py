"""Transactions: opened by services, closed before anything outside the database is called.

`Database.transaction()` writes, `Database.snapshot()` only reads. What must follow a commit is
registered with `tx.after_commit(...)`: a hint, which may be lost without harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import ColumnElement, CursorResult, Executable, Row, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.outside import transaction_open
from control_plane.store import dialect

log = structlog.get_logger()


class Transaction:
    """One open transaction: a connection, and the hints to give after its commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._hints: list[Callable[[], object]] = []

    async def execute(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Run a statement; a list of dictionaries runs it once for each."""
        return await self._connection.execute(statement, values)

    async def first(self, statement: Executable, values: Any = None) -> Row[Any] | None:
        """The first row of a query, or None."""
        return (await self._connection.execute(statement, values)).first()

    async def all(self, statement: Executable, values: Any = None) -> Sequence[Row[Any]]:
        """All rows of a query."""
        return (await self._connection.execute(statement, values)).all()

    async def partitions(
        self, statement: Executable, values: Any = None, *, size: int
    ) -> AsyncIterator[Sequence[Row[Any]]]:
        """All rows of a query, so many at a time: for what is too much to hold at once."""
        async with self._connection.stream(statement, values) as found:
            async for rows in found.partitions(size):
                yield rows

    async def scalar(self, statement: Executable, values: Any = None) -> Any:
        """The first column of the first row, or None."""
        return (await self._connection.execute(statement, values)).scalar()

    def insert(self, table: Table) -> Any:
        """An INSERT of this database's dialect, which knows ON CONFLICT."""
        return dialect.insert(self._connection.dialect.name, table)

    def contains(self, value: ColumnElement[str], words: str) -> ColumnElement[bool]:
        """A condition: the text contains these words, in whatever case."""
        return dialect.contains(self._connection.dialect.name, value, words)

    @property
    def locks_rows(self) -> bool:
        """Whether `SELECT … FOR UPDATE` means something here; SQLite has one writer anyway."""
        return self._connection.dialect.name != "sqlite"

    def after_commit(self, hint: Callable[[], object]) -> None:
        """Call this once the transaction is durable; never if it is rolled back."""
        self._hints.append(hint)

    def give_hints(self) -> None:
        """Give all hints; a failing one is logged, for the transaction has already happened."""
        for hint in self._hints:
            try:
                hint()
            except Exception:
                log.exception("hint after commit failed", action="after_commit")


class Database:
    """The record of truth."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._writer = dialect.writer_engine(url)
        self._reader = dialect.reader_engine(url, self._writer)
        # One writer at a time, first come first served; SQLite's own wait is not fair.
        self._turn = asyncio.Lock() if dialect.is_sqlite(url) else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A writing transaction: commits at the end of the block, rolls back on an exception."""
        if self._turn is None:
            async with self._begin(self._writer) as tx:
                yield tx
        else:
            async with self._turn, self._begin(self._writer) as tx:
                yield tx
        tx.give_hints()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """A read-only transaction: everything in it sees one moment."""
        async with self._begin(self._reader) as tx:
            yield tx

    @asynccontextmanager
    async def _begin(self, engine: Any) -> AsyncIterator[Transaction]:
        marker = transaction_open.set(True)
        try:
            async with engine.begin() as connection:
                yield Transaction(connection)
        finally:
            transaction_open.reset(marker)

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()
