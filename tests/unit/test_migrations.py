"""The migrations lead to exactly the tables that the code uses."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from control_plane.store.migrate import migrate
from control_plane.store.tables import metadata


def test_migrations_make_the_tables(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'migrated.db'}"
    migrate(url)
    migrate(url)  # a second time there is nothing to do
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    fresh = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    metadata.create_all(fresh)
    assert _schema(engine) == _schema(fresh)


def _schema(engine):
    """Columns, keys and indexes with their conditions, as SQLite itself tells them."""
    inspector = inspect(engine)
    tables = {}
    for name in inspector.get_table_names():
        if name != "alembic_version":
            indexes = {
                (
                    i["name"],
                    tuple(i["column_names"]),
                    i["unique"],
                    str(sorted((k, str(v)) for k, v in i["dialect_options"].items())),
                )
                for i in inspector.get_indexes(name)
            }
            columns = [
                (c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(name)
            ]
            tables[name] = (
                columns,
                indexes,
                inspector.get_pk_constraint(name)["constrained_columns"],
            )
    engine.dispose()
    return tables
