"""Codes for terminals are taken out of a log, however its bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.terminal_codes import WithoutCodes, plain

PIECES = [b"\x1b", b"[", b"]", b"31", b"m", b";", b"\\", b"\x07", b"\n", b"a", "é".encode(), b"("]
TEXTS = st.lists(st.sampled_from([*PIECES, b"B", b" ", b"\x18", b"P", b"8;;x"]), max_size=16)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"\x1b[31;1mred\x1b[0m", b"red"),
        (b"\x1b]8;;https://x.test\x07link\x1b]8;;\x1b\\.", b"link."),
        (b"\x1b]0;a title\x07text", b"text"),
        (b"\x1b]0;no end\nnext", b"\nnext"),
        (b"\x1b]0;no end", b""),
        (b"\x1b(Bx\x1b7y\x1bMz", b"xyz"),
        (b"\x1b[2Kline\r\n", b"line\r\n"),
        (b"half \x1b[3", b"half \x1b[3"),
        (b"\x1bPdevice\x1b\\text", b"text"),
        ("\u009b31m é".encode(), "\u009b31m é".encode()),
    ],
)
def test_what_is_a_code(written: bytes, read: bytes) -> None:
    assert plain(written) == read


@given(TEXTS, st.lists(st.integers(0, 40)))
def test_it_does_not_matter_how_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(parts)
    taking = WithoutCodes()
    found, begin = b"", 0
    for end in [*sorted(cut for cut in cuts if cut <= len(body)), len(body)]:
        found += taking.take(body[begin:end])
        begin = end
    assert found + taking.end() == plain(body)


@given(st.binary().filter(lambda body: b"\x1b" not in body))
def test_what_has_no_codes_is_left_as_it_is(body: bytes) -> None:
    assert plain(body) == body


def test_a_title_without_an_end_is_not_kept_for_ever() -> None:
    taking = WithoutCodes()
    taken = sum(len(taking.take(b"\x1b]" + b"x" * 100_000)) for _ in range(10))
    assert taken > 900_000
