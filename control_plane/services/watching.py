"""Many who look at the same thing share one look: each wake of a topic costs one, not one each.

A watch begins with its first watcher and ends with the last. What its look found is numbered, so
that a watcher waits for what comes after the number it has seen; who is slow misses what was
between, and sees the newest. A look that fails fails for all who wait; who comes next begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from control_plane.services.ports import Broker

T = TypeVar("T")

LOOK_SECONDS = 10.0
"""At least so often it is looked, for a wake is a hint that may be lost."""


class Found(NamedTuple, Generic[T]):
    """What a look found; the first one's number is 1."""

    number: int
    value: T


class Watch(Generic[T]):
    """One look for all watchers of a topic; it is given what was found before, at first None."""

    def __init__(
        self, broker: Broker, topic: str, look: Callable[[T | None], Awaitable[T]]
    ) -> None:
        self.watchers = 0
        self._broker = broker
        self._topic = topic
        self._look = look
        self._found: Found[T] | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def after(self, number: int, seconds: float) -> Found[T] | None:
        """What was found after that number, waiting at most so long for it; None: nothing new.

        Raises what a look raised.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"watch {self._topic}")
        if not self._is_newer(number):
            try:
                async with asyncio.timeout(seconds):
                    await self._until_newer(number)
            except TimeoutError:
                return None
        return self._found

    def end(self) -> None:
        """Nobody watches any more."""
        if self._task is not None:
            self._task.cancel()

    def _is_newer(self, number: int) -> bool:
        return self._found is not None and self._found.number > number

    async def _until_newer(self, number: int) -> None:
        while not self._is_newer(number):
            task = self._task
            if task is not None and task.done():
                task.result()
            await self._changed.wait()

    async def _run(self) -> None:
        try:
            with self._broker.subscribe(self._topic) as wakes:
                while True:
                    await self._look_again()
                    await wakes.wait(LOOK_SECONDS)
        finally:
            asyncio.get_running_loop().call_soon(self._tell)

    async def _look_again(self) -> None:
        before = self._found
        value = await self._look(before.value if before else None)
        self._found = Found(before.number + 1 if before else 1, value)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def failed(self) -> bool:
        """Whether its look has failed, so that it finds nothing any more."""
        return self._task is not None and self._task.done()


class Watches:
    """The watches under way, by topic."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch[Any]] = {}

    @contextmanager
    def watch(
        self, broker: Broker, topic: str, look: Callable[[T | None], Awaitable[T]]
    ) -> Iterator[Watch[T]]:
        """Watch a topic with whoever does so already; it is the first one's look that counts."""
        found = self._watches.get(topic)
        if found is None or found.failed:
            found = self._watches[topic] = Watch(broker, topic, look)
        found.watchers += 1
        try:
            yield found
        finally:
            found.watchers -= 1
            if not found.watchers:
                found.end()
                if self._watches.get(topic) is found:
                    del self._watches[topic]
