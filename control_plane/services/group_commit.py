"""Several verbs, one commit: what makes many small durable writes cheap.

A durable commit costs about the same for one row as for fifty. So callers that arrive while a
transaction is being written gather, and the next transaction serves them all. This bends the rule
"one verb is one transaction" in one direction only: a verb still writes in one transaction, nobody
is answered before it is committed, and each gets its own answer. A lone caller waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from control_plane.errors import Problem

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MEMBERS_MAX = 64


@dataclass
class _Member(Generic[Item, Answer]):
    item: Item
    answer: asyncio.Future[Answer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class GroupCommit(Generic[Item, Answer]):
    """Gathers items; hands all that wait to one commit, and each answer to who waits for it."""

    def __init__(self, members_max: int = MEMBERS_MAX) -> None:
        self._members_max = members_max
        self._waiting: deque[_Member[Item, Answer]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def join(
        self,
        item: Item,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Problem]]],
    ) -> Answer:
        """Have an item committed with whatever else waits; returns or raises its own answer.

        A caller that is cancelled before its item's commit began takes the item along; after
        that, the item is committed as if its answer had been lost on the way.
        """
        member: _Member[Item, Answer] = _Member(item)
        self._waiting.append(member)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(commit), name="group commit")
        return await member.answer

    async def _work(
        self, commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Problem]]]
    ) -> None:
        members: list[_Member[Item, Answer]] = []
        try:
            while self._waiting:
                members = self._next_members()
                await _settle(members, commit)
        finally:
            # Reached by a cancelled worker too, when the event loop ends: nobody waits forever.
            self._worker = None
            for member in (*members, *self._waiting):
                member.answer.cancel()
            self._waiting.clear()

    def _next_members(self) -> list[_Member[Item, Answer]]:
        members: list[_Member[Item, Answer]] = []
        while self._waiting and len(members) < self._members_max:
            member = self._waiting.popleft()
            if not member.answer.done():
                members.append(member)
        return members


async def _settle(
    members: Sequence[_Member[Item, Answer]],
    commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Problem]]],
) -> None:
    if not members:
        return
    try:
        answers = await commit([member.item for member in members])
    except Exception as error:
        if len(members) == 1:
            _give(members[0], error)
            return
        # Nothing was committed: once more, each alone, so that only the culprit fails.
        for member in members:
            await _settle([member], commit)
        return
    for member, answer in zip(members, answers, strict=True):
        _give(member, answer)


def _give(member: _Member[Item, Answer], answer: Answer | Exception) -> None:
    if member.answer.done():
        return
    if isinstance(answer, Exception):
        member.answer.set_exception(answer)
    else:
        member.answer.set_result(answer)
