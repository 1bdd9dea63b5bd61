"""JSON written in pieces: a large document is put together without copies of its parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

BLOCK_BYTES = 256 * 1024


def of_object(fields: Mapping[str, Any]) -> Iterator[bytes]:
    """The pieces of a JSON object: raw values as they stand, lists and iterators of pieces in
    turn, everything else encoded."""
    opening = b"{"
    for key, value in fields.items():
        yield opening + msgspec.json.encode(key) + b":"
        yield from _of_value(value)
        opening = b","
    yield b"}" if fields else b"{}"


def _of_value(value: Any) -> Iterator[bytes]:
    if isinstance(value, Raw):
        yield value
    elif isinstance(value, list):
        yield from _of_list(value)
    elif isinstance(value, Iterator):
        yield from value
    else:
        yield msgspec.json.encode(value)


def _of_list(values: list[Any]) -> Iterator[bytes]:
    yield b"["
    for place, value in enumerate(values):
        if place:
            yield b","
        yield from _of_value(value)
    yield b"]"


def blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about `BLOCK_BYTES`: cheaper to hand on than many small ones."""
    block: list[bytes] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += length(piece)
        if size >= BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    yield b"".join(block)


def length(piece: bytes) -> int:
    """How many bytes a piece has; a raw value has no length of its own."""
    return memoryview(piece).nbytes
