"""A stack's state as the console looks at it: read once for all who look at the same document.

A document never changes, and its key names it; so what was read of it can be kept. What is kept is
little: of a resource its name and nature, of the outputs all. Secrets stay sealed in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from control_plane.domain import checkpoint, property_values, resource_tree
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.resource_tree import Whole
from control_plane.services import access, state, state_documents
from control_plane.services.state_documents import worked
from control_plane.services.state_views_cache import View
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import updates

R = TypeVar("R")

OUTPUT_BYTES_MAX = 256 * 1024
"""Outputs larger than that are read anew each time."""


@verb
async def view(world: World, principal: Principal, name: StackName) -> View:
    """The stack's state as it is now; raises NotFound."""
    key = await _settled_key(world, principal, name)
    kept = world.views.get(key) if key is not None else None
    if kept is not None:
        return kept
    made = await _examined(world, principal, name, key, _read)
    if key is not None and made.output_bytes <= OUTPUT_BYTES_MAX:
        world.views.put(key, made)
    return made


@verb
async def resource(world: World, principal: Principal, name: StackName, urn: str) -> Whole | None:
    """All that the state as it is now says of one resource; None when it has none of that URN."""
    key = await _settled_key(world, principal, name)
    find = partial(resource_tree.whole, urn=urn)
    return await _examined(world, principal, name, key, find)


async def _settled_key(world: World, principal: Principal, name: StackName) -> str | None:
    """The key of the stack's document; None when there is none, or an update is changing it."""
    async with world.database.snapshot() as tx:
        stack = await access.readable_stack(tx, principal, name)
        moving = stack.current_update_id is not None
        moving = moving or await updates.unsettled(tx, stack.id) is not None
    return None if moving else stack.checkpoint_key


async def _examined(
    world: World,
    principal: Principal,
    name: StackName,
    key: str | None,
    function: Callable[[bytes], R],
) -> R:
    if key is not None:
        return await state_documents.examined(world, key, function)
    document = await state.export(world, principal, name, world.config.public_url)
    return await worked(len(document), function, document)


_read_outputs = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _read(document: bytes) -> View:
    outputs, provider = checkpoint.outputs(document)
    return View(
        rows=resource_tree.tree(resource_tree.resources_of(document)),
        outputs={key: property_values.read(each) for key, each in _read_outputs(outputs).items()},
        output_bytes=len(memoryview(outputs)),
        secrets_by=checkpoint.provider_of(provider),
    )
