"""Submissions: what is admitted, what is refused and how, and that a 202 is kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.errors import BadRequest, NotFound, PoolOffline, QueueFull
from control_plane.outside import TransactionOpen
from control_plane.services import pools, submission
from control_plane.services.group_commit import MEMBERS_MAX
from control_plane.store import deployments as store
from tests.support.queue import SOURCE, Farm, make_farm


async def save_settings(farm: Farm, stack: StackName, body: dict[str, Any]) -> None:
    await farm.sql(
        "INSERT INTO deployment_settings (stack_id, version, body, modified_at)"
        " SELECT id, 1, :body, 0 FROM stacks WHERE project = :project AND name = :name"
        " ON CONFLICT (stack_id) DO UPDATE SET body = excluded.body",
        body=json.dumps(body),
        project=stack.project,
        name=stack.stack,
    )


async def test_versions_count_up_per_stack(tmp_path):
    async with make_farm(tmp_path) as farm:
        web, db = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
        versions = [(await farm.submit(stack)).version for stack in (web, db, web, web, db)]
        assert versions == [1, 1, 2, 3, 2]


async def test_I4_a_202_is_committed_before_it_is_given(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        assert await farm.how(submitted.id) == ("not-started", None)


async def test_concurrent_submissions_share_commits_and_each_gets_its_own(tmp_path, monkeypatch):
    async with make_farm(tmp_path) as farm:
        stacks = [await farm.add_stack("shop", f"s{n}") for n in range(7)]
        commit, groups = submission._commit, []

        async def counted(world, entries):
            groups.append(len(entries))
            return await commit(world, entries)

        monkeypatch.setattr(submission, "_commit", counted)
        answers = await asyncio.gather(*(farm.submit(stacks[n % 7]) for n in range(210)))
        assert len({answer.id for answer in answers}) == 210
        for n in range(7):
            assert [answer.version for answer in answers[n::7]] == list(range(1, 31))
        assert sum(groups) == 210
        assert max(groups) <= MEMBERS_MAX
        assert len(groups) <= 5
        assert await farm.ask("SELECT count(*) FROM deployments") == [(210,)]


async def test_a_bad_submission_fails_alone_in_its_group(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        answers = await asyncio.gather(
            farm.submit(stack),
            farm.submit(StackName("acme", "shop", "missing")),
            farm.submit(stack, {}),
            farm.submit(stack, SOURCE | {"agentPoolID": "nowhere"}),
            farm.submit(stack),
            return_exceptions=True,
        )
        kinds = [type(answer) for answer in answers]
        assert kinds == [
            submission.Submitted,
            NotFound,
            BadRequest,
            BadRequest,
            submission.Submitted,
        ]
        assert (answers[0].version, answers[4].version) == (1, 2)
        assert "sourceContext.git.repoUrl" in str(answers[2])
        assert "nowhere" in str(answers[3])


async def test_one_that_the_database_refuses_does_not_take_its_group_along(tmp_path, monkeypatch):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        add = store.add

        async def refuse_commit_x(tx, rows):
            if any("poison" in row["settings"] for row in rows):
                raise RuntimeError("this row cannot be written")
            await add(tx, rows)

        monkeypatch.setattr(store, "add", refuse_commit_x)
        poisoned = {"sourceContext": {"git": {"repoUrl": "https://git.test/poison"}}}
        answers = await asyncio.gather(
            farm.submit(stack),
            farm.submit(stack, poisoned),
            farm.submit(stack),
            return_exceptions=True,
        )
        assert [type(each) for each in answers] == [
            submission.Submitted,
            RuntimeError,
            submission.Submitted,
        ]
        assert await farm.ask("SELECT version FROM deployments ORDER BY 1") == [(1,), (2,)]


async def test_who_gives_up_waiting_neither_loses_nor_doubles_others(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        tasks = [asyncio.create_task(farm.submit(stack)) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        ids = {each.id for each in answers if isinstance(each, submission.Submitted)}
        assert len(ids) == 40 - len(tasks[::3])
        rows = await farm.ask("SELECT id, version FROM deployments ORDER BY version")
        assert ids <= {row[0] for row in rows}
        assert [row[1] for row in rows] == list(range(1, len(rows) + 1))


async def test_settings_are_inherited_and_secrets_sealed(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await save_settings(farm, stack, SOURCE)
        request = {
            "operationContext": {
                "environmentVariables": {"PLAIN": "p", "TOKEN": {"secret": "hunter2-hunter2"}}
            }
        }
        submitted = await farm.submit(stack, request)
        row = await farm.row(submitted.id)
        assert "hunter2" not in row.settings
        grant = await farm.grant()
        assert grant.source is not None
        assert grant.source.repo_url == "https://git.test/shop.git"
        assert grant.environment["PLAIN"].plain == "p"
        sealed = grant.environment["TOKEN"].sealed
        assert farm.open(grant.stack_id, "env/TOKEN", sealed) == "hunter2-hunter2"


async def test_without_inheriting_the_request_stands_alone(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await save_settings(farm, stack, SOURCE)
        with pytest.raises(BadRequest, match="no source"):
            await farm.submit(stack, {}, inherit_settings=False)


async def test_settings_that_change_while_secrets_are_sealed_are_merged_again(
    tmp_path, monkeypatch
):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await save_settings(farm, stack, SOURCE)
        prepare, changed = submission._prepare, []

        async def prepare_and_be_overtaken(world, entry):
            prepared = await prepare(world, entry)
            if not changed:
                changed.append(True)
                other = {"sourceContext": {"git": {"repoUrl": "https://git.test/other.git"}}}
                await save_settings(farm, stack, other)
            return prepared

        monkeypatch.setattr(submission, "_prepare", prepare_and_be_overtaken)
        request = {"operationContext": {"environmentVariables": {"T": {"secret": "hunter2"}}}}
        submitted = await farm.submit(stack, request)
        row = await farm.row(submitted.id)
        assert "other.git" in row.settings
        assert submitted.version == 1


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/srv/repo", "local path"),
        ("file:///srv/repo", "local path"),
        ("ext::sh -c touch% /tmp/x", "no address"),
        ("--upload-pack=evil", "no address"),
        ("./relative", "no address"),
    ],
)
async def test_sources_that_are_refused(tmp_path, url, text):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        with pytest.raises(BadRequest, match=text):
            await farm.submit(stack, {"sourceContext": {"git": {"repoUrl": url}}})


@pytest.mark.parametrize(
    "url", ["https://h.test/r", "http://h.test/r", "ssh://git@h.test/r", "git@h.test:o/r.git"]
)
async def test_sources_that_are_taken(tmp_path, url):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        assert await farm.submit(stack, {"sourceContext": {"git": {"repoUrl": url}}})


async def test_a_local_path_is_a_source_where_the_server_says_so(tmp_path):
    async with make_farm(tmp_path, deployments={"local_sources": True}) as farm:
        stack = await farm.add_stack("shop", "web")
        assert await farm.submit(stack, {"sourceContext": {"git": {"repoUrl": "/srv/repo"}}})


async def test_the_queue_is_full_at_its_limit_for_its_organization_alone(tmp_path):
    async with make_farm(tmp_path, deployments={"queued_max": 3}) as farm:
        await farm.add_organization("other")
        stack = await farm.add_stack("shop", "web")
        other = await farm.add_stack("shop", "web", "other")
        answers = await asyncio.gather(
            *(farm.submit(each) for each in (stack, other, stack, other, stack, stack)),
            return_exceptions=True,
        )
        assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 5 + [True]
        assert "acme has 3 queued" in str(answers[5])


async def test_a_pool_that_was_never_online_is_named(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await farm.sql("UPDATE pools SET public_key = NULL")
        with pytest.raises(PoolOffline, match="'default' has never been online"):
            await farm.submit(stack)


async def test_a_paused_stack_still_queues(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        await farm.sql("UPDATE stacks SET paused_at = 1")
        submitted = await farm.submit(stack)
        assert (await farm.poll()).grants == []
        assert await farm.how(submitted.id) == ("not-started", None)


async def test_who_is_not_of_the_organization_sees_no_stack(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        stranger = msgspec.structs.replace(farm.principal(), organizations=frozenset())
        wanted = submission.Submission(operation=Operation.UPDATE, request=SOURCE)
        with pytest.raises(NotFound):
            await submission.submit(farm.world, stranger, stack, wanted)


async def test_secrets_inherited_from_another_pools_settings_are_refused(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        own = await farm.add_pool("own", organization="acme")
        secret = {"operationContext": {"environmentVariables": {"T": {"ciphertext": "A" * 64}}}}
        await save_settings(farm, stack, SOURCE | secret)
        with pytest.raises(BadRequest, match="sealed to the runner pool 'default'"):
            await farm.submit(stack, {"agentPoolID": own.id})
        again = {"operationContext": {"environmentVariables": {"T": {"secret": "hunter2"}}}}
        assert await farm.submit(stack, {"agentPoolID": own.id} | again)


async def test_the_organizations_own_default_pool_comes_before_the_hosted_one(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.add_organization("other")
        own = await farm.add_pool("own", organization="acme", is_default=True)
        ours = await farm.submit(await farm.add_stack("shop", "web"))
        theirs = await farm.submit(await farm.add_stack("shop", "web", "other"))
        assert (await farm.row(ours.id)).pool_id == own.id
        assert (await farm.row(theirs.id)).pool_id == farm.pool.id


async def test_another_organizations_pool_does_not_exist(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.add_organization("other")
        theirs = await farm.add_pool("theirs", organization="other")
        stack = await farm.add_stack("shop", "web")
        with pytest.raises(BadRequest, match="has no agent pool"):
            await farm.submit(stack, SOURCE | {"agentPoolID": theirs.id})


async def test_I7_the_guard_that_all_these_tests_run_under_bites(tmp_path):
    async with make_farm(tmp_path) as farm:
        async with farm.world.database.transaction():
            with pytest.raises(TransactionOpen):
                farm.world.broker.wake("topic")
        assert await pools.ensure_default(farm.world, "slp-" + "b" * 48) == farm.pool.id
