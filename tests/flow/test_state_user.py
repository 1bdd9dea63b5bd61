"""The caller over HTTP: who, where, with what tokens; and what this server can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.errors import Conflict
from control_plane.services import identity, stacks
from control_plane.services.world import World
from tests.support.app import client
from tests.support.queue import make_farm
from tests.support.state import with_token
from tests.support.world import FakeClock, make_world


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    made = make_world(tmp_path, now=clock)
    yield made
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as http:
        yield http


async def test_a_person_and_their_organizations(http: httpx.AsyncClient, world: World) -> None:
    await identity.bootstrap(world, "bob", "pul-" + "b" * 48)
    await identity.create_organization(world, "acme", "bob")
    await identity.add_member(world, "acme", "ada", "member")
    answer = await http.get("/api/user")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["githubLogin"], found["name"]) == ("ada", "ada")
    assert "tokenInfo" not in found, "a person is no machine"
    logins = [(each["githubLogin"], each["role"]) for each in found["organizations"]]
    assert logins == [("ada", "admin"), ("acme", "member")]
    default = (await http.get("/api/user/organizations/default")).json()
    assert default == {"GitHubLogin": "ada", "Messages": []}


async def test_a_deployments_token_is_a_machine_of_one_stack(tmp_path: Path) -> None:
    async with make_farm(tmp_path) as farm:
        mine, other = await farm.add_stack("shop", "dev"), await farm.add_stack("shop", "other")
        await farm.submit(mine)
        grant = await farm.grant()
        await farm.sql("INSERT INTO projects SELECT id, 'shop', 0 FROM organizations")
        async with with_token(farm.world, farm.unseal(grant, "cli")) as http:
            found = (await http.get("/api/user")).json()
            assert found["githubLogin"]
            assert found["tokenInfo"]["organization"] == "acme"
            assert found["tokenInfo"]["name"] == f"deployment {grant.deployment_id}"
            assert [each["githubLogin"] for each in found["organizations"]] == ["acme"]
            listed = (await http.get("/api/user/stacks")).json()["stacks"]
            assert [each["stackName"] for each in listed] == ["dev"]
            assert (await http.get(f"/api/stacks/{mine}")).status_code == 200
            assert (await http.delete(f"/api/stacks/{other}")).status_code == 404
            assert (await http.head("/api/stacks/acme/shop")).status_code == 200
            assert (await http.head("/api/stacks/acme/else")).status_code == 404
            taken = await http.post("/api/stacks/acme/shop", json={"stackName": "dev"})
            assert taken.status_code == 409
            new = await http.post("/api/stacks/acme/shop", json={"stackName": "new"})
            assert new.status_code == 403
            for call in (http.get("/api/user/tokens"), http.post("/api/user/tokens", json={})):
                assert (await call).status_code == 403
            await farm.conclude(grant)
            assert (await http.get("/api/user")).status_code == 401


async def test_a_stack_deleted_by_its_own_deployment_goes_when_that_has_ended(
    tmp_path: Path,
) -> None:
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        await farm.submit(name)
        grant = await farm.grant()
        principal = await identity.authenticate(farm.world, farm.unseal(grant, "cli"))
        await stacks.delete(farm.world, principal, name, force=False)
        await stacks.delete_marked(farm.world)
        assert (await farm.how(grant.deployment_id))[0] == "accepted"
        await farm.run(grant)
        await stacks.delete_marked(farm.world)
        assert await farm.ask("SELECT count(*) FROM stacks") == [(0,)]
        assert await farm.ask("SELECT count(*) FROM deployments") == [(0,)]


async def test_a_stack_with_a_live_deployment_is_not_deleted_by_others(tmp_path: Path) -> None:
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        await farm.submit(name)
        grant = await farm.grant()
        await farm.submit(name)
        for attempt in (
            stacks.delete(farm.world, farm.principal(), name, force=True),
            stacks.rename(farm.world, farm.principal(), name, "prod", ""),
        ):
            with pytest.raises(Conflict, match=grant.deployment_id):
                await attempt
        await farm.run(grant)
        await stacks.delete(farm.world, farm.principal(), name, force=True)
        assert await farm.grant_all() == []
        await farm.add_stack("shop", "dev")
        await farm.submit(name)
        assert len(await farm.grant_all()) == 1, "the queue goes on"


async def test_capabilities_are_public(world: World) -> None:
    async with client(world, None) as nobody:
        answer = await nobody.get("/api/capabilities")
    assert answer.json() == {
        "capabilities": [
            {"capability": "batch-encrypt"},
            {
                "capability": "deployment-schema-version",
                "version": 1,
                "configuration": {"version": 4},
            },
            {"capability": "stack-policy-packs", "version": 1},
        ]
    }


async def test_tokens_are_made_shown_once_and_revoked(
    http: httpx.AsyncClient, world: World, clock: FakeClock
) -> None:
    made = await http.post("/api/user/tokens", json={"description": "ci", "expires": 0})
    assert made.status_code == 200
    token = made.json()
    assert token["tokenValue"].startswith("pul-")
    listed = await http.get("/api/user/tokens")
    assert token["tokenValue"] not in listed.text
    assert token["id"] in [each["id"] for each in listed.json()["tokens"]]
    headers = {"Authorization": f"token {token['tokenValue']}"}
    assert (await http.get("/api/user", headers=headers)).status_code == 200
    assert (await http.delete(f"/api/user/tokens/{token['id']}")).status_code == 204
    assert (await http.get("/api/user", headers=headers)).status_code == 401
    assert (await http.delete(f"/api/user/tokens/{token['id']}")).status_code == 404

    seconds = clock() // 1000
    past = await http.post("/api/user/tokens", json={"expires": seconds - 1})
    assert past.status_code == 400
    long = await http.post("/api/user/tokens", json={"description": "x" * 201})
    assert long.status_code == 400
    brief = (await http.post("/api/user/tokens", json={"expires": seconds + 60})).json()
    headers = {"Authorization": f"token {brief['tokenValue']}"}
    assert (await http.get("/api/user", headers=headers)).status_code == 200
    clock.advance(60)
    world.token_cache.clear()
    assert (await http.get("/api/user", headers=headers)).status_code == 401


@pytest.mark.parametrize("header", [None, "token", "token nonsense", "Basic x", "update-token x"])
async def test_without_a_good_token_nothing_is_told(world: World, header: str | None) -> None:
    async with client(world, None) as nobody:
        headers = {"Authorization": header} if header else {}
        for path in ("/api/user", "/api/user/stacks", "/api/stacks/ada/shop/dev"):
            answer = await nobody.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["code"] == 401


@pytest.mark.parametrize("expires", [10**12, 10**17, 10**30, -(10**30)])
async def test_a_token_ends_within_the_calendar(http: httpx.AsyncClient, expires: int) -> None:
    answer = await http.post("/api/user/tokens", json={"expires": expires})
    assert answer.status_code == 400, answer.text
    assert "'expires'" in answer.json()["message"]
