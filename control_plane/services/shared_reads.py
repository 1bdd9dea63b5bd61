"""Many readers of the same log read each of its segments once.

Segments never change, so what one reader has fetched serves those who come a moment later, and
who comes while it is being fetched waits for the same answer. How much is kept depends on whether
anybody would profit: little for a lone reader, more for a crowd, and bounded in any case. Who is so
far behind the crowd that its bytes have been given up reads them again, to nobody's harm.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from control_plane.services.ports import LogReader

BLOCK_BYTES = 1024 * 1024
"""Read at once: a whole segment, as runners cut them."""
LONE_BYTES_MAX = 2 * 1024 * 1024
ENTRY_BYTES = 512
"""What keeping a block costs beside its bytes."""
CROWD_BYTES_MAX = 24 * 1024 * 1024


class SharedReads:
    """Blocks of segments, by their object's key; what was used longest ago goes first."""

    def __init__(self) -> None:
        self.readers = 0
        """How many follow a log now."""
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.kept_bytes = 0
        """What is kept now costs so much."""
        self._coming: dict[tuple[str, int], asyncio.Task[bytes]] = {}

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Somebody follows a log."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            self._trim()

    async def read(self, logs: LogReader, key: str, start: int, size: int) -> bytes:
        """Bytes of a segment, fewer where it is shorter; raises KeyError when it does not exist."""
        parts = []
        while size > 0:
            number, skip = divmod(start, BLOCK_BYTES)
            block = await self._block(logs, key, number)
            part = block[skip : skip + size]
            parts.append(part)
            start, size = start + len(part), size - len(part)
            if len(block) < BLOCK_BYTES:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _block(self, logs: LogReader, key: str, number: int) -> bytes:
        place = key, number
        kept = self._kept.get(place)
        if kept is not None:
            self._kept.move_to_end(place)
            return kept
        coming = self._coming.get(place)
        if coming is None:
            # A task of its own: who asked first may go away while others wait.
            coming = self._coming[place] = asyncio.create_task(self._fetch(logs, place))
            coming.add_done_callback(lambda task: self._came(place, task))
        return await asyncio.shield(coming)

    async def _fetch(self, logs: LogReader, place: tuple[str, int]) -> bytes:
        key, number = place
        block = await logs.read(key, number * BLOCK_BYTES, BLOCK_BYTES)
        self._kept[place] = block
        self.kept_bytes += len(block) + ENTRY_BYTES
        self._trim()
        return block

    def _came(self, place: tuple[str, int], task: asyncio.Task[bytes]) -> None:
        del self._coming[place]
        if not task.cancelled():
            task.exception()  # seen, even when all who asked for it have gone away

    def _trim(self) -> None:
        bytes_max = CROWD_BYTES_MAX if self.readers > 1 else LONE_BYTES_MAX
        while self.kept_bytes > bytes_max:
            _, block = self._kept.popitem(last=False)
            self.kept_bytes -= len(block) + ENTRY_BYTES
