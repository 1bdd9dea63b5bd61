"""Leases: renewed, held, given back, ended by time; and what a dead lease can still do: nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from control_plane.api import deployment_wire
from control_plane.errors import LeaseEnded, NotFound, NotLoggedIn
from control_plane.loops import janitor
from control_plane.services import cancellation, deployment_queries, identity, leases, updates
from runner_actors.contract import Hold, Release
from tests.support.queue import make_farm


async def test_a_renewed_lease_outlives_its_first_term(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        for _ in range(5):
            farm.clock.advance(25)
            await farm.renew(grant)
            await janitor.run_once(farm.world)
        assert await farm.how(submitted.id) == ("accepted", None)


async def test_a_renewal_tells_how_far_the_record_is(tmp_path):
    """An actor that is attached to again sends what follows."""
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        assert (await farm.renew(grant)).acknowledged == 0
        await farm.start(grant)
        assert (await farm.renew(grant)).acknowledged == 1


async def test_I3_when_a_lease_is_over_both_tokens_are_dead_before_anybody_looks(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        farm.clock.advance(30)
        for attempt in (farm.renew(grant), farm.start(grant)):
            with pytest.raises(LeaseEnded):
                await attempt
        with pytest.raises(NotLoggedIn):
            await identity.authenticate(farm.world, farm.unseal(grant, "cli"))


async def test_I3_an_older_generation_writes_nothing(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        old = await farm.grant()
        await farm.release(old)
        new = await farm.grant()
        assert (old.deployment_id, new.generation) == (new.deployment_id, 2)
        for attempt in (farm.renew(old), farm.start(old), farm.conclude(old)):
            with pytest.raises(LeaseEnded):
                await attempt
        with pytest.raises(NotLoggedIn):
            await identity.authenticate(farm.world, farm.unseal(old, "cli"))
        assert await farm.how(submitted.id) == ("accepted", None)
        await farm.run(new)
        assert await farm.how(submitted.id) == ("succeeded", "completed")


async def test_I3_ending_clears_both_digests_in_one_transaction(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        await farm.run(await farm.grant())
        row = await farm.row(submitted.id)
        assert (row.runner_digest, row.cli_digest, row.lease_expires_at) == (None, None, None)


async def test_I4_lost_before_the_engine_started_it_waits_again_in_its_old_place(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        first = await farm.submit(stack)
        await farm.submit(stack)
        await farm.start(await farm.grant())
        farm.clock.advance(30)
        await janitor.run_once(farm.world)
        row = await farm.row(first.id)
        assert (row.status, row.version, row.last_event) == ("not-started", 1, 0)
        assert (row.runner_digest, row.cli_digest, row.accepted_at) == (None, None, None)
        assert await farm.ask("SELECT count(*) FROM deployment_steps") == [(0,)]
        again = await farm.grant()
        assert (again.deployment_id, again.generation) == (first.id, 2)


async def test_I4_what_the_lost_attempt_was_about_to_begin_is_not_the_next_ones(tmp_path):
    """The CLI makes an update before it starts it: a runner may be lost in between."""
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        cli = await identity.authenticate(farm.world, farm.unseal(grant, "cli"))
        await updates.create(
            farm.world, cli, stack, updates.NewUpdate(kind="update", dry_run=False)
        )
        mine = await updates.create(
            farm.world, farm.principal(), stack, updates.NewUpdate(kind="update", dry_run=False)
        )
        await farm.release(grant)
        shown = await deployment_queries.updates_of(
            farm.world, farm.principal(), stack, submitted.id
        )
        assert shown == []
        assert await farm.ask("SELECT id FROM updates") == [(mine,)]


async def test_I4_people_see_that_a_stack_wants_to_be_looked_at(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)

        async def shown() -> Any:
            found = await deployment_queries.show(farm.world, farm.principal(), stack, submitted.id)
            return deployment_wire.deployment(found, "http://slipway").needs_recovery_since

        grant = await farm.grant()
        await farm.engine_started(submitted.id)
        assert await shown() is UNSET
        await farm.release(grant)
        assert await shown() == deployment_wire.rfc3339(farm.clock())


async def test_I4_lost_after_the_engine_started_it_has_failed_and_the_slot_is_free(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        first, second = await farm.submit(stack), await farm.submit(stack)
        await farm.start(await farm.grant())
        await farm.engine_started(first.id)
        farm.clock.advance(30)
        await janitor.run_once(farm.world)
        assert await farm.how(first.id) == ("failed", "runner_lost")
        assert await farm.ask("SELECT needs_recovery_since IS NOT NULL FROM stacks") == [(1,)]
        grant = await farm.grant()
        assert grant.deployment_id == second.id
        await farm.run(grant)
        assert await farm.ask("SELECT needs_recovery_since IS NULL FROM stacks") == [(1,)]


async def test_I4_a_runner_that_is_lost_again_and_again_is_not_tried_for_ever(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        statuses = [await farm.release(await farm.grant()) for _ in range(3)]
        assert statuses == ["not-started", "not-started", "failed"]
        assert await farm.how(submitted.id) == ("failed", "runner_lost")
        assert await farm.ask("SELECT needs_recovery_since FROM stacks") == [(None,)]


async def test_a_lost_deployment_that_was_to_be_cancelled_is_cancelled(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id)
        assert await farm.release(grant) == "failed"
        assert await farm.how(submitted.id) == ("failed", "cancelled")


async def test_why_a_runner_was_lost_is_kept(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        await farm.engine_started(submitted.id)
        await farm.release(grant, "out_of_memory")
        assert await farm.how(submitted.id) == ("failed", "out_of_memory")


async def test_released_twice_it_changes_nothing(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        assert await farm.release(grant) == "not-started"
        assert await farm.release(grant) == "not-started"
        await farm.grant()
        assert await farm.release(grant) == "accepted"
        assert (await farm.row(submitted.id)).generation == 2


async def test_holding_keeps_a_grant_and_says_what_it_waits_for(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        for _ in range(4):
            farm.clock.advance(20)
            request = Hold(generation=grant.generation, waiting_for="a node")
            await leases.hold(farm.world, farm.pool, submitted.id, request)
            await janitor.run_once(farm.world)
        assert (await farm.row(submitted.id)).waiting_for == "a node"
        await farm.start(grant)
        assert (await farm.row(submitted.id)).waiting_for == ""
        farm.clock.advance(30)
        with pytest.raises(LeaseEnded):
            await leases.hold(farm.world, farm.pool, submitted.id, request)


async def test_a_pool_cannot_touch_another_pools_deployment(tmp_path):
    async with make_farm(tmp_path) as farm:
        other = await farm.add_pool("other")
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        await farm.grant()
        with pytest.raises(NotFound):
            await leases.hold(farm.world, other, submitted.id, Hold(generation=1))
        with pytest.raises(NotFound):
            await leases.release(farm.world, other, submitted.id, Release(generation=1))


async def test_a_held_renewal_returns_at_once_for_a_stronger_cancel(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        for mode, seen in (("graceful", None), ("now", "graceful")):
            held = asyncio.create_task(farm.renew(grant, wait_seconds=15, seen_cancel=seen))
            await farm.listened("lease")
            await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id, mode)
            async with asyncio.timeout(5):
                state = await held
            assert (state.cancel, state.cancelled_by) == (mode, "ada")


async def test_a_cancel_that_is_known_does_not_cut_a_renewal_short(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id)
        assert (await farm.renew(grant, wait_seconds=15)).cancel == "graceful"
        held = asyncio.create_task(farm.renew(grant, wait_seconds=0.2, seen_cancel="graceful"))
        assert (await held).cancel == "graceful"


async def test_a_held_renewal_is_told_when_the_lease_ends(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        held = asyncio.create_task(farm.renew(grant, wait_seconds=15))
        await farm.listened("lease")
        await farm.release(grant)
        with pytest.raises(LeaseEnded):
            async with asyncio.timeout(5):
                await held


async def test_after_a_restart_live_leases_get_one_more_term(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        farm.clock.advance(3600)
        assert await leases.extend_after_restart(farm.world) == 1
        await janitor.run_once(farm.world)
        await farm.renew(grant)
        assert await farm.how(submitted.id) == ("accepted", None)
