"""A log is the same bytes for every reader, however it was segmented and however often they ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain import log_lines
from control_plane.domain.log_lines import (
    Cursor,
    Line,
    NumberedLines,
    Piece,
    Step,
    cursor_of,
    page,
    token_of,
)
from control_plane.errors import BadRequest

log_bytes = st.lists(
    st.one_of(st.binary(max_size=6), st.sampled_from([b"\n", b"\r\n", "é日\U0001f600".encode()])),
    max_size=30,
).map(b"".join)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """A whole log as segments: (step, bytes)."""
    segments = []
    for step in range(draw(st.integers(0, 4))):
        body = draw(log_bytes)
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
        for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
            segments.append((step, body[start:end]))
    return segments


def pieces_of(segments: Sequence[tuple[int, bytes]]) -> list[Piece]:
    pieces, offset = [], 0
    for number, (step, body) in enumerate(segments):
        marks = [(offset, 1000 + number)]
        pieces.append(Piece(segment=number, step=step, offset=offset, body=body, marks=marks))
        offset += len(body)
    return pieces


def from_cursor(pieces: Sequence[Piece], cursor: Cursor, window: int) -> tuple[list[Piece], bool]:
    """What a store answers: the bytes from the cursor's on, up to a window; and whether more."""
    found: list[Piece] = []
    for piece in pieces:
        if piece.segment < cursor.segment:
            continue
        if window <= 0:
            return found, True
        skip = max(0, cursor.offset - piece.offset)
        body = piece.body[skip : skip + window]
        whole = skip + len(body) == len(piece.body)
        found.append(
            Piece(
                segment=piece.segment,
                step=piece.step,
                offset=piece.offset + skip,
                body=body,
                marks=piece.marks,
                whole=whole,
            )
        )
        window -= len(body)
        if not whole:
            return found, True
    return found, False


def steps_of(segments: Sequence[tuple[int, bytes]], extra: int = 0) -> list[Step]:
    count = max((step for step, _ in segments), default=-1) + 1 + extra
    return [Step(header=f"step {n}", started_at=n) for n in range(count)]


def read_all(
    segments: Sequence[tuple[int, bytes]], steps: Sequence[Step], window: int
) -> list[Line]:
    pieces, lines, cursor = pieces_of(segments), [], Cursor()
    for _ in range(10_000):
        found, more = from_cursor(pieces, cursor, window)
        answer = page(cursor, steps, found, more=more, ended=True)
        lines.extend(answer.lines)
        if answer.next is None:
            return lines
        assert answer.lines, "an answer that is not the last must get on"
        cursor = cursor_of(token_of(answer.next))
    raise AssertionError("the stream never ended")


def by_step(lines: Sequence[Line]) -> list[str]:
    """The text under each header."""
    texts: list[str] = []
    for line in lines:
        if line.header:
            texts.append("")
        else:
            texts[-1] += line.line
    return texts


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "LINES_MAX", 5)
    monkeypatch.setattr(log_lines, "LINE_BYTES_MAX", 8)


# Latin-1 keeps every byte apart, so that what a reader got can be compared byte by byte.
@pytest.fixture
def _bytes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "_text", lambda part: part.decode("latin-1"))


@pytest.mark.usefixtures("_bytes_as_they_are")
@settings(deadline=None)
@given(segments=logs(), extra=st.integers(0, 2))
def test_the_stream_holds_every_byte_once_in_order(
    segments: list[tuple[int, bytes]], extra: int
) -> None:
    steps = steps_of(segments, extra)
    lines = read_all(segments, steps, window=17)
    assert [line.header for line in lines if line.header] == [step.header for step in steps]
    texts = by_step(lines)
    for number in range(len(steps)):
        wanted = b"".join(body for step, body in segments if step == number)
        assert texts[number].encode("latin-1") == wanted


@settings(deadline=None)
@given(first=log_bytes, cuts=st.lists(st.integers(0, 200), max_size=6))
def test_segmentation_does_not_matter(first: bytes, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(first)) for cut in cuts} | {len(first)})
    starts = [0, *ends[:-1]]
    split = [(0, first[start:end]) for start, end in zip(starts, ends, strict=True)]
    steps = [Step(header="s")]
    whole, cut = (read_all(each, steps, window=10_000) for each in ([(0, first)], split))
    assert [line.line for line in whole] == [line.line for line in cut]


@pytest.mark.usefixtures("_bytes_as_they_are")
@settings(deadline=None)
@given(segments=logs(), grow=st.randoms(use_true_random=False))
def test_following_while_it_grows_gives_the_same(
    segments: list[tuple[int, bytes]], grow: Any
) -> None:
    pieces, steps = pieces_of(segments), steps_of(segments)
    known, cursor, lines = 0, Cursor(), []
    for _ in range(10_000):
        if known < len(pieces) and grow.random() < 0.5:
            known += 1
        ended = known == len(pieces) and grow.random() < 0.5
        begun = len(steps) if ended else max((p.step + 1 for p in pieces[:known]), default=0)
        found, more = from_cursor(pieces[:known], cursor, 11)
        answer = page(cursor, steps[:begun], found, more=more, ended=ended)
        lines.extend(answer.lines)
        if not answer.lines and answer.next is not None and known == len(pieces) and not ended:
            assert answer.next == page(answer.next, steps[:begun], (), more=True, ended=False).next
        if answer.next is None:
            break
        cursor = answer.next
    everything = b"".join(body for _, body in segments)
    assert "".join(line.line for line in lines).encode("latin-1") == everything
    assert [line.header for line in lines if line.header] == [step.header for step in steps]


def test_lines_keep_their_breaks_and_times() -> None:
    body = b"one\ntwo\r\nthree"
    piece = Piece(segment=0, step=0, offset=0, body=body, marks=[(0, 10), (4, 20), (12, 30)])
    answer = page(Cursor(), [Step(header="h", started_at=5)], [piece], more=False, ended=True)
    assert answer.lines == [
        Line(header="h", at_ms=5),
        Line(line="one\n", at_ms=10),
        Line(line="two\r\n", at_ms=20),
        Line(line="three", at_ms=20),
    ]
    assert answer.next is None


def test_a_line_without_its_break_waits_for_it() -> None:
    steps = [Step(header="a")]
    piece = Piece(segment=0, step=0, offset=0, body=b"x\nhal")
    answer = page(Cursor(), steps, [piece], more=False, ended=False)
    assert [line.line for line in answer.lines] == ["", "x\n"]
    assert answer.next == Cursor(0, 1, 0, 2)
    rest = Piece(segment=0, step=0, offset=2, body=b"hal")
    idle = page(answer.next, steps, [rest], more=False, ended=False)
    assert idle == ([], answer.next)
    other = Piece(segment=1, step=0, offset=5, body=b"f\n")
    done = page(answer.next, steps, [rest, other], more=False, ended=False)
    assert [line.line for line in done.lines] == ["half\n"]
    assert done.next == Cursor(0, 1, 2, 7)


def test_a_line_without_its_break_ends_with_its_step() -> None:
    piece = Piece(segment=0, step=0, offset=0, body=b"tail")
    steps = [Step(header="a"), Step(header="b", ready=False)]
    answer = page(Cursor(), steps, [piece], more=False, ended=False)
    assert [line.line for line in answer.lines] == ["", "tail"]
    assert answer.next == Cursor(0, 1, 1, 4)


def test_a_step_that_is_not_ready_holds_back_what_follows() -> None:
    pieces = pieces_of([(0, b"a\n"), (1, b"b\n"), (2, b"c\n")])
    waiting = [Step(header="0"), Step(header="1", ready=False), Step(header="2")]
    answer = page(Cursor(), waiting, pieces, more=False, ended=False)
    assert [line.header or line.line for line in answer.lines] == ["0", "a\n"]
    assert answer.next == Cursor(0, 1, 1, 2)
    found, _ = from_cursor(pieces, answer.next, 100)
    assert page(answer.next, waiting, found, more=False, ended=False) == ([], answer.next)
    ready = [Step(header=str(n)) for n in range(3)]
    rest = page(answer.next, ready, found, more=False, ended=True)
    assert [line.header or line.line for line in rest.lines] == ["1", "b\n", "2", "c\n"]
    assert rest.next is None


def test_nothing_new_keeps_the_token() -> None:
    cursor = Cursor(0, 1, 3, 99)
    answer = page(cursor, [Step(header="a")], [], more=False, ended=False)
    assert answer == ([], cursor)
    assert token_of(cursor) == token_of(Cursor(0, 1, 3, 99))


def test_a_very_long_line_is_told_in_parts_at_characters() -> None:
    text = "é" * 40
    piece = Piece(segment=0, step=0, offset=0, body=text.encode())
    answer = page(Cursor(0, 1, 0, 0), [Step(header="a")], [piece], more=False, ended=False)
    assert answer.lines
    assert all("\ufffd" not in line.line for line in answer.lines)


def test_other_bytes_than_text_are_replaced() -> None:
    piece = Piece(segment=0, step=0, offset=0, body=b"a\xff\x00b\n")
    answer = page(Cursor(0, 1, 0, 0), [Step(header="a")], [piece], more=False, ended=True)
    assert [line.line for line in answer.lines] == ["a\ufffd\x00b\n"]


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 2**31 - 1)] * 3, st.integers(0, 2**62)))
def test_tokens_come_back_as_they_were(numbers: tuple[int, int, int, int]) -> None:
    cursor = Cursor(*numbers)
    token = token_of(cursor)
    assert cursor_of(token) == cursor
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "token", ["x", "MS4y", "MS4yLjMuNC41", "LTEuMC4wLjA", "0.1.2", "é", "====", "MS4yLngzIQ"]
)
def test_another_token_is_refused(token: str) -> None:
    with pytest.raises(BadRequest, match="continuationToken"):
        cursor_of(token)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    try:
        cursor = cursor_of(text)
    except BadRequest:
        return
    assert cursor_of(token_of(cursor)) == cursor


def numbered(
    segments: Sequence[bytes], skip: int, count: int, *, passing: bool = False
) -> NumberedLines:
    collector = NumberedLines(skip=skip, count=count)
    offset = 0
    for number, body in enumerate(segments):
        if passing and collector.needs_only_breaks and b"\n" not in body:
            collector.pass_over(len(body))
        else:
            collector.take(Piece(segment=number, step=0, offset=offset, body=body))
        offset += len(body)
    collector.close(offset)
    return collector


def split_lines(body: bytes) -> list[bytes]:
    lines = body.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


@settings(deadline=None)
@given(
    body=log_bytes,
    cuts=st.lists(st.integers(0, 200), max_size=6),
    skip=st.integers(0, 6),
    count=st.integers(1, 6),
)
def test_numbered_lines_are_the_lines_of_the_log(
    body: bytes, cuts: list[int], skip: int, count: int
) -> None:
    log_lines.LINE_BYTES_MAX = 10_000
    ends = sorted({min(cut, len(body)) for cut in cuts} | {len(body)})
    segments = [body[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    collector = numbered(segments, skip, count)
    wanted = split_lines(body)[skip : skip + count]
    assert [line.line for line in collector.lines] == [w.decode("utf-8", "replace") for w in wanted]
    if wanted:
        assert collector.taken_to == len(b"".join(split_lines(body)[: skip + len(wanted)]))


@pytest.mark.parametrize("passing", [True, False])
def test_a_very_long_numbered_line_is_cut_and_says_so(passing: bool) -> None:
    segments = [b"first\nlong", b"-" * 10, b"=" * 100, b"end\nlast\n"]
    collector = numbered(segments, 1, 2, passing=passing)
    assert [line.line for line in collector.lines] == [
        "long----… [110 bytes of this line are left out here]\n",
        "last\n",
    ]


def test_an_answer_of_numbered_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "WINDOW_BYTES_MAX", 20)
    collector = numbered([b"1234567\n" * 100], 0, 499)
    assert len(collector.lines) == 3
    assert collector.is_full
    assert collector.taken_to == 24
