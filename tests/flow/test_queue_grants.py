"""Grants: who is next, who must wait, and what a grant carries."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from control_plane.domain.deployment import Status
from control_plane.domain.trigger import Trigger
from control_plane.errors import Conflict, NotLoggedIn
from control_plane.services import expiry, grants, identity
from control_plane.store import deployments, queue
from control_plane.store.tables import organizations
from runner_actors.contract import Poll
from tests.support.queue import SOURCE, make_farm
from tests.support.waiting import eventually


async def test_I1_one_live_deployment_per_stack_in_order(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = [await farm.submit(stack) for _ in range(3)]
        for each in submitted:
            (grant,) = await farm.grant_all()
            assert grant.deployment_id == each.id
            await farm.run(grant)


async def test_I1_the_index_refuses_a_second_live_deployment(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await farm.submit(stack)
        await farm.submit(stack)
        await farm.grant()
        with pytest.raises(IntegrityError):
            await farm.sql("UPDATE deployments SET status = 'accepted' WHERE version = 2")


async def test_I1_a_wrong_pointer_grants_nothing_and_is_mended(tmp_path):
    async with make_farm(tmp_path) as farm:
        web, db = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
        await farm.submit(web)
        await farm.submit(web)
        waiting = await farm.submit(db)
        await farm.grant()
        # Names the second deployment of a stack that is live.
        await farm.sql("UPDATE queue_heads SET head = 2 WHERE head IS NULL")
        await farm.sql("UPDATE queue_ready SET ready = 2")
        assert [grant.deployment_id for grant in await farm.grant_all()] == [waiting.id]
        assert await expiry.repair_pointers(farm.world) == 0


async def test_a_pointer_past_the_stacks_oldest_grants_the_oldest(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        first = await farm.submit(stack)
        await farm.submit(stack)
        await farm.sql("UPDATE queue_ready SET ready = 2")
        assert [grant.deployment_id for grant in await farm.grant_all()] == [first.id]


async def test_I1_a_pointer_to_a_deployment_that_is_gone_is_mended(tmp_path):
    async with make_farm(tmp_path) as farm:
        gone, web = await farm.add_stack("shop", "gone"), await farm.add_stack("shop", "web")
        await farm.submit(gone)
        submitted = await farm.submit(web)
        await farm.sql("DELETE FROM stacks WHERE name = 'gone'")
        assert [grant.deployment_id for grant in await farm.grant_all()] == [submitted.id]


async def test_I2_ten_per_organization_and_no_more(tmp_path):
    async with make_farm(tmp_path) as farm:
        for number in range(13):
            await farm.submit(await farm.add_stack("shop", f"s{number}"))
        first = await farm.grant_all()
        assert len(first) == 10
        await farm.run(first[4])
        assert len(await farm.grant_all()) == 1


async def test_I2_an_organization_at_its_limit_does_not_hold_up_another(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.add_organization("small", limit=1)
        small = [await farm.add_stack("shop", f"s{n}", "small") for n in range(3)]
        for stack in small:
            await farm.submit(stack)
        other = await farm.submit(await farm.add_stack("shop", "web"))
        granted = await farm.grant_all()
        assert [grant.organization for grant in granted] == ["small", "acme"]
        assert granted[1].deployment_id == other.id


@pytest.mark.parametrize(
    "wall",
    [
        "UPDATE organizations SET deployment_limit = 0",
        "UPDATE organizations SET paused_at = 1",
        "UPDATE stacks SET paused_at = 1",
        "UPDATE deployments SET status = 'skipped'",
    ],
)
async def test_I2_a_pointer_that_is_behind_its_time_grants_nothing(tmp_path, wall):
    """The grant judges by the rows themselves, under the lock; a pointer only proposes."""
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        await farm.sql(wall)
        assert await farm.ask("SELECT ready FROM queue_ready") == [(1,)]
        assert await farm.grant_all() == []
        assert await farm.ask("SELECT ready FROM queue_ready") == [(None,)]


async def test_I2_racing_grants_never_pass_the_limit(tmp_path):
    async with make_farm(tmp_path) as farm:
        for number in range(30):
            await farm.submit(await farm.add_stack("shop", f"s{number}"))
        found = await asyncio.gather(*(grants.grant(farm.world, farm.pool) for _ in range(25)))
        assert len([grant for grant in found if grant is not None]) == 10
        live = "SELECT count(*) FROM deployments WHERE status = 'accepted'"
        assert await farm.ask(live) == [(10,)]


async def test_I2_a_raised_limit_counts_at_once_and_a_lowered_one_from_then_on(tmp_path):
    async with make_farm(tmp_path) as farm:
        for number in range(8):
            await farm.submit(await farm.add_stack("shop", f"s{number}"))
        for limit, more in ((2, 2), (4, 2), (3, 0)):
            async with farm.world.database.transaction() as tx:
                await tx.execute(update(organizations).values(deployment_limit=limit))
                await queue.refresh_organizations(tx, farm.organizations.values())
            assert len(await farm.grant_all()) == more


async def test_oldest_first_over_all_organizations(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.add_organization("other")
        stacks = [await farm.add_stack("shop", f"s{n}", ("acme", "other")[n % 2]) for n in range(6)]
        submitted = [await farm.submit(stack) for stack in (*stacks, *reversed(stacks))]
        granted = await farm.grant_all()
        assert [grant.deployment_id for grant in granted] == [each.id for each in submitted[:6]]


async def test_a_deployment_is_granted_to_its_own_pool_only(tmp_path):
    async with make_farm(tmp_path) as farm:
        own = await farm.add_pool("own", organization="acme")
        web = await farm.add_stack("shop", "web")
        first = await farm.submit(web, SOURCE | {"agentPoolID": own.id})
        second = await farm.submit(web)
        assert await farm.grant_all() == []
        grant = await grants.grant(farm.world, own)
        assert grant is not None
        assert grant.deployment_id == first.id
        await farm.run(grant)
        assert [grant.deployment_id for grant in await farm.grant_all()] == [second.id]


async def test_what_a_grant_says(tmp_path):
    async with make_farm(tmp_path, server={"public_url": "https://slipway.test/"}) as farm:
        stack = await farm.add_stack("shop", "web")
        auth = {"sshAuth": {"sshPrivateKey": {"secret": "key"}, "password": {"secret": "pass"}}}
        git = {"repoUrl": "git@git.test:o/r.git", "branch": "main", "repoDir": "infra"}
        submitted = await farm.submit(
            stack,
            {
                "sourceContext": {"git": git | {"gitAuth": auth}},
                "operationContext": {
                    "preRunCommands": ["make prepare"],
                    "options": {"skipInstallDependencies": True, "shell": "sh"},
                },
            },
            trigger=Trigger.PULL_REQUEST,
        )
        grant = await farm.grant()
        assert grant.console_url == "https://slipway.test/acme/shop/web/deployments/1"
        assert grant.api_url == "https://slipway.test"
        assert (grant.trust, grant.trigger) == ("pull_request", "pull_request")
        assert (grant.slot_limit, grant.lease_seconds, grant.timeout_seconds) == (10, 30, 7200)
        assert (grant.pre_run_commands, grant.shell) == (["make prepare"], "sh")
        assert grant.skip_install_dependencies
        assert grant.source is not None
        assert grant.source.auth is not None
        key = grant.source.auth.ssh_private_key
        assert key is not None
        assert farm.open(grant.stack_id, "git/sshPrivateKey", key.sealed) == "key"
        row = await farm.row(submitted.id)
        prefix = f"logs/{row.organization_id}/{row.stack_id}/{row.id}"
        assert grant.log_prefix == f"{prefix}/1"


async def test_the_cli_token_opens_the_stack_and_the_runner_token_does_not(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        principal = await identity.authenticate(farm.world, farm.unseal(grant, "cli"))
        assert (principal.stack_id, principal.deployment_id) == (
            grant.stack_id,
            grant.deployment_id,
        )
        with pytest.raises(NotLoggedIn):
            await identity.authenticate(farm.world, farm.unseal(grant, "runner"))


async def test_no_token_is_in_the_database(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        tokens = [farm.unseal(grant, kind) for kind in ("runner", "cli")]
    everything = b"".join(file.read_bytes() for file in tmp_path.rglob("*.db*"))
    assert grant.deployment_id.encode() in everything
    assert not any(token.encode() in everything for token in tokens)


async def test_a_poll_is_woken_by_the_commit(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        poll = asyncio.create_task(farm.poll(wait_seconds=30))
        await farm.listened("pool")
        submitted = await farm.submit(stack)
        async with asyncio.timeout(5):
            answer = await poll
        assert [grant.deployment_id for grant in answer.grants] == [submitted.id]


async def test_a_poll_is_woken_when_a_slot_gets_free(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await farm.submit(stack)
        second = await farm.submit(stack)
        grant = await farm.grant()
        poll = asyncio.create_task(farm.poll(wait_seconds=30))
        await farm.listened("pool")
        await farm.run(grant)
        async with asyncio.timeout(5):
            answer = await poll
        assert [grant.deployment_id for grant in answer.grants] == [second.id]


async def test_a_poll_takes_no_more_than_it_asks_for(tmp_path):
    async with make_farm(tmp_path) as farm:
        for number in range(5):
            await farm.submit(await farm.add_stack("shop", f"s{number}"))
        assert len((await farm.poll(grants_max=2)).grants) == 2
        assert len((await farm.poll(grants_max=9)).grants) == 3


async def test_a_gateway_without_ray_keeps_the_lead_and_gets_no_work(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        answer = await farm.poll(ready=False)
        assert (answer.leader, answer.grants) == (True, [])
        assert (await farm.ask("SELECT ready FROM pools")) == [(0,)]
        assert len((await farm.poll()).grants) == 1


async def test_one_gateway_leads_and_another_takes_over_when_its_time_is_over(tmp_path):
    async with make_farm(tmp_path) as farm:
        assert (await farm.poll(gateway="a")).leader
        await farm.submit(await farm.add_stack("shop", "web"))
        answer = await farm.poll(gateway="b")
        assert (answer.leader, answer.grants) == (False, [])
        farm.clock.advance(60)
        answer = await farm.poll(gateway="b")
        assert (answer.leader, len(answer.grants)) == (True, 1)


async def test_a_gateway_that_goes_away_frees_the_lead_at_once(tmp_path):
    async with make_farm(tmp_path) as farm:
        gone = asyncio.Event()
        request = Poll(gateway_id="a", wait_seconds=30)
        first = asyncio.create_task(grants.poll(farm.world, farm.pool, request, gone))
        await farm.listened("pool")
        leads = "SELECT 1 FROM pools WHERE leader = 'a'"
        await eventually(lambda: farm.ask(leads), "the first gateway leads")
        second = asyncio.create_task(farm.poll(gateway="b", wait_seconds=30))
        gone.set()
        assert not (await first).leader
        await farm.submit(await farm.add_stack("shop", "web"))
        async with asyncio.timeout(5):
            answer = await second
        assert (answer.leader, len(answer.grants)) == (True, 1)


async def test_the_late_end_of_an_old_poll_leaves_the_newer_lead_alone(tmp_path):
    async with make_farm(tmp_path) as farm:
        gone = asyncio.Event()
        request = Poll(gateway_id="a", wait_seconds=30)
        old = asyncio.create_task(grants.poll(farm.world, farm.pool, request, gone))
        leads = "SELECT leader_expires_at FROM pools WHERE leader = 'a'"
        await eventually(lambda: farm.ask(leads), "the gateway leads")
        farm.clock.advance(41)
        assert (await farm.poll(gateway="a")).leader
        newer = await farm.ask(leads)
        gone.set()
        await old
        assert await farm.ask(leads) == newer
        assert not (await farm.poll(gateway="b")).leader


async def test_a_leading_gateway_costs_no_write_per_poll(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.poll()
        (before,) = await farm.ask("SELECT leader_expires_at FROM pools")
        farm.clock.advance(5)
        await farm.poll()
        assert await farm.ask("SELECT leader_expires_at FROM pools") == [before]
        farm.clock.advance(8)
        await farm.poll()
        assert (await farm.ask("SELECT leader_expires_at FROM pools"))[0] > before


async def test_polling_before_registering_is_refused(tmp_path):
    async with make_farm(tmp_path) as farm:
        pool = type(farm.pool)(id=farm.pool.id, name="default")
        with pytest.raises(Conflict, match="Register"):
            await grants.poll(farm.world, pool, Poll(gateway_id="a"), asyncio.Event())


async def test_live_grants_are_what_the_pool_holds(tmp_path):
    async with make_farm(tmp_path) as farm:
        own = await farm.add_pool("own", organization="acme")
        first = await farm.submit(await farm.add_stack("shop", "web"))
        await farm.submit(await farm.add_stack("shop", "db"), SOURCE | {"agentPoolID": own.id})
        await farm.grant()
        await grants.grant(farm.world, own)
        (live,) = (await grants.live_grants(farm.world, farm.pool)).grants
        assert (live.deployment_id, live.generation, live.status) == (first.id, 1, "accepted")
        assert (live.organization, live.project, live.stack) == ("acme", "shop", "web")


async def test_a_queued_row_is_not_taken_twice(tmp_path):
    """The UPDATE itself is guarded by the status, whatever was read before it."""
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        row = await farm.row(submitted.id)
        moved = []
        for _ in range(2):
            async with farm.world.database.transaction() as tx:
                moved.append(await deployments.move(tx, row.position, Status.ACCEPTED, 1))
        assert moved == [True, False]
