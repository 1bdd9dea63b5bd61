"""What changes on an open deployment's page, as server-sent events.

    begin   the log begins, perhaps anew: forget what was shown of it
    log     `[[at, text], …]`: the log goes on with this text, written at these times (Unix ms)
    state   the HTML of the page's part that shows the deployment's state
    beat    nothing, every WAIT_SECONDS at least, so that a dead connection is noticed
    end     nothing will follow
    gone    nothing will follow: the text says why

The id of `begin` and `log` is the log's attempt and byte offset. Who sends the last one back, as
browsers do by themselves, loses nothing and is told nothing twice.
"""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import msgspec

from control_plane.domain.log_lines import Piece
from control_plane.domain.names import StackName
from control_plane.errors import Problem
from control_plane.services import deployment_tail
from control_plane.services.deployment_tail import Draw, Part, Pass, Tail
from control_plane.services.sessions import Viewer
from control_plane.services.world import World

WAIT_SECONDS = 10.0
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    # For proxies: what is held back is late.
    "X-Accel-Buffering": "no",
}


class Place(msgspec.Struct, frozen=True):
    """Where a reader of a log is: so many bytes of that attempt have been shown."""

    attempt: int
    offset: int

    @classmethod
    def read(cls, text: str) -> Place | None:
        """From an event's id; None for what is none."""
        attempt, _, offset = text.partition(".")
        if not (attempt.isascii() and attempt.isdigit() and offset.isascii() and offset.isdigit()):
            return None
        return cls(int(attempt), int(offset)) if len(text) < 40 else None

    def __str__(self) -> str:
        return f"{self.attempt}.{self.offset}"


async def follow(
    world: World,
    viewer: Viewer,
    name: StackName,
    deployment_id: str,
    last: str,
    draw: Draw[str],
) -> AsyncIterator[bytes]:
    """A deployment's page until the deployment has ended and its log is whole.

    `draw` makes the state's HTML, once for all who look at the deployment: nothing in it may be
    one viewer's alone.
    """
    may_look = Pass(world, viewer, name, deployment_id)
    reader = _Reader(Place.read(last))
    seen = 0
    with (
        deployment_tail.watch(world, deployment_id, draw) as watch,
        world.shared_reads.reader(),
    ):
        try:
            while True:
                found = await watch.after(seen, WAIT_SECONDS)
                await may_look.check()
                if found is None:
                    yield _event("beat")
                    continue
                seen, tail = found
                async for event in reader.news(world, tail):
                    yield event
                    await may_look.check()
                if reader.has_all(tail):
                    yield _event("end")
                    return
        except Problem as problem:
            yield _event("gone", problem.message)


class _Reader:
    """What one page has been told."""

    def __init__(self, place: Place | None) -> None:
        self._place = place
        self._state: str | None = None

    async def news(self, world: World, tail: Tail[str]) -> AsyncIterator[bytes]:
        """The events after which the page is as the tail is."""
        log, place = tail.log, self._place
        if place is None or place.attempt != log.attempt or place.offset > log.length:
            # A deployment that begins anew begins its log anew.
            place = self._place = Place(log.attempt, 0)
            yield _event("begin", place=place)
        pending = b""
        async for part in deployment_tail.parts(world, tail, place.offset):
            told = await _told(world, log.deployment_id, place, part, pending)
            place, pending = Place(log.attempt, part.offset + part.size - len(told.rest)), told.rest
            if told.event:
                self._place = place
                yield told.event
        if pending and (log.complete or tail.ended):
            self._place = Place(log.attempt, log.length)
            yield _event("log", [(None, pending.decode(errors="replace"))], self._place)
        if self._state != tail.drawn:
            self._state = tail.drawn
            yield _event("state", tail.drawn)

    def has_all(self, tail: Tail[str]) -> bool:
        """Whether nothing is left to tell, now and ever."""
        return tail.ended and self._place == Place(tail.log.attempt, tail.log.length)


class _Told(NamedTuple):
    """A part of the log as an event; empty while there is no whole character in it."""

    event: bytes
    rest: bytes
    """The beginning of a character whose other bytes are in the next part."""


_TOLD_MAX = 128
_told_lately: OrderedDict[tuple[Any, ...], _Told] = OrderedDict()


async def _told(
    world: World, deployment_id: str, place: Place, part: Part, pending: bytes
) -> _Told:
    """A part as an event, made once for all readers who stand at the same place."""
    key = (deployment_id, place.attempt, pending, part.offset, part.size)
    if key not in _told_lately:
        piece = await part.read(world)
    if (known := _told_lately.get(key)) is None:
        # Nobody did it while the bytes were awaited.
        known = _told_lately[key] = _tell(place, piece, pending)
        while len(_told_lately) > _TOLD_MAX:
            _told_lately.popitem(last=False)
    return known


def _tell(place: Place, piece: Piece, pending: bytes) -> _Told:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    decoder.setstate((pending, 0))
    texts: list[tuple[int | None, str]] = []
    for at_ms, body in _stretches(piece):
        text = decoder.decode(body)
        if text:
            texts.append((at_ms, text))
    rest = decoder.getstate()[0]
    if not texts:
        return _Told(b"", rest)
    return _Told(_event("log", texts, Place(place.attempt, piece.end - len(rest))), rest)


def _stretches(piece: Piece) -> Iterator[tuple[int | None, bytes]]:
    """A piece's bytes with the time of each, as the marks say."""
    at_ms: int | None = None
    begin = piece.offset
    for offset, mark_ms in piece.marks:
        if begin < offset < piece.end:
            yield at_ms, piece.body[begin - piece.offset : offset - piece.offset]
            begin = offset
        if offset < piece.end:
            at_ms = mark_ms
    yield at_ms, piece.body[begin - piece.offset :]


def _event(name: str, data: object = "", place: Place | None = None) -> bytes:
    """JSON is one line, whatever is in it: a line break would end the event's field."""
    head = f"event: {name}\n" if place is None else f"event: {name}\nid: {place}\n"
    return b"%sdata: %s\n\n" % (head.encode(), msgspec.json.encode(data))
