"""JSON in pieces is the JSON that the encoder would write."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from control_plane.domain import pieces

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), values), st.sets(st.integers(0, 8)))
def test_an_object_in_pieces_is_the_object(fields: dict[str, object], raw: set[int]) -> None:
    """Whichever of its values are raw, and whether they are nested or not."""
    mixed = {
        key: Raw(msgspec.json.encode(value)) if place in raw else value
        for place, (key, value) in enumerate(fields.items())
    }
    assert b"".join(pieces.of_object(mixed)) == msgspec.json.encode(fields)
    nested = b"".join(pieces.of_object({"before": 1, "inner": pieces.of_object(mixed)}))
    assert nested == msgspec.json.encode({"before": 1, "inner": fields})


@given(st.lists(st.binary(max_size=3 * pieces.BLOCK_BYTES // 2), max_size=6))
def test_blocks_are_the_same_bytes(parts: list[bytes]) -> None:
    """Raw values, which have no `len`, among them; and no block but the last is small."""
    blocks = list(pieces.blocks([*parts, Raw(b'"raw"')]))
    assert b"".join(blocks) == b"".join(parts) + b'"raw"'
    assert all(len(block) >= pieces.BLOCK_BYTES for block in blocks[:-1])
