"""What a request may choose beside its source: the executor's image, the pool, what it inherits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployments import Desk, make_desk
from tests.support.queue import SOURCE

FOREIGN = "ghcr.io/acme/runner:1"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as desk:
        yield desk


def executor(image: Any) -> dict[str, Any]:
    return {"executorContext": {"workingDirectory": "", "executorImage": image}}


@pytest.mark.parametrize(
    "image", ["pulumi/pulumi", "pulumi/pulumi:3.1.0", "docker.io/pulumi/pulumi-python:latest"]
)
async def test_pulumis_own_image_means_the_pools_toolchain(desk: Desk, image: str) -> None:
    await desk.create(**executor(image))
    credentials = {"username": "u", "password": {"secret": "p"}}
    await desk.create(**executor({"reference": image, "credentials": credentials}))
    assert (await desk.farm.grant()).version == 1


async def test_settings_keep_another_image_but_nothing_is_deployed_with_it(desk: Desk) -> None:
    for method in ("POST", "PUT"):
        kept = await desk.send(method, "/settings", SOURCE | executor(FOREIGN))
        assert kept["executorContext"]["executorImage"] == FOREIGN
    secret = {"environmentVariables": {"KEY": {"secret": "s"}}}
    for more in ({}, SOURCE, {"operationContext": secret}):
        answer = await desk.send("POST", "", {"operation": "update", **more}, 400)
        assert answer["code"] == 400
        assert f"'{FOREIGN}'" in answer["message"]
        assert "pulumi/pulumi" in answer["message"]
    assert (await desk.get())["total"] == 0
    await desk.create(**executor("pulumi/pulumi"))
    await desk.create(inheritSettings=False)
    assert (await desk.get())["total"] == 2


async def test_the_first_form_of_the_api_refuses_another_image_too(desk: Desk) -> None:
    body = SOURCE | executor(FOREIGN) | {"operationContext": {"operation": "update"}}
    url = desk.url.replace("/api/stacks/", "/api/preview/")
    answer = await desk.http.post(url, json=body)
    assert answer.status_code == 400, answer.text
    assert FOREIGN in answer.json()["message"]


async def test_a_pool_is_chosen_by_its_id(desk: Desk) -> None:
    rows = await desk.farm.ask("SELECT id, name FROM pools")
    pool_id, name = rows[0]
    created = await desk.create(agentPoolID=pool_id)
    assert (await desk.farm.row(created["id"])).pool_id == pool_id
    for unknown in (name, "00000000-0000-0000-0000-000000000000"):
        body = SOURCE | {"operation": "update", "agentPoolID": unknown}
        answer = await desk.send("POST", "", body, 400)
        assert f"'{unknown}'" in answer["message"]


@pytest.mark.parametrize("skips", [True, False])
async def test_skipping_the_installation_reaches_the_runner(desk: Desk, skips: bool) -> None:
    stored = {"operationContext": {"options": {"skipInstallDependencies": not skips}}}
    await desk.send("POST", "/settings", SOURCE | stored)
    asked = {"operationContext": {"options": {"skipInstallDependencies": skips}}}
    await desk.send("POST", "", {"operation": "update"} | asked, 202)
    assert (await desk.farm.grant()).skip_install_dependencies is skips
