"""Stacks moved to another organization or owner, and caches cleared."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.services import expiry, identity, state
from control_plane.services.world import World
from tests.support.app import client
from tests.support.deployments import Desk, make_desk
from tests.support.queue import SOURCE
from tests.support.state import Stack, document, new_stack, resource

EVE = "pul-" + "e" * 48


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        await identity.create_organization(made.farm.world, "club", "ada")
        yield made


@pytest.fixture
async def stack(desk: Desk) -> Stack:
    return await new_stack(desk.http, "moving", "shop")


def there(stack: Stack) -> Stack:
    return Stack(stack.http, stack.name._replace(organization="club"))


def kept_logs(world: World) -> list[Path]:
    """What the log store holds."""
    return [path for path in Path(world.config.log_store).rglob("*") if path.is_file()]


async def move(stack: Stack, status: int = 204, **more: str) -> httpx.Response:
    answer = await stack.post("/transfer", {"toOrg": "club", **more})
    assert answer.status_code == status, answer.text
    return answer


async def test_a_stack_moves_with_its_state_history_and_secrets(desk: Desk, stack: Stack) -> None:
    await stack.run("a", "b")
    encrypted = await stack.post("/encrypt", {"plaintext": base64.b64encode(b"s").decode()})
    before = await stack.get()

    await move(stack)

    assert (await stack.http.get(stack.path)).status_code == 404
    assert (await desk.http.head("/api/stacks/ada/shop")).status_code == 200, "dev is still there"
    moved = there(stack)
    found = await moved.get()
    assert (found["id"], found["version"], found["orgName"]) == (before["id"], 1, "club")
    assert await moved.resources() == ["a", "b"]
    assert (await moved.get("/updates"))["total"] == 1
    opened = await moved.post("/decrypt", encrypted.json())
    assert base64.b64decode(opened.json()["plaintext"]) == b"s"
    await moved.run("c")
    assert (await moved.get())["version"] == 2


async def test_a_moved_stacks_provider_is_at_its_new_home(stack: Stack) -> None:
    provider = {"type": "service", "state": {"url": "http://x", "owner": "ada", "project": "shop"}}
    await stack.import_(document(resource("a"), secrets_providers=provider))
    await move(stack)
    found = (await there(stack).export())["deployment"]["secrets_providers"]["state"]
    assert (found["owner"], found["project"], found["stack"]) == ("club", "shop", "moving")


async def test_its_deployments_and_logs_go_with_it(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"hello\n")
    await runner.end_log()
    await runner.conclude()
    world = desk.farm.world
    kept = kept_logs(world)
    assert kept

    await move(Stack(desk.http, desk.stack))

    assert (await desk.http.get("/api/orgs/ada/deployments")).json()["total"] == 0
    listed = (await desk.http.get("/api/orgs/club/deployments")).json()
    assert [each["id"] for each in listed["deployments"]] == [runner.grant.deployment_id]
    path = f"/api/stacks/club/shop/dev/deployments/{runner.grant.deployment_id}/log"
    assert "hello" in (await desk.http.get(path)).text
    again = await desk.http.post(
        "/api/stacks/club/shop/dev/deployments", json=SOURCE | {"operation": "update"}
    )
    assert again.status_code == 202
    grant = await desk.farm.grant()
    assert grant.organization == "club"
    assert await expiry.repair_pointers(world) == 0
    await desk.farm.run(grant)
    await desk.http.delete("/api/stacks/club/shop/dev")
    await state.sweep(world)
    left = kept_logs(world)
    assert not set(kept) & set(left), "deleted from where they lie"


async def test_old_logs_of_a_moved_stack_are_deleted(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"hello\n")
    await runner.end_log()
    await runner.conclude()
    await move(Stack(desk.http, desk.stack))
    desk.farm.clock.advance(400 * 86_400)
    assert await expiry.delete_old_logs(desk.farm.world) == 1
    assert not kept_logs(desk.farm.world)


async def test_nothing_moves_while_something_is_done(desk: Desk, stack: Stack) -> None:
    update = await stack.start()
    refused = await move(stack, 409)
    assert refused.json()["message"] == "Conflict: Another update is currently in progress."
    await update.complete()
    await move(stack)

    await desk.create()
    refused = await move(Stack(desk.http, desk.stack), 409)
    assert "Deployment 1" in refused.json()["message"]
    grant = await desk.farm.grant()
    await move(Stack(desk.http, desk.stack), 409)
    await desk.farm.run(grant)
    await move(Stack(desk.http, desk.stack))


async def test_who_may_move_what(desk: Desk, stack: Stack) -> None:
    world = desk.farm.world
    missing = await stack.post("/transfer", {"toOrg": "nobody"})
    await identity.bootstrap(world, "eve", EVE)
    foreign = await stack.post("/transfer", {"toOrg": "eve"})
    assert (missing.status_code, foreign.status_code) == (404, 404)
    await identity.add_member(world, "eve", "ada", "member")
    member = await stack.post("/transfer", {"toOrg": "eve"})
    assert member.status_code == 403
    await identity.add_member(world, "ada", "eve", "member")
    async with client(world, EVE, login="eve") as eve:
        answer = await eve.post(f"{stack.path}/transfer", json={"toOrg": "eve"})
        assert answer.status_code == 403, "administers only where it would go"
    assert (
        (await move(stack, 400, toOrg="ada")).json()["message"].startswith("Bad Request: 'toOrg'")
    )
    await new_stack(desk.http, "moving", "shop", "club")
    taken = await move(stack, 409)
    assert "already exists" in taken.json()["message"]
    assert (await stack.get())["orgName"] == "ada"


async def test_the_body_may_name_another_stack(desk: Desk, stack: Stack) -> None:
    other = await new_stack(desk.http, "other", "else")
    await move(stack, projectName="else", stackName="other")
    assert (await there(other).get())["projectName"] == "else"
    assert (await stack.get())["orgName"] == "ada"
    assert (await desk.http.head("/api/stacks/ada/else")).status_code == 404, "it was the last"


async def test_settings_that_the_new_homes_runners_could_not_use_stay_behind(desk: Desk) -> None:
    pool = await desk.farm.add_pool("own", organization="ada")
    await desk.send("POST", "/settings", {"agentPoolID": pool.id})
    refused = await move(Stack(desk.http, desk.stack), 409)
    assert "runner pool" in refused.json()["message"]
    secret = {"environmentVariables": {"A": {"secret": "s"}}}
    await desk.send("PUT", "/settings", {"operationContext": secret})
    await move(Stack(desk.http, desk.stack))


async def test_of_two_moves_at_once_one_is_made(desk: Desk, stack: Stack) -> None:
    answers = await asyncio.gather(*(stack.post("/transfer", {"toOrg": "club"}) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [204, 404, 404, 404]


async def test_a_stack_gets_another_owner(desk: Desk, stack: Stack) -> None:
    world = desk.farm.world
    await identity.bootstrap(world, "eve", EVE)
    stranger = await stack.post("/ownership", {"githubLogin": "eve"})
    assert stranger.status_code == 400
    await identity.add_member(world, "ada", "eve", "member")
    async with client(world, EVE, login="eve") as eve:
        theirs = Stack(eve, stack.name)
        assert (await theirs.post("/ownership", {"githubLogin": "eve"})).status_code == 403
        given = await stack.post("/ownership", {"githubLogin": "eve", "name": "", "avatarUrl": ""})
        assert given.json() == {"name": "ada", "githubLogin": "ada", "avatarUrl": ""}
        assert (await stack.get("/metadata"))["ownedBy"]["githubLogin"] == "eve"
        back = await theirs.post("/ownership", {"githubLogin": "ada"})
        assert back.json()["githubLogin"] == "eve"


async def test_the_next_grants_of_a_project_carry_that_its_caches_were_cleared(desk: Desk) -> None:
    runner = await desk.run()
    assert runner.grant.caches_cleared_at_ms == 0
    await runner.conclude()
    sibling = await desk.add_stack("shop", "prod")
    other = await desk.add_stack("else", "dev")
    answer = await desk.http.delete(f"/api/stacks/{sibling}/deployments/cache")
    assert (answer.status_code, answer.json()) == (200, {})
    marks = []
    for name in (desk.stack, sibling, other):
        await desk.farm.submit(name)
        grant = await desk.farm.grant()
        marks.append(grant.caches_cleared_at_ms)
        await desk.farm.run(grant)
    assert marks == [desk.farm.clock(), desk.farm.clock(), 0]
