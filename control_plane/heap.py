"""The heap of this process, where it is glibc's: what a large state took is given back.

Without this each thread has an arena of its own, and freed memory stays in all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

# From glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

LARGE_BYTES = 1024 * 1024


def set_up() -> None:
    """Let all threads share an arena, for which they hardly wait, since they share the
    interpreter; and let what is large come from the system and go back there at once."""
    with contextlib.suppress(AttributeError):
        _libc.mallopt(_M_ARENA_MAX, 1)
        _libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def settle() -> None:
    """Let the garbage collector pass over all that is here now: what a process has at its start
    it keeps, and a walk over that takes longer than drawing a page."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Give freed memory back to the operating system; takes milliseconds."""
    with contextlib.suppress(AttributeError):
        _libc.malloc_trim(0)


_libc = ctypes.CDLL(None)
