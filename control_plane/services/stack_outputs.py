"""What a stack's program exports, without the rest of its state; secrets opened one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from control_plane.domain import checkpoint, property_values
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, NotFound
from control_plane.services import stack_secrets, state, state_views
from control_plane.services.state_documents import worked
from control_plane.services.world import World


class Outputs(NamedTuple):
    """A stack's outputs as they stand in its state, and who encrypts the secret ones."""

    values: Raw
    secrets_provider: Raw | None


class Output(NamedTuple):
    """An output for reading: secrets in it are masked, or opened."""

    name: str
    value: Any
    secret: bool
    opened: bool = False

    @property
    def text(self) -> str:
        """The value as a text."""
        return property_values.text_of(self.value)


async def show(world: World, principal: Principal, name: StackName, url: str) -> Outputs:
    """The stack's outputs, for a caller at that address; raises NotFound.

    They are those of the state's root resource; a stack that has none has no outputs.
    """
    document = await state.export(world, principal, name, url)
    return Outputs(*await worked(len(document), checkpoint.outputs, document))


async def listing(
    world: World, principal: Principal, name: StackName, reveal: str = ""
) -> list[Output]:
    """All outputs by name, with secrets masked but those of the one to `reveal`.

    Raises NotFound for a stack or an output that does not exist, and BadRequest for a secret that
    this server cannot open.
    """
    view = await state_views.view(world, principal, name)
    if reveal and reveal not in view.outputs:
        raise NotFound(what=f"Output '{reveal}'")
    found = []
    for key, value in sorted(view.outputs.items()):
        value, secret, opened = value, property_values.holds_secret(value), key == reveal
        if opened and secret:
            value = await open_secrets(world, principal, name, value, view.secrets_by)
        found.append(Output(key, property_values.masked(value), secret, opened))
    return found


async def open_secrets(
    world: World, principal: Principal, name: StackName, value: Any, secrets_by: str
) -> Any:
    """The value with its secrets in plain text; raises BadRequest for another's secrets."""
    if secrets_by != checkpoint.SERVICE:
        raise BadRequest(
            detail=f"These secrets are encrypted by '{secrets_by or 'nobody'}', whose key this"
            " server does not have. On a machine that has it: pulumi stack output --show-secrets"
        )
    texts = list(property_values.ciphertexts(value))
    plain = await stack_secrets.decrypt(world, principal, name, texts)
    # The plaintext is itself JSON, and may hold secrets in turn no more.
    return property_values.opened(value, lambda text: _decoded(plain[text]))


def _decoded(plaintext: bytes) -> Any:
    try:
        return msgspec.json.decode(plaintext)
    except msgspec.DecodeError:
        return plaintext.decode(errors="replace")
