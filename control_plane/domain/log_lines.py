"""From the bytes of a deployment's log to lines, in the two forms that the API answers.

The log is one run of bytes, kept in segments that follow each other without gaps; each belongs to
one step. Lines are a view of it: those of the stream hold every byte once, in order, however the
log is segmented and however often a reader asks. Only here are bytes that are no UTF-8 replaced.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import msgspec

from control_plane.errors import BadRequest

LINES_MAX = 1000
"""How many lines one answer of the stream holds."""
WINDOW_BYTES_MAX = 256 * 1024
"""How many bytes of a log are read for one answer."""
LINE_BYTES_MAX = 64 * 1024
"""A line that grows longer is told in parts, or cut where lines are numbered."""

Mark = tuple[int, int]
"""(offset, Unix milliseconds): when the bytes from there on were written."""


class Cursor(NamedTuple):
    """How far a reader of the stream has come."""

    attempt: int = 0
    """Which attempt's log it reads: a lost runner's is forgotten when another begins anew."""
    headers: int = 0
    """How many steps' headers it has seen."""
    segment: int = 0
    """Which holds the next byte; the one after the last while that byte is still to come."""
    offset: int = 0
    """Of the next byte in the whole log."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the deployment, as its log announces it."""

    header: str
    """Empty: it has none."""
    ready: bool = True
    """Whether the header may be told already, and what comes after it."""
    started_at: int | None = None


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one segment. Offsets, of the marks too, count in the whole log."""

    segment: int
    step: int
    offset: int
    body: bytes
    marks: Sequence[Mark] = ()
    whole: bool = True
    """Whether it reaches to the segment's end."""

    @property
    def end(self) -> int:
        """The offset of the first byte after it."""
        return self.offset + len(self.body)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A header; or a line with its own line break, the last one perhaps without."""

    header: str = ""
    line: str = ""
    at_ms: int | None = None


class Page(NamedTuple):
    """Some lines of the stream, and where it goes on; None: that was the end."""

    lines: list[Line]
    next: Cursor | None


def token_of(cursor: Cursor) -> str:
    """A cursor as a token of base64url characters, the only ones that every client keeps."""
    text = ".".join(map(str, cursor))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def cursor_of(token: str) -> Cursor:
    """The cursor of a token; raises BadRequest for what is no token."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        attempt, headers, segment, offset = map(int, text.decode("ascii").split("."))
    except (binascii.Error, ValueError):
        raise BadRequest(detail="continuationToken is not one that this server gave.") from None
    if not (0 <= min(attempt, headers, segment, offset) <= max(attempt, headers, segment) < 2**31):
        raise BadRequest(detail="continuationToken is not one that this server gave.")
    return Cursor(attempt, headers, segment, min(offset, 2**62))


def page(
    cursor: Cursor, steps: Sequence[Step], pieces: Sequence[Piece], *, more: bool, ended: bool
) -> Page:
    """The next lines after a cursor.

    `pieces` are the bytes that follow it; `more` says that others come after them already, `ended`
    that nothing will ever be added. A line without its break is held back until it is certain
    that no more of it will come. A step that is not ready holds back all that follows.
    """
    lines: list[Line] = []
    headers, offset = cursor.headers, cursor.offset
    for step, of_step in groupby(pieces, key=attrgetter("step")):
        run = list(of_step)
        headers = _announce(lines, steps, headers, step + 1)
        if headers <= step:
            return Page(lines, _at(cursor, pieces, headers, offset))
        is_last = run[-1] is pieces[-1]
        closed = not is_last or (not more and (ended or headers < len(steps)))
        marks = [mark for piece in run for mark in piece.marks]
        for part in _parts(b"".join(piece.body for piece in run), closed=closed):
            if len(lines) >= LINES_MAX:
                return Page(lines, _at(cursor, pieces, headers, offset))
            lines.append(Line(line=_text(part), at_ms=_time_at(marks, offset)))
            offset += len(part)
    if more or (pieces and offset < pieces[-1].end):
        return Page(lines, _at(cursor, pieces, headers, offset))
    headers = _announce(lines, steps, headers, len(steps))
    done = ended and headers >= len(steps)
    return Page(lines, None if done else _at(cursor, pieces, headers, offset))


def _announce(lines: list[Line], steps: Sequence[Step], headers: int, wanted: int) -> int:
    """Add headers until so many are told, or one is not ready; returns how many are told."""
    while headers < wanted:
        if headers < len(steps):
            step = steps[headers]
            if not step.ready:
                break
            if step.header:
                lines.append(Line(header=step.header, at_ms=step.started_at))
        headers += 1
    return headers


def _at(cursor: Cursor, pieces: Sequence[Piece], headers: int, offset: int) -> Cursor:
    for piece in pieces:
        if offset < piece.end:
            return Cursor(cursor.attempt, headers, piece.segment, offset)
    segment = pieces[-1].segment + pieces[-1].whole if pieces else cursor.segment
    return Cursor(cursor.attempt, headers, segment, offset)


def _parts(body: bytes, *, closed: bool) -> Iterator[bytes]:
    """The lines of a body; what follows the last break only if it is closed, or very long."""
    start = 0
    while end := body.find(b"\n", start) + 1:
        yield body[start:end]
        start = end
    while len(body) - start > LINE_BYTES_MAX:
        end = _character_boundary(body, start + LINE_BYTES_MAX)
        yield body[start:end]
        start = end
    if closed and start < len(body):
        yield body[start:]


def _character_boundary(body: bytes, end: int) -> int:
    """At most three bytes before, so that no character of UTF-8 is cut in two."""
    for candidate in range(end, end - 4, -1):
        if body[candidate] & 0xC0 != 0x80:
            return candidate
    return end


def _text(part: bytes) -> str:
    return part.decode("utf-8", "replace")


def _time_at(marks: Sequence[Mark], offset: int) -> int | None:
    index = bisect_right(marks, offset, key=lambda mark: mark[0])
    return marks[index - 1][1] if index else None


class NumberedLines:
    """Collects some lines of one step by their number.

    A line is one line here however long it is; more than LINE_BYTES_MAX of it are left out, which
    it says itself. The lines as they are, in bytes, are read by offset and not by number.
    """

    def __init__(self, *, skip: int, count: int) -> None:
        self.lines: list[Line] = []
        self.taken_to: int | None = None
        """The offset after the last collected line."""
        self._skip = skip
        self._count = count
        self._size = 0
        self._begun = bytearray()
        self._begun_at: int | None = None
        self._left_out = 0
        self._marks: list[Mark] = []

    @property
    def is_full(self) -> bool:
        """Whether the answer holds what it may."""
        return len(self.lines) >= self._count or self._size >= WINDOW_BYTES_MAX

    @property
    def needs_only_breaks(self) -> bool:
        """Whether bytes without a line break need not be read: see `pass_over`."""
        return self._skip > 0 or len(self._begun) >= LINE_BYTES_MAX

    def take(self, piece: Piece) -> None:
        """Go on with the next bytes."""
        self._marks.extend(piece.marks)
        start = 0
        while not self.is_full:
            end = piece.body.find(b"\n", start) + 1
            self._add(piece.body[start : end or None], piece.offset + start)
            if not end:
                return
            self._end_line(piece.offset + end)
            start = end

    def pass_over(self, length: int) -> None:
        """Go on over bytes that hold no line break."""
        if self._skip == 0:
            self._left_out += length

    def close(self, offset: int) -> None:
        """No more will come: what has begun is a line."""
        if self._begun and not self.is_full:
            self._end_line(offset)

    def _add(self, part: bytes, offset: int) -> None:
        if self._skip or not part:
            return
        if self._begun_at is None:
            self._begun_at = offset
        room = LINE_BYTES_MAX - len(self._begun)
        self._begun += part[:room]
        self._left_out += max(0, len(part) - room)

    def _end_line(self, offset: int) -> None:
        if self._skip:
            self._skip -= 1
            self.taken_to = offset
            return
        text = _text(bytes(self._begun))
        if self._left_out:
            text = f"{text}… [{self._left_out} bytes of this line are left out here]\n"
        at_ms = None if self._begun_at is None else _time_at(self._marks, self._begun_at)
        self.lines.append(Line(line=text, at_ms=at_ms))
        self._size += len(self._begun)
        self.taken_to = offset
        self._begun.clear()
        self._begun_at, self._left_out = None, 0
