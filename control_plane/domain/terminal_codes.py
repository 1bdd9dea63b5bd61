"""Output for a terminal as plain text: without colours, titles, hyperlinks and other codes.

The console's script reads the same codes (`ui/static/log.js`); what is one here is one there.
"""

from __future__ import annotations

import re

_STRING = rb"[\]PX^_][^\x07\x18\x1a\x1b\n]{0,4096}"
"""A title, a hyperlink: up to its end, which a line break is too, so that no log is swallowed."""
_CODE = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|" + _STRING + rb"(?:\x07|\x1b\\)?"
    rb"|[ -/]{1,8}[0-~]|[0-OQ-WYZ\\`-~])"
)
_BEGUN = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|" + _STRING + rb"\x1b?|[ -/]{0,8})?\Z",
)


class WithoutCodes:
    """Takes codes out of bytes that come in pieces, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, body: bytes) -> bytes:
        """The next bytes without their codes; one that is cut in two waits for its other half."""
        body = self._rest + body
        begun = _BEGUN.search(body, max(0, body.rfind(b"\x1b", 0, -1) - 1))
        self._rest = body[begun.start() :] if begun else b""
        return _CODE.sub(b"", body[: len(body) - len(self._rest)])

    def end(self) -> bytes:
        """What is left when nothing more comes: half a code is none."""
        return _CODE.sub(b"", self._rest)


def plain(body: bytes) -> bytes:
    """A whole output without its codes."""
    taking = WithoutCodes()
    return taking.take(body) + taking.end()
