"""Bytes of segments are read once for all who want them at about the same time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.services import shared_reads
from control_plane.services.shared_reads import SharedReads


class Segments:
    """A log store that counts what it is asked for."""

    def __init__(self, **kept: bytes) -> None:
        self.kept = kept
        self.reads: list[tuple[str, int]] = []

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.reads.append((key, start))
        await asyncio.sleep(0)
        return self.kept[key][start : None if length is None else start + length]

    async def delete_prefix(self, prefix: str) -> None:
        raise NotImplementedError


async def test_a_crowd_costs_one_read() -> None:
    logs, shared = Segments(a=b"abc" * 100), SharedReads()
    found = await asyncio.gather(*(shared.read(logs, "a", 3, 3) for _ in range(500)))
    assert found == [b"abc"] * 500
    assert await shared.read(logs, "a", 0, 300) == logs.kept["a"]
    assert logs.reads == [("a", 0)]


async def test_what_does_not_exist_is_told_to_everybody() -> None:
    logs, shared = Segments(), SharedReads()
    found = await asyncio.gather(
        *(shared.read(logs, "a", 0, 1) for _ in range(3)), return_exceptions=True
    )
    assert [type(each) for each in found] == [KeyError] * 3
    logs.kept["a"] = b"x"
    assert await shared.read(logs, "a", 0, 1) == b"x", "and is looked for again"


async def test_who_asked_first_may_go_away() -> None:
    logs, shared = Segments(a=b"abc"), SharedReads()
    first = asyncio.create_task(shared.read(logs, "a", 0, 3))
    await asyncio.sleep(0)
    second = asyncio.create_task(shared.read(logs, "a", 0, 3))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"abc"
    assert len(logs.reads) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


@settings(deadline=None)
@given(
    bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    asked=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 45), st.integers(0, 45)), max_size=30
    ),
    crowd=st.integers(0, 2),
)
def test_whatever_is_asked_is_what_is_there_and_little_is_kept(
    bodies: list[bytes], asked: list[tuple[int, int, int]], crowd: int
) -> None:
    async def run() -> None:
        logs = Segments(**{str(number): body for number, body in enumerate(bodies)})
        shared = SharedReads()
        shared.readers = crowd
        for number, start, size in asked:
            key = number % len(bodies)
            found = await shared.read(logs, str(key), start, size)
            assert found == bodies[key][start : start + size]
            assert shared.kept_bytes <= (60 if crowd > 1 else 25)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_reads, "BLOCK_BYTES", 16)
        patch.setattr(shared_reads, "ENTRY_BYTES", 1)
        patch.setattr(shared_reads, "LONE_BYTES_MAX", 25)
        patch.setattr(shared_reads, "CROWD_BYTES_MAX", 60)
        asyncio.run(run())
