"""The broker of one process: asyncio events by topic."""

from __future__ import annotations

import asyncio
from typing import Self


class LocalBroker:
    """Wakes waiters within this process; safe to call from its event loop only."""

    def __init__(self) -> None:
        self._topics: dict[str, set[LocalSubscription]] = {}

    def wake(self, topic: str) -> None:
        """Wake all waiters of a topic."""
        for subscription in self._topics.get(topic, ()):
            subscription.event.set()

    def subscribe(self, topic: str) -> LocalSubscription:
        """Begin to listen; use the answer as a context manager."""
        subscription = LocalSubscription(self, topic)
        self._topics.setdefault(topic, set()).add(subscription)
        return subscription

    def forget(self, subscription: LocalSubscription) -> None:
        """End a subscription."""
        listeners = self._topics.get(subscription.topic)
        if listeners is not None:
            listeners.discard(subscription)
            if not listeners:
                del self._topics[subscription.topic]


class LocalSubscription:
    """One listener. A wake between two waits is remembered."""

    def __init__(self, broker: LocalBroker, topic: str) -> None:
        self.topic = topic
        self.event = asyncio.Event()
        self._broker = broker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._broker.forget(self)

    async def wait(self, seconds: float) -> bool:
        """Wait for a wake, at most so long; whether there was one."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return False
        self.event.clear()
        return True
