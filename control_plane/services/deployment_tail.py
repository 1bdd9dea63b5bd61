"""A deployment as its open pages follow it: what it is, and what its log has gained.

All pages of one deployment share what each wake costs (`watching`) and the bytes of the log
(`shared_reads`). Who may look is asked for each of them: at first, every half minute, and before
anything more is told once memberships or sessions have changed in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment import ENDED
from control_plane.domain.log_lines import Piece
from control_plane.domain.names import StackName
from control_plane.errors import NotFound
from control_plane.services import access, deployment_logs, deployment_queries, sessions
from control_plane.services.deployment_logs import Log
from control_plane.services.deployment_queries import Shown
from control_plane.services.hints import deployment_topic
from control_plane.services.verb import verb
from control_plane.services.watching import Watch
from control_plane.services.world import World
from control_plane.store import deployments, log_reading

CHUNK_BYTES = 32 * 1024
"""How much of a log is told at once: five hundred such are on their way to slow readers."""
NEWEST_MAX = 256
"""How many segments at the log's end are known to all its followers."""
CHECK_SECONDS = 30.0

T = TypeVar("T")
Draw = Callable[[Shown], Awaitable[T]]


class Tail(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A deployment at one moment."""

    shown: Shown
    drawn: T
    """What the first follower's `draw` made of it, for all of them."""
    log: Log
    newest: Sequence[Any]
    """The rows of the log's last segments, in order."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.shown.row.status in ENDED


def watch(
    world: World, deployment_id: str, draw: Draw[T]
) -> AbstractContextManager[Watch[Tail[T]]]:
    """Follow a deployment; who may is the caller's to ask."""

    async def look(before: Tail[T] | None) -> Tail[T]:
        return await _look(world, deployment_id, draw, before)

    return world.watches.watch(world.broker, deployment_topic(deployment_id), look)


async def _look(world: World, deployment_id: str, draw: Draw[T], before: Tail[T] | None) -> Tail[T]:
    async with world.database.snapshot() as tx:
        shown = await deployment_queries.in_full(world, tx, deployment_id)
        row = shown.row
        length = 0 if row.log_deleted_at is not None else row.log_length
        newest: list[Row[Any]] = []
        if before is not None and before.log.attempt == row.generation:
            newest = list(before.newest)
        end = newest[-1].offset + newest[-1].length if newest else 0
        if end < length:
            if newest:
                first = newest[-1].segment + 1
            else:
                first = await log_reading.segment_at(tx, deployment_id, length - 1) or 0
            newest += await log_reading.from_segment(tx, deployment_id, first)
    return Tail(
        shown=shown,
        drawn=await draw(shown),
        log=Log(
            deployment_id=row.id,
            attempt=row.generation,
            length=length,
            complete=row.log_complete,
        ),
        newest=newest[-NEWEST_MAX:],
    )


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the log that lie in one segment. Cut the same for every follower."""

    row: Any
    offset: int
    size: int

    async def read(self, world: World) -> Piece:
        """The bytes with the times at which they were written; raises LogUnreadable."""
        return await deployment_logs.piece(
            world, self.row, self.offset - self.row.offset, self.size
        )


async def parts(world: World, tail: Tail[Any], start: int) -> AsyncIterator[Part]:
    """The log from an offset to where the tail ends; less when it has begun anew meanwhile."""
    at = start
    while at < tail.log.length:
        rows = [row for row in tail.newest if row.offset + row.length > at]
        if not rows or rows[0].offset > at:
            rows = await _rows_from(world, tail.log, at)
        if not rows:
            return
        for row in rows:
            while at < min(row.offset + row.length, tail.log.length):
                size = min(CHUNK_BYTES, row.offset + row.length - at)
                yield Part(row=row, offset=at, size=size)
                at += size


async def _rows_from(world: World, log: Log, at: int) -> list[Row[Any]]:
    """Segments from an offset on, for whom the newest do not reach back far enough."""
    async with world.database.snapshot() as tx:
        row = await deployments.by_id(tx, log.deployment_id)
        if row is None or row.generation != log.attempt or row.log_deleted_at is not None:
            return []
        segment = await log_reading.segment_at(tx, log.deployment_id, at)
        if segment is None:
            return []
        return list(await log_reading.from_segment(tx, log.deployment_id, segment))


class Pass:
    """Leave to look at a deployment, asked for again while somebody does."""

    def __init__(
        self, world: World, viewer: sessions.Viewer, name: StackName, deployment_id: str
    ) -> None:
        self._world = world
        self._cookie = viewer.cookie
        self._name = name
        self._deployment_id = deployment_id
        self._cleared = -1
        self._until = 0.0

    async def check(self) -> None:
        """Raises NotLoggedIn or NotFound; asks only when it is time to, or something changed."""
        cleared = self._world.token_cache.cleared
        now = asyncio.get_running_loop().time()
        if cleared == self._cleared and now < self._until:
            return
        await require(self._world, self._cookie, self._name, self._deployment_id)
        self._cleared, self._until = cleared, now + CHECK_SECONDS


@verb
async def require(world: World, cookie: str, name: StackName, deployment_id: str) -> None:
    """That a session's person may look at a deployment; raises NotLoggedIn, NotFound."""
    viewer = await sessions.viewer(world, cookie)
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, viewer.principal, name)
        if await deployments.find(tx, stack.id, deployment_id) is None:
            raise NotFound(what=f"Deployment '{deployment_id}'")
