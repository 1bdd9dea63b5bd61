"""The runner API over HTTP: what a gateway and an actor see, from a submission to its end."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from control_plane.app import create_app
from runner_actors import contract
from tests.support.app import client
from tests.support.queue import POOL_TOKEN, Farm, make_farm
from tests.support.waiting import eventually

API = "/api/runner"


@asynccontextmanager
async def gateway(farm: Farm) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the pool's token."""
    async with client(farm.world, None) as http:
        http.headers["Authorization"] = f"token {POOL_TOKEN}"
        yield http


def runner(farm: Farm, answer: dict[str, Any]) -> dict[str, str]:
    """The headers of the actor that runs a grant."""
    name = f"lease/{answer['deploymentId']}/{answer['generation']}/runner"
    token = farm.open(answer["stackId"], name, answer["sealedRunnerToken"])
    return {"Authorization": f"token {token}"}


async def test_one_deployment_from_registration_to_its_end(tmp_path):
    async with make_farm(tmp_path) as farm, gateway(farm) as http:
        key = base64.b64encode(farm.key.public_key().public_bytes_raw()).decode()
        hello = {"gatewayId": "g", "hostname": "h", "publicKey": key, "slipwayVersion": "0"}
        answer = await http.post(f"{API}/register", json=hello)
        assert (answer.status_code, answer.json()["poolName"]) == (200, "default")

        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        answer = await http.post(f"{API}/poll", json={"gatewayId": "g", "waitSeconds": 5})
        assert answer.status_code == 200
        assert answer.json()["leader"] is True
        (grant,) = answer.json()["grants"]
        assert grant["deploymentId"] == submitted.id
        assert grant["stackId"]
        assert grant["source"] == {"repoUrl": "https://git.test/shop.git", "branch": "main"}

        (live,) = (await http.get(f"{API}/grants")).json()["grants"]
        assert (live["deploymentId"], live["status"]) == (submitted.id, "accepted")

        base, headers = f"{API}/deployments/{submitted.id}", runner(farm, grant)
        answer = await http.post(f"{base}/hold", json={"generation": 1, "waitingFor": "a node"})
        assert answer.json()["leaseSeconds"] == 30
        answer = await http.post(f"{base}/lease", json={"generation": 1}, headers=headers)
        assert answer.json() == {"leaseSeconds": 30}
        events = [
            {"kind": "step-started", "number": 1, "atMs": 5, "step": 0, "name": "Get source"},
            {"kind": "concluded", "number": 2, "atMs": 6, "succeeded": True, "reason": "completed"},
        ]
        answer = await http.post(
            f"{base}/events", json={"generation": 1, "events": events}, headers=headers
        )
        assert answer.json()["acknowledged"] == 2
        assert await farm.how(submitted.id) == ("succeeded", "completed")

        answer = await http.post(f"{base}/lease", json={"generation": 1}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, 409)
        answer = await http.post(f"{base}/release", json={"generation": 1})
        assert answer.json() == {"status": "succeeded"}
        assert (await http.get(f"{API}/grants")).json() == {}


async def test_the_wire_is_the_contract(tmp_path):
    """The runner side decodes the answers with the same structs, unknown fields or not."""
    async with make_farm(tmp_path) as farm, gateway(farm) as http:
        await farm.submit(await farm.add_stack("shop", "web"))
        answer = await http.post(f"{API}/poll", json={"gatewayId": "g", "some": "future field"})
        grants = contract.msgspec.json.decode(answer.content, type=contract.Grants)
        assert grants.grants[0].stack_path == "acme/shop/web"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/poll", {}, 400),
        ("POST", "/poll", {"gatewayId": 5}, 400),
        ("POST", "/register", {"gatewayId": "g"}, 400),
        ("POST", "/deployments/none/hold", {"generation": 1}, 404),
        ("POST", "/deployments/none/release", {"generation": 1}, 404),
        ("POST", "/deployments/none/lease", {"generation": 1}, 409),
        ("POST", "/deployments/none/events", {"generation": 1, "events": []}, 409),
        ("POST", "/deployments/none/events", {"generation": 1, "events": [{"kind": "x"}]}, 400),
    ],
)
async def test_bad_calls_are_answered_in_one_shape(tmp_path, method, path, body, status):
    async with make_farm(tmp_path) as farm, gateway(farm) as http:
        answer = await http.request(method, API + path, json=body)
        assert answer.status_code == status
        assert set(answer.json()) == {"code", "message"}
        assert answer.json()["code"] == status
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("token", ["", "token", "token slp-wrong", "token pul-wrong"])
async def test_without_the_pools_token_nothing_is_told(tmp_path, token):
    async with make_farm(tmp_path) as farm, client(farm.world, None) as http:
        for path in ("/register", "/poll", "/deployments/x/hold", "/deployments/x/release"):
            answer = await http.post(API + path, json={}, headers={"Authorization": token})
            assert answer.status_code == 401
        answer = await http.get(f"{API}/grants", headers={"Authorization": token})
        assert answer.status_code == 401


async def test_another_deployments_runner_token_is_refused(tmp_path):
    async with make_farm(tmp_path) as farm, gateway(farm) as http:
        for name in ("web", "db"):
            await farm.submit(await farm.add_stack("shop", name))
        answer = await http.post(f"{API}/poll", json={"gatewayId": "g"})
        first, second = answer.json()["grants"]
        path = f"{API}/deployments/{first['deploymentId']}"
        for call in ("lease", "events"):
            body = {"generation": 1, "events": []}
            answer = await http.post(f"{path}/{call}", json=body, headers=runner(farm, second))
            assert answer.status_code == 409


@asynccontextmanager
async def served(farm: Farm) -> AsyncIterator[str]:
    """The application on a real socket: only there a client can go away in the middle."""
    config = uvicorn.Config(
        create_app(farm.world, loops=False), port=0, log_level="warning", lifespan="on"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, "the server listens")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def test_I4_a_gateway_that_dies_in_its_poll_takes_no_work_along(tmp_path):
    """The next gateway leads at once, and gets what is queued after the first one's death."""
    async with make_farm(tmp_path) as farm, served(farm) as url:
        headers = {"Authorization": f"token {POOL_TOKEN}"}

        async def leader() -> str | None:
            return (await farm.ask("SELECT leader FROM pools"))[0][0]

        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            body = {"gatewayId": "first", "waitSeconds": 20}
            poll = asyncio.create_task(http.post(f"{API}/poll", json=body))

            async def leads() -> bool:
                return await leader() == "first"

            await eventually(leads, "the first gateway leads")
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)

        async def nobody_leads() -> bool:
            return await leader() is None

        await eventually(nobody_leads, "the lead is free")
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        assert await farm.how(submitted.id) == ("not-started", None)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            answer = await http.post(f"{API}/poll", json={"gatewayId": "second"})
        assert [each["deploymentId"] for each in answer.json()["grants"]] == [submitted.id]
