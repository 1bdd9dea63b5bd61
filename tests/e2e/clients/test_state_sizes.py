"""State at its limits: large states, many stacks, strange names, and stacks that move."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from sqlalchemy import insert, select

from control_plane.services import pools
from control_plane.store import pools as store_pools
from control_plane.store.tables import organizations, projects, stacks
from runner_actors import contract
from tests.support.app import TOKEN
from tests.support.cli import Cli
from tests.support.disturbing_proxy import Proxy, proxy
from tests.support.histories import PROGRAM, things
from tests.support.programs import repository
from tests.support.server import Server, serving
from tests.support.world import make_world

STACKS = 5000
RESOURCES = 100
RESOURCE_BYTES = 525_000
KEY = x25519.X25519PrivateKey.generate()

PLAIN = """
import pulumi
pulumi.export("answer", 42)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    with serving(place) as running:
        yield running


@pytest.fixture(scope="module")
def between(server: Server) -> Iterator[Proxy]:
    with proxy(server.url) as running:
        yield running


@pytest.fixture
def cli(between: Proxy, tmp_path: Path) -> Cli:
    return Cli(between.url, repository(tmp_path / "project", "sizes", PLAIN), tmp_path / "home")


def rename_project(cli: Cli, old: str, new: str) -> None:
    """What a person does to the files of a project that has another name now."""
    for path in cli.project.glob("Pulumi*.yaml"):
        text = re.sub(rf"\b{old}:", f"{new}:", path.read_text())
        path.write_text(text.replace(f"name: {old}", f"name: {new}"))


def test_a_state_of_50_megabytes(cli: Cli) -> None:
    cli.run("stack", "init", "large")
    cli.up()
    exported = cli.json("stack", "export")
    root = exported["deployment"]["resources"][0]["urn"]
    exported["deployment"]["resources"] += [large_resource(root, n) for n in range(RESOURCES)]
    file = cli.project / "large.json"
    file.write_text(json.dumps(exported))
    assert file.stat().st_size > 50 * 1024 * 1024

    assert "Import complete" in cli.run("stack", "import", "--file", "large.json")

    assert (
        cli.json("stack", "export")["deployment"]["resources"]
        == (exported["deployment"]["resources"])
    )
    told = cli.up("--config", "sizes:unused=1")
    assert f"{RESOURCES} deleted" in told
    assert len(cli.resources()) == 1
    assert len(cli.json("stack", "export", "--version", "2")["deployment"]["resources"]) == (
        RESOURCES + 1
    )


def large_resource(root: str, number: int) -> dict[str, Any]:
    """A component, which an engine deletes by itself."""
    blob = hashlib.sha256(str(number).encode()).hexdigest() * (RESOURCE_BYTES // 64)
    stack, _, rest = root.partition("::")
    project = rest.partition("::")[0]
    return {
        "urn": f"{stack}::{project}::test:index:Large::large-{number}",
        "custom": False,
        "type": "test:index:Large",
        "outputs": {"blob": blob},
        "parent": root,
    }


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
NAMES = [LETTERS, "-", "...", "_.-", "0", "update", "export", "x" * 100]


def test_names_of_every_legal_character(cli: Cli) -> None:
    project = "-".join([LETTERS[:30], LETTERS[30:]])
    rename_project(cli, "sizes", project)
    for name in NAMES:
        cli.run("stack", "init", f"--stack=ada/{project}/{name}")
    for name in (LETTERS, "...", "update"):
        cli.up(f"--stack=ada/{project}/{name}")
        exported = cli.run("stack", "export", f"--stack={name}")
        assert f"urn:pulumi:{name}::{project}::" in exported
        cli.run("config", "set", "--secret", f"--stack={name}", "word", "hush")
        assert cli.run("config", "get", f"--stack={name}", "word").strip() == "hush"
    listed = cli.json("stack", "ls", "--project", project, "--json")
    assert sorted(each["name"] for each in listed) == sorted(NAMES)
    for name in NAMES:
        cli.run("stack", "rm", f"--stack=ada/{project}/{name}", "--yes", "--force")
    assert cli.json("stack", "ls", "--project", project, "--json") == []


def test_five_thousand_stacks_are_listed_once_each(cli: Cli, between: Proxy, place: Path) -> None:
    wanted = [f"ada/many-{number % 7}/stack.{number}_-" for number in range(STACKS)]
    asyncio.run(add_stacks(place, wanted))
    between.calls.clear()

    listed = cli.json("stack", "ls", "--all", "--json")

    found = [each["name"] for each in listed if "/many-" in each["name"]]
    assert len(found) == STACKS
    assert sorted(found) == sorted(wanted)
    pages = [urlsplit(call.path) for call in between.calls if call.word == "stacks"]
    tokens = [parse_qs(page.query).get("continuationToken", [""])[0] for page in pages]
    assert len(tokens) >= 5
    assert len(set(tokens)) == len(tokens)
    assert all(re.fullmatch("[A-Za-z0-9_-]+", token) for token in tokens[1:])
    assert len(cli.json("stack", "ls", "--project", "many-3", "--json")) == len(
        [each for each in wanted if "/many-3/" in each]
    )


async def add_stacks(place: Path, names: list[str]) -> None:
    """Add stacks to the database. A world of this thread's own: the server's has its own loop."""
    world = make_world(place)
    async with world.database.transaction() as tx:
        organization = await tx.scalar(
            select(organizations.c.id).where(organizations.c.login == "ada")
        )
        split = [name.split("/") for name in names]
        common = {"organization_id": organization, "created_at": world.now()}
        for project in {each[1] for each in split}:
            await tx.execute(insert(projects).values(name=project, **common))
        rows = [
            {"id": str(uuid.uuid4()), "project": project, "name": name, "wrapped_data_key": b""}
            for _, project, name in split
        ]
        await tx.execute(insert(stacks), [{**row, **common} for row in rows])
    await world.database.close()


async def add_pool(place: Path) -> None:
    """Add the default pool, as a gateway would register it."""
    world = make_world(place)
    pool_id = await pools.ensure_default(world, "slp-" + "b" * 48)
    async with world.database.transaction() as tx:
        await store_pools.set_key(tx, pool_id, KEY.public_key().public_bytes_raw(), world.now())
    await world.database.close()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"token {TOKEN}"}
    with httpx.Client(base_url=f"{server.url}/api/stacks/ada", headers=headers) as made:
        yield made


def test_a_stack_with_secrets_moves_to_another_project(
    cli: Cli, place: Path, http: httpx.Client
) -> None:
    asyncio.run(add_pool(place))
    rename_project(cli, "sizes", "leaving")
    cli.program(PROGRAM)
    cli.run("stack", "init", "dev")
    cli.run("config", "set", "--secret", "password", "hunter2")
    cli.up(*things(one="a"))
    settings = {"operationContext": {"environmentVariables": {"WORD": {"secret": "hush"}}}}
    assert http.put("leaving/dev/deployments/settings", json=settings).status_code == 200
    stack_id = http.get("leaving/dev").json()["id"]

    cli.run("stack", "rename", "ada/arrived/prod")

    rename_project(cli, "leaving", "arrived")
    assert cli.run("config", "get", "password", "--stack=prod").strip() == "hunter2"
    shown = cli.json("stack", "output", "--json", "--show-secrets", "--stack=prod")
    assert shown["password"] == "hunter2"
    exported = cli.json("stack", "export", "--show-secrets", "--stack=prod")
    urns = [each["urn"] for each in exported["deployment"]["resources"]]
    assert all(urn.startswith("urn:pulumi:prod::arrived::") for urn in urns)
    assert "::leaving::" not in json.dumps(exported)
    assert http.get("arrived/prod").json()["id"] == stack_id
    assert http.get("leaving/dev").status_code == 404
    kept = http.get("arrived/prod/deployments/settings").json()
    sealed = kept["operationContext"]["environmentVariables"]["WORD"]["ciphertext"]
    context = contract.seal_context(stack_id, "env/WORD")
    assert contract.SEAL_SUITE.decrypt(base64.b64decode(sealed), KEY, context) == b"hush"
    assert "5 unchanged" in cli.up("--stack=prod")
    kinds = [each["kind"] for each in cli.json("stack", "history", "--json", "--stack=prod")]
    assert kinds == ["update", "rename", "update"]
