"""The CLI interrupted: two at one stack, cancelled, killed, and the state to go on from."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cli import Cli
from tests.support.processes import end_marked
from tests.support.programs import SLOW
from tests.support.server import Server, serving
from tests.support.things import THINGS, new_cli
from tests.support.waiting import wait_for
from tests.support.world import FakeClock

WAITING = """
import pathlib, time
import pulumi

pathlib.Path("waiting").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.05)
pulumi.export("done", True)
"""

SLOW_THING = SLOW.replace("SECONDS", "60")


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Server]:
    """Not a recorded one: here the tests turn the clock, and cut what a recorder would read."""
    with serving(tmp_path_factory.mktemp("server"), clock=clock) as running:
        yield running


@pytest.fixture
def cli(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Cli:
    """The CLI in project `things`, with a stack named for the test."""
    made = new_cli(server.url, tmp_path, "things", THINGS)
    made.run("stack", "init", str(request.node.name).removeprefix("test_").replace("_", "-"))
    made.run("config", "set", "--secret", "password", "hunter2")
    return made


@pytest.fixture
def slow(cli: Cli) -> Iterator[subprocess.Popen[str]]:
    """An `up` in the middle of creating a resource."""
    cli.program(SLOW_THING)
    process = cli.begin("up", "--yes", "--skip-preview")
    try:
        # Its provider is created before it, and is pending for a moment as well.
        wait_for(lambda: "slow" in _pending_names(cli), "the resource is being created", 60)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        # An engine that is killed leaves its plugins behind.
        end_marked(f"PULUMI_HOME={cli.home}")


def _pending(cli: Cli) -> list[str]:
    return [each["type"] for each in _pending_operations(cli)]


def _pending_names(cli: Cli) -> list[str]:
    return [each["resource"]["urn"].rpartition("::")[2] for each in _pending_operations(cli)]


def _pending_operations(cli: Cli) -> list[dict[str, Any]]:
    deployment = cli.json("stack", "export")["deployment"]
    return list(deployment.get("pending_operations", []))


def test_a_second_update_is_told_to_wait(cli: Cli, slow: subprocess.Popen[str]) -> None:
    refused = cli.up(status=None)
    assert "[409] Conflict: Another update is currently in progress." in refused
    assert "Update in progress" in cli.run("stack")


def test_a_cancelled_update_keeps_what_is_pending(cli: Cli, slow: subprocess.Popen[str]) -> None:
    assert "has been canceled" in cli.run("cancel", "--yes")
    assert _pending(cli) == ["creating"]
    history = cli.json("stack", "history", "--json")
    assert [each["result"] for each in history] == ["failed"]
    slow.kill()
    cli.program(THINGS)
    cli.run("refresh", "--yes", "--skip-preview", "--clear-pending-creates")
    assert _pending(cli) == []
    assert "created" in cli.up()


def test_a_killed_engine_leaves_a_state_to_go_on_from(
    server: Server, clock: FakeClock, cli: Cli, slow: subprocess.Popen[str]
) -> None:
    os.kill(slow.pid, signal.SIGKILL)
    slow.wait()
    clock.advance(300)
    assert _pending(cli) == ["creating"], "without waiting for any janitor"
    cli.program(THINGS)
    cli.run("refresh", "--yes", "--skip-preview", "--clear-pending-creates")
    cli.up()
    assert _pending(cli) == []
    *later, first = [each["result"] for each in cli.json("stack", "history", "--json")]
    assert (first, set(later)) == ("failed", {"succeeded"})


def test_an_interrupted_engine_completes_its_update(cli: Cli, slow: subprocess.Popen[str]) -> None:
    slow.send_signal(signal.SIGINT)
    slow.send_signal(signal.SIGINT)
    # Not until its output ends: plugins keep that open.
    assert slow.wait() != 0
    wait_for(lambda: "Update in progress" not in cli.run("stack"), "the update has completed", 30)
    assert [each["result"] for each in cli.json("stack", "history", "--json")] == ["failed"]


def test_a_token_revoked_in_mid_update(server: Server, cli: Cli) -> None:
    """The update ends under its own lease; the next command is refused."""
    cli.program(WAITING)
    http = httpx.Client(base_url=server.url, headers={"Authorization": f"token {cli.token}"})
    made = http.post("/api/user/tokens", json={"description": "for one update"}).json()
    token = {"PULUMI_ACCESS_TOKEN": made["tokenValue"]}
    with cli.begin("up", "--yes", "--skip-preview", **token) as process:
        wait_for(lambda: (cli.project / "waiting").exists(), "the program runs", 60)
        assert http.delete(f"/api/user/tokens/{made['id']}").status_code == 204
        (cli.project / "go").touch()
        output, _ = process.communicate(timeout=60)
    assert "1 created" in output
    assert [each["result"] for each in cli.json("stack", "history", "--json")] == ["succeeded"]
    refused = cli.run("stack", "ls", status=None, **token)
    assert "requires logging in" in refused or "Unauthorized" in refused
