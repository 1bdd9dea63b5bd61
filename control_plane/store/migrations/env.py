"""How alembic reaches the database: the async engines' driver is replaced by a blocking one."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, event

# Imported for its tables.
from control_plane.store.github import tables as _github  # noqa: F401
from control_plane.store.tables import metadata


def run() -> None:
    url = context.config.attributes["database_url"]
    engine = create_engine(url.replace("+aiosqlite", "").replace("+asyncpg", "+psycopg"))
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _wal(connection, _record):  # type: ignore[no-untyped-def]
            connection.execute("PRAGMA journal_mode = WAL")

    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
