"""What an engine and a user do to a stack over HTTP, for tests of the state backend."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from control_plane.app import create_app
from control_plane.domain.names import StackName
from control_plane.services.world import World


def resource(name: str, **keys: Any) -> dict[str, Any]:
    """A resource's state under stack `dev` of project `shop`."""
    urn = f"urn:pulumi:dev::shop::test:index:Thing::{name}"
    return {"urn": urn, "custom": True, "id": name, "type": "test:index:Thing", **keys}


def document(*resources: dict[str, Any], **deployment: Any) -> dict[str, Any]:
    """A state document with these resources."""
    manifest = {"time": "2026-01-02T03:04:05Z", "magic": "", "version": ""}
    return {
        "version": 3,
        "deployment": {"manifest": manifest, "resources": list(resources), **deployment},
    }


def entry(sequence: int, kind: int, number: int = 0, **keys: Any) -> dict[str, Any]:
    """A journal entry."""
    return {
        "version": 1,
        "kind": kind,
        "sequenceID": sequence,
        "operationID": number,
        "removeOld": None,
        "removeNew": None,
        **keys,
    }


def packed(body: Any) -> dict[str, Any]:
    """Arguments of a call whose body is compressed, as the CLI sends the big ones."""
    return {
        "content": gzip.compress(json.dumps(body).encode()),
        "headers": {"Content-Encoding": "gzip", "Content-Type": "application/json"},
    }


def kept_objects(world: World) -> list[Path]:
    """What the object store holds."""
    root = Path(world.config.object_store)
    return [path for path in root.rglob("*") if path.is_file()]


@asynccontextmanager
async def with_token(world: World, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token that exists already, as a deployment's."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(world, loops=False)),
        base_url="http://slipway.test",
        headers={"Authorization": f"token {token}"},
    ) as http:
        yield http


@dataclass
class Update:
    """A running update, by its lease."""

    http: httpx.AsyncClient
    path: str
    id: str
    token: str
    version: int
    expires: int
    journal_version: int
    sequence: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, rest: str, body: Any, **more: Any) -> httpx.Response:
        arguments = packed(body) if more.pop("gzip", True) else {"json": body}
        headers = {**arguments.pop("headers", {}), "Authorization": f"update-token {self.token}"}
        return await self.http.request(
            method, f"{self.path}/{rest}", headers=headers, **arguments, **more
        )

    async def journal(self, *entries: dict[str, Any]) -> httpx.Response:
        return await self.call("PATCH", "journalentries", {"entries": list(entries)})

    async def create(self, name: str) -> None:
        """Journal that a resource has been created."""
        first = next(self.sequence)
        second = next(self.sequence)
        state = resource(name)
        begun = {"resource": state, "type": "creating"}
        answer = await self.journal(
            entry(first, 0, second, operation=begun), entry(second, 1, second, state=state)
        )
        assert answer.status_code == 204, answer.text

    async def checkpoint(self, body: dict[str, Any]) -> httpx.Response:
        return await self.call("PATCH", "checkpoint", {"isInvalid": False, **body})

    async def events(self, *events: dict[str, Any]) -> httpx.Response:
        return await self.call("POST", "events/batch", {"events": list(events)})

    async def renew(self, duration: int = 300) -> httpx.Response:
        return await self.call("POST", "renew_lease", {"token": "", "duration": duration})

    async def complete(self, status: str = "succeeded") -> httpx.Response:
        return await self.call("POST", "complete", {"status": status}, gzip=False)


@dataclass
class Stack:
    """One stack, by its address."""

    http: httpx.AsyncClient
    name: StackName

    @property
    def path(self) -> str:
        return f"/api/stacks/{self.name}"

    async def make(self, **body: Any) -> httpx.Response:
        organization, project, stack = self.name
        return await self.http.post(
            f"/api/stacks/{organization}/{project}", json={"stackName": stack, **body}
        )

    async def get(self, rest: str = "", **query: Any) -> Any:
        answer = await self.http.get(self.path + rest, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, rest: str, body: Any = None) -> httpx.Response:
        return await self.http.post(self.path + rest, json=body)

    async def propose(
        self, kind: str = "update", *, dry_run: bool = False, **more: Any
    ) -> httpx.Response:
        body = {"name": self.name.project, "options": {"dryRun": dry_run}, **more}
        return await self.post(f"/{kind}", body)

    async def start(
        self, kind: str = "update", *, dry_run: bool = False, journal: int = 1, **more: Any
    ) -> Update:
        proposed = await self.propose(kind, dry_run=dry_run, **more)
        assert proposed.status_code == 200, proposed.text
        return await self.begin(proposed.json()["updateID"], journal=journal)

    async def begin(self, update_id: str, *, journal: int = 1) -> Update:
        answer = await self.post(f"/update/{update_id}", {"journalVersion": journal})
        assert answer.status_code == 200, answer.text
        started = answer.json()
        return Update(
            self.http,
            f"{self.path}/update/{update_id}",
            update_id,
            started["token"],
            started["version"],
            started["tokenExpiration"],
            started["journalVersion"],
        )

    async def run(self, *names: str, status: str = "succeeded") -> Update:
        """A whole update that creates resources."""
        update = await self.start()
        for name in names:
            await update.create(name)
        answer = await update.complete(status)
        assert answer.status_code == 204, answer.text
        return update

    async def export(self, version: int | None = None) -> dict[str, Any]:
        return dict(await self.get("/export" if version is None else f"/export/{version}"))

    async def resources(self, version: int | None = None) -> list[str]:
        """The names of the resources in the state."""
        exported = await self.export(version)
        found = exported["deployment"].get("resources", [])
        return [each["urn"].rpartition("::")[2] for each in found]

    async def import_(self, body: Any) -> httpx.Response:
        return await self.http.post(f"{self.path}/import", **packed(body))


async def new_stack(
    http: httpx.AsyncClient, stack: str = "dev", project: str = "shop", organization: str = "ada"
) -> Stack:
    """A stack that has just been made."""
    made = Stack(http, StackName(organization, project, stack))
    answer = await made.make()
    assert answer.status_code == 200, answer.text
    return made
