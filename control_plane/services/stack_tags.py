"""Tags of stacks. The one that holds the project's name follows the project."""

from __future__ import annotations

from collections.abc import Callable

from control_plane.domain import tags
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, NotFound
from control_plane.services import access, update_lease
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import stacks

Tags = dict[str, str]


def require_legal(new: Tags) -> None:
    """Raise BadRequest naming the first tag that is not allowed."""
    try:
        tags.require_legal(new)
    except tags.IllegalTag as error:
        raise BadRequest(detail=str(error)) from None


@verb
async def replace(world: World, principal: Principal, name: StackName, new: Tags) -> None:
    """Give a stack these tags and no others."""
    require_legal(new)
    await _change(world, principal, name, lambda _: new)


@verb
async def add(world: World, principal: Principal, name: StackName, tag: str, value: str) -> None:
    """Give a stack one more tag; raises BadRequest when it has one of that name."""

    def with_new(old: Tags) -> Tags:
        if tag in old:
            raise BadRequest(detail=f"The stack has a tag '{tag}' already.")
        return {**old, tag: value}

    require_legal({tag: value})
    await _change(world, principal, name, with_new)


@verb
async def change(world: World, principal: Principal, name: StackName, tag: str, value: str) -> None:
    """Give a stack's tag another value; raises NotFound when there is none of that name."""
    require_legal({tag: value})
    await _change(world, principal, name, lambda old: {**_having(old, tag), tag: value})


@verb
async def remove(world: World, principal: Principal, name: StackName, tag: str) -> None:
    """Take a tag from a stack; raises NotFound when there is none of that name."""
    await _change(
        world,
        principal,
        name,
        lambda old: {key: value for key, value in _having(old, tag).items() if key != tag},
    )


def _having(old: Tags, tag: str) -> Tags:
    if tag not in old:
        raise NotFound(what=f"Tag '{tag}'")
    return old


async def _change(
    world: World, principal: Principal, name: StackName, changed: Callable[[Tags], Tags]
) -> None:
    async with world.database.transaction() as tx:
        await update_lease.require_live(tx, principal, world.now())
        stack = await access.stack(tx, principal, name, lock=True)
        new = changed(tags.decode(stack.tags))
        if new.get(tags.PROJECT, stack.project) != stack.project:
            raise BadRequest(detail=f"The tag '{tags.PROJECT}' must name the stack's project.")
        await stacks.change(tx, stack.id, tags=tags.encode(new))
