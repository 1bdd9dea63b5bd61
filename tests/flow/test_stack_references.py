"""What a deployment's own token reaches beyond its stack: what a StackReference reads, no more."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services import identity
from tests.support.app import client
from tests.support.deployments import Desk, make_desk
from tests.support.state import Stack, document, new_stack, with_token

EVE = "pul-" + "e" * 48
ROOT = {
    "urn": "urn:pulumi:network::shop::pulumi:pulumi:Stack::shop-network",
    "custom": False,
    "type": "pulumi:pulumi:Stack",
}


@dataclass
class Scene:
    """A deployment of one stack, and another stack with a secret output that it refers to."""

    desk: Desk
    other: Stack
    referring: Stack
    """The other stack, as the deployment's token sees it."""
    ciphertext: str


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with make_desk(tmp_path) as desk:
        other = await new_stack(desk.http, "network")
        answer = await other.post("/encrypt", {"plaintext": base64.b64encode(b'"s"').decode()})
        ciphertext = answer.json()["ciphertext"]
        state = document({**ROOT, "outputs": {"password": ciphertext, "address": "10.0.0.1"}})
        assert (await other.import_(state)).status_code == 200
        runner = await desk.run()
        async with with_token(desk.farm.world, desk.farm.unseal(runner.grant, "cli")) as http:
            yield Scene(desk, other, Stack(http, other.name), ciphertext)


async def test_a_deployment_reads_what_a_stack_reference_needs(scene: Scene) -> None:
    referring, other = scene.referring, scene.other
    for path in ("", "/export", "/export/1", "/outputs", "/updates/latest", "/updates/1"):
        assert await referring.get(path) == await other.get(path)
    asked = {"ciphertexts": [scene.ciphertext]}
    opened = await referring.post("/batch-decrypt", asked)
    assert opened.json()["plaintexts"] == {scene.ciphertext: base64.b64encode(b'"s"').decode()}
    one = await referring.post("/decrypt", {"ciphertext": scene.ciphertext})
    assert base64.b64decode(one.json()["plaintext"]) == b'"s"'
    noted = await referring.post("/decrypt/log-batch-decryption", {"commandName": "up"})
    assert noted.status_code == 204


async def test_an_unfinished_journal_of_another_stack_is_read_too(scene: Scene) -> None:
    update = await scene.other.start()
    await update.create("late")
    assert "late" in await scene.referring.resources()


WRITES: tuple[tuple[str, str, Any], ...] = (
    ("DELETE", "", None),
    ("POST", "/update", {"options": {"dryRun": True}}),
    ("POST", "/update/x", {}),
    ("POST", "/update/x/cancel", None),
    ("POST", "/import", document()),
    ("POST", "/rename", {"newName": "mine"}),
    ("PATCH", "/tags", {"a": "b"}),
    ("POST", "/tags", {"name": "a", "value": "b"}),
    ("POST", "/encrypt", {"plaintext": "YQ=="}),
    ("POST", "/batch-encrypt", {"plaintexts": ["YQ=="]}),
    ("POST", "/transfer", {"toOrg": "acme"}),
    ("POST", "/ownership", {"githubLogin": "ada"}),
    ("POST", "/deployments/settings/encrypt", {"secret": "a"}),
)
READS = ("/metadata", "/updates", "/deployments", "/deployments/settings", "/deployments/metadata")


async def test_a_deployment_changes_no_other_stack_and_reads_nothing_else_of_it(
    scene: Scene,
) -> None:
    before = [await scene.other.get(), await scene.other.export()]
    for verb, path, body in WRITES:
        answer = await scene.referring.http.request(verb, scene.other.path + path, json=body)
        assert answer.status_code == 404, (verb, path, answer.text)
    for path in READS:
        answer = await scene.referring.http.get(scene.other.path + path)
        assert answer.status_code == 404, (path, answer.text)
    listed = await scene.referring.http.get("/api/user/stacks")
    assert [each["stackName"] for each in listed.json()["stacks"]] == ["dev"]
    assert [await scene.other.get(), await scene.other.export()] == before


async def test_what_is_in_no_organization_of_the_stack_stays_hidden(scene: Scene) -> None:
    """Also of an organization that the user belongs to, but not the stack."""
    world = scene.desk.farm.world
    await identity.bootstrap(world, "eve", EVE)
    await identity.create_organization(world, "club", "ada")
    async with client(world, EVE, login="eve") as http:
        foreign = await new_stack(http, organization="eve")
    shared = await new_stack(scene.desk.http, organization="club")
    for stack in (foreign, shared, Stack(scene.desk.http, scene.other.name._replace(stack="no"))):
        for path in ("", "/export", "/outputs"):
            answer = await scene.referring.http.get(stack.path + path)
            assert answer.status_code == 404, (stack.name, path)
            assert answer.json()["message"] == f"Not Found: Stack '{stack.name}' not found"


async def test_a_user_who_has_left_lends_a_deployment_no_eyes(scene: Scene) -> None:
    farm = scene.desk.farm
    await farm.sql("DELETE FROM memberships")
    assert (await scene.referring.http.get(scene.other.path)).status_code == 404
    assert (await scene.referring.http.get(f"/api/stacks/{scene.desk.stack}")).status_code == 200


async def test_when_the_lease_ends_nothing_is_read_any_more(scene: Scene) -> None:
    await scene.desk.farm.sql("UPDATE deployments SET cli_digest = NULL")
    answer: httpx.Response = await scene.referring.http.get(f"{scene.other.path}/export")
    assert answer.status_code == 401
