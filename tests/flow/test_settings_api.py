"""Deployment settings over HTTP: patched, replaced, sealed on arrival, never shown in plain."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.app import client
from tests.support.deployments import Desk, make_desk
from tests.support.state import with_token
from tests.support.world import make_world

SECRET = "pla1n-text-that-nobody-may-see"
GIT = {"repoUrl": "https://git.test/shop.git", "branch": "refs/heads/main"}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path, deployments={"environment_variables_max": 5}) as desk:
        yield desk


def variables(**values: Any) -> dict[str, Any]:
    return {"operationContext": {"environmentVariables": values}}


async def test_there_are_none_at_first_and_none_after_deleting(desk: Desk) -> None:
    await desk.get("/settings", expect=404)
    await desk.send("POST", "/settings", {"sourceContext": {"git": GIT}})
    assert (await desk.get("/settings"))["sourceContext"]["git"] == GIT
    assert await desk.send("DELETE", "/settings") is True
    assert await desk.send("DELETE", "/settings") is True
    answer = await desk.get("/settings", expect=404)
    assert answer["code"] == 404
    assert "ada/shop/dev" in answer["message"]


async def test_post_merges_and_put_replaces(desk: Desk) -> None:
    first = await desk.send(
        "POST", "/settings", {"sourceContext": {"git": GIT}, "future": {"a": 1}}
    )
    assert (first["version"], first["source"]) == (1, "api")
    patch = {"sourceContext": {"git": {"repoDir": "d"}}, "future": {"b": [2]}, **variables(A="1")}
    second = await desk.send("POST", "/settings", patch)
    assert second == await desk.get("/settings")
    assert second["version"] == 2
    assert second["sourceContext"]["git"] == GIT | {"repoDir": "d"}
    assert second["future"] == {"a": 1, "b": [2]}
    removed = await desk.send("POST", "/settings", {"future": None, **variables(A=None)})
    assert "future" not in removed
    assert removed["operationContext"]["environmentVariables"] == {}
    replaced = await desk.send("PUT", "/settings", {"tag": "t"})
    assert replaced == {"tag": "t", "version": 4, "source": "api"}


async def test_secrets_are_sealed_on_arrival_and_stay_the_same(desk: Desk) -> None:
    git = GIT | {"gitAuth": {"accessToken": SECRET, "sshAuth": {"sshPrivateKey": SECRET}}}
    body = {"sourceContext": {"git": git}, **variables(TOKEN={"secret": SECRET}, PLAIN="p")}
    answer = await desk.send("POST", "/settings", body)
    assert SECRET not in json.dumps(answer)
    kept = answer["operationContext"]["environmentVariables"]
    assert kept["PLAIN"] == "p"
    assert set(kept["TOKEN"]) == {"ciphertext"}
    stack_id = await desk.stack_id()
    assert desk.unseal(kept["TOKEN"]["ciphertext"], stack_id, "env/TOKEN") == SECRET
    auth = answer["sourceContext"]["git"]["gitAuth"]
    assert desk.unseal(auth["accessToken"]["ciphertext"], stack_id, "git/accessToken") == SECRET
    key = auth["sshAuth"]["sshPrivateKey"]["ciphertext"]
    assert desk.unseal(key, stack_id, "git/sshPrivateKey") == SECRET
    assert await desk.get("/settings") == answer
    again = await desk.send("PUT", "/settings", answer)
    assert again == answer | {"version": 2}
    patched = await desk.send("POST", "/settings", variables(PLAIN="q"))
    assert patched["operationContext"]["environmentVariables"]["TOKEN"] == kept["TOKEN"]
    renewed = await desk.send("POST", "/settings", variables(TOKEN={"secret": "other"}))
    ciphertext = renewed["operationContext"]["environmentVariables"]["TOKEN"]["ciphertext"]
    assert desk.unseal(ciphertext, stack_id, "env/TOKEN") == "other"


def files_with(root: Path, text: str) -> list[Path]:
    files = [path for path in root.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    return [path for path in files if text.encode() in path.read_bytes()]


async def test_plain_text_is_nowhere_on_the_disk(desk: Desk, tmp_path: Path) -> None:
    await desk.send("POST", "/settings", variables(TOKEN={"secret": SECRET}))
    await desk.create(
        **variables(TOKEN={"secret": SECRET}, OTHER={"isSecret": True, "value": SECRET})
    )
    await desk.send("POST", "/settings/encrypt", SECRET)
    assert files_with(tmp_path, SECRET) == []
    assert files_with(tmp_path, "ciphertext") != []


async def test_encrypted_values_may_be_used_under_any_name(desk: Desk) -> None:
    stack_id = await desk.stack_id()
    for body in (SECRET, {"secret": SECRET}):
        answer = await desk.send("POST", "/settings/encrypt", body)
        assert set(answer) == {"ciphertext"}
        assert desk.unseal(answer["ciphertext"], stack_id, "*") == SECRET
    kept = await desk.send("POST", "/settings", variables(TOKEN=answer))
    assert kept["operationContext"]["environmentVariables"]["TOKEN"] == answer


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/settings", variables(T={"secret": [SECRET]}), "environmentVariables.T"),
        ("PUT", "/settings", variables(T=[SECRET]), "environmentVariables.T"),
        ("POST", "/settings", {"operationContext": SECRET}, "operationContext"),
        ("POST", "/settings", {"executorContext": {"executorImage": [SECRET]}}, "executorImage"),
        ("POST", "/settings", [SECRET], "body"),
        ("POST", "/settings", {"environmentVariables": {"K": {"secret": SECRET}}}, "ables.K"),
        ("PUT", "/settings", {"gitAuth": {"accessToken": {"secret": SECRET}}}, "accessToken"),
        ("POST", "", {"operation": "update", "x": {"secret": SECRET}}, "'x'"),
        *(
            (
                method,
                path,
                {"operation": "update", "sourceContext": {"git": {"repoUrl": url}}},
                "gitAuth",
            )
            for method, path in (("POST", "/settings"), ("PUT", "/settings"), ("POST", ""))
            for url in (f"https://{SECRET}@git.test/r", f"ssh://git:{SECRET}@git.test/r")
        ),
        ("POST", "/settings", SECRET, "body"),
        ("POST", "/settings/encrypt", {"secret": [SECRET]}, "The body"),
        ("POST", "/settings/encrypt", 5, "The body"),
        ("POST", "", {"operation": "update", **variables(T=[SECRET])}, "environmentVariables.T"),
        ("POST", "", {"operation": [SECRET]}, "operation"),
    ],
)
async def test_what_is_wrong_is_named_without_its_value(
    desk: Desk, method: str, path: str, body: Any, said: str
) -> None:
    answer = await desk.send(method, path, body, status=400)
    assert answer["code"] == 400
    assert said in answer["message"]
    assert SECRET not in answer["message"]


@pytest.mark.parametrize(
    "body", [b"{", b'{"a": "' + SECRET.encode(), b"\xff\xfe", b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
async def test_malformed_json_is_refused_without_its_text(desk: Desk, body: bytes) -> None:
    for path in ("/settings", "/settings/encrypt", ""):
        answer = await desk.http.post(desk.url + path, content=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] == 400
        assert SECRET not in answer.text


async def test_sizes_are_bounded(desk: Desk) -> None:
    many = variables(**{f"V{n}": "" for n in range(6)})
    assert "may have 5" in (await desk.send("POST", "/settings", many, 400))["message"]
    assert (await desk.send("POST", "/settings", {"x": "y" * 300_000}, 413))["code"] == 413
    huge = {"x": "y" * 1_100_000}
    assert (await desk.send("POST", "/settings", huge, 413))["code"] == 413
    assert (await desk.send("POST", "", huge, 413))["code"] == 413
    await desk.get("/settings", expect=404)


async def test_a_pool_must_exist_and_a_change_of_pool_needs_all_secrets_again(desk: Desk) -> None:
    answer = await desk.send("POST", "/settings", {"agentPoolID": "nobody"}, 400)
    assert "nobody" in answer["message"]
    await desk.send("POST", "/settings", variables(T={"secret": SECRET}))
    await desk.farm.sql(
        "INSERT INTO pools (id, name, description, token_digest, public_key, is_default,"
        " created_at, ready) SELECT 'other', 'other', '', x'00', public_key, 0, 0, 0 FROM pools"
    )
    answer = await desk.send("POST", "/settings", {"agentPoolID": "other"}, 400)
    assert "other" in answer["message"]
    both = {"agentPoolID": "other", **variables(T={"secret": SECRET})}
    assert (await desk.send("POST", "/settings", both))["agentPoolID"] == "other"


async def test_without_a_pool_that_was_ever_online_plain_settings_work(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    async with client(world) as http:
        async with world.database.transaction() as tx:
            from sqlalchemy import text

            await tx.execute(
                text(
                    "INSERT INTO stacks (id, organization_id, project, name, tags, created_at,"
                    " version, resource_count, wrapped_data_key, deployment_version, pause_note)"
                    " SELECT 's', id, 'p', 's', '{}', 0, 0, 0, x'', 0, '' FROM organizations"
                )
            )
        url = "/api/stacks/ada/p/s/deployments/settings"
        plain = await http.post(url, json=variables(A="1"))
        assert plain.status_code == 200, plain.text
        secret = await http.post(url, json=variables(A={"secret": SECRET}))
        assert secret.status_code in (400, 503), secret.text
        assert "pool" in secret.json()["message"]
    await world.database.close()


async def test_who_wrote_them_is_told(desk: Desk) -> None:
    headers = {"X-Pulumi-Source": "provider"}
    await desk.http.put(desk.url + "/settings", json={"tag": "x"}, headers=headers)
    assert (await desk.get("/settings"))["source"] == "provider"


async def test_another_organizations_stack_does_not_exist(desk: Desk) -> None:
    async with client(desk.farm.world, "pul-" + "c" * 48, login="eve") as eve:
        for method, path in (
            ("GET", "/settings"),
            ("POST", "/settings"),
            ("PUT", "/settings"),
            ("DELETE", "/settings"),
            ("POST", "/settings/encrypt"),
        ):
            answer = await eve.request(method, desk.url + path, json={})
            assert answer.status_code == 404, (method, path)
    async with client(desk.farm.world, None) as nobody:
        assert (await nobody.get(desk.url + "/settings")).status_code == 401


async def test_two_patches_at_once_are_both_there(desk: Desk) -> None:
    import asyncio

    await asyncio.gather(
        *(desk.send("POST", "/settings", {"future": {str(n): n}}) for n in range(8))
    )
    settings = await desk.get("/settings")
    assert settings["future"] == {str(n): n for n in range(8)}
    assert settings["version"] == 8


async def test_a_deployments_own_token_starts_and_changes_nothing(desk: Desk) -> None:
    settings = await desk.send("POST", "/settings", {"sourceContext": {"git": GIT}})
    runner = await desk.run()
    async with with_token(desk.farm.world, desk.farm.unseal(runner.grant, "cli")) as http:
        for method, path in (
            ("POST", ""),
            ("POST", "/settings"),
            ("PUT", "/settings"),
            ("DELETE", "/settings"),
            ("POST", "/pause"),
            ("POST", "/resume"),
        ):
            body = {} if path else {"operation": "update"}
            answer = await http.request(method, desk.url + path, json=body)
            assert answer.status_code == 403, (method, path)
            assert "deployment's own token" in answer.json()["message"]
        for verb in ("pause", "resume"):
            answer = await http.post(f"/api/orgs/ada/deployments/{verb}")
            assert answer.status_code == 403
        assert (await http.get(desk.url + "/settings")).json() == settings
    assert await desk.get("/settings") == settings
    assert (await desk.get())["total"] == 1
