"""Many submitters, one polling gateway and many runners at once, on one world."""

from __future__ import annotations

import asyncio
import random

from control_plane.errors import LeaseEnded
from control_plane.loops import janitor
from control_plane.services import expiry
from runner_actors.contract import Concluded, Grant, StepStarted
from tests.support.queue import Farm, make_farm

STACKS = 12
DEPLOYMENTS = 150


class Watch:
    """Runs what a gateway is granted, and watches that no two of a stack overlap."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.chance = random.Random(7)
        self.running: set[str] = set()
        self.most = 0
        self.order: dict[str, list[int]] = {}
        self.lost = 0

    async def run(self, grant: Grant) -> None:
        assert grant.stack_id not in self.running, "two deployments of a stack at once"
        self.running.add(grant.stack_id)
        self.most = max(self.most, len(self.running))
        versions = self.order.setdefault(grant.stack_id, [])
        if grant.generation == 1:
            versions.append(grant.version)
        await self.farm.say(grant, StepStarted(number=1, at_ms=0, step=0, name="Get source"))
        await asyncio.sleep(0)
        self.running.discard(grant.stack_id)
        if self.chance.random() < 0.1 and grant.generation < 3:
            self.lost += 1
            await self.farm.release(grant)
        else:
            event = Concluded(number=2, at_ms=0, succeeded=True, reason="completed")
            await self.farm.say(grant, event)


async def test_everything_at_once_I1_I2_I4(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.add_organization("small", limit=2)
        stacks = [
            await farm.add_stack("shop", f"s{n}", ("acme", "small")[n % 2]) for n in range(STACKS)
        ]
        watch = Watch(farm)

        async def submit(stack_number: int) -> str:
            return (await farm.submit(stacks[stack_number % STACKS])).id

        async def serve() -> None:
            runs: set[asyncio.Task[None]] = set()
            while not await finished(farm):
                answer = await farm.poll(wait_seconds=0.2)
                runs |= {asyncio.create_task(watch.run(grant)) for grant in answer.grants}
            await asyncio.gather(*runs)

        async def check() -> None:
            while not await finished(farm):
                await janitor.run_once(farm.world)
                over = await farm.ask(
                    "SELECT organization_id FROM deployments JOIN organizations o"
                    " ON o.id = organization_id WHERE status IN ('accepted', 'running')"
                    " GROUP BY organization_id HAVING count(*) > max(deployment_limit)"
                )
                assert over == []
                await asyncio.sleep(0.01)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            submissions = [group.create_task(submit(n)) for n in range(DEPLOYMENTS)]
            group.create_task(serve())
            group.create_task(check())

        ids = {task.result() for task in submissions}
        ended = "SELECT id FROM deployments WHERE status = 'succeeded' AND reason = 'completed'"
        assert {row[0] for row in await farm.ask(ended)} == ids
        assert watch.lost > 0
        assert watch.most > 2
        assert all(versions == sorted(versions) for versions in watch.order.values())
        assert await expiry.repair_pointers(farm.world) == 0


async def finished(farm: Farm) -> bool:
    rows = await farm.ask(
        "SELECT count(*) FROM deployments WHERE status IN ('succeeded', 'failed', 'skipped')"
    )
    return rows == [(DEPLOYMENTS,)]


async def test_I3_a_lease_that_ends_beside_its_runner_lets_nothing_through(tmp_path):
    """Release and events race: whichever commits first, no event lands after the end."""
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        for _ in range(30):
            submitted = await farm.submit(stack)
            grant = await farm.grant()
            results = await asyncio.gather(
                farm.start(grant),
                farm.release(grant),
                farm.conclude(grant, number=2),
                return_exceptions=True,
            )
            assert all(
                isinstance(each, LeaseEnded) or not isinstance(each, BaseException)
                for each in results
            )
            row = await farm.row(submitted.id)
            steps = await farm.ask(
                "SELECT count(*) FROM deployment_steps WHERE deployment_id = :id", id=submitted.id
            )
            if row.status == "not-started":
                assert (row.last_event, steps) == (0, [(0,)])
                await farm.run(await farm.grant())
