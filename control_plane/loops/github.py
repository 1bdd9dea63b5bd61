"""GitHub in the background: deliveries looked into, reports sent, losses found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from control_plane.loops.loop import Loop
from control_plane.services.github import missed, processing, reporting, review_stacks
from control_plane.services.github.ports import GitHubProblem
from control_plane.services.hints import GITHUB_DELIVERIES, GITHUB_REPORTS
from control_plane.services.world import World

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Every wake may be lost; this is how long a delivery can then wait."""
WAKE_SECONDS = 60.0


async def sweep(world: World) -> None:
    """Review stacks that are left over."""
    await review_stacks.sweep(world)


async def find_missed(world: World) -> None:
    """Deliveries, pushes and closed pull requests that nobody told us of."""
    for step in (missed.find, review_stacks.close_forgotten, processing.forget_old):
        try:
            await step(world)
        except GitHubProblem as problem:
            log.warning("GitHub was not asked", action="github", problem=problem.message)


def loops(world: World) -> list[tuple[Loop, str]]:
    """The loops, each with the topic that wakes it; empty for those that only time wakes."""
    seconds = world.config.github.missed_interval_seconds
    return [
        (
            Loop("github deliveries", partial(processing.process_waiting, world), LOOK_SECONDS),
            GITHUB_DELIVERIES,
        ),
        (
            Loop("github reports", partial(reporting.report_all, world), LOOK_SECONDS),
            GITHUB_REPORTS,
        ),
        (Loop("review stacks", partial(sweep, world), WAKE_SECONDS), ""),
        (Loop("github missed", partial(find_missed, world), seconds), ""),
    ]


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """Run all of them while the block does."""
    async with AsyncExitStack() as stack:
        for loop, topic in loops(world):
            await stack.enter_async_context(loop.running())
            if topic:
                await stack.enter_async_context(_woken(world, loop, topic))
        yield


@asynccontextmanager
async def _woken(world: World, loop: Loop, topic: str) -> AsyncIterator[None]:
    async def listen() -> None:
        with world.broker.subscribe(topic) as wakes:
            while True:
                if await wakes.wait(WAKE_SECONDS):
                    loop.wake()

    task = asyncio.create_task(listen(), name=f"wakes of {loop.name}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
