"""Access tokens: what kinds there are, how one looks, and the hash by which it is known.

Tokens hold 160 random bits or more, so a plain SHA-256 is enough to keep them: there is nothing
to guess that a slow hash would protect. Looking up by hash compares no secret byte by byte.
"""

from __future__ import annotations

import hashlib
import secrets

PERSONAL = "pul-"
POOL = "slp-"
DEPLOYMENT_CLI = "sld-"
DEPLOYMENT_RUNNER = "slr-"
UPDATE_LEASE = "slu-"
SESSION = "sls-"
LOGIN_LINK = "sll-"

RESERVED = (POOL, DEPLOYMENT_CLI, DEPLOYMENT_RUNNER, UPDATE_LEASE, SESSION, LOGIN_LINK)
"""How no personal token may begin."""


def new(prefix: str) -> str:
    """Make a token of a kind; the prefix lets secret scanners and the server tell kinds apart."""
    return prefix + secrets.token_hex(24)


def digest(token: str) -> bytes:
    """The 32 bytes by which the database knows a token."""
    return hashlib.sha256(token.encode()).digest()
