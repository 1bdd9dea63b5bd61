"""Encrypting and decrypting values of a stack's configuration and state."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, post

from control_plane.api import body
from control_plane.api.stack_path import under_stack
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import stack_secrets
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]

BATCH_MAX = 100_000


class Plaintext(msgspec.Struct):
    """A value, any bytes, in base64."""

    plaintext: bytes


class Ciphertext(msgspec.Struct):
    """An encrypted value in base64."""

    ciphertext: bytes


class CiphertextText(msgspec.Struct):
    """An encrypted value as its base64 text."""

    ciphertext: str


class Plaintexts(msgspec.Struct):
    """Values to encrypt."""

    plaintexts: list[bytes]


class Ciphertexts(msgspec.Struct):
    """Encrypted values, in the order of their plaintexts."""

    ciphertexts: list[bytes]


class CiphertextTexts(msgspec.Struct):
    """Values to decrypt."""

    ciphertexts: list[str]


class PlaintextsByCiphertext(msgspec.Struct):
    """Decrypted values, each under the very text by which it was asked for."""

    plaintexts: dict[str, bytes]


@post("/encrypt", status_code=200)
async def encrypt(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> Ciphertext:
    """Encrypt one value."""
    asked = await body.decode(request, Plaintext)
    [ciphertext] = await stack_secrets.encrypt(world, principal, name, [asked.plaintext])
    return Ciphertext(ciphertext)


@post("/decrypt", status_code=200)
async def decrypt(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> Plaintext:
    """Decrypt one value."""
    asked = await body.decode(request, CiphertextText)
    found = await stack_secrets.decrypt(world, principal, name, [asked.ciphertext])
    return Plaintext(found[asked.ciphertext])


@post("/batch-encrypt", status_code=200)
async def batch_encrypt(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> Ciphertexts:
    """Encrypt many values."""
    asked = await body.decode(request, Plaintexts)
    _require_bounded(asked.plaintexts)
    return Ciphertexts(await stack_secrets.encrypt(world, principal, name, asked.plaintexts))


@post("/batch-decrypt", status_code=200)
async def batch_decrypt(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> PlaintextsByCiphertext:
    """Decrypt many values."""
    asked = await body.decode(request, CiphertextTexts)
    _require_bounded(asked.ciphertexts)
    found = await stack_secrets.decrypt(world, principal, name, asked.ciphertexts)
    return PlaintextsByCiphertext(found)


def _require_bounded(values: list[Any]) -> None:
    if len(values) > BATCH_MAX:
        raise BadRequest(detail=f"A batch may hold {BATCH_MAX} values at most.")


@post(["/decrypt/log-decryption", "/decrypt/log-batch-decryption"], status_code=204)
async def note_decryption(world: World, principal: Principal, name: StackName) -> None:
    """A client has decrypted by a key that this server does not have."""
    await stack_secrets.note_decryption(world, principal, name)


ROUTES: list[Any] = [under_stack([encrypt, decrypt, batch_encrypt, batch_decrypt, note_decryption])]
