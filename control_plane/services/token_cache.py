"""A short memory of who a personal access token stands for."""

from __future__ import annotations

import time

from control_plane.domain.principal import Principal

CACHE_SECONDS = 2.0
CACHE_ENTRIES_MAX = 4096


class TokenCache:
    """Remembers principals of personal tokens for a moment, so that a request costs no query.

    Deployments' tokens are never remembered: they die with their lease, in its transaction.
    A token revoked in this process is forgotten at once, elsewhere after CACHE_SECONDS.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, Principal]] = {}
        self.cleared = 0
        """How often everything was forgotten: who asked before then may want to ask again."""

    def get(self, digest: bytes) -> Principal | None:
        """The principal of a token seen a moment ago."""
        entry = self._entries.get(digest)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry[1]

    def put(self, digest: bytes, principal: Principal) -> None:
        """Remember a token's principal."""
        if len(self._entries) >= CACHE_ENTRIES_MAX:
            self._entries.clear()
        self._entries[digest] = (time.monotonic() + CACHE_SECONDS, principal)

    def clear(self) -> None:
        """Forget everything: memberships or tokens have changed."""
        self._entries.clear()
        self.cleared += 1
