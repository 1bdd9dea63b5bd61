"""What may leave a program: everything but the secrets, however the output is cut."""

from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_actors.redact import MASK, Redactor, forms_of

# Few letters, so that secrets overlap, contain each other and nearly occur.
secrets = st.lists(st.text("ab\n", min_size=1, max_size=6).map(str.encode), max_size=4)
texts = st.text("abc\n", max_size=60).map(str.encode)


def all_at_once(secrets: list[bytes], text: bytes) -> bytes:
    forms = sorted({f for s in secrets for f in forms_of(s)}, key=len, reverse=True)
    return re.sub(b"|".join(map(re.escape, forms)), MASK, text) if forms else text


@given(secrets, texts, st.lists(st.integers(0, 60)))
def test_every_way_of_cutting_gives_the_same(
    secrets: list[bytes], text: bytes, cuts: list[int]
) -> None:
    redactor = Redactor(secrets)
    edges = [0, *sorted(cuts), len(text)]
    shown = b"".join(redactor.feed(text[a:b]) for a, b in pairwise(edges))
    shown += redactor.flush()
    assert shown == all_at_once(secrets, text)


@given(secrets, texts)
def test_no_secret_is_left(secrets: list[bytes], text: bytes) -> None:
    redactor = Redactor(secrets)
    shown = b"".join(redactor.feed(text[i : i + 1]) for i in range(len(text))) + redactor.flush()
    for secret in secrets:
        if len(secret) >= 3:
            assert all(secret not in part for part in shown.split(MASK))


@given(secrets, texts)
def test_nothing_is_held_back_that_cannot_become_a_secret(
    secrets: list[bytes], text: bytes
) -> None:
    redactor = Redactor(secrets)
    redactor.feed(text)
    held = redactor._held
    forms = {form for secret in secrets for form in forms_of(secret)}
    assert held == b"" or any(f.startswith(held) and f != held for f in forms)


HARD = 'p"ä/ss <w&rd>+1'


@pytest.mark.parametrize(
    "printed",
    [
        HARD,
        json.dumps({"key": HARD}),
        json.dumps({"key": HARD}, ensure_ascii=False),
        json.dumps(HARD).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        quote(HARD),
        quote(HARD, safe=""),
        base64.b64encode(HARD.encode()).decode(),
        base64.b64encode(HARD.encode() + b"\n").decode(),
        base64.urlsafe_b64encode(HARD.encode()).decode(),
    ],
)
def test_the_forms_in_which_programs_print_a_secret(printed: str) -> None:
    shown = Redactor([HARD.encode()]).whole(printed.encode())
    assert MASK in shown
    for part in ("ss <w", "ss \\u003cw", "%3Cw", "rd", base64.b64encode(HARD.encode()).decode()):
        assert part.encode() not in shown


def test_a_value_of_several_lines_is_hidden_line_by_line() -> None:
    key = b"-----BEGIN KEY-----\n  c2VjcmV0\n  a2V5\n-----END KEY-----\n"
    indented = b"\n".join(b"log: " + line for line in key.splitlines())
    shown = Redactor([key]).whole(indented)
    assert b"c2VjcmV0" not in shown
    assert shown.count(MASK) == 4


def test_values_of_one_or_two_bytes_are_left_alone() -> None:
    assert Redactor([b"1", b"no"]).whole(b"1 no") == b"1 no"


def test_a_secret_that_is_not_text() -> None:
    assert Redactor([b"\xff\xfe\x00"]).whole(b"a\xff\xfe\x00b") == b"a[secret]b"
