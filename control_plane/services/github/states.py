"""The `state` that goes to GitHub and back: signed, for one purpose and person, for an hour."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

import msgspec

from control_plane.errors import Forbidden
from control_plane.services.world import World

LIFETIME_MS = 3_600_000


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What we want to know when somebody comes back from GitHub."""

    purpose: str
    user_id: str = ""
    """Who went; empty on the way to signing in."""
    organization: str = ""
    installation_id: int = 0
    next: str = ""
    nonce: str = ""
    """What a cookie of the same browser must show, where nobody is signed in."""
    expires_at: int = 0


def write(world: World, state: State) -> str:
    """A state as text for an address."""
    body = msgspec.json.encode(msgspec.structs.replace(state, expires_at=world.now() + LIFETIME_MS))
    return f"{_text(body)}.{_text(_signature(world, _text(body)))}"


def read(world: World, text: str, purpose: str, user_id: str = "") -> State:
    """What was written for this purpose and person; raises Forbidden for anything else."""
    body, _, signature = text.partition(".")
    if not hmac.compare_digest(_bytes(signature), _signature(world, body)):
        raise _refused()
    state: Any = msgspec.json.decode(_bytes(body), type=State)
    if state.purpose != purpose or state.user_id != user_id or state.expires_at < world.now():
        raise _refused()
    return state  # type: ignore[no-any-return]


def _signature(world: World, text: str) -> bytes:
    return world.cipher.sign(text, "github state")


def _text(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""


def _refused() -> Forbidden:
    return Forbidden(
        detail="This way back from GitHub is of another session, or its hour is over. Begin again"
        " at Settings > Integrations."
    )
