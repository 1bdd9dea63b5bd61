"""State documents in the object store: compressed, named by their content, never changed.

A document's key also holds its update and a number in it. So nothing ever writes a key that was
given up before, and deleting what is no longer referred to cannot hit a document that came back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import zstandard
from sqlalchemy.exc import IntegrityError

from control_plane import heap
from control_plane.domain import checkpoint, pieces
from control_plane.errors import Problem
from control_plane.services.world import World

P = ParamSpec("P")
R = TypeVar("R")

THREAD_BYTES = 128 * 1024
"""Documents of this size and more are worked on in a thread, so that other requests go on."""

LARGE_BYTES = 4 * 1024 * 1024


async def worked(size: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of that much JSON: here when it is quick, else in a thread."""
    if size < THREAD_BYTES:
        return function(*args, **kwargs)
    if size >= LARGE_BYTES:
        # What the last large document took should not add to what this one takes.
        await asyncio.to_thread(heap.give_back)
    return await asyncio.to_thread(function, *args, **kwargs)


async def load(world: World, key: str | None) -> bytes:
    """A document's bytes; no key: the document of a stack that never had a state."""
    if key is None:
        return checkpoint.EMPTY
    packed = await world.objects.get(key)
    return await worked(len(packed) * 8, _unpack, packed)


async def examined(world: World, key: str, function: Callable[[bytes], R]) -> R:
    """What a function finds in a document, unpacked and examined in one go.

    So no more documents are held than there are threads, however many ask at once.
    """
    packed = await world.objects.get(key)
    return await worked(len(packed) * 8, lambda: function(_unpack(packed)))


async def keep(
    world: World, stack_id: str, update_id: str, number: int, document: bytes | Sequence[bytes]
) -> str:
    """Store the document, whole or in pieces, that is the update's number so and so; returns its
    key."""
    parts = [document] if isinstance(document, bytes) else document
    size = sum(map(pieces.length, parts))
    digest, packed = await worked(size, _pack, parts, size)
    key = f"states/{stack_id}/{update_id}/{number}-{digest}.zst"
    await world.objects.put(key, packed)
    return key


@asynccontextmanager
async def provisional(world: World, key: str | None) -> AsyncIterator[None]:
    """Around the transaction that records a new document: when it refuses, the object goes too.

    Only for keys that no repetition of the call could name as well.
    """
    try:
        yield
    except (Problem, IntegrityError):
        if key is not None:
            await world.objects.delete(key)
        raise


def _pack(parts: Sequence[bytes], size: int) -> tuple[str, bytes]:
    digest = hashlib.sha256()
    compressor = zstandard.ZstdCompressor().compressobj(size=size)
    packed = []
    for block in pieces.blocks(parts):
        digest.update(block)
        packed.append(compressor.compress(block))
    return digest.hexdigest(), b"".join([*packed, compressor.flush()])


def _unpack(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
