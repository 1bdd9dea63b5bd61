"""Opaque continuation tokens, and numbers from the query.

Clients paste a token unescaped into the next address, so it has only letters, digits, `-` and `_`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec

from control_plane.errors import BadRequest

T = TypeVar("T")

NUMBER_MAX = 2**31 - 1
"""The largest number of a page or a version: databases hold no larger one in such a column."""


def bounded(number: int, name: str, most: int = NUMBER_MAX) -> int:
    """The number, if a database can hold it; raises BadRequest."""
    if abs(number) > most:
        raise BadRequest(detail=f"'{name}' must be at most {most}.")
    return number


def token(place: Any) -> str:
    """A token from which a listing goes on."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def place(text: str, shape: type[T]) -> T:
    """Where a listing goes on; raises BadRequest for a token that was not made here."""
    try:
        padded = text + "=" * (-len(text) % 4)
        decoded = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
        return msgspec.json.decode(decoded, type=shape)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise BadRequest(detail="The continuationToken is not valid.") from None
