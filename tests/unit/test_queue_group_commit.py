"""Group commit: nobody is lost, nobody is answered twice or for another, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.errors import BadRequest, Problem
from control_plane.services.group_commit import GroupCommit

POISON = 13


async def test_a_lone_caller_waits_for_nobody() -> None:
    groups: list[int] = []

    async def commit(items: Sequence[int]) -> Sequence[int | Problem]:
        groups.append(len(items))
        return list(items)

    group: GroupCommit[int, int] = GroupCommit()
    assert [await group.join(number, commit) for number in (1, 2, 3)] == [1, 2, 3]
    assert groups == [1, 1, 1]


async def test_who_comes_during_a_commit_shares_the_next() -> None:
    groups: list[list[int]] = []
    gate = asyncio.Event()

    async def commit(items: Sequence[int]) -> Sequence[int | Problem]:
        groups.append(list(items))
        await gate.wait()
        return list(items)

    group: GroupCommit[int, int] = GroupCommit(members_max=3)
    first = asyncio.create_task(group.join(0, commit))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(group.join(number, commit)) for number in range(1, 6)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(first, *rest) == [0, 1, 2, 3, 4, 5]
    assert groups == [[0], [1, 2, 3], [4, 5]]


async def test_when_the_worker_is_cut_nobody_waits_for_ever() -> None:
    async def commit(items: Sequence[int]) -> Sequence[int | Problem]:
        await asyncio.Event().wait()
        return []

    group: GroupCommit[int, int] = GroupCommit()
    waiting = [asyncio.create_task(group.join(number, commit)) for number in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert group._worker is not None
    group._worker.cancel()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)


@given(
    numbers=st.lists(st.integers(0, 30), max_size=40),
    cancelled=st.sets(st.integers(0, 39)),
    pauses=st.integers(0, 3),
    members_max=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_each_gets_its_own_answer(
    numbers: list[int], cancelled: set[int], pauses: int, members_max: int
) -> None:
    """Multiples of 7 are refused, a 13 breaks its whole commit, some callers go away."""
    kept: list[int] = []

    async def commit(items: Sequence[tuple[int, int]]) -> Sequence[int | Problem]:
        await asyncio.sleep(0)
        if any(number == POISON for _, number in items):
            raise RuntimeError("broken")
        kept.extend(place for place, number in items if number % 7)
        return [number if number % 7 else BadRequest(detail="seven") for _, number in items]

    async def scenario() -> None:
        group: GroupCommit[tuple[int, int], int] = GroupCommit(members_max)
        tasks = [
            asyncio.create_task(group.join((place, number), commit))
            for place, number in enumerate(numbers)
        ]
        for _ in range(pauses):
            await asyncio.sleep(0)
        gone = {place for place in cancelled if place < len(tasks) and tasks[place].cancel()}
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for place, (number, answer) in enumerate(zip(numbers, answers, strict=True)):
            if place in gone:
                assert isinstance(answer, asyncio.CancelledError)
            elif number == POISON:
                assert isinstance(answer, RuntimeError)
            elif number % 7 == 0:
                assert isinstance(answer, BadRequest)
            else:
                assert answer == number
                assert kept.count(place) == 1
        assert len(kept) == len(set(kept))

    asyncio.run(scenario())


async def test_an_error_of_one_alone_is_its_own() -> None:
    async def commit(items: Sequence[int]) -> Sequence[int | Problem]:
        raise RuntimeError("broken")

    group: GroupCommit[int, int] = GroupCommit()
    with pytest.raises(RuntimeError, match="broken"):
        await group.join(1, commit)
