"""A stack's resources, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from control_plane.domain import property_values, resource_tree
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.resource_tree import Row, Whole
from control_plane.errors import NotFound
from control_plane.services import stack_outputs, state_views
from control_plane.services.world import World


class Listing(NamedTuple):
    """Some rows, how many there are of that kind, and how many resources in all."""

    rows: Sequence[Row]
    found: int
    total: int


class Property(NamedTuple):
    """An input or output of a resource, for reading: secrets in it are masked, or opened."""

    name: str
    text: str
    secret: bool
    opened: bool


class Detail(NamedTuple):
    """One resource with all that is known of it."""

    properties: dict[str, Any]
    inputs: Sequence[Property]
    outputs: Sequence[Property]
    used_by: Sequence[str]


async def listing(
    world: World,
    principal: Principal,
    name: StackName,
    words: str,
    start: int,
    count: int,
    mark: str = "",
) -> Listing:
    """Rows of the stack's tree, or of those that have the words and the mark; raises NotFound."""
    rows = (await state_views.view(world, principal, name)).rows
    total = len(rows)
    if words or mark:
        rows = resource_tree.matching((row.resource for row in rows), words, mark)
    return Listing(rows[start : start + count], len(rows), total)


async def detail(
    world: World,
    principal: Principal,
    name: StackName,
    urn: str,
    reveal: tuple[str, str] | None = None,
) -> Detail:
    """The resource of that URN, its secrets masked but those of one property to `reveal`.

    The property is named by `inputs` or `outputs` and its name. Raises NotFound, and BadRequest
    for a secret that this server cannot open.
    """
    found = await state_views.resource(world, principal, name, urn)
    if found is None:
        raise NotFound(what=f"Resource '{urn}'")
    if reveal is not None:
        await _reveal(world, principal, name, found, reveal)
    return Detail(
        properties=found.properties,
        inputs=_shown(found.properties, "inputs", reveal),
        outputs=_shown(found.properties, "outputs", reveal),
        used_by=found.used_by,
    )


async def _reveal(
    world: World, principal: Principal, name: StackName, found: Whole, reveal: tuple[str, str]
) -> None:
    """Put the plain value in the property's place."""
    side, key = reveal
    values = found.properties.get(side) if side in ("inputs", "outputs") else None
    if not values or key not in values:
        raise NotFound(what=f"Property '{key}'")
    secrets_by = (await state_views.view(world, principal, name)).secrets_by
    if property_values.holds_secret(values[key]):
        values[key] = await stack_outputs.open_secrets(
            world, principal, name, values[key], secrets_by
        )


def _shown(
    properties: dict[str, Any], side: str, reveal: tuple[str, str] | None
) -> Sequence[Property]:
    values = property_values.of_properties(properties.get(side))
    return [
        Property(
            name=key,
            text=property_values.text_of(property_values.masked(value)),
            secret=property_values.holds_secret(value),
            opened=reveal == (side, key),
        )
        for key, value in sorted(values.items())
    ]
