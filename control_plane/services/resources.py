"""A stack's resources, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from control_plane.domain import resource_tree
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.resource_tree import Row
from control_plane.services import state
from control_plane.services.state_documents import worked
from control_plane.services.world import World


class Listing(NamedTuple):
    """Some rows, how many there are of that kind, and how many resources in all."""

    rows: Sequence[Row]
    found: int
    total: int


async def listing(
    world: World, principal: Principal, name: StackName, words: str, start: int, count: int
) -> Listing:
    """Rows of the stack's tree, or of those that have the words; raises NotFound."""
    document = await state.export(world, principal, name, world.config.public_url)
    return await worked(len(document), _listing, document, words, start, count)


def _listing(document: bytes, words: str, start: int, count: int) -> Listing:
    resources = resource_tree.resources_of(document)
    rows = resource_tree.matching(resources, words) if words else resource_tree.tree(resources)
    return Listing(rows[start : start + count], len(rows), len(resources))
