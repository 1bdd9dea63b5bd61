"""Segments: how the output is cut, in every pattern of writing. The store is in memory."""

from __future__ import annotations

import asyncio
import tempfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_actors import log_sink
from runner_actors.log_sink import LogSink, Segment
from runner_actors.spool import SpoolFull, SpoolReader, SpoolWriter
from tests.support.waiting import eventually


class MemoryStore:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.sleep(0)
        self.kept[key] = data


class Written:
    """A spool with a sink on it."""

    def __init__(self, directory: str, bytes_max: int = 1 << 30) -> None:
        self.writer = SpoolWriter(directory, bytes_max)
        self.store = MemoryStore()
        self.segments: list[Segment] = []
        reader = SpoolReader(directory)
        self.sink = LogSink(reader, self.store, "p", self.segments.append)

    def write(self, step: int, data: bytes) -> None:
        if step != self.writer.step:
            self.writer.begin_step(step, f"step {step}")
        self.writer.append(data)
        self.sink.stir()

    def check(self, expected: list[tuple[int, bytes]]) -> None:
        """Everything is there, in order, and cut as readers are promised."""
        assert b"".join(self.store.kept.values()) == b"".join(data for _, data in expected)
        offset = 0
        for number, (segment, data) in enumerate(
            zip(self.segments, self.store.kept.values(), strict=True)
        ):
            assert segment.segment == number
            assert (segment.offset, segment.length) == (offset, len(data))
            assert segment.line_breaks == data.count(b"\n")
            assert 0 < segment.length <= log_sink.SEGMENT_BYTES_MAX
            assert segment.marks[0][0] == 0
            assert segment.marks == sorted(set(segment.marks))
            assert all(0 <= at < segment.length for at, _ in segment.marks)
            offset += len(data)
        of_step = {step: b"" for step, _ in expected}
        for step, data in expected:
            of_step[step] += data
        for step, data in of_step.items():
            parts = [
                self.store.kept[f"p/{s.segment:08d}.log"] for s in self.segments if s.step == step
            ]
            assert b"".join(parts) == data


pieces = st.lists(
    st.tuples(st.integers(0, 1), st.binary(min_size=1, max_size=40), st.booleans()), max_size=25
)


@settings(deadline=None, max_examples=60)
@given(pieces)
def test_every_pattern_of_writing(pattern: list[tuple[int, bytes, bool]]) -> None:
    async def run() -> None:
        with (
            tempfile.TemporaryDirectory() as directory,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(log_sink, "SEGMENT_BYTES_MAX", 64)
            patch.setattr(log_sink, "SOON_SECONDS", 0.001)
            patch.setattr(log_sink, "SEGMENT_SECONDS", 0.002)
            written = Written(directory)
            running = asyncio.create_task(written.sink.run())
            step, expected = 0, []
            for move, data, pause in pattern:
                step += move
                written.write(step, data)
                expected.append((step, data))
                if pause:
                    await asyncio.sleep(0.001)
            written.sink.close()
            await asyncio.wait_for(running, 5)
            written.check(expected)

    asyncio.run(run())


async def test_the_first_segment_comes_early_and_the_next_ones_gather(tmp_path: object) -> None:
    written = Written(str(tmp_path))
    running = asyncio.create_task(written.sink.run())
    begun = time.monotonic()
    written.write(0, b"first\n")
    await asyncio.wait_for(written.sink.announced(0), 1)
    await eventually(lambda: written.segments, "the first segment", 1)
    assert time.monotonic() - begun < 0.2
    for _ in range(30):
        written.write(0, b"more\n")
        await asyncio.sleep(0.01)
    assert len(written.segments) <= 3
    written.sink.close()
    await running


async def test_whoever_waits_for_the_log_hurries_it(tmp_path: object) -> None:
    written = Written(str(tmp_path))
    running = asyncio.create_task(written.sink.run())
    written.write(0, b"one\n")
    await written.sink.announced(4)
    begun = time.monotonic()
    written.write(0, b"two\n")
    await asyncio.wait_for(written.sink.announced(8), 1)
    assert time.monotonic() - begun < log_sink.SEGMENT_SECONDS / 2
    written.sink.close()
    await running


async def test_bytes_that_a_killed_shim_did_not_index_belong_to_the_last_step(
    tmp_path: object,
) -> None:
    written = Written(str(tmp_path))
    written.write(2, b"indexed\n")
    with open(f"{tmp_path}/out", "ab") as out:  # noqa: ASYNC230
        out.write(b"not indexed\n")
    written.sink.close()
    await written.sink.run()
    written.check([(2, b"indexed\nnot indexed\n")])


async def test_an_earlier_actors_segments_are_not_uploaded_again(tmp_path: object) -> None:
    written = Written(str(tmp_path))
    written.write(0, b"0123456789")
    written.write(1, b"abc")
    store, segments = MemoryStore(), []
    reader = SpoolReader(str(tmp_path))
    sink = LogSink(reader, store, "p", segments.append, segments=4, length=6)
    sink.close()
    await sink.run()
    assert [(s.segment, s.step, s.offset, s.length) for s in segments] == [
        (4, 0, 6, 4),
        (5, 1, 10, 3),
    ]
    assert list(store.kept.values()) == [b"6789", b"abc"]


def test_the_limit_is_told_once_and_kept(tmp_path: object) -> None:
    writer = SpoolWriter(str(tmp_path), 10)
    writer.append(b"01234")
    with pytest.raises(SpoolFull, match="output_limit"):
        writer.append(b"56789abc")
    writer.append(b"dropped")
    writer.append_line(b"last words")
    assert SpoolReader(str(tmp_path)).read(0, 100) == b"0123456789\nlast words\n"
