"""A stack's configuration on the server's side: here it never has one.

Such a configuration is nothing but the name of an ESC environment. As soon as a stack has one, the
CLI leaves `Pulumi.<stack>.yaml` aside, takes this name as the only import of an environment, and
opens it at `/api/esc/…` before every update (`cloudStack.LoadRemoteConfig`, and
`getStackConfigurationFromProjectStack`), an empty name too. Without ESC a stack that had one could
not be updated any more; so setting one is refused.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, put

from control_plane.api import body
from control_plane.api.stack_path import under_stack
from control_plane.api.unbuilt import UNBUILT
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, NotFound
from control_plane.services import stacks
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]


class StackConfig(msgspec.Struct, rename="camel", kw_only=True):
    """The ESC environment to take configuration from; the other keys are given up by clients."""

    environment: str
    secrets_provider: str | None = None
    encrypted_key: str | None = None
    encryption_salt: str | None = None


@get("/config", opt={UNBUILT: True})
async def get_config(world: World, principal: Principal, name: StackName) -> StackConfig:
    """Always 404, when there is such a stack and when there is none."""
    await stacks.require(world, principal, name)
    raise NotFound(what=f"Service-side configuration of stack '{name}'")


@put("/config", status_code=200, opt={UNBUILT: True})
async def set_config(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> StackConfig:
    """Refused: it needs ESC."""
    asked = await body.decode(request, StackConfig)
    await stacks.require(world, principal, name)
    raise BadRequest(
        detail=f"'environment': '{asked.environment[:120]}' would have to be an ESC environment, "
        "and these are not part of Slipway yet. Keep the configuration in Pulumi.<stack>.yaml."
    )


@delete("/config", status_code=204, opt={UNBUILT: True})
async def delete_config(world: World, principal: Principal, name: StackName) -> None:
    """There is nothing to delete, and that is no error."""
    await stacks.require(world, principal, name)


ROUTES: list[Any] = [under_stack([get_config, set_config, delete_config])]
