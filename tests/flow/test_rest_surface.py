"""Smaller endpoints that clients of Pulumi Cloud call: outputs, configuration, organizations."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete

from control_plane import toolchain
from control_plane.services import identity
from control_plane.services.world import World
from control_plane.store.tables import memberships
from tests.support.app import client
from tests.support.state import Stack, document, new_stack, resource
from tests.support.world import make_world

EVE = "pul-" + "e" * 48
ROOT = {
    "urn": "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev",
    "custom": False,
    "type": "pulumi:pulumi:Stack",
}
SECRET = "4dabf18193072939515e22adb298388d"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield made
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as http:
        yield http


@pytest.fixture
async def stack(http: httpx.AsyncClient) -> Stack:
    return await new_stack(http)


async def test_outputs_are_the_root_resources(stack: Stack) -> None:
    assert await stack.get("/outputs") == {"outputs": {}, "unknown": False}

    answer = await stack.post("/encrypt", {"plaintext": base64.b64encode(b'"s"').decode()})
    secret = {SECRET: "1b47061264138c4ac30d75fd1eb44270", **answer.json()}
    outputs = {"address": "10.0.0.1", "nested": {"a": [1, None]}, "password": secret}
    provider = {"type": "service", "state": {"url": "http://other", "owner": "ada"}}
    other = resource("a", outputs={"address": "no output of the stack"})
    state = document(other, {**ROOT, "outputs": outputs}, secrets_providers=provider)
    assert (await stack.import_(state)).status_code == 200

    found = await stack.get("/outputs")
    assert found["outputs"] == outputs
    assert found["unknown"] is False
    assert found["secretsProviders"]["type"] == "service"
    exported = (await stack.export())["deployment"]["secrets_providers"]
    assert found["secretsProviders"] == exported, "at the address that the caller uses"


async def test_outputs_of_a_running_update_are_what_it_has_done_so_far(stack: Stack) -> None:
    assert (await stack.import_(document(ROOT))).status_code == 200
    update = await stack.start()
    await update.create("a")
    assert (await stack.get("/outputs"))["outputs"] == {}
    await update.complete()
    assert (await stack.get("/outputs"))["outputs"] == {}


async def test_a_configuration_on_the_server_would_need_esc(stack: Stack) -> None:
    for environment in ("shop/dev", ""):
        body = {"environment": environment, "secretsProvider": "passphrase"}
        answer = await stack.http.put(f"{stack.path}/config", json=body)
        assert answer.status_code == 400
        assert "ESC environment" in answer.json()["message"]
    wrong = await stack.http.put(f"{stack.path}/config", json={"environment": 1})
    assert wrong.status_code == 400
    assert "$.environment" in wrong.json()["message"]
    assert (await stack.http.get(f"{stack.path}/config")).status_code == 404
    assert (await stack.http.delete(f"{stack.path}/config")).status_code == 204
    assert "config" not in await stack.get(), "the CLI would look for it in ESC"
    missing = Stack(stack.http, stack.name._replace(stack="none"))
    assert (await missing.http.delete(f"{missing.path}/config")).status_code == 404


async def test_the_timeline_of_an_update_shows_the_previews_before_it(stack: Stack) -> None:
    assert (await stack.http.get(f"{stack.path}/updates/latest/timeline")).status_code == 404
    early = await stack.start(dry_run=True)
    await early.complete()
    first = await stack.run("a")
    between = await stack.start(dry_run=True)
    await between.complete()
    second = await stack.run("b")
    late = await stack.start(dry_run=True)
    await late.complete()

    one, two = await stack.get("/updates/1/timeline"), await stack.get("/updates/2/timeline")
    assert one["update"]["updateID"] == first.id
    assert [each["updateID"] for each in one["previews"]] == [early.id]
    assert two["update"]["updateID"] == second.id
    assert [each["updateID"] for each in two["previews"]] == [between.id]
    assert two["collatedUpdateEvents"] == []
    assert await stack.get("/updates/latest/timeline") == two
    assert (await stack.http.get(f"{stack.path}/updates/3/timeline")).status_code == 404


async def test_everybody_chooses_a_default_organization(
    http: httpx.AsyncClient, world: World
) -> None:
    await identity.bootstrap(world, "eve", EVE)
    await identity.create_organization(world, "club", "ada")

    async def default() -> str:
        found = (await http.get("/api/user/organizations/default")).json()
        assert found["Messages"] == []
        return str(found["GitHubLogin"])

    assert await default() == "ada"
    assert (await http.post("/api/user/organizations/club/default")).status_code == 204
    assert await default() == "club"
    assert (await http.post("/api/user/organizations/eve/default")).status_code == 404
    assert await default() == "club"
    async with client(world, EVE, login="eve") as eve:
        found = (await eve.get("/api/user/organizations/default")).json()
        assert found["GitHubLogin"] == "eve"
    ada = (await http.get("/api/orgs/ada/metadata")).json()["id"]
    async with world.database.transaction() as tx:
        await tx.execute(delete(memberships).where(memberships.c.organization_id != ada))
    assert await default() == "ada", "one that the user has left is none"


async def test_an_organization_tells_its_figures(http: httpx.AsyncClient, stack: Stack) -> None:
    await new_stack(http, "other")
    found = (await http.get("/api/orgs/ada/metadata")).json()
    assert (found["kind"], found["userRole"]) == ("single-user", "admin")
    assert (found["memberCount"], found["stackCount"]) == (1, 2)
    assert found["features"]["deployEnabled"] is True
    assert found["features"]["environmentsEnabled"] is False
    assert (await http.get("/api/orgs/eve/metadata")).status_code == 404


async def test_what_clients_list_on_their_way_is_empty(
    http: httpx.AsyncClient, stack: Stack
) -> None:
    assert await stack.get("/policypacks") == {"requiredPolicies": []}
    for path, key in (
        ("/api/orgs/ada/templates", "templates"),
        ("/api/registry/packages?limit=499&name=random", "packages"),
        ("/api/registry/templates?limit=499", "templates"),
    ):
        answer = await http.get(path)
        assert answer.status_code == 200
        assert not answer.json()[key]
        assert "continuationToken" not in answer.json()
    version = await http.get("/api/registry/packages/pulumi/pulumi/random/versions/latest")
    assert (version.status_code, version.json()["code"]) == (404, 404)
    app = await http.get("/api/console/orgs/ada/integrations/github-app")
    assert app.json() == {"installed": False}
    assert (await http.get("/api/orgs/eve/templates")).status_code == 404


async def test_the_latest_cli_is_the_toolchains(http: httpx.AsyncClient) -> None:
    found = (await http.get("/api/cli/version", headers={"Authorization": ""})).json()
    assert found["latestVersion"] == toolchain.read_recipe().version
    assert set(found) == {"latestVersion", "oldestWithoutWarning", "latestDevVersion"}
