"""All that engines did with a stack, for people to look back on: updates and previews alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import access, history
from control_plane.services.history import Update
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import updates


class Which(StrEnum):
    """What of it is wanted."""

    ALL = ""
    UPDATES = "updates"
    PREVIEWS = "previews"


class Entry(NamedTuple):
    """An update or preview, and the number of the deployment that made it."""

    update: Update
    is_preview: bool
    deployment: int | None
    environment: Mapping[str, str]
    """What its CLI told of where it ran: the commit, the machine's kind, its own version."""

    @property
    def changes(self) -> dict[str, int]:
        """How many resources were created, changed and so on, by the engine's words."""
        return history.changes(self.update)


class Activity(NamedTuple):
    """Some entries, newest first, and how many there are in all."""

    entries: Sequence[Entry]
    total: int


@verb
async def page(
    world: World, principal: Principal, name: StackName, which: Which, number: int, size: int
) -> Activity:
    """A page of what was done with the stack, counted from 1."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        dry_run = None if which is Which.ALL else which is Which.PREVIEWS
        rows = await updates.activity(
            tx, stack.id, dry_run=dry_run, limit=size, offset=(number - 1) * size
        )
        total = await updates.activity_length(tx, stack.id, dry_run=dry_run)
    return Activity([_entry(row) for row in rows], total)


@verb
async def of_update(world: World, principal: Principal, name: StackName, update_id: str) -> Entry:
    """One of them by its id; raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await updates.active(tx, stack.id, update_id)
    if row is None:
        raise NotFound(what=f"Update '{update_id}'")
    return _entry(row)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        history.update_info(row), bool(row.dry_run), row.deployment_version, environment_of(row)
    )


def environment_of(row: Row[Any]) -> Mapping[str, str]:
    """What the CLI told of its surroundings; nothing of what no CLI tells."""
    try:
        return msgspec.json.decode(row.environment, type=dict[str, str])
    except msgspec.DecodeError:
        return {}
