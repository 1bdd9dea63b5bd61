"""Replaces secret values in a stream of bytes by `[secret]`, however the stream is cut.

A value is hidden in the forms in which programs usually print it: as it is, line by line, inside
JSON, in base64 and URL-quoted. What a program does beyond that (reversing it, hashing it) is out
of reach. Values shorter than `SECRET_BYTES_MIN` bytes are left alone: hiding every `1` of a log
would make it unreadable and tell the value all the same.

Only the standard library is imported, and little of it: the shim starts with this module.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable

MASK = b"[secret]"
SECRET_BYTES_MIN = 3


class Redactor:
    """Feed it chunks; it gives back what may be shown, as if the text had come in one piece.

    It keeps back only a tail that may yet become a secret: a proper prefix of one of the forms.
    Where several forms match, the leftmost and then the longest wins.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        forms = {form for secret in secrets for form in forms_of(secret)}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))
        self._held = b""

    @classmethod
    def like(cls, other: Redactor) -> Redactor:
        """A redactor of the same secrets for another stream."""
        twin = cls(())
        twin._forms, twin._pattern = other._forms, other._pattern
        return twin

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the stream; give what is safe to show by now."""
        if not self._forms:
            return chunk
        shown, self._held = self._split(self._held + chunk)
        return shown

    def flush(self) -> bytes:
        """The stream is over: give what was kept back."""
        held, self._held = self._held, b""
        return self.whole(held)

    def whole(self, text: bytes) -> bytes:
        """Redact a complete text that is not part of the stream."""
        return self._pattern.sub(MASK, text) if self._forms else text

    def _split(self, buffer: bytes) -> tuple[bytes, bytes]:
        """What can be shown of the buffer, redacted, and the tail to keep back."""
        hold = self._first_open(buffer, 0)
        # A scan for each form costs far less than the pattern, and most output holds no secret.
        if not any(form in buffer for form in self._forms):
            return buffer[:hold], buffer[hold:]
        shown = []
        position = 0
        for match in self._pattern.finditer(buffer):
            if match.start() >= hold:
                break
            shown += [buffer[position : match.start()], MASK]
            position = match.end()
            if position > hold:
                hold = self._first_open(buffer, position)
        shown.append(buffer[position:hold])
        return b"".join(shown), buffer[hold:]

    def _first_open(self, buffer: bytes, start: int) -> int:
        """Where the first tail begins that is a proper prefix of a form; else the end."""
        first = len(buffer)
        for form in self._forms:
            position = max(start, len(buffer) - len(form) + 1)
            while (position := buffer.find(form[:1], position, first)) >= 0:
                if form.startswith(buffer[position:]):
                    first = position
                    break
                position += 1
        return first


def forms_of(secret: bytes) -> set[bytes]:
    """Every form of a secret value that is hidden; empty for values that are too short."""
    forms = {secret, *_lines(secret), *_base64(secret), *_text_forms(secret)}
    return {form for form in forms if len(form) >= SECRET_BYTES_MIN}


def _lines(secret: bytes) -> Iterable[bytes]:
    """The lines of a value, since logs indent and prefix them; and the value trimmed."""
    return (line.strip() for line in [secret, *secret.splitlines()])


def _base64(secret: bytes) -> Iterable[bytes]:
    """Base64 without padding: alone, with a newline, and as far as any suffix leaves it."""
    if len(secret) < SECRET_BYTES_MIN:
        return
    for value in (secret, secret + b"\n", secret[: len(secret) // 3 * 3]):
        yield base64.b64encode(value).rstrip(b"=")
        yield base64.urlsafe_b64encode(value).rstrip(b"=")


def _text_forms(secret: bytes) -> Iterable[bytes]:
    """JSON strings (ASCII, UTF-8, and as Go escapes `<>&`) and URL quoting."""
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    from urllib.parse import quote, quote_plus  # late: the import is slow, secrets are rare

    for escaped in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield escaped.encode()
        yield _go_escaped(escaped).encode()
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield quoted.encode()


def _go_escaped(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
