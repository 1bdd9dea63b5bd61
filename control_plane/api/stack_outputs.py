"""What a stack's program exports, for clients that need no more of its state.

In `pulumi-cloud-sdk` the answer is `StackOutputsResponse`. The capability `stack-outputs` is not
offered: no published CLI asks for outputs by this address, so what one would expect is not known.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get
from msgspec import UNSET, Raw, UnsetType

from control_plane.api.stack_path import address_used, under_stack
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.services import stack_outputs
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]


class StackOutputs(msgspec.Struct, rename="camel", kw_only=True):
    """Outputs as they stand in the state: a secret one is a ciphertext of the provider named."""

    outputs: Raw
    secrets_providers: Raw | UnsetType = UNSET
    unknown: bool = False


@get("/outputs")
async def get_outputs(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> StackOutputs:
    """The stack's outputs."""
    url = address_used(request, world)
    found = await stack_outputs.show(world, principal, name, url)
    provider = found.secrets_provider
    return StackOutputs(
        outputs=found.values, secrets_providers=UNSET if provider is None else provider
    )


ROUTES: list[Any] = [under_stack([get_outputs])]
