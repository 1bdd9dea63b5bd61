"""From the spool to the log store: cuts the output into numbered segments and announces each.

The spool is the buffer: a slow or failing log store delays segments and loses nothing. A segment
holds output of one step only, at most `SEGMENT_BYTES_MAX` of it. What is written after a silence
is cut soon, so that a reader sees it at once; while more and more comes, segments are fewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from runner_actors.contract import segment_key
from runner_actors.log_store import LogStore, LogStoreUnavailable
from runner_actors.spool import Piece, SpoolReader

SEGMENT_BYTES_MAX = 1 << 20
SOON_SECONDS = 0.05
SEGMENT_SECONDS = 0.25
"""From one cut to the next, at least; after a longer silence it is SOON_SECONDS."""
MARKS_MAX = 500
MARK_MS = 10
"""Output written within so many milliseconds is taken as written at once."""
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.1, 5.0

log = logging.getLogger("slipway.runner")


class Segment(msgspec.Struct, kw_only=True, frozen=True):
    """A stored segment, as it is announced; the fields are those of `contract.LogSegment`."""

    segment: int
    step: int
    offset: int
    length: int
    line_breaks: int
    marks: list[tuple[int, int]]


class SpoolDamaged(Exception):
    """The spool does not hold what it says it holds."""


class LogSink:
    """Uploads one deployment's spool, from where an earlier actor may have stopped."""

    def __init__(
        self,
        spool: SpoolReader,
        store: LogStore,
        prefix: str,
        announce: Callable[[Segment], None],
        *,
        segments: int = 0,
        length: int = 0,
    ) -> None:
        self._spool = spool
        self._store = store
        self._prefix = prefix
        self._announce = announce
        self.segments = segments
        self.length = length
        """How much of the output is stored and announced."""
        self._pieces: list[Piece] = []
        self._wanted = 0
        self._closing = False
        self._cut_at = float("-inf")
        self._stirred = asyncio.Event()
        self._moved = asyncio.Condition()

    def stir(self, _total: int = 0) -> None:
        """There is more output."""
        self._stirred.set()

    async def run(self) -> None:
        """Upload until `close`; ends when the last byte is announced."""
        while True:
            self._stirred.clear()
            self._look()
            if self._pieces:
                await self._give_it_time()
                self._cut_at = asyncio.get_running_loop().time()
                await self._upload(self._cut())
            elif self._closing:
                return
            else:
                await self._stirred.wait()

    async def announced(self, total: int) -> None:
        """Hurry: return when this much of the output has been announced."""
        if self.length < total:
            self._wanted = max(self._wanted, total)
            self._stirred.set()
            async with self._moved:
                await self._moved.wait_for(lambda: self.length >= total)

    def give_up(self, total: int) -> None:
        """Upload nothing: nobody knows any more which part of the output has been stored."""
        self.length = total

    def close(self) -> None:
        """Nothing more is written: `run` may end after the rest."""
        self._closing = True
        self._stirred.set()

    def _look(self) -> None:
        """Take in what the index has gained, and at the end what it has not noted."""
        while fresh := self._spool.new_pieces():
            for piece in fresh:
                self._take(piece)
        if self._closing and (rest := self._spool.rest()):
            self._take(rest)

    def _take(self, piece: Piece) -> None:
        """Pieces written close together become one, so that many small writes cost nothing."""
        if piece.offset + piece.length <= self.length:
            return
        last = self._pieces[-1] if self._pieces else None
        if last and last.step == piece.step and piece.at_ms < last.at_ms + MARK_MS:
            last.length += piece.length
        else:
            self._pieces.append(piece)

    async def _give_it_time(self) -> None:
        """Let a segment grow, unless it is full, or someone waits for it."""
        now = asyncio.get_running_loop().time()
        deadline = max(now + SOON_SECONDS, self._cut_at + SEGMENT_SECONDS)
        while not self._ripe():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._stirred.wait()
            if asyncio.get_running_loop().time() >= deadline:
                return
            self._stirred.clear()
            self._look()

    def _ripe(self) -> bool:
        waiting = self._pieces[-1].offset + self._pieces[-1].length - self.length
        changes_step = self._pieces[0].step != self._pieces[-1].step
        hurried = self._closing or self._wanted > self.length
        return hurried or changes_step or waiting >= SEGMENT_BYTES_MAX

    def _cut(self) -> Segment:
        """The next segment: as many pieces as it may hold, the last of them perhaps in part."""
        step = self._pieces[0].step
        end = self.length
        marks: list[tuple[int, int]] = []
        for piece in self._pieces:
            if piece.step != step or len(marks) == MARKS_MAX:
                break
            begin = max(piece.offset, self.length)
            if begin >= self.length + SEGMENT_BYTES_MAX:
                break
            marks.append((begin - self.length, piece.at_ms))
            end = min(piece.offset + piece.length, self.length + SEGMENT_BYTES_MAX)
        return Segment(
            segment=self.segments,
            step=step,
            offset=self.length,
            length=end - self.length,
            line_breaks=0,
            marks=marks,
        )

    async def _upload(self, cut: Segment) -> None:
        data = self._spool.read(cut.offset, cut.length)
        if len(data) < cut.length:
            raise SpoolDamaged(f"{cut.length - len(data)} bytes of the output are gone")
        await self._put(segment_key(self._prefix, cut.segment), data)
        self._announce(msgspec.structs.replace(cut, line_breaks=data.count(b"\n")))
        self.segments += 1
        self.length += cut.length
        self._pieces = [p for p in self._pieces if p.offset + p.length > self.length]
        async with self._moved:
            self._moved.notify_all()

    async def _put(self, key: str, data: bytes) -> None:
        """Write a segment however often it takes: the output waits in the spool."""
        pause = RETRY_SECONDS_FIRST
        while True:
            try:
                return await self._store.put(key, data)
            except LogStoreUnavailable as problem:
                log.warning("log store: %s; trying again in %.1f s", problem, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS_MAX)
