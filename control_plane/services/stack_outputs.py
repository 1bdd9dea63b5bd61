"""What a stack's program exports, without the rest of its state."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Raw

from control_plane.domain import checkpoint
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.services import state
from control_plane.services.state_documents import worked
from control_plane.services.world import World


class Outputs(NamedTuple):
    """A stack's outputs as they stand in its state, and who encrypts the secret ones."""

    values: Raw
    secrets_provider: Raw | None


async def show(world: World, principal: Principal, name: StackName, url: str) -> Outputs:
    """The stack's outputs, for a caller at that address; raises NotFound.

    They are those of the state's root resource; a stack that has none has no outputs.
    """
    document = await state.export(world, principal, name, url)
    return Outputs(*await worked(len(document), checkpoint.outputs, document))
