"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

STEP_SECONDS = 0.02


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """The first truthy answer of a condition; fails the test naming what did not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(STEP_SECONDS)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


async def eventually(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """The same inside an event loop; the condition may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(STEP_SECONDS)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")
