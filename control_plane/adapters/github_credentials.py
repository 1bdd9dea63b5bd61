"""Who asks GitHub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from control_plane.services.github.ports import AppKey


@dataclass(frozen=True)
class Credential:
    """Who asks: an App, an installation of it, a user, or nobody."""

    name: str
    app: AppKey | None = None
    installation_id: int | None = None
    token: str = field(default="", repr=False)


NOBODY = Credential("nobody")


def as_app(key: AppKey) -> Credential:
    """An App, by a signed JWT."""
    return Credential(f"app:{key.app_id}:{_digest(key.private_key)}", key)


def as_installation(key: AppKey, installation_id: int) -> Credential:
    """An installation, by a token that githubkit mints and keeps in memory."""
    name = f"{as_app(key).name}:installation:{installation_id}"
    return Credential(name, key, installation_id)


def as_user(token: str) -> Credential:
    """A person, by the token of the App's user flow."""
    return Credential(f"user:{_digest(token)}", token=token)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:24]
