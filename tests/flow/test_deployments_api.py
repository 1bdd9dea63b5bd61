"""Deployments over HTTP: created in every client's form, shown, listed, explained, paused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.services import identity
from tests.support.app import client
from tests.support.deployments import CLI, Desk, make_desk
from tests.support.queue import SOURCE

URL = SOURCE["sourceContext"]["git"]["repoUrl"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as desk:
        yield desk


async def test_create_answers_what_clients_read(desk: Desk) -> None:
    first, second = await desk.create(), await desk.create("preview")
    assert set(first) == {"id", "version", "consoleUrl"}
    assert (first["version"], second["version"]) == (1, 2)
    assert first["consoleUrl"].endswith("/ada/shop/dev/deployments/1")
    shown = await desk.get(f"/{first['id']}")
    assert shown == await desk.get("/version/1")
    assert shown["status"] == "not-started"
    assert shown["pulumiOperation"] == "update"
    assert shown["requestedBy"] == {"name": "ada", "githubLogin": "ada", "avatarUrl": ""}
    assert (shown["projectName"], shown["stackName"]) == ("shop", "dev")
    assert shown["trigger"] == "api"
    assert shown["inheritSettings"] is True
    assert shown["latestVersion"] == 2
    assert shown["jobs"] == []
    assert shown["updates"] == []
    assert shown["configuration"]["source"]["git"]["repoURL"] == URL
    assert "initiator" not in shown


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "operation is missing"),
        ({"operation": ""}, "operation is missing"),
        ({"operation": None}, "operation is missing"),
        ({"operation": "up"}, "'up' is unknown; use update, preview, refresh, destroy"),
        ({"operation": 7}, "unknown"),
        ({"operationContext": {"operation": "update"}}, "top level"),
        ({"operation": "update", "operationContext": {"operation": "destroy"}}, "differs"),
        ({"operation": "update", "inheritSettings": "yes"}, "inheritSettings"),
        ({"operation": "update", "sourceContext": None}, "source"),
        ({"operation": "update", "agentPoolID": "nobody"}, "nobody"),
        (
            {"operation": "update", "executorContext": {"executorImage": "ghcr.io/acme/x:1"}},
            "ghcr.io/acme/x:1",
        ),
    ],
)
async def test_a_wrong_request_is_named(desk: Desk, body: dict[str, Any], said: str) -> None:
    answer = await desk.send("POST", "", SOURCE | body, 400)
    assert answer["code"] == 400
    assert said in answer["message"]
    assert (await desk.get())["total"] == 0


async def test_the_real_clis_request_inherits_what_it_does_not_say(desk: Desk) -> None:
    stored = SOURCE | {
        "operationContext": {
            "preRunCommands": ["make deps"],
            "environmentVariables": {"A": "1", "S": {"secret": "s"}},
            "options": {"skipIntermediateDeployments": True},
        }
    }
    await desk.send("POST", "/settings", stored)
    body = {
        "operation": "update",
        "inheritSettings": True,
        "executorContext": {"workingDirectory": ""},
        "operationContext": {
            "preRunCommands": [],
            "operation": "",
            "environmentVariables": {"B": ""},
            "options": {
                "skipInstallDependencies": True,
                "skipIntermediateDeployments": False,
                "shell": "",
                "deleteAfterDestroy": False,
                "remediateIfDriftDetected": False,
            },
        },
        "agentPoolID": None,
    }
    headers = CLI | {"X-Pulumi-Deployment-Initiator": "automation-api"}
    answer = await desk.http.post(desk.url, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    shown = await desk.get(f"/{answer.json()['id']}")
    assert (shown["trigger"], shown["initiator"]) == ("cli", "automation-api")
    assert shown["configuration"]["environmentVariables"] == [
        {"name": "A", "value": "1", "secret": False},
        {"name": "B", "value": "", "secret": False},
        {"name": "S", "value": "", "secret": True},
    ]
    grant = await desk.farm.grant()
    assert grant.pre_run_commands == ["make deps"]
    assert grant.skip_install_dependencies
    sealed = grant.environment["S"].sealed
    assert sealed is not None
    assert desk.unseal(sealed, grant.stack_id, "env/S") == "s"
    row = await desk.farm.row(answer.json()["id"])
    options = json.loads(row.settings)["operationContext"]["options"]
    assert options == {"skipIntermediateDeployments": True, "skipInstallDependencies": True}


async def test_null_removes_and_nothing_is_inherited_unless_wanted(desk: Desk) -> None:
    stored = SOURCE | {
        "operationContext": {"preRunCommands": ["a"], "environmentVariables": {"A": "1"}}
    }
    await desk.send("POST", "/settings", stored)
    body = {"operation": "update", "operationContext": {"preRunCommands": None}}
    created = await desk.send("POST", "", body, 202)
    row = await desk.farm.row(created["id"])
    assert json.loads(row.settings)["operationContext"] == {"environmentVariables": {"A": "1"}}
    alone = {"operation": "update", "inheritSettings": False}
    assert "no source" in (await desk.send("POST", "", alone, 400))["message"]
    created = await desk.send("POST", "", SOURCE | alone, 202)
    shown = await desk.get(f"/{created['id']}")
    assert shown["inheritSettings"] is False
    assert shown["configuration"]["environmentVariables"] == []


async def test_the_first_form_of_the_api(desk: Desk) -> None:
    await desk.send("POST", "/settings", {"operationContext": {"environmentVariables": {"A": "1"}}})
    body = SOURCE | {"operationContext": {"operation": "refresh", "environmentVariables": {}}}
    url = desk.url.replace("/api/stacks/", "/api/preview/")
    answer = await desk.http.post(url, json=body)
    assert answer.status_code == 202, answer.text
    one = url + "/" + answer.json()["id"]
    shown = (await desk.http.get(one)).json()
    assert shown["pulumiOperation"] == "refresh"
    assert shown["configuration"]["environmentVariables"] == []
    assert shown["inheritSettings"] is False
    assert (await desk.http.get(one + "/updates")).json() == []
    assert "nextToken" in (await desk.http.get(one + "/logs")).json()
    missing = await desk.http.post(url, json=SOURCE)
    assert missing.status_code == 400
    assert "operation" in missing.json()["message"]


async def test_a_number_may_stand_for_the_id(desk: Desk) -> None:
    runner = await desk.run()
    second = await desk.create()
    assert (await desk.get("/2"))["id"] == second["id"]
    assert (await desk.get("/%232"))["id"] == second["id"]
    await desk.send("POST", "/2/cancel")
    assert (await desk.get("/version/2"))["status"] == "skipped"
    await runner.step("Get source")
    assert len((await desk.get("/1/logs"))["lines"]) == 1
    assert (await desk.get("/1/updates")) == []
    assert (await desk.http.get(desk.url + "/1/log")).status_code == 200
    for reference in ("3", "0", "9" * 30, "%23", "-1"):
        await desk.get(f"/{reference}", 404)


async def test_what_is_not_there(desk: Desk) -> None:
    for path in ("/nope", "/version/9", "/nope/updates", "/nope/logs", "/nope/log"):
        assert (await desk.get(path, 404))["code"] == 404
    assert (await desk.get("/version/x", 400))["code"] == 400
    await desk.get("/version/" + "9" * 40, 404)
    await desk.send("POST", "/nope/cancel", None, 404)
    answer = await desk.http.post(
        "/api/stacks/ada/shop/none/deployments", json=SOURCE | {"operation": "update"}
    )
    assert answer.status_code == 404
    assert "ada/shop/none" in answer.json()["message"]


async def test_nothing_exists_for_strangers(desk: Desk) -> None:
    created = await desk.create()
    async with client(desk.farm.world, "pul-" + "c" * 48, login="eve") as eve:
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("GET", f"/{created['id']}"),
            ("GET", "/version/1"),
            ("GET", f"/{created['id']}/logs"),
            ("GET", f"/{created['id']}/log"),
            ("GET", f"/{created['id']}/updates"),
            ("POST", f"/{created['id']}/cancel"),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("GET", "/metadata"),
        ):
            body = SOURCE | {"operation": "update"} if (method, path) == ("POST", "") else None
            answer = await eve.request(method, desk.url + path, json=body)
            assert answer.status_code == 404, (method, path, answer.text)
        for path in ("", "/members", "/deployments", "/deployments/metadata", "/deployments/queue"):
            assert (await eve.get("/api/orgs/ada" + path)).status_code == 404, path
        assert (await eve.post("/api/orgs/ada/deployments/pause")).status_code == 404
    other = await desk.add_stack("shop", "other")
    wrong = await desk.http.get(f"/api/stacks/{other}/deployments/{created['id']}")
    assert wrong.status_code == 404


async def test_lists_page_sort_and_filter(desk: Desk) -> None:
    for operation in ("update", "preview", "update", "destroy", "refresh"):
        await desk.create(operation)
    other = await desk.add_stack("shop", "other")
    await desk.farm.submit(other)
    grant = await desk.farm.grant()
    await desk.farm.run(grant)
    everything = await desk.get()
    assert [each["version"] for each in everything["deployments"]] == [5, 4, 3, 2, 1]
    assert (everything["itemsPerPage"], everything["total"]) == (10, 5)
    page = await desk.get(page=2, pageSize=2)
    assert [each["version"] for each in page["deployments"]] == [3, 2]
    assert (page["itemsPerPage"], page["total"]) == (2, 5)
    assert (await desk.get(page=9))["deployments"] == []
    up = await desk.get(asc="true", sort="version")
    assert [each["version"] for each in up["deployments"]] == [1, 2, 3, 4, 5]
    done = await desk.get(status="succeeded")
    assert [each["version"] for each in done["deployments"]] == [1]
    assert (await desk.get(status="succeeded,not-started"))["total"] == 5
    answer = await desk.http.get(desk.url + "?status=succeeded&status=failed")
    assert answer.json()["total"] == 1
    updates = await desk.get(operation="update", status="not-started")
    assert [each["version"] for each in updates["deployments"]] == [3]
    whole = (await desk.http.get("/api/orgs/ada/deployments")).json()
    assert whole["total"] == 6
    assert whole["deployments"][0]["stackName"] == "other"
    by_operation = (await desk.http.get("/api/orgs/ada/deployments?sort=operation&asc=1")).json()
    assert by_operation["deployments"][0]["pulumiOperation"] == "destroy"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": 10**12}, "page"),
        ({"page": "x"}, "page"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": 101}, "pageSize"),
        ({"sort": "settings"}, "sort"),
        ({"status": "done"}, "not-started, accepted, running"),
        ({"operation": "up"}, "update, preview"),
        ({"asc": "maybe"}, "asc"),
    ],
)
async def test_a_wrong_parameter_is_named(desk: Desk, query: dict[str, Any], said: str) -> None:
    for url in (desk.url, "/api/orgs/ada/deployments"):
        answer = await desk.http.get(url, params=query)
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] == 400
        assert said in answer.json()["message"]


async def test_a_running_deployment_shows_its_job_source_and_updates(desk: Desk) -> None:
    runner = await desk.run()
    shown = await desk.get("/version/1")
    assert shown["status"] == "accepted"
    assert shown["queue"]["blocker"]["kind"] == "node"
    await runner.step("Get source")
    await runner.source("abc123")
    await runner.end_step()
    await runner.step("pulumi update")
    await runner.engine_update("preview", dry_run=True)
    await runner.engine_update()
    shown = await desk.get("/version/1")
    assert shown["status"] == "running"
    assert "queue" not in shown
    (job,) = shown["jobs"]
    assert job["status"] == "running"
    assert [(step["name"], step["status"]) for step in job["steps"]] == [
        ("Get source", "succeeded"),
        ("pulumi update", "running"),
    ]
    assert all("started" in step and "lastUpdated" in step for step in job["steps"])
    assert shown["commit"] == {"sha": "abc123", "message": "why", "author": "ada <a@x>"}
    (update,) = shown["updates"]
    assert (update["kind"], update["version"], update["result"]) == ("update", 1, "in-progress")
    assert update["id"] == update["updateID"]
    (info,) = await desk.get(f"/{runner.grant.deployment_id}/updates")
    assert (info["updateID"], info["version"]) == (update["id"], 1)
    await runner.conclude(False, "cli_exit", exit_code=255, message="the program failed")
    shown = await desk.get("/version/1")
    assert (shown["status"], shown["reason"], shown["exitCode"]) == ("failed", "cli_exit", 255)
    assert shown["message"] == "the program failed"
    assert shown["jobs"][0]["steps"][1]["status"] == "failed"
    assert "ended" in shown


async def test_cancel_ends_what_waits_and_asks_what_runs(desk: Desk) -> None:
    runner = await desk.run()
    waiting = await desk.create()
    assert (await desk.http.post(f"{desk.url}/{waiting['id']}/cancel")).status_code == 200
    shown = await desk.get(f"/{waiting['id']}")
    assert (shown["status"], shown["reason"]) == ("skipped", "cancelled")
    assert shown["cancelRequested"]["by"] == "ada"
    assert shown["jobs"] == []
    running = f"/{runner.grant.deployment_id}"
    await desk.send("POST", running + "/cancel")
    cancel = (await desk.get(running))["cancelRequested"]
    assert (cancel["by"], cancel["mode"]) == ("ada", "graceful")
    await desk.send("POST", running + "/cancel?mode=now")
    assert (await desk.get(running))["cancelRequested"]["mode"] == "now"
    assert "mode" in (await desk.send("POST", running + "/cancel?mode=later", None, 400))["message"]


async def test_what_waits_says_why(desk: Desk) -> None:
    async def waiting_of(version: int) -> dict[str, Any]:
        return dict((await desk.get(f"/version/{version}"))["queue"])

    await desk.create()
    first = await waiting_of(1)
    assert first["position"] == 1
    grants = await desk.farm.grant_all()
    await desk.create()
    await desk.create()
    second, third = await waiting_of(2), await waiting_of(3)
    assert second["waitingFor"] == "deployment #1 of this stack to end"
    assert second["blocker"] == {
        "kind": "deployment",
        "deploymentId": grants[0].deployment_id,
        "version": 1,
    }
    assert (third["position"], third["organizationPosition"]) == (2, 2)
    await desk.farm.sql("UPDATE organizations SET deployment_limit = 1 WHERE login = 'ada'")
    other = await desk.add_stack("shop", "other")
    created = await desk.farm.submit(other)
    shown = (await desk.http.get(f"/api/stacks/{other}/deployments/{created.id}")).json()
    assert shown["queue"]["blocker"] == {"kind": "limit", "live": 1, "limit": 1}
    await desk.farm.run(grants[0])
    await desk.farm.sql("UPDATE pools SET last_seen_at = 0")
    assert "silent" in (await waiting_of(2))["waitingFor"]
    behind = (await waiting_of(3))["blocker"]
    assert (behind["kind"], behind["version"]) == ("queue", 2)
    queue = (await desk.http.get("/api/orgs/ada/deployments/queue")).json()
    assert [each["version"] for each in queue["queued"]] == [2, 3, 1]
    assert [each["queue"]["position"] for each in queue["queued"]] == [1, 2, 1]
    assert [each["queue"]["organizationPosition"] for each in queue["queued"]] == [1, 2, 3]
    assert (queue["live"], queue["total"], queue["concurrency"]) == ([], 3, 1)
    short = (await desk.http.get("/api/orgs/ada/deployments/queue?pageSize=1")).json()
    assert (len(short["queued"]), short["total"]) == (1, 3)


async def test_a_stack_is_paused_and_resumed(desk: Desk) -> None:
    answer = await desk.send("POST", "/pause", None, 400)
    assert "settings" in answer["message"]
    await desk.send("POST", "/resume", None, 400)
    await desk.send("POST", "/settings", SOURCE)
    assert (await desk.http.post(desk.url + "/pause")).status_code == 200
    await desk.send("POST", "/pause", {"note": "later than the first"})
    metadata = await desk.get("/metadata")
    assert metadata == {
        "paused": True,
        "stackPaused": True,
        "organizationPaused": False,
        "pausedBy": "ada",
        "note": "",
        "hasSchedules": False,
    }
    await desk.create()
    assert await desk.farm.grant_all() == []
    shown = await desk.get("/version/1")
    assert shown["paused"] is True
    assert shown["queue"]["waitingFor"] == "the stack to be resumed (paused by ada)"
    organization = (await desk.http.get("/api/orgs/ada/deployments/metadata")).json()
    assert organization["pausedStacks"] == ["shop/dev"]
    with desk.farm.broker.subscribe(f"pool:{desk.farm.pool.id}") as wakes:
        assert (await desk.http.post(desk.url + "/resume")).status_code == 200
        assert await wakes.wait(0)
    assert len(await desk.farm.grant_all()) == 1
    assert (await desk.get("/metadata"))["paused"] is False


async def test_an_organization_is_paused_and_resumed_by_its_administrators(desk: Desk) -> None:
    url = "/api/orgs/ada/deployments"
    await desk.create()
    assert (await desk.http.post(url + "/pause", json={"note": "moving house"})).status_code == 200
    assert await desk.farm.grant_all() == []
    shown = await desk.get("/version/1")
    assert shown["queue"]["waitingFor"] == "ada to be resumed (paused by ada): moving house"
    assert (await desk.get("/metadata"))["organizationPaused"] is True
    assert (await desk.http.get(url + "/metadata")).json()["paused"] is True
    assert (await desk.http.get(url + "/queue")).json()["paused"] is True
    with desk.farm.broker.subscribe(f"pool:{desk.farm.pool.id}") as wakes:
        assert (await desk.http.post(url + "/resume")).status_code == 200
        assert await wakes.wait(0)
    assert len(await desk.farm.grant_all()) == 1
    async with client(desk.farm.world, "pul-" + "d" * 48, login="bob") as bob:
        await identity.add_member(desk.farm.world, "ada", "bob", "member")
        answer = await bob.post(url + "/pause")
        assert answer.status_code == 403
        assert "administrator" in answer.json()["message"]
        members = (await bob.get("/api/orgs/ada/members")).json()["members"]
        assert [(each["user"]["githubLogin"], each["role"]) for each in members] == [
            ("ada", "admin"),
            ("bob", "member"),
        ]


async def test_an_organization_and_its_figures(desk: Desk) -> None:
    organization = (await desk.http.get("/api/orgs/ada")).json()
    assert organization["githubLogin"] == "ada"
    assert organization["repos"] == []
    assert organization["personal"] is True
    await desk.farm.run((await desk.run()).grant)
    await desk.create()
    await desk.farm.grant()
    await desk.create()
    figures = (await desk.http.get("/api/orgs/ada/deployments/metadata")).json()
    assert figures["concurrency"] == 10
    assert figures["deploymentCounts"] == {
        "notStarted": 1,
        "accepted": 1,
        "running": 0,
        "failed": 0,
        "succeeded": 1,
        "skipped": 0,
        "total": 3,
    }
