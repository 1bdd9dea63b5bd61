"""The janitor: what ends by time, and that it leaves the rest alone."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest

from control_plane.loops import janitor
from control_plane.loops import loop as loops
from control_plane.loops.clock_watch import ClockWatch
from control_plane.loops.loop import Loop
from control_plane.services import cancellation, expiry, leases, updates
from runner_actors.contract import LogSegment, segment_key
from tests.support.queue import make_farm
from tests.support.waiting import eventually

DAY = 86400


async def test_I4_what_waited_seven_days_is_skipped_with_a_reason(tmp_path):
    async with make_farm(tmp_path) as farm:
        web, db = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
        live, old = await farm.submit(web), await farm.submit(web)
        await farm.grant()
        farm.clock.advance(6 * DAY)
        young = await farm.submit(db)
        await janitor.expire_waiting(farm.world)
        assert await farm.how(old.id) == ("not-started", None)
        farm.clock.advance(DAY + 1)
        await janitor.expire_waiting(farm.world)
        assert await farm.how(old.id) == ("skipped", "queue_expired")
        assert await farm.how(live.id) == ("accepted", None)
        assert await farm.how(young.id) == ("not-started", None)
        assert (await farm.grant()).deployment_id == young.id
        assert await expiry.repair_pointers(farm.world) == 0


async def test_the_queue_expires_in_bounded_parts_until_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(expiry, "BATCH_MAX", 3)
    async with make_farm(tmp_path) as farm:
        await farm.add_organization("other")
        for number in range(4):
            for organization in ("acme", "other"):
                await farm.submit(await farm.add_stack("shop", f"s{number}", organization))
        farm.clock.advance(8 * DAY)
        await janitor.expire_waiting(farm.world)
        assert await farm.ask("SELECT DISTINCT status FROM deployments") == [("skipped",)]


async def test_a_runner_that_keeps_no_time_is_told_to_stop_and_its_deployment_timed_out(tmp_path):
    async with make_farm(tmp_path, deployments={"timeout_seconds": 100}) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        await farm.start(grant)
        await farm.engine_started(submitted.id)
        for _ in range(8):
            farm.clock.advance(20)
            await farm.renew(grant)
            await janitor.run_once(farm.world)
        assert (await farm.row(submitted.id)).cancel_mode is None
        farm.clock.advance(20)
        await farm.renew(grant)
        await janitor.run_once(farm.world)
        assert (await farm.renew(grant)).cancel == "now"
        farm.clock.advance(31)
        await janitor.run_once(farm.world)
        assert await farm.how(submitted.id) == ("failed", "timed_out")


async def test_a_person_who_cancelled_stays_the_reason_past_the_timeout(tmp_path):
    async with make_farm(tmp_path, deployments={"timeout_seconds": 1}) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id)
        for _ in range(5):
            farm.clock.advance(20)
            await farm.renew(grant)
        await janitor.run_once(farm.world)
        row = await farm.row(submitted.id)
        assert (row.cancel_mode, row.cancelled_by) == ("now", "ada")
        await farm.release(grant)
        assert await farm.how(submitted.id) == ("failed", "cancelled")


async def test_logs_are_kept_ninety_days_and_then_gone_from_store_and_record(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        file = tmp_path / "data" / "logs" / segment_key(grant.log_prefix, 0)
        file.parent.mkdir(parents=True)
        file.write_bytes(b"hello\n")
        await farm.say(
            grant,
            LogSegment(number=1, at_ms=0, segment=0, step=0, offset=0, length=6, line_breaks=1),
        )
        await farm.conclude(grant, number=2)
        farm.clock.advance(90 * DAY - 10)
        await janitor.run_rarely(farm.world)
        assert file.exists()
        farm.clock.advance(20)
        await janitor.run_rarely(farm.world)
        assert not file.exists()
        assert await farm.ask("SELECT count(*) FROM log_segments") == [(0,)]
        assert (await farm.row(submitted.id)).log_deleted_at == farm.clock()
        assert await expiry.delete_old_logs(farm.world) == 0


async def test_wrong_pointers_are_found_and_mended(tmp_path):
    async with make_farm(tmp_path) as farm:
        web, db = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
        for stack in (web, web, db):
            await farm.submit(stack)
        before = await pointers(farm)
        for damage in (
            "DELETE FROM queue_heads",
            "DELETE FROM queue_ready",
            "UPDATE queue_heads SET head = NULL",
            "UPDATE queue_ready SET ready = NULL",
            "UPDATE queue_heads SET head = head + 1",
        ):
            await farm.sql(damage)
            assert await expiry.repair_pointers(farm.world) > 0
            assert await pointers(farm) == before
            assert await expiry.repair_pointers(farm.world) == 0


async def pointers(farm):
    return [
        await farm.ask("SELECT stack_id, pool_id, head FROM queue_heads ORDER BY stack_id"),
        await farm.ask("SELECT organization_id, pool_id, ready FROM queue_ready"),
    ]


async def test_mended_pointers_wake_the_pool(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        await farm.sql("UPDATE queue_ready SET ready = NULL")
        poll = asyncio.create_task(farm.poll(wait_seconds=30))
        await farm.listened("pool")
        await janitor.repair(farm.world)
        async with asyncio.timeout(5):
            answer = await poll
        assert [grant.deployment_id for grant in answer.grants] == [submitted.id]


async def test_a_loop_goes_on_after_a_round_that_failed_and_stops_when_told():
    rounds = asyncio.Queue()

    async def run_once() -> None:
        rounds.put_nowait(None)
        if rounds.qsize() == 1:
            raise RuntimeError("a bad round")

    loop = Loop("test", run_once, interval_seconds=0.01)
    async with loop.running(), asyncio.timeout(5):
        while rounds.qsize() < 3:
            loop.wake()
            await asyncio.sleep(0.001)
    count = rounds.qsize()
    await asyncio.sleep(0.03)
    assert rounds.qsize() == count


async def test_the_janitor_runs_beside_the_server(tmp_path):
    async with make_farm(tmp_path, janitor={"interval_seconds": 0.01}) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        await farm.grant()

        async def waits_again() -> bool:
            return await farm.how(submitted.id) == ("not-started", None)

        async with janitor.janitor(farm.world, lambda: farm.clock() / 1000):
            farm.clock.advance(31)
            await eventually(waits_again, "the janitor reaps the lease")


async def test_a_lease_that_cannot_be_reaped_holds_up_no_other(tmp_path, monkeypatch):
    async with make_farm(tmp_path) as farm:
        first = await farm.submit(await farm.add_stack("shop", "web"))
        second = await farm.submit(await farm.add_stack("shop", "db"))
        await farm.grant_all()
        reap = leases.reap

        async def reap_but_the_first(world, deployment_id):
            if deployment_id == first.id:
                raise RuntimeError("a bad row")
            return await reap(world, deployment_id)

        monkeypatch.setattr(leases, "reap", reap_but_the_first)
        monkeypatch.setattr(leases, "expired", AsyncMock(return_value=[first.id, second.id]))
        farm.clock.advance(31)
        await janitor.run_once(farm.world)
        assert await farm.how(first.id) == ("accepted", None)
        assert await farm.how(second.id) == ("not-started", None)


class FakeTime:
    """Time that passes, which a wall clock that is set does not change."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_wall_clock_that_is_set_ahead_ends_no_lease(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        passed = FakeTime()
        watch = ClockWatch(farm.world, passed)
        farm.clock.advance(3600 + 5)
        passed.seconds += 5
        await janitor.run_once(farm.world, watch)
        assert await farm.how(submitted.id) == ("accepted", None)
        await farm.renew(grant)
        farm.clock.advance(31)
        passed.seconds += 31
        await janitor.run_once(farm.world, watch)
        assert await farm.how(submitted.id) == ("not-started", None)


async def test_a_wall_clock_that_is_set_ahead_ends_no_update(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        new = updates.NewUpdate(kind="update", dry_run=True)
        update_id = await updates.create(farm.world, farm.principal(), stack, new)
        await updates.start(
            farm.world, farm.principal(), stack, update_id, new_tags=None, journal_version=0
        )
        passed = FakeTime()
        watch = ClockWatch(farm.world, passed)
        farm.clock.advance(3600)
        await janitor.tend_updates(farm.world, watch)
        assert await farm.ask("SELECT status FROM updates") == [("running",)]
        farm.clock.advance(3600)
        passed.seconds += 3600
        await janitor.tend_updates(farm.world, watch)
        assert await farm.ask("SELECT status FROM updates") != [("running",)]


async def test_a_clock_that_could_not_be_forgiven_is_forgiven_in_the_next_round(tmp_path):
    async with make_farm(tmp_path) as farm:
        watch = ClockWatch(farm.world, FakeTime())
        extend = AsyncMock(side_effect=[RuntimeError("no database"), None])
        farm.clock.advance(60)
        with pytest.raises(RuntimeError):
            await watch.forgive_jump(extend)
        await watch.forgive_jump(extend)
        await watch.forgive_jump(extend)
        assert extend.await_count == 2


async def test_a_stop_does_not_wait_for_a_round_without_end(monkeypatch):
    monkeypatch.setattr(loops, "STOP_SECONDS", 0.01)
    loop = Loop("test", asyncio.Event().wait, interval_seconds=1)
    async with asyncio.timeout(5), loop.running():
        await asyncio.sleep(0)
