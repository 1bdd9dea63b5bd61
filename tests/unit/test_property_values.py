"""Values of properties for reading: no secret gets out, and every difference is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.property_values import (
    CHANGES_MAX,
    MASK,
    SECRET,
    SIGNATURE,
    UNKNOWN,
    Change,
    changes,
    ciphertexts,
    holds_secret,
    masked,
    opened,
    text_of,
)

HUSH = "very-secret-plaintext"
plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
secrets = st.just({SIGNATURE: SECRET, "ciphertext": HUSH})
values = st.recursive(
    plain | secrets,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
properties = st.dictionaries(st.text(max_size=4), values, max_size=4)


@given(values)
def test_no_secret_is_left_in_what_is_masked(value: Any) -> None:
    shown = masked(value)
    assert HUSH not in json.dumps(shown)
    assert not holds_secret(shown)
    assert holds_secret(value) == (HUSH in json.dumps(value))
    assert set(ciphertexts(value)) <= {HUSH}
    assert json.dumps(opened(value, lambda text: text)).count(HUSH) == json.dumps(value).count(HUSH)


@given(properties, properties)
def test_there_is_a_change_where_two_differ_and_none_else(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    found = changes(old, new)
    assert bool(found) == (old != new)
    assert HUSH not in str(found)
    assert changes(old, old) == []
    assert len({each.path for each in found}) == len(found)


def test_changes_stand_where_they_are() -> None:
    old = {"a": {"b.c": [1, {"d": 2}]}, "gone": None, "key": {SIGNATURE: SECRET, "ciphertext": "1"}}
    new = {"a": {"b.c": [1, {"d": 3}, 4]}, "key": {SIGNATURE: SECRET, "ciphertext": "2"}}
    assert changes(old, new) == [
        Change(path='a["b.c"][1].d', old="2", new="3"),
        Change(path='a["b.c"][2]', new="4"),
        Change(path="gone", old="null"),
        Change(path="key", old=MASK, new=MASK),
    ]
    assert [each.kind for each in changes(old, new)] == ["changed", "added", "removed", "changed"]


def test_there_is_an_end_to_changes() -> None:
    assert len(changes({}, {str(n): n for n in range(10_000)})) == CHANGES_MAX
    deep_old: Any = 1
    deep_new: Any = 2
    for _ in range(500):
        deep_old, deep_new = {"x": deep_old}, {"x": deep_new}
    assert len(changes(deep_old, deep_new)) == 1
    assert "too deep" in json.dumps(masked(deep_old))
    assert list(ciphertexts(deep_old)) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\nb", "a\nb"), (1.5, "1.5"), ({"a": [1]}, '{\n  "a": [\n    1\n  ]\n}'), (None, "null")],
)
def test_a_value_as_text(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_what_only_the_update_will_know() -> None:
    assert masked([UNKNOWN]) == ["[known after the update]"]
