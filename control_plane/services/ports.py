"""What services need from outside, each port as small as its callers' needs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol


class ObjectStore(Protocol):
    """Keeps checkpoints: immutable objects by key."""

    async def put(self, key: str, body: bytes) -> None:
        """Keep an object durably; putting the same key again replaces it."""

    async def get(self, key: str) -> bytes:
        """The object's bytes; raises KeyError when there is none."""

    async def delete(self, key: str) -> None:
        """Forget an object; it is no error when there is none."""


class LogReader(Protocol):
    """Reads what runners wrote to the log store."""

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a segment from an offset; raises KeyError when there is no such segment."""

    async def delete_prefix(self, prefix: str) -> None:
        """Forget all segments under a prefix."""


class Broker(Protocol):
    """Wakes who waits for a topic. A wake is a hint: waiters look into the database themselves."""

    def wake(self, topic: str) -> None:
        """Wake all waiters of a topic."""

    def subscribe(self, topic: str) -> Subscription:
        """Begin to listen. Subscribe first, then look, then wait: so that no wake is missed."""


class Subscription(Protocol):
    """One listener of a topic; a context manager, so that it always ends."""

    def __enter__(self) -> Subscription: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, seconds: float) -> Awaitable[bool]:
        """Wait for a wake since the last wait, at most so long; whether there was one."""


class Cipher(Protocol):
    """Wraps data keys with the server's master key."""

    def wrap(self, data_key: bytes, context: str) -> bytes:
        """Encrypt a stack's data key; the context (the stack's id) is authenticated with it."""

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """Decrypt a stack's data key; raises ValueError when it is not this context's."""

    def sign(self, text: str, purpose: str) -> bytes:
        """A 32-byte code that only this server can make, for one purpose."""


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> int:
        """Unix time in milliseconds."""
