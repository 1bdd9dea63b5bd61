"""Brings a database to the current tables, by the numbered steps in migrations/."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig


def alembic_config(database_url: str) -> AlembicConfig:
    """Alembic's settings for a database, without an ini file."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["database_url"] = database_url
    return config


def migrate(database_url: str) -> None:
    """Apply every missing step. Blocking; safe to call when there is nothing to do."""
    command.upgrade(alembic_config(database_url), "head")
