"""Stacks over HTTP: made, listed, tagged, renamed, deleted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.domain.names import StackName
from control_plane.services import identity, state
from control_plane.services.world import World
from tests.support.app import client
from tests.support.state import Stack, document, kept_objects, new_stack, resource
from tests.support.world import make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield made
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as http:
        yield http


def message(answer: httpx.Response) -> str:
    """The message of an error, whose code must be the status."""
    body = answer.json()
    assert set(body) == {"code", "message"}
    assert body["code"] == answer.status_code
    return str(body["message"])


async def test_a_new_stack_is_there_with_its_project_and_tags(http: httpx.AsyncClient) -> None:
    stack = Stack(http, StackName("ada", "shop", "dev"))
    assert (await http.head("/api/stacks/ada/shop")).status_code == 404
    assert (await http.get(stack.path)).status_code == 404

    answer = await stack.make(tags={"pulumi:runtime": "python"})

    assert answer.status_code == 200
    assert answer.json() == {"messages": []}
    assert (await http.head("/api/stacks/ada/shop")).status_code == 200
    found = await stack.get()
    assert re.fullmatch(r"[0-9a-f-]{36}", found.pop("id"))
    assert found == {
        "orgName": "ada",
        "projectName": "shop",
        "stackName": "dev",
        "activeUpdate": "",
        "tags": {"pulumi:project": "shop", "pulumi:runtime": "python"},
        "version": 0,
    }
    assert (await stack.export())["deployment"]["manifest"]["magic"] == ""


async def test_a_taken_name_is_refused_in_the_words_that_the_cli_looks_for(
    http: httpx.AsyncClient,
) -> None:
    stack = await new_stack(http)
    again = await stack.make()
    assert again.status_code == 409
    assert message(again) == "Conflict: Stack 'ada/shop/dev' already exists."


@pytest.mark.parametrize(
    ("project", "stack"), [("shop", "a/b"), ("shop", ""), ("shop", ".."), ("s p", "dev")]
)
async def test_illegal_names_are_refused(http: httpx.AsyncClient, project: str, stack: str) -> None:
    answer = await Stack(http, StackName("ada", project, stack)).make()
    assert answer.status_code == 400
    assert "cannot name a" in message(answer)


async def test_an_oversize_name_is_refused(http: httpx.AsyncClient) -> None:
    answer = await Stack(http, StackName("ada", "shop", "x" * 101)).make()
    assert answer.status_code == 400
    assert len(message(answer)) < 300


async def test_another_organization_does_not_exist(http: httpx.AsyncClient, world: World) -> None:
    await identity.bootstrap(world, "eve", "pul-" + "e" * 48)
    async with client(world, "pul-" + "e" * 48, login="eve") as eve:
        theirs = await new_stack(eve, organization="eve")
        own = await new_stack(http)
        assert (await http.get(theirs.path)).status_code == 404
        assert (await http.get(f"{theirs.path}/export")).status_code == 404
        assert (await eve.delete(own.path)).status_code == 404
        foreign = await Stack(http, StackName("eve", "shop", "mine")).make()
        assert foreign.status_code == 404
        assert message(foreign) == "Not Found: Organization 'eve' not found"
        assert (await http.head("/api/stacks/eve/shop")).status_code == 404
        listed = (await http.get("/api/user/stacks")).json()["stacks"]
        assert [each["orgName"] for each in listed] == ["ada"]
        asked = await http.get("/api/user/stacks", params={"organization": "eve"})
        assert asked.json() == {"stacks": [], "continuationToken": None}


async def test_a_stack_may_begin_with_a_state(http: httpx.AsyncClient) -> None:
    stack = Stack(http, StackName("ada", "shop", "dev"))
    providers = {"type": "passphrase", "state": {"salt": "v1:abc"}}
    answer = await stack.make(state=document(secrets_providers=providers))
    assert answer.status_code == 200
    assert (await stack.export())["deployment"]["secrets_providers"] == providers

    broken = Stack(http, StackName("ada", "shop", "broken"))
    answer = await broken.make(state={"version": 9, "deployment": {}})
    assert answer.status_code == 400
    assert "version 9" in message(answer)


async def test_teams_and_service_side_configuration_are_refused(http: httpx.AsyncClient) -> None:
    stack = Stack(http, StackName("ada", "shop", "dev"))
    assert (await stack.make(teams=["t"])).status_code == 400
    assert (await stack.make(config={"environment": "e"})).status_code == 400
    assert (await stack.make(teams=[], config={"environment": ""})).status_code == 200


async def test_listing_pages_through_everything_once(http: httpx.AsyncClient) -> None:
    names = sorted(f"s{number:02}" for number in range(7))
    for name in names:
        await new_stack(http, name)
    found: list[str] = []
    token = None
    while True:
        query = {"maxResults": 3, **({"continuationToken": token} if token else {})}
        page = (await http.get("/api/user/stacks", params=query)).json()
        found += [each["stackName"] for each in page["stacks"]]
        token = page["continuationToken"]
        if token is None:
            break
        assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
        assert len(page["stacks"]) == 3
    assert found == names


async def test_listing_filters_by_project_and_tag(http: httpx.AsyncClient) -> None:
    await new_stack(http, "one")
    two = await new_stack(http, "two", "other")
    assert (await two.post("/tags", {"name": "team", "value": "a b"})).status_code == 204

    async def listed(**query: str) -> list[str]:
        answer = await http.get("/api/user/stacks", params=query)
        return [each["stackName"] for each in answer.json()["stacks"]]

    assert await listed(project="other") == ["two"]
    assert await listed(tagName="team") == ["two"]
    assert await listed(tagName="team", tagValue="a b") == ["two"]
    assert await listed(tagName="team", tagValue="c") == []
    assert await listed(tagName="pulumi:project", tagValue="shop") == ["one"]


@pytest.mark.parametrize("token", ["%%%", "eyJ9", "WzFd", "W10", "a" * 5])
async def test_a_token_that_was_not_made_here_is_refused(
    http: httpx.AsyncClient, token: str
) -> None:
    answer = await http.get("/api/user/stacks", params={"continuationToken": token})
    assert answer.status_code == 400
    assert "continuationToken" in message(answer)


async def test_a_summary_tells_of_updates(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)

    async def summary() -> dict[str, object]:
        [only] = (await http.get("/api/user/stacks")).json()["stacks"]
        return dict(only)

    assert "lastUpdate" not in await summary()
    update = await stack.start()
    assert (await summary())["lastUpdate"] == 0
    await update.create("a")
    await update.complete()
    after = await summary()
    assert int(str(after["lastUpdate"])) > 1_700_000_000
    assert after["resourceCount"] == 1


async def test_tags_are_replaced_added_changed_and_taken(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)

    async def tags() -> dict[str, str]:
        return dict((await stack.get())["tags"])

    whole = {"pulumi:project": "shop", "a": "1"}
    assert (await http.patch(f"{stack.path}/tags", json=whole)).status_code == 204
    assert await tags() == whole
    assert (await stack.post("/tags", {"name": "b", "value": "2"})).status_code == 204
    assert (await stack.post("/tags", {"name": "b", "value": "2"})).status_code == 400
    assert (await http.patch(f"{stack.path}/tags/b", json={"value": "3"})).status_code == 204
    assert (await tags())["b"] == "3"
    assert (await http.delete(f"{stack.path}/tags/b")).status_code == 204
    assert (await http.delete(f"{stack.path}/tags/b")).status_code == 404
    assert await tags() == whole


@pytest.mark.parametrize(
    "tags",
    [{"a b": "x"}, {"": "x"}, {"x" * 41: "x"}, {"a": "y" * 257}, {"pulumi:project": "other"}],
)
async def test_illegal_tags_change_nothing(http: httpx.AsyncClient, tags: dict[str, str]) -> None:
    stack = await new_stack(http)
    answer = await http.patch(f"{stack.path}/tags", json=tags)
    assert answer.status_code == 400
    assert (await stack.get())["tags"] == {"pulumi:project": "shop"}


async def test_only_a_stack_without_resources_goes_without_force(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    await stack.run("a")
    refused = await http.delete(stack.path, params={"force": "false"})
    assert refused.status_code == 400
    assert message(refused) == "Bad Request: Stack still contains resources."
    assert (await http.delete(stack.path, params={"force": "true"})).status_code == 204
    assert (await http.get(stack.path)).status_code == 404
    assert (await http.head("/api/stacks/ada/shop")).status_code == 404
    assert (await http.delete(stack.path)).status_code == 404


async def test_a_deleted_stack_leaves_no_object(http: httpx.AsyncClient, world: World) -> None:
    stack = await new_stack(http)
    await stack.run("a")
    await stack.run("b")
    assert (await http.delete(stack.path, params={"forceDestroy": "true"})).status_code == 204
    assert kept_objects(world)
    assert await state.sweep(world) > 0
    assert kept_objects(world) == []
    assert await state.sweep(world) == 0


async def test_a_busy_stack_is_neither_deleted_nor_renamed(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    text = "Conflict: Another update is currently in progress."
    assert message(await http.delete(stack.path, params={"force": "true"})) == text
    assert message(await stack.post("/rename", {"newName": "prod"})) == text
    await update.complete()
    assert (await http.delete(stack.path)).status_code == 204


async def test_a_renamed_stack_keeps_its_state_and_secrets(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    secret = (await stack.post("/encrypt", {"plaintext": "aHVzaA=="})).json()["ciphertext"]
    child = resource(
        "b",
        parent=resource("a")["urn"],
        dependencies=[resource("a")["urn"]],
        outputs={
            "mine": {
                "4dabf18193072939515e22adb298388d": "5cf8f73096256a8f31e491e813e4eb8e",
                "id": "a",
                "urn": resource("a")["urn"],
            },
            "text": f"see {resource('a')['urn']}",
        },
    )
    home = {"url": "http://old", "owner": "ada", "project": "shop", "stack": "dev"}
    providers = {"type": "service", "state": home}
    imported = await stack.import_(document(resource("a"), child, secrets_providers=providers))
    assert imported.status_code == 200

    answer = await stack.post("/rename", {"newName": "prod", "newProject": "store"})

    assert answer.status_code == 200
    assert (await http.get(stack.path)).status_code == 404
    assert (await http.head("/api/stacks/ada/shop")).status_code == 404
    moved = Stack(http, StackName("ada", "store", "prod"))
    deployment = (await moved.export())["deployment"]
    assert deployment["secrets_providers"]["state"] == {
        "url": "http://slipway.test",
        "owner": "ada",
        "project": "store",
        "stack": "prod",
    }
    first, second = deployment["resources"]
    urn = "urn:pulumi:prod::store::test:index:Thing::a"
    assert first["urn"] == second["parent"] == urn
    assert second["dependencies"] == [urn]
    assert second["outputs"]["mine"]["urn"] == urn
    assert second["outputs"]["text"] == f"see {resource('a')['urn']}", "text is nobody's reference"
    back = await moved.post("/decrypt", {"ciphertext": secret})
    assert back.json() == {"plaintext": "aHVzaA=="}
    assert (await moved.get())["tags"]["pulumi:project"] == "store"
    latest = await moved.get("/updates/latest")
    assert latest["info"]["kind"] == "rename"
    assert latest["updateID"] == answer.json()["updateId"]


async def test_a_rename_needs_another_name_that_is_free(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    await new_stack(http, "prod")
    same = await stack.post("/rename", {"newName": "dev", "newProject": ""})
    assert (same.status_code, message(same)) == (400, "Bad Request: No rename to apply.")
    taken = await stack.post("/rename", {"newName": "prod"})
    assert taken.status_code == 409
    assert "already exists" in message(taken)
    assert (await stack.post("/rename", {"newName": "a b"})).status_code == 400
    assert (await stack.get())["stackName"] == "dev"


async def test_metadata_names_the_owner(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    found = await stack.get("/metadata")
    assert found["ownedBy"]["githubLogin"] == "ada"
    assert found["id"] == (await stack.get())["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"stackName": 5}, "$.stackName"),
        ({}, "stackName"),
        ({"stackName": "s", "tags": ["a"]}, "$.tags"),
        ({"stackName": "s", "tags": {"a": 1}}, "$.tags"),
    ],
)
async def test_a_wrong_type_is_named(http: httpx.AsyncClient, body: object, field: str) -> None:
    answer = await http.post("/api/stacks/ada/shop", json=body)
    assert answer.status_code == 400
    assert field in message(answer)
