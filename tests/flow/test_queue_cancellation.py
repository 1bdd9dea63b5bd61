"""Cancel, supersede: how what waits or runs is ended by somebody's will."""

from __future__ import annotations

import pytest

from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.errors import NotFound
from control_plane.services import cancellation
from tests.support.queue import Farm, make_farm, settings


async def cancel(farm: Farm, stack: StackName, deployment_id: str, mode="graceful") -> None:
    await cancellation.cancel(farm.world, farm.principal(), stack, deployment_id, mode)


async def test_what_waits_ends_at_once_and_the_next_takes_its_place(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        first, second = await farm.submit(stack), await farm.submit(stack)
        await cancel(farm, stack, first.id)
        row = await farm.row(first.id)
        assert (row.status, row.reason, row.cancelled_by) == ("skipped", "cancelled", "ada")
        assert row.ended_at is not None
        assert (await farm.grant()).deployment_id == second.id


async def test_what_is_live_is_asked_to_stop_and_goes_on_until_it_says_so(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        await farm.start(grant)
        await cancel(farm, stack, submitted.id)
        row = await farm.row(submitted.id)
        assert (row.status, row.cancel_mode, row.cancelled_by) == ("running", "graceful", "ada")
        await farm.conclude(grant, succeeded=False, reason="cancelled", number=2)
        assert await farm.how(submitted.id) == ("failed", "cancelled")


async def test_graceful_becomes_now_and_never_the_other_way(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        await farm.grant()
        modes = []
        for mode in ("graceful", "graceful", "now", "graceful"):
            farm.clock.advance(1)
            await cancel(farm, stack, submitted.id, mode)
            modes.append((await farm.row(submitted.id)).cancel_mode)
        assert modes == ["graceful", "graceful", "now", "now"]
        assert (await farm.row(submitted.id)).cancel_requested_at == farm.clock() - 3000


async def test_what_has_ended_stays_as_it_is(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        await farm.run(await farm.grant())
        before = await farm.row(submitted.id)
        await cancel(farm, stack, submitted.id, "now")
        assert await farm.row(submitted.id) == before


async def test_another_stacks_deployment_is_not_found(tmp_path):
    async with make_farm(tmp_path) as farm:
        web, db = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
        submitted = await farm.submit(web)
        with pytest.raises(NotFound):
            await cancel(farm, db, submitted.id)
        with pytest.raises(NotFound):
            await cancel(farm, web, "no such id")
        assert await farm.how(submitted.id) == ("not-started", None)


async def statuses(farm: Farm) -> list[str]:
    return [row[0] for row in await farm.ask("SELECT status FROM deployments ORDER BY position")]


async def test_when_one_ends_the_newest_takes_the_place_of_older_ones_of_its_operation(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await farm.submit(stack)
        grant = await farm.grant()
        for operation in (Operation.UPDATE, Operation.DESTROY, Operation.UPDATE, Operation.UPDATE):
            await farm.submit(
                stack, settings(skipIntermediateDeployments=True), operation=operation
            )
        assert await statuses(farm) == ["accepted"] + ["not-started"] * 4
        await farm.run(grant)
        # The destroy is of another operation, and stays.
        assert await statuses(farm) == [
            "succeeded",
            "skipped",
            "not-started",
            "skipped",
            "not-started",
        ]
        reasons = "SELECT DISTINCT reason FROM deployments WHERE status = 'skipped'"
        assert await farm.ask(reasons) == [("superseded",)]
        assert (await farm.grant()).operation == "destroy"


async def test_only_the_newest_ones_wish_counts(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await farm.submit(stack)
        grant = await farm.grant()
        await farm.submit(stack, settings(skipIntermediateDeployments=True))
        await farm.submit(stack)
        await farm.run(grant)
        assert await statuses(farm) == ["succeeded", "not-started", "not-started"]


async def test_another_stacks_queue_is_not_touched(tmp_path):
    async with make_farm(tmp_path) as farm:
        web, db = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
        await farm.submit(web)
        grant = await farm.grant()
        for _ in range(2):
            await farm.submit(db, settings(skipIntermediateDeployments=True))
        await farm.run(grant)
        assert await statuses(farm) == ["succeeded", "not-started", "not-started"]
