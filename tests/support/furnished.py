"""A console with something in every place, each with words of its own: kind, long, or an attack."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from litestar import Litestar

from control_plane.app import create_app
from control_plane.domain.principal import Principal
from control_plane.services import identity, pausing
from runner_actors.contract import SourceResolved, StepEnded, StepStarted
from tests.support.app import ADMIN, TOKEN
from tests.support.deployments import STACK, Desk, Runner, make_desk
from tests.support.furnished_github import furnish_github
from tests.support.state import Stack, document
from tests.support.waiting import wait_for

COMMIT = "c" * 40
ROOT = f"urn:pulumi:{STACK.stack}::{STACK.project}::pulumi:pulumi:Stack::{STACK.project}-dev"
Words = Callable[[str], str]
"""What stands in a place, such as `commit`."""


PROBE = "xss-probe"


def attack(place: str) -> str:
    """Words that would become an element or an attribute wherever they are not escaped."""
    return (
        f"\"'><{PROBE} id={place} on{PROBE}=alert(1)><img src=x onerror=alert(2)></script></title>"
    )


async def furnish(desk: Desk, words: Words) -> dict[str, str]:
    """Fill the stack `ada/shop/dev`, its organization and its people; what its parts are called."""
    await _state(desk, words)
    await _settings(desk, words)
    for succeeded in (True, False):
        await _ended(desk, words, succeeded)
    runner = await desk.run("preview")
    await runner.step("Get source")
    await runner.write(_log(words))
    await desk.create("refresh")
    preview = await _update(desk, words, dry_run=True)
    await _update(desk, words, dry_run=False)
    await _people(desk, words)
    ended = await desk.farm.ask("SELECT id FROM deployments WHERE ended_at IS NOT NULL")
    await furnish_github(
        desk.farm.world, ADMIN, words, deployment_ids=[str(each) for (each,) in ended]
    )
    return {"update_id": preview, "deployment_id": runner.grant.deployment_id, "urn": ROOT}


class Furnished(NamedTuple):
    """A running server."""

    url: str
    app: Litestar
    places: dict[str, str]


@contextmanager
def serving_furnished(tmp_path: Path, words: Words) -> Iterator[Furnished]:
    """A server whose console is furnished, with more organizations and stacks."""
    servers: list[uvicorn.Server] = []
    apps: list[Litestar] = []
    places: dict[str, str] = {}

    async def run() -> None:
        async with make_desk(tmp_path) as desk:
            places.update(await furnish(desk, words))
            for organization in ("contoso", "globex", "initech", "o" * 100):
                await identity.create_organization(desk.farm.world, organization, ADMIN)
            for number in range(9):
                await desk.add_stack("web", f"stack-{number}")
            await desk.add_stack("p" * 100, "s" * 100)
            apps.append(create_app(desk.farm.world, loops=False))
            config = uvicorn.Config(apps[0], host="127.0.0.1", port=0, log_level="warning")
            servers.append(uvicorn.Server(config))
            await servers[0].serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        wait_for(
            lambda: any(each.started for each in servers) or not thread.is_alive(),
            "the furnished server has started",
            60,
        )
        port = servers[0].servers[0].sockets[0].getsockname()[1]
        yield Furnished(f"http://127.0.0.1:{port}", apps[0], places)
    finally:
        for each in servers:
            each.should_exit = True
        thread.join()


async def principal(desk: Desk) -> Principal:
    """Ada herself."""
    return await identity.authenticate(desk.farm.world, TOKEN)


async def _state(desk: Desk, words: Words) -> None:
    resources = [
        {
            "urn": ROOT,
            "custom": False,
            "type": "pulumi:pulumi:Stack",
            "outputs": {words("output-name"): words("output"), "nested": [words("nested-output")]},
        },
        {
            "urn": f"urn:pulumi:dev::shop::test:index:Thing::{words('resource')}",
            "custom": True,
            "type": "test:index:Thing",
            "id": words("resource-id"),
            "parent": ROOT,
            "inputs": {words("input-name"): words("input")},
            "outputs": {"a": words("resource-output")},
        },
    ]
    answer = await Stack(desk.http, STACK).import_(document(*resources))
    assert answer.status_code == 200, answer.text


async def _settings(desk: Desk, words: Words) -> None:
    settings = {
        "sourceContext": {
            "git": {"repoUrl": "https://git.test/a.git", "branch": words("branch"), "repoDir": "d"}
        },
        "operationContext": {
            "preRunCommands": [words("command")],
            "environmentVariables": {"PLAIN": words("variable"), "HIDDEN": {"secret": "s3cr3t"}},
        },
    }
    await desk.send("PUT", "/settings", settings)


def _log(words: Words) -> bytes:
    return (
        f"{words('log')}\n\x1b[31m{words('red')}\x1b[0m\n"
        f"\x1b]8;;javascript:alert(1)\x07{words('hyperlink')}\x1b]8;;\x07\n"
        f"\x1b]0;{words('title')}\x07\x1b[2J\x1b[1;1H\r\n"
    ).encode()


async def _ended(desk: Desk, words: Words, succeeded: bool) -> None:
    runner: Runner = await desk.run()
    await runner.say(StepStarted, step=0, name=words("step"))
    runner._step = 0
    commit = {"commit": COMMIT, "message": words("commit"), "author": words("author")}
    await runner.say(SourceResolved, branch=words("found-branch"), **commit)
    await runner.write(_log(words))
    await runner.say(StepEnded, step=0, succeeded=succeeded, message=words("step-message"))
    await runner.end_log()
    await runner.conclude(succeeded, message=words("ending"))


async def _update(desk: Desk, words: Words, dry_run: bool) -> str:
    stack = Stack(desk.http, STACK)
    environment = {"git.head": COMMIT, "git.headName": words("head"), "vcs.owner": words("owner")}
    metadata = {"message": words("update-message"), "environment": environment}
    config = {"shop:name": {"string": words("config"), "secret": False}}
    update = await stack.start(dry_run=dry_run, metadata=metadata, config=config)
    urn = f"urn:pulumi:dev::shop::t:index:T::{words('changed')}"
    done = {
        "op": "update",
        "urn": urn,
        "type": "t:index:T",
        "old": {"inputs": {"tags": words("before")}, "outputs": {}},
        "new": {"inputs": {"tags": words("after")}, "outputs": {}},
        "detailedDiff": {words("property"): {"diffKind": "update", "inputDiff": True}},
    }
    said = {"message": words("diagnostic"), "color": "raw", "severity": "error", "urn": urn}
    answer = await update.events(
        {"sequence": 0, "timestamp": 1, "resourcePreEvent": {"metadata": done}},
        {"sequence": 1, "timestamp": 1, "resOutputsEvent": {"metadata": done}},
        {"sequence": 2, "timestamp": 1, "diagnosticEvent": said},
    )
    assert answer.status_code in (200, 204), answer.text
    assert (await update.complete("failed")).status_code == 204
    return update.id


async def _people(desk: Desk, words: Words) -> None:
    world = desk.farm.world
    ada = await principal(desk)
    await pausing.pause_organization(world, ada, ADMIN, words("pause"))
    await pausing.pause_stack(world, ada, STACK, words("stack-pause"))
    await identity.create_token(world, ADMIN, words("token"))
    await identity.create_user(world, "grace")
    await identity.add_member(world, ADMIN, "grace", "member")
    await desk.farm.sql("UPDATE users SET name = :name", name=words("person"))
    await desk.farm.sql("UPDATE pools SET name = :name", name=words("pool"))
    answer = await desk.http.patch(f"/api/stacks/{STACK}/tags", json=_tags(words))
    assert answer.status_code == 204, answer.text


def _tags(words: Words) -> dict[str, Any]:
    return {"owner": words("tag"), "pulumi:description": words("description")}
