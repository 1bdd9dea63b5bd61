"""Config secrets: values under a stack's own data key, which the server's master key wraps.

The data key belongs to the stack's id, which also is authenticated with every value. So a renamed
stack reads its secrets, and another stack does not, whoever carries the ciphertext over.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Row

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import access
from control_plane.services.verb import verb
from control_plane.services.world import World

KEY_BYTES = 32
NONCE_BYTES = 12
WITHHELD = b'"withheld from the code of a fork"'
"""In the place of a secret: valid as a text of the configuration, and as JSON in the state."""
FORMAT = b"\x01"
"""Leads every ciphertext, so that a later way of encrypting can be told from this one."""


class StackCipher:
    """Encrypts and decrypts values of one stack, by AES-256-GCM."""

    def __init__(self, data_key: bytes, stack_id: str) -> None:
        self._aead = AESGCM(data_key)
        self._context = stack_id.encode()

    def encrypt(self, plaintexts: Sequence[bytes]) -> list[bytes]:
        """Ciphertexts in the same order; each with its own random nonce."""
        randomness = secrets.token_bytes(NONCE_BYTES * len(plaintexts))
        return [
            self._encrypt(plaintext, randomness[n * NONCE_BYTES : (n + 1) * NONCE_BYTES])
            for n, plaintext in enumerate(plaintexts)
        ]

    def _encrypt(self, plaintext: bytes, nonce: bytes) -> bytes:
        return FORMAT + nonce + self._aead.encrypt(nonce, plaintext, self._context)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """The plaintext; raises BadRequest for what this stack has not encrypted."""
        nonce, body = ciphertext[1 : 1 + NONCE_BYTES], ciphertext[1 + NONCE_BYTES :]
        try:
            if not ciphertext.startswith(FORMAT):
                raise ValueError
            return self._aead.decrypt(nonce, body, self._context)
        except (InvalidTag, ValueError):
            raise BadRequest(
                detail="A ciphertext was not made by this stack, or is damaged."
            ) from None


def new_data_key(world: World, stack_id: str) -> bytes:
    """A new stack's data key, wrapped, as its row keeps it."""
    return world.cipher.wrap(secrets.token_bytes(KEY_BYTES), stack_id)


def cipher_of(world: World, stack: Row[Any]) -> StackCipher:
    """The cipher of a stack; not to be called inside a transaction."""
    return StackCipher(world.cipher.unwrap(stack.wrapped_data_key, stack.id), stack.id)


def decode(ciphertext: str) -> bytes:
    """A ciphertext from its base64; raises BadRequest."""
    try:
        return base64.b64decode(ciphertext, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(detail="A ciphertext is not valid base64.") from None


@verb
async def encrypt(
    world: World, principal: Principal, name: StackName, plaintexts: Sequence[bytes]
) -> list[bytes]:
    """Encrypt values for a stack; any bytes."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
    return cipher_of(world, stack).encrypt(plaintexts)


@verb
async def decrypt(
    world: World, principal: Principal, name: StackName, ciphertexts: Sequence[str]
) -> dict[str, bytes]:
    """Decrypt base64 ciphertexts; the answer names each plaintext by the text that was asked.

    To a fork's code each is the same placeholder: it previews, and learns nothing.
    """
    async with world.database.snapshot() as tx:
        stack = await access.readable_stack(tx, principal, name)
    if principal.is_fork:
        return dict.fromkeys(ciphertexts, WITHHELD)
    cipher = cipher_of(world, stack)
    return {text: cipher.decrypt(decode(text)) for text in ciphertexts}


@verb
async def note_decryption(world: World, principal: Principal, name: StackName) -> None:
    """A client says that it has decrypted by another provider's key; raises NotFound."""
    async with world.database.snapshot() as tx:
        await access.readable_stack(tx, principal, name)
