"""`pulumi cancel` against an update that a deployment makes: the deployment is stopped with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.deployments import STACK, Desk, Runner, make_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as desk:
        yield desk


async def cancel(desk: Desk, update_id: str) -> int:
    answer = await desk.http.post(f"/api/stacks/{STACK}/update/{update_id}/cancel")
    return answer.status_code


async def running(desk: Desk, operation: str = "update") -> Runner:
    runner = await desk.run(operation)
    await runner.step("pulumi update")
    return runner


@pytest.mark.parametrize("operation", ["update", "preview", "destroy"])
async def test_a_cancelled_update_stops_its_deployment(desk: Desk, operation: str) -> None:
    runner = await running(desk, operation)
    update_id = await runner.engine_update(operation, dry_run=operation == "preview")
    assert await cancel(desk, update_id) < 300
    row = await desk.farm.row(runner.grant.deployment_id)
    assert (row.status, row.cancel_mode, row.cancelled_by) == ("running", "graceful", "ada")
    asked_at = row.cancel_requested_at
    desk.farm.clock.advance(1)
    assert await cancel(desk, update_id) < 300
    row = await desk.farm.row(runner.grant.deployment_id)
    assert row.cancel_requested_at == asked_at
    await runner.conclude(succeeded=False, reason="cancelled")
    assert await desk.farm.how(runner.grant.deployment_id) == ("failed", "cancelled")


async def test_an_update_that_is_over_stops_nothing(desk: Desk) -> None:
    runner = await running(desk)
    update_id = await runner.engine_update()
    await desk.farm.sql("UPDATE updates SET status = 'succeeded', ended_at = 1")
    assert await cancel(desk, update_id) == 409
    assert (await desk.farm.row(runner.grant.deployment_id)).cancel_requested_at is None


async def test_what_a_deployment_left_behind_can_still_be_cancelled(desk: Desk) -> None:
    runner = await running(desk)
    await runner.conclude()
    update_id = await runner.engine_update()
    assert await cancel(desk, update_id) < 300
    assert await desk.farm.how(runner.grant.deployment_id) == ("succeeded", "completed")
