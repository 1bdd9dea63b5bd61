"""Stacks that change hands, and what their deployments leave behind on the runners."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, post

from control_plane.api import body
from control_plane.api.stack_path import under_stack
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.services import stack_moves
from control_plane.services.history import UserInfo
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]


class Transfer(msgspec.Struct, rename="camel", kw_only=True):
    """Where a stack goes. The other names are the address's, which they may overrule."""

    to_org: str
    from_org: str | None = None
    project_name: str | None = None
    stack_name: str | None = None


@post("/transfer", status_code=204)
async def transfer_stack(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> None:
    """Move a stack to another organization."""
    asked = await body.decode(request, Transfer)
    which = StackName(
        asked.from_org or name.organization,
        asked.project_name or name.project,
        asked.stack_name or name.stack,
    )
    await stack_moves.transfer(world, principal, which, asked.to_org)


class NewOwner(msgspec.Struct, rename="camel", kw_only=True):
    """Who is to own a stack; other keys of a user are not looked at."""

    github_login: str


@post("/ownership", status_code=200)
async def hand_over_stack(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> UserInfo:
    """Give a stack another owner; the answer is the one before."""
    asked = await body.decode(request, NewOwner)
    before = await stack_moves.hand_over(world, principal, name, asked.github_login)
    return UserInfo(
        name=before.name if before else "",
        github_login=before.login if before else name.organization,
        avatar_url=before.avatar_url if before else "",
    )


@delete("/deployments/cache", status_code=200)
async def clear_caches(world: World, principal: Principal, name: StackName) -> dict[str, Any]:
    """Have the project's next deployments begin without what earlier ones left."""
    await stack_moves.clear_caches(world, principal, name)
    return {}


ROUTES: list[Any] = [under_stack([transfer_stack, hand_over_stack, clear_caches])]
