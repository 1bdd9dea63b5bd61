"""One deployment from its trigger to its log, told in order; everything real but Ray.

The gateway's part is played here, because it is the only one that needs Ray: it registers the
pool, asks for work, and hands the grant to the stack's runner.
"""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import x25519

from control_plane import toolchain
from control_plane.services import pools
from runner_actors.contract import Grants, Poll, Registration
from runner_actors.settings import RunnerSettings
from runner_actors.stack_runner import StackRunner
from tests.support.app import TOKEN
from tests.support.programs import repository
from tests.support.server import Server, serving

POOL_TOKEN = "slp-" + "f" * 48
SECRET = "a-secret-for-one-deployment"
PROGRAM = """
import os, pulumi
print("the secret is", os.environ["SECRET"])
pulumi.export("answer", 42)
"""


class Gateway:
    """What `gateway.py` does, without a place to choose."""

    def __init__(self, server: Server, directory: Path) -> None:
        key = x25519.X25519PrivateKey.generate()
        directory.mkdir()
        (directory / "key").write_bytes(key.private_bytes_raw())
        self.public_key = key.public_key().public_bytes_raw()
        self.http = httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"token {POOL_TOKEN}"}, timeout=60
        )
        tools = toolchain.find()
        assert tools is not None, "make setup has not been run"
        self.settings = RunnerSettings(
            control_plane_url=server.url,
            pool_token_path="",
            pool_key_path=str(directory / "key"),
            work_dir=str(directory / "work"),
            toolchain_dir=str(tools.bin_dir),
            log_store=server.world.config.log_store,
            allow_local_sources=True,
        )

    async def register(self) -> None:
        registration = Registration(
            gateway_id="g",
            hostname="h",
            public_key=base64.b64encode(self.public_key).decode(),
            slipway_version="0.1.0",
        )
        answer = await self._post("register", registration)
        assert answer.status_code in (200, 201), answer.text

    async def next_grant(self):
        answer = await self._post("poll", Poll(gateway_id="g", wait_seconds=10))
        (grant,) = msgspec.json.decode(answer.content, type=Grants).grants
        return grant

    async def _post(self, route: str, body: object) -> httpx.Response:
        return await self.http.post(f"/api/runner/{route}", content=msgspec.json.encode(body))


async def test_a_deployment_from_left_to_right(tmp_path: Path) -> None:
    source = repository(tmp_path / "program", "story", PROGRAM)
    with serving(tmp_path, deployments={"local_sources": True}) as server:
        # The runner reaches the server at its public address, known once it has a port.
        server.world.config.server.public_url = server.url
        await pools.ensure_default(server.world, POOL_TOKEN)
        gateway = Gateway(server, tmp_path / "pool")
        await gateway.register()
        async with httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"token {TOKEN}"}, timeout=60
        ) as user:
            stack = "/api/stacks/ada/story/dev"
            (await user.post("/api/stacks/ada/story", json={"stackName": "dev"})).raise_for_status()

            # 1, 2. A trigger arrives; admitted, its secrets sealed, it is queued: 202.
            request = {
                "operation": "update",
                "sourceContext": {"git": {"repoUrl": str(source), "branch": "main"}},
                "operationContext": {
                    "environmentVariables": {"SECRET": {"secret": SECRET}},
                    "options": {"skipInstallDependencies": True},
                },
            }
            accepted = await user.post(f"{stack}/deployments", json=request)
            assert accepted.status_code == 202
            path = f"{stack}/deployments/{accepted.json()['id']}"
            assert (await user.get(path)).json()["status"] == "not-started"

            # 3. The pool asks for work and gets a lease; nothing in the grant is in clear.
            grant = await gateway.next_grant()
            assert (await user.get(path)).json()["status"] == "accepted"
            assert SECRET.encode() not in msgspec.json.encode(grant)

            # 4, 5, 6, 7. The stack's runner carries it out and reports.
            runner = StackRunner(grant.stack_path, msgspec.json.encode(gateway.settings))
            report = msgspec.json.decode(await runner.run(msgspec.json.encode(grant)))
            await runner.close()
            assert report["ended"] == "concluded", report

            # 8. Everybody reads the same story.
            ended = (await user.get(path)).json()
            assert (ended["status"], ended["reason"]) == ("succeeded", "completed")
            steps = [step["name"] for step in ended["jobs"][0]["steps"]]
            assert steps == ["Get source", "pulumi update"]
            log = (await user.get(f"{path}/log")).text
            assert "the secret is [secret]" in log
            assert SECRET not in log
            state = (await user.get(f"{stack}/export")).json()["deployment"]
            outputs = [r["outputs"] for r in state["resources"] if r["type"].endswith(":Stack")]
            assert outputs == [{"answer": 42}]
            (update,) = (await user.get(f"{path}/updates")).json()
            assert update["version"] == 1
        await gateway.http.aclose()
