"""A desk for tests of the deployments API: a logged-in client, a stack, and a runner with a pen."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from control_plane.domain.names import StackName
from runner_actors import contract
from runner_actors.contract import (
    Concluded,
    Grant,
    LogEnded,
    LogSegment,
    SourceResolved,
    StepEnded,
    StepStarted,
    segment_key,
)
from tests.support.app import ADMIN, client
from tests.support.queue import SOURCE, Farm, make_farm

STACK = StackName(ADMIN, "shop", "dev")
CLI = {"User-Agent": "pulumi-cli/1 (v3.259.0; linux; cmd=deployment run)"}


class Runner:
    """Runs one grant: steps, output in segments, the end."""

    def __init__(self, farm: Farm, grant: Grant) -> None:
        self.farm = farm
        self.grant = grant
        self.written = b""
        self._number = 0
        self._segments = 0
        self._step = -1

    async def say(self, shape: Any, **fields: Any) -> None:
        self._number += 1
        event = shape(number=self._number, at_ms=self.farm.clock(), **fields)
        answer = await self.farm.say(self.grant, event)
        assert answer.acknowledged == self._number

    async def step(self, name: str) -> None:
        self._step += 1
        await self.say(StepStarted, step=self._step, name=name)

    async def end_step(self, succeeded: bool = True) -> None:
        await self.say(StepEnded, step=self._step, succeeded=succeeded)

    async def source(self, commit: str) -> None:
        await self.say(SourceResolved, commit=commit, message="why", author="ada <a@x>")

    async def write(self, body: bytes, marks: list[tuple[int, int]] | None = None) -> None:
        path = Path(self.farm.world.config.log_store) / segment_key(
            self.grant.log_prefix, self._segments
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        await self.say(
            LogSegment,
            segment=self._segments,
            step=self._step,
            offset=len(self.written),
            length=len(body),
            line_breaks=body.count(b"\n"),
            marks=marks if marks is not None else [(0, self.farm.clock())],
        )
        self._segments += 1
        self.written += body

    async def end_log(self) -> None:
        await self.say(LogEnded, length=len(self.written), segments=self._segments)

    async def conclude(self, succeeded: bool = True, reason: str = "cli_exit", **more: Any) -> None:
        await self.say(Concluded, succeeded=succeeded, reason=reason, **more)

    async def engine_update(self, kind: str = "update", dry_run: bool = False) -> str:
        """What the state backend records when the CLI of this deployment begins an update."""
        update_id = f"update-{self.grant.version}-{kind}-{dry_run}"
        await self.farm.sql(
            "INSERT INTO updates (id, stack_id, kind, dry_run, status, version, message,"
            " environment, config, program, deployment_id, created_at, started_at,"
            " journal_version, checkpoint_sequence)"
            " VALUES (:id, :stack, :kind, :dry_run, 'running', :version, 'by hand', '{}', '{}',"
            " '{}', :deployment, :now, :now, 0, 0)",
            id=update_id,
            stack=self.grant.stack_id,
            kind=kind,
            dry_run=dry_run,
            version=None if dry_run else self.grant.version,
            deployment=self.grant.deployment_id,
            now=self.farm.clock(),
        )
        return update_id


class Desk:
    """Ada at her console, with the stack `ada/shop/dev`."""

    def __init__(self, farm: Farm, http: httpx.AsyncClient) -> None:
        self.farm = farm
        self.http = http
        self.stack = STACK
        self.url = f"/api/stacks/{STACK}/deployments"

    async def get(self, path: str = "", expect: int = 200, **query: Any) -> Any:
        """GET under the stack's deployments; the JSON of the answer."""
        answer = await self.http.get(self.url + path, params=query)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Another method under the stack's deployments; the JSON of the answer."""
        answer = await self.http.request(method, self.url + path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def create(self, operation: str = "update", **body: Any) -> dict[str, Any]:
        """Queue a deployment of the stack from a source."""
        return dict(await self.send("POST", "", SOURCE | {"operation": operation} | body, 202))

    async def run(self, operation: str = "update", **body: Any) -> Runner:
        """Queue a deployment and let a runner take it."""
        created = await self.create(operation, **body)
        grant = await self.farm.grant()
        assert grant.deployment_id == created["id"]
        return Runner(self.farm, grant)

    async def add_stack(self, project: str, name: str) -> StackName:
        """Another stack of Ada's."""
        return await self.farm.add_stack(project, name, ADMIN)

    def unseal(self, ciphertext: str, stack_id: str, name: str) -> str:
        """What the pool's runner would read."""
        context = contract.seal_context(stack_id, name)
        opened = contract.SEAL_SUITE.decrypt(base64.b64decode(ciphertext), self.farm.key, context)
        return opened.decode()

    async def stack_id(self) -> str:
        rows = await self.farm.ask(
            "SELECT s.id FROM stacks s JOIN organizations o ON o.id = s.organization_id"
            " WHERE o.login = :login AND s.project = :project AND s.name = :name",
            login=STACK.organization,
            project=STACK.project,
            name=STACK.stack,
        )
        return str(rows[0][0])


@asynccontextmanager
async def make_desk(tmp_path: Path, **config: dict[str, Any]) -> AsyncIterator[Desk]:
    """A desk on a fresh world with a registered pool."""
    async with make_farm(tmp_path, **config) as farm, client(farm.world) as http:
        rows = await farm.ask("SELECT id FROM organizations WHERE login = :login", login=ADMIN)
        farm.organizations[ADMIN] = str(rows[0][0])
        await farm.add_stack(STACK.project, STACK.stack, ADMIN)
        yield Desk(farm, http)
