"""Bodies that are not what a route reads: refused in one shape, and nothing has changed."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.api.body import decode_bytes
from control_plane.domain import checkpoint, engine_events, journal
from control_plane.errors import BadRequest
from tests.flow.test_bad_input_access import refused
from tests.support.bad_input import (
    ROWS,
    SETTINGS,
    Row,
    S,
    Stand,
    make_stand,
    one_per_handler,
)
from tests.support.state import document, entry, resource
from tests.support.wrong_bodies import Mistake, made, mistakes

LIMIT = 2 * 1024 * 1024

READING = [row for row in one_per_handler() if row.shape is not None]
"""The rows that read a body."""
SHAPED = [row for row in READING if row.shape is not SETTINGS]


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with make_stand(tmp_path, server={"body_bytes_max": LIMIT}) as made_stand:
        yield made_stand


DEEP = 100_000
NO_JSON: dict[str, bytes] = {
    "half an object": b'{"a":',
    "two values": b"{} {}",
    "a form": b"a=1&b=2",
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a": "\xff\xfe"}',
    "invalid UTF-8 in a key": b'{"a\xc3": 1}',
    "an overlong NUL": b'{"a": "\xc0\x80"}',
    "a UTF-8 surrogate": b'{"a": "\xed\xa0\x80"}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate": b'{"a": "\\udc00 x"}',
    "a raw NUL": b'{"a": "\x00"}',
    "spaces": b"  \n ",
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep lists in a field": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "brackets without end": b"[" * DEEP,
}
WRONG_KIND: dict[str, bytes] = {
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "a huge number": b"9" * 5000,
}


async def test_what_is_no_json_is_refused_everywhere(stand: Stand) -> None:
    before = await stand.everything()
    for what, content in NO_JSON.items():
        for row in READING:
            for body in (content, _within(row, stand, content)):
                answer = await stand.call(row, content=body)
                refused(answer, 400, (row.name, what))
                assert len(answer.content) < 1000
    assert await stand.everything() == before


def _within(row: Row, stand: Stand, content: bytes) -> bytes:
    """The right body, with a field before the others that nobody knows."""
    return b'{"unknown": ' + content + b", " + stand.body(row)[1:]


async def test_json_of_another_kind_is_refused_everywhere(stand: Stand) -> None:
    before = await stand.everything()
    for row in READING:
        for what, content in WRONG_KIND.items():
            answer = await stand.call(row, content=content)
            refused(answer, 400, (row.name, what))
    assert await stand.everything() == before


async def test_an_empty_body_is_an_empty_object(stand: Stand) -> None:
    for row in READING:
        empty = await stand.call(row, content=b"")
        assert empty.status_code < 500, row.name
        if not empty.is_success:
            refused(empty, empty.status_code, row.name)


async def test_a_value_of_a_wrong_type_is_refused_by_its_name(stand: Stand) -> None:
    before = await stand.everything()
    for row in SHAPED:
        found = list(mistakes(row.shape))
        assert found, row.name
        for mistake in found:
            body = made(json.loads(stand.body(row)), mistake)
            answer = await stand.call(row, content=json.dumps(body).encode())
            refused(answer, 400, (row.name, mistake))
            assert mistake.name in answer.json()["message"], (row.name, mistake, answer.text)
    assert await stand.everything() == before


_INNER = [
    ("POST {S}/import", checkpoint._Document, document(resource("a")), ()),
    ("PATCH {U}/checkpoint", checkpoint._Document, document(resource("a")), ()),
    (
        "PATCH {U}/checkpointverbatim",
        checkpoint._Document,
        document(resource("a")),
        ("untypedDeployment",),
    ),
    ("PATCH {U}/journalentries", journal.Entry, entry(60, 0, 60), ("entries", 0)),
    ("PATCH {U}/journalentries", checkpoint.Resource, resource("a"), ("entries", 0, "state")),
    ("POST {U}/events", engine_events.Numbered, {"sequence": 9}, ()),
    ("POST {U}/events/batch", engine_events.Numbered, {"sequence": 9}, ("events", 0)),
]
"""What is inside bodies that are kept as they come: where, of which shape, and a right one."""


async def test_what_is_kept_is_checked_as_well(stand: Stand) -> None:
    before = await stand.everything()
    for where, shape, right, place in _INNER:
        name = where.format(S=S, U=f"{S}/update/{{update_id:str}}")
        row = next(row for row in ROWS if row.name == name)
        for mistake in mistakes(shape):
            if not mistake.place or mistake.kind == "null":
                continue  # Covered above; and engines write null for what is not there.
            inside = made({**_at(json.loads(stand.body(row)), place), **right}, mistake)
            body = _made_of(json.loads(stand.body(row)), place, inside)
            answer = await stand.call(row, content=json.dumps(body).encode())
            refused(answer, 400, (row.name, mistake))
            assert mistake.name in answer.json()["message"], (row.name, mistake, answer.text)
    assert await stand.everything() == before


def _at(body: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        body = body[key] if isinstance(key, int) else body.get(key, {})
    return body


_MISTAKES: list[tuple[Row, Mistake]] = [
    (row, mistake) for row in SHAPED for mistake in mistakes(row.shape)
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from(SHAPED), _JSON)
def test_any_json_is_a_shape_or_a_bad_request(row: Row, value: Any) -> None:
    _is_read_or_refused(row, value)


@given(st.sampled_from(_MISTAKES), _JSON)
def test_any_json_in_a_field_is_right_or_a_bad_request(
    case: tuple[Row, Mistake], value: Any
) -> None:
    row, mistake = case
    place = Mistake(mistake.place, "any")
    _is_read_or_refused(row, _made_of(row.body, place.place, value))


def _made_of(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    key, *rest = place
    if isinstance(key, int):
        return [_made_of(body[0] if isinstance(body, list) and body else {}, tuple(rest), value)]
    body = body if isinstance(body, dict) else {}
    return {**body, key: _made_of(body.get(key), tuple(rest), value)}


def _is_read_or_refused(row: Row, value: Any) -> None:
    try:
        content = json.dumps(value).encode()
    except UnicodeEncodeError:
        return
    with suppress(BadRequest):
        decode_bytes(content, row.shape)


NUMBERS = (
    b"9" * 5000,
    b"-" + b"9" * 40,
    b"1e999",
    b"-1",
    b"2147483648",
    b"9007199254740993",
    b"9223372036854775808",
    b"18446744073709551616",
    b"0.5",
    b"-0",
)


async def test_numbers_of_any_size_are_taken_or_refused(stand: Stand) -> None:
    for row in SHAPED:
        found = set(mistakes(row.shape))
        for place in {each.place for each in found}:
            numeric = Mistake(place, "a number") not in found and Mistake(place, "a text") in found
            if not numeric or place == ("waitSeconds",):
                continue  # How long one waits is bounded, and takes as long.
            text = json.dumps(_made_of(json.loads(stand.body(row)), place, "@@")).encode()
            for number in NUMBERS:
                answer = await stand.call(row, content=text.replace(b'"@@"', number))
                assert answer.status_code < 500, (row.name, place, number[:20], answer.text)
                if not answer.is_success:
                    refused(answer, answer.status_code, (row.name, place, number[:20]))


# How bodies are carried.


async def test_a_body_that_is_carried_wrongly_is_refused_everywhere(stand: Stand) -> None:
    before = await stand.everything()
    for row in READING:
        packed = gzip.compress(stand.body(row), mtime=0)
        bomb = gzip.compress(b" " * (LIMIT + 1), mtime=0)
        big = b" " * (LIMIT + 1)
        cases: list[tuple[int, bytes, dict[str, str]]] = [
            (400, packed[:-1], {"Content-Encoding": "gzip"}),
            (400, packed[:12], {"Content-Encoding": "gzip"}),
            (400, b"", {"Content-Encoding": "gzip"}),
            (400, packed[:-8] + b"\0" * 8, {"Content-Encoding": "gzip"}),
            (400, packed + b"more", {"Content-Encoding": "gzip"}),
            (400, stand.body(row), {"Content-Encoding": "gzip"}),
            (400, packed, {}),
            (413, bomb, {"Content-Encoding": "gzip"}),
            (413, big, {}),
            (415, stand.body(row), {"Content-Encoding": "br"}),
            (415, packed, {"Content-Encoding": "gzip, gzip"}),
            (415, packed, {"Content-Encoding": "deflate"}),
        ]
        for status, content, headers in cases:
            answer = await stand.call(row, content=content, headers=headers)
            refused(answer, status, (row.name, status, headers, content[:20]))
    assert await stand.everything() == before


CALLED = (
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "",
    "?",
)


async def test_what_the_content_is_called_does_not_matter(stand: Stand) -> None:
    row = next(row for row in ROWS if row.path.endswith("/encrypt") and row.verb == "POST")
    for called in CALLED:
        for encoding in ("", "gzip", "GZIP", "x-gzip", "identity"):
            content = stand.body(row)
            if "gzip" in encoding.lower():
                content = gzip.compress(content)
            headers = {"Content-Type": called}
            if encoding:
                headers["Content-Encoding"] = encoding
            answer = await stand.call(row, content=content, headers=headers)
            assert answer.status_code == 200, (called, encoding, answer.text)
