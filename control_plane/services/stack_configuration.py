"""The configuration that a stack's last update ran with: shown masked, its secrets opened one by
one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from control_plane.domain import update_config
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update_config import Entry
from control_plane.errors import BadRequest, NotFound
from control_plane.services import access, history, stack_secrets
from control_plane.services.history import Update
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import updates


class Value(NamedTuple):
    """A value for reading: secrets in it are masked, or opened."""

    name: str
    text: str
    secret: bool
    structured: bool
    opened: bool = False


class Configuration(NamedTuple):
    """The values by name, and the update that used them; None before there was one."""

    values: Sequence[Value]
    update: Update | None


@verb
async def show(
    world: World, principal: Principal, name: StackName, reveal: str = ""
) -> Configuration:
    """What the last update ran with, the secret named `reveal` in plain text.

    Raises NotFound, and BadRequest for a secret that this server cannot open.
    """
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await updates.of_version(tx, stack.id, stack.version)
    entries = [] if row is None else update_config.entries(row.config.encode())
    plain: dict[str, str] = {}
    if reveal:
        wanted = next((each for each in entries if each.name == reveal), None)
        if wanted is None:
            raise NotFound(what=f"Configuration value '{reveal}'")
        plain = await _opened(world, principal, name, wanted)
    return Configuration(
        [_value(each, plain if each.name == reveal else None) for each in entries],
        None if row is None else history.update_info(row),
    )


def _value(entry: Entry, plain: dict[str, str] | None) -> Value:
    opened = plain is not None
    text = entry.shown if plain is None else entry.opened(plain.__getitem__)
    return Value(entry.name, text, entry.secret, entry.structured, opened)


async def _opened(
    world: World, principal: Principal, name: StackName, entry: Entry
) -> dict[str, str]:
    try:
        found = await stack_secrets.decrypt(world, principal, name, list(entry.ciphertexts()))
    except BadRequest:
        raise BadRequest(
            detail=f"The secret '{entry.name}' is not encrypted by this server, so it cannot be"
            " opened here. On a machine that has the key: pulumi config get"
        ) from None
    return {text: plain.decode(errors="replace") for text, plain in found.items()}
