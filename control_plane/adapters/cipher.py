"""The master key: a file that only the server's user may read. It wraps the stacks' data keys."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class FileCipher:
    """Wraps data keys by AES-256-GCM under a master key from a file of mode 0600."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)

    @classmethod
    def open(cls, path: Path) -> FileCipher:
        """Read the master key, or make one where there is none yet; raises ValueError."""
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            key = _create(path)
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"The master key {path} must hold {KEY_BYTES} bytes, not {len(key)}. Restore it "
                "from a backup: without it no stack's secrets can be read."
            )
        return cls(key)

    def wrap(self, data_key: bytes, context: str) -> bytes:
        """Encrypt a data key for one context."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data_key, context.encode())

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Decrypt a data key; raises ValueError when it was not wrapped here for this context."""
        nonce, body = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, body, context.encode())
        except InvalidTag:
            raise ValueError("the data key was wrapped by another master key") from None

    def sign(self, text: str, purpose: str) -> bytes:
        """HMAC-SHA256 under a key of the purpose's own, derived from the master key."""
        key = hmac.digest(self._key, f"slipway sign {purpose}".encode(), hashlib.sha256)
        return hmac.digest(key, text.encode(), hashlib.sha256)


def _create(path: Path) -> bytes:
    """Written beside and renamed, so that a crash leaves no short key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(KEY_BYTES)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        return path.read_bytes()
    finally:
        beside.unlink()
    return key
