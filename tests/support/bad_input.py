"""Every route of the application with a request that is right, to be made wrong by tests.

`ROWS` must name each route and verb that the application has; a test compares the two. A stand is
one world in which all of these requests are understood.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from litestar import Litestar
from litestar.routes import HTTPRoute
from sqlalchemy import select

from control_plane.api import (
    deployments,
    secrets,
    stack_moves,
    stacks,
    updates,
    user,
)
from control_plane.api.unbuilt import UNBUILT
from control_plane.app import create_app
from control_plane.domain.update import PATHS
from control_plane.services import identity
from control_plane.store.tables import metadata
from runner_actors import contract
from tests.support import bad_input_github
from tests.support.app import ADMIN, TOKEN
from tests.support.deployments import Desk, make_desk
from tests.support.queue import POOL_TOKEN, SOURCE
from tests.support.state import Stack, document, entry, kept_objects, new_stack, resource

S = "/api/stacks/{organization:str}/{project:str}/{stack:str}"
OLD = "/api/preview/{organization:str}/{project:str}/{stack:str}/deployments"
ORGANIZATION = "/api/orgs/{organization:str}"
RUNNER = "/api/runner"

ANYONE, PERSON, POOL, ACTOR, LEASE = "anyone", "person", "pool", "actor", "lease"
"""Who may call: nobody in particular, a person, a pool, a stack's actor, an update's engine."""

SETTINGS = dict[str, Any]
KEY = base64.b64encode(b"k" * 32).decode()
CLUB = "club"
"""Another organization that Ada administers."""
CHECKPOINTED = "check"
"""The stack whose running update saves checkpoints; the one of the other stack keeps a journal."""
VARIABLE = re.compile(r"\{(\w+):\w+\}")


class Row(NamedTuple):
    """One verb of one route."""

    verb: str
    path: str
    """As the router writes it."""
    caller: str
    body: Any = None
    """A body that is right; None: it reads none."""
    shape: Any = None
    """What the body is read as."""
    machine: int = 0
    """What a deployment's own token is answered for its own stack; 0: what a person is."""
    referred: bool = False
    """Whether a deployment's own token may read it of another stack, for a StackReference."""

    @property
    def name(self) -> str:
        return f"{self.verb} {self.path}"

    @property
    def is_under_stack(self) -> bool:
        return "{stack:str}" in self.path


def _of_update(verb: str, rest: str, caller: str, body: Any = None, shape: Any = None) -> list[Row]:
    return [Row(verb, f"{S}/{kind}/{{update_id:str}}{rest}", caller, body, shape) for kind in PATHS]


def _of_deployments(path: str) -> list[Row]:
    return [
        Row("POST", path, PERSON, {**SOURCE, "operation": "update"}, SETTINGS, 403),
        Row("GET", f"{path}/{{deployment_id:str}}", PERSON),
        Row("GET", f"{path}/{{deployment_id:str}}/updates", PERSON),
        Row("GET", f"{path}/{{deployment_id:str}}/logs", PERSON),
    ]


_ENTRY = entry(50, 1, 50, state=resource("more"))
_EVENT = {"sequence": 7, "timestamp": 1, "stdoutEvent": {"message": "hello", "color": "raw"}}
_STATE = {"isInvalid": False, **document(resource("a"))}
_EDIT = {"Span": {"start": {"offset": 0}, "end": {"offset": 0}}, "NewText": ""}
_DELTA = {"checkpointHash": "", "sequenceNumber": 1, "deploymentDelta": [_EDIT]}

ROWS: list[Row] = [
    Row("GET", "/health/live", ANYONE),
    Row("GET", "/health/ready", ANYONE),
    Row("GET", "/metrics", ANYONE),
    Row("GET", "/schema", ANYONE),
    Row("GET", "/schema/openapi.json", ANYONE),
    Row("GET", "/schema/openapi.yaml", ANYONE),
    Row("GET", "/schema/openapi.yml", ANYONE),
    Row("GET", "/schema/{path:str}", ANYONE),
    Row("GET", "/api/capabilities", ANYONE),
    Row("GET", "/api/cli/version", ANYONE),
    Row("GET", "/api/user", PERSON),
    Row("GET", "/api/user/organizations/default", PERSON),
    Row("POST", "/api/user/organizations/{organization:str}/default", PERSON, machine=404),
    Row("GET", "/api/user/stacks", PERSON),
    Row("GET", "/api/user/tokens", PERSON, machine=403),
    Row("POST", "/api/user/tokens", PERSON, {"description": "ci"}, user.NewToken, 403),
    Row("DELETE", "/api/user/tokens/{token_id:str}", PERSON, machine=403),
    Row("GET", ORGANIZATION, PERSON, machine=404),
    Row("GET", f"{ORGANIZATION}/members", PERSON, machine=404),
    Row("GET", f"{ORGANIZATION}/metadata", PERSON, machine=404),
    Row("GET", f"{ORGANIZATION}/templates", PERSON, machine=404),
    Row(
        "GET",
        "/api/console/orgs/{organization:str}/integrations/github-app",
        PERSON,
        machine=404,
    ),
    Row("POST", "/webhooks/github", ANYONE),
    *[Row(*row[:2], PERSON, *row[2:], 404) for row in bad_input_github.ROWS],
    Row("GET", "/api/registry/packages", PERSON),
    Row("GET", "/api/registry/templates", PERSON),
    Row("GET", f"{ORGANIZATION}/deployments", PERSON, machine=404),
    Row("GET", f"{ORGANIZATION}/deployments/queue", PERSON, machine=404),
    Row("GET", f"{ORGANIZATION}/deployments/metadata", PERSON, machine=404),
    Row(
        "POST",
        f"{ORGANIZATION}/deployments/pause",
        PERSON,
        {"note": "why"},
        deployments.Pausing,
        403,
    ),
    Row("POST", f"{ORGANIZATION}/deployments/resume", PERSON, machine=403),
    Row("HEAD", "/api/stacks/{organization:str}/{project:str}", PERSON),
    Row(
        "POST",
        "/api/stacks/{organization:str}/{project:str}",
        PERSON,
        {"stackName": "more", "tags": {"a": "b"}, "teams": [], "state": document(), "config": {}},
        stacks.CreateStack,
        403,
    ),
    Row("GET", S, PERSON, referred=True),
    Row("GET", f"{S}/metadata", PERSON),
    Row("GET", f"{S}/outputs", PERSON, referred=True),
    Row("GET", f"{S}/policypacks", PERSON),
    Row("POST", f"{S}/transfer", PERSON, {"toOrg": CLUB}, stack_moves.Transfer, 404),
    Row("POST", f"{S}/ownership", PERSON, {"githubLogin": ADMIN}, stack_moves.NewOwner, 404),
    Row("DELETE", f"{S}/deployments/cache", PERSON, machine=403),
    Row("POST", f"{S}/tags", PERSON, {"name": "size", "value": "big"}, stacks.Tag),
    Row("PATCH", f"{S}/tags/{{tag:str}}", PERSON, {"value": "blue"}, stacks.Tag),
    Row("DELETE", f"{S}/tags/{{tag:str}}", PERSON),
    Row("PATCH", f"{S}/tags", PERSON, {"color": "red"}, dict[str, str]),
    Row("GET", f"{S}/export", PERSON, referred=True),
    Row("GET", f"{S}/export/{{version:int}}", PERSON, referred=True),
    Row("POST", f"{S}/import", PERSON, document(resource("a")), SETTINGS),
    Row("POST", f"{S}/rename", PERSON, {"newName": "other", "newProject": "p"}, stacks.Rename),
    Row("POST", f"{S}/encrypt", PERSON, {"plaintext": "YQ=="}, secrets.Plaintext),
    Row(
        "POST",
        f"{S}/decrypt",
        PERSON,
        {"ciphertext": "{ciphertext}"},
        secrets.CiphertextText,
        referred=True,
    ),
    Row("POST", f"{S}/batch-encrypt", PERSON, {"plaintexts": ["YQ=="]}, secrets.Plaintexts),
    Row(
        "POST",
        f"{S}/batch-decrypt",
        PERSON,
        {"ciphertexts": ["{ciphertext}"]},
        secrets.CiphertextTexts,
        referred=True,
    ),
    Row("POST", f"{S}/decrypt/log-decryption", PERSON, referred=True),
    Row("POST", f"{S}/decrypt/log-batch-decryption", PERSON, referred=True),
    *[
        Row(
            "POST",
            f"{S}/{kind}",
            PERSON,
            {
                "name": "shop",
                "runtime": "python",
                "main": "",
                "description": "",
                "options": {"dryRun": True},
                "config": {"shop:a": {"string": "b", "secret": False, "object": False}},
                "metadata": {"message": "why", "environment": {"git.head": "1"}},
            },
            updates.CreateUpdate,
        )
        for kind in PATHS
    ],
    *_of_update("POST", "", PERSON, {"tags": {"a": "b"}, "journalVersion": 1}, updates.StartUpdate),
    *_of_update("GET", "", PERSON),
    *_of_update("GET", "/events", PERSON),
    *_of_update("POST", "/renew_lease", LEASE, {"token": "", "duration": 300}, updates.Renewal),
    *_of_update("POST", "/events", LEASE, _EVENT, SETTINGS),
    *_of_update("POST", "/events/batch", LEASE, {"events": [_EVENT]}, updates.Events),
    *_of_update("PATCH", "/journalentries", LEASE, {"entries": [_ENTRY]}, updates.JournalEntries),
    *_of_update("PATCH", "/checkpoint", LEASE, _STATE, updates.Checkpoint),
    *_of_update("PATCH", "/checkpointdelta", LEASE, _DELTA, updates.DeltaCheckpoint),
    *_of_update(
        "PATCH",
        "/checkpointverbatim",
        LEASE,
        {"untypedDeployment": document(), "sequenceNumber": 9},
        updates.VerbatimCheckpoint,
    ),
    Row("GET", f"{S}/updates", PERSON),
    Row("GET", f"{S}/updates/latest", PERSON, referred=True),
    Row("GET", f"{S}/updates/{{version:int}}", PERSON, referred=True),
    Row("GET", f"{S}/updates/{{version:int}}/summary", PERSON, referred=True),
    Row("GET", f"{S}/updates/latest/timeline", PERSON),
    Row("GET", f"{S}/updates/{{version:int}}/timeline", PERSON),
    Row("GET", f"{S}/updates/latest/previews", PERSON),
    Row("GET", f"{S}/updates/{{version:int}}/previews", PERSON),
    Row("GET", f"{S}/previews/{{update_id:str}}", PERSON),
    Row("GET", f"{S}/previews/{{update_id:str}}/summary", PERSON),
    *_of_deployments(f"{S}/deployments"),
    *_of_deployments(OLD),
    Row("GET", f"{S}/deployments", PERSON),
    Row("GET", f"{S}/deployments/metadata", PERSON),
    Row("GET", f"{S}/deployments/version/{{version:str}}", PERSON),
    Row("GET", f"{S}/deployments/{{deployment_id:str}}/log", PERSON),
    Row(
        "POST", f"{S}/deployments/pause", PERSON, {"note": "why"}, deployments.Pausing, machine=403
    ),
    Row("POST", f"{S}/deployments/resume", PERSON, machine=403),
    Row("GET", f"{S}/deployments/settings", PERSON),
    Row("POST", f"{S}/deployments/settings", PERSON, {"tag": "a"}, SETTINGS, 403),
    Row("PUT", f"{S}/deployments/settings", PERSON, dict(SOURCE), SETTINGS, 403),
    Row("POST", f"{S}/deployments/settings/encrypt", PERSON, {"secret": "a"}, SETTINGS),
    Row("DELETE", f"{S}/deployments/settings", PERSON, machine=403),
    Row("GET", f"{RUNNER}/grants", POOL),
    Row(
        "POST",
        f"{RUNNER}/register",
        POOL,
        {"gatewayId": "g", "hostname": "h", "publicKey": KEY, "slipwayVersion": "0"},
        contract.Registration,
    ),
    Row("POST", f"{RUNNER}/poll", POOL, {"gatewayId": "g", "waitSeconds": 0}, contract.Poll),
    Row(
        "POST",
        f"{RUNNER}/deployments/{{deployment_id:str}}/hold",
        POOL,
        {"generation": 1, "waitingFor": "room"},
        contract.Hold,
    ),
    Row(
        "POST",
        f"{RUNNER}/deployments/{{deployment_id:str}}/lease",
        ACTOR,
        {"generation": 1, "waitSeconds": 0},
        contract.LeaseRenewal,
    ),
    Row(
        "POST",
        f"{RUNNER}/deployments/{{deployment_id:str}}/events",
        ACTOR,
        {
            "generation": 1,
            "events": [
                {"kind": "step-started", "number": 1, "atMs": 1, "step": 0, "name": "Get source"}
            ],
        },
        contract.Events,
    ),
    Row(
        "POST",
        f"{RUNNER}/deployments/{{deployment_id:str}}/source-token",
        ACTOR,
        {"generation": 1},
        contract.SourceTokenWanted,
    ),
    # What ends something comes last.
    *_of_update("POST", "/complete", LEASE, {"status": "succeeded"}, updates.Completion),
    *_of_update("POST", "/cancel", PERSON),
    Row("POST", f"{S}/deployments/{{deployment_id:str}}/cancel", PERSON),
    Row(
        "POST",
        f"{RUNNER}/deployments/{{deployment_id:str}}/release",
        POOL,
        {"generation": 1},
        contract.Release,
    ),
    Row("DELETE", S, PERSON),
]


def served(app: Litestar) -> Iterator[tuple[str, str]]:
    """Every verb and path of the API that is answered by more than what there is not.

    The console has forms in place of bodies, and tests of its own.
    """
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is of a kind that no test knows"
        for handler in route.route_handlers:
            is_page = handler.fn.__module__.startswith("ui.")
            if UNBUILT not in handler.opt and not is_page:
                for verb in handler.http_methods - {"OPTIONS"}:
                    yield str(verb), route.path


def one_per_handler(rows: list[Row] = ROWS) -> list[Row]:
    """The rows without those that differ in the update's kind alone."""
    others = tuple(f"{S}/{kind}" for kind in PATHS if kind != "update")
    return [row for row in rows if not row.path.startswith(others) or "/previews/" in row.path]


@dataclass
class Stand:
    """A world in which every row is understood, and the means to call it."""

    desk: Desk
    app: Litestar
    http: httpx.AsyncClient
    """Without credentials."""
    journaled: Stack
    checkpointed: Stack
    values: dict[str, str]
    """By the names in paths."""
    checkpointed_update: str
    tokens: dict[str, str]
    """By who calls; `machine` is the deployment's own."""

    def path(self, row: Row, **values: str) -> str:
        """The row's address."""
        known = {**self.values, **self._values_of(row), **values}
        return VARIABLE.sub(lambda match: known[match[1]], row.path)

    def _values_of(self, row: Row) -> dict[str, str]:
        if "/checkpoint" in row.path:
            return {"stack": CHECKPOINTED, "update_id": self.checkpointed_update}
        if row.path.startswith(f"{S}/previews/"):
            return {"update_id": self.values["preview_id"]}
        return {}

    def authorization(self, row: Row, caller: str = "") -> dict[str, str]:
        """The header by which the row's caller, or another, shows who they are."""
        caller = caller or row.caller
        if caller == ANYONE:
            return {}
        if caller == LEASE:
            which = "checkpoint" if "/checkpoint" in row.path else LEASE
            return {"Authorization": f"update-token {self.tokens[which]}"}
        return {"Authorization": f"token {self.tokens[caller]}"}

    def body(self, row: Row) -> bytes:
        """The row's right body."""
        if row.body is None:
            return b""
        text = json.dumps(row.body).replace("{ciphertext}", self.values["ciphertext"])
        return text.encode()

    async def call(self, row: Row, **more: Any) -> httpx.Response:
        """Call a row as it is right, but for what is given."""
        headers = {
            "Content-Type": "application/json",
            **more.pop("authorization", self.authorization(row)),
            **more.pop("headers", {}),
        }
        content = more.pop("content", self.body(row))
        path = more.pop("path", self.path(row))
        verb = more.pop("verb", row.verb)
        return await self.http.request(verb, path, content=content, headers=headers, **more)

    async def everything(self) -> dict[str, Any]:
        """All that is kept, to see that nothing has changed."""
        kept: dict[str, Any] = {"objects": sorted(map(str, kept_objects(self.desk.farm.world)))}
        async with self.desk.farm.world.database.snapshot() as tx:
            for table in metadata.sorted_tables:
                # When a token was last used, or a pool last seen, is no change.
                told = [each for each in table.c if not each.name.startswith("last_")]
                rows = [tuple(row) for row in await tx.all(select(*told))]
                kept[table.name] = sorted(map(repr, rows))
        return kept


@asynccontextmanager
async def make_stand(tmp_path: Path, **config: dict[str, Any]) -> AsyncIterator[Stand]:
    """A stand with two stacks of Ada's: one is being deployed, each is being updated."""
    settings = {"github": bad_input_github.NOBODY_ANSWERS, **config}
    async with make_desk(tmp_path, **settings) as desk:
        farm, ada = desk.farm, desk.http
        await identity.create_organization(farm.world, CLUB, ADMIN)
        await bad_input_github.connect(farm.world, ADMIN)
        stack = await new_stack(ada, "prod")
        check = await new_stack(ada, CHECKPOINTED)
        assert (await ada.put(f"{stack.path}/deployments/settings", json=SOURCE)).is_success
        tag = {"name": "color", "value": "red"}
        assert (await ada.post(f"{stack.path}/tags", json=tag)).is_success
        await stack.run("a", "b")
        preview = await stack.start("preview", dry_run=True)
        running, checkpointing = await stack.start(), await check.start(journal=0)
        queued = {**SOURCE, "operation": "update"}
        created = await ada.post(f"{stack.path}/deployments", json=queued)
        grant = await farm.grant()
        assert grant.deployment_id == created.json()["id"]
        sealed = await stack.post("/encrypt", {"plaintext": "YQ=="})
        spare = await ada.post("/api/user/tokens", json={"description": "spare"})
        app = create_app(farm.world, loops=False)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as http:
            yield Stand(
                desk=desk,
                app=app,
                http=http,
                journaled=stack,
                checkpointed=check,
                values={
                    **bad_input_github.VALUES,
                    "organization": ADMIN,
                    "project": "shop",
                    "stack": "prod",
                    "update_id": running.id,
                    "preview_id": preview.id,
                    "deployment_id": grant.deployment_id,
                    "version": "1",
                    "tag": "color",
                    "token_id": spare.json()["id"],
                    "path": "nothing",
                    "ciphertext": sealed.json()["ciphertext"],
                },
                checkpointed_update=checkpointing.id,
                tokens={
                    PERSON: TOKEN,
                    POOL: POOL_TOKEN,
                    ACTOR: farm.unseal(grant),
                    "machine": farm.unseal(grant, "cli"),
                    LEASE: running.token,
                    "checkpoint": checkpointing.token,
                },
            )
