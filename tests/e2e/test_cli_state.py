"""The state backend by its real client: the `pulumi` CLI against a real server, without Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.processes import end_marked
from tests.support.programs import SLOW, repository
from tests.support.server import Server, serving
from tests.support.waiting import wait_for
from tests.support.world import FakeClock

THINGS = """
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

class Provider(ResourceProvider):
    def create(self, props):
        return CreateResult("made", {**props, "text": "hello " + props["name"]})

    def diff(self, _id, olds, news):
        return DiffResult(
            changes=olds["name"] != news["name"],
            replaces=["name"] if news["name"].startswith("new") else [],
            delete_before_replace=False,
        )

    def update(self, _id, _olds, news):
        return UpdateResult(self.create(news).outs)

class Thing(Resource):
    text: pulumi.Output[str]
    def __init__(self, name, value, **options):
        props = {"name": value, "text": None}
        super().__init__(Provider(), name, props, pulumi.ResourceOptions(**options))

class Box(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Box", name)
        self.inside = Thing(name + "-inside", "inner", parent=self)
        self.register_outputs({"text": self.inside.text})

config = pulumi.Config()
thing = Thing("thing", config.get("name") or "world")
box = Box(config.get("box") or "box")
pulumi.export("text", thing.text)
pulumi.export("password", config.require_secret("password"))
"""

ALIASED = THINGS.replace(
    'super().__init__("test:index:Box", name)',
    'super().__init__("test:index:Crate", name, None, '
    'pulumi.ResourceOptions(aliases=[pulumi.Alias(type_="test:index:Box")]))',
)

REFERENCE = """
import pulumi
other = pulumi.StackReference("ada/things/reference-source")
pulumi.export("copied", other.require_output("password"))
"""

SLOW_THING = SLOW.replace("SECONDS", "60")


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), clock=clock) as running:
        yield running


@pytest.fixture
def cli(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Cli:
    """The CLI in project `things`, with a stack named for the test."""
    project = repository(tmp_path / "project", "things", THINGS)
    made = Cli(server.url, project, tmp_path / "home")
    made.run("stack", "init", str(request.node.name).removeprefix("test_").replace("_", "-"))
    made.run("config", "set", "--secret", "password", "hunter2")
    return made


def test_from_login_to_rm(server: Server, cli: Cli) -> None:
    assert "Logged in" in cli.run("login", server.url)
    assert cli.run("whoami").strip() == "ada"
    assert "4 to create" in cli.run("preview")
    assert "4 created" in cli.run("up", "--yes")
    assert "4 unchanged" in cli.run("refresh", "--yes")
    assert cli.json("stack", "output", "--json") == {
        "text": "hello world",
        "password": "[secret]",
    }
    secrets = cli.json("stack", "output", "--json", "--show-secrets")
    assert secrets["password"] == "hunter2"
    history = cli.json("stack", "history", "--json")
    assert [each["kind"] for each in history] == ["refresh", "update"]
    assert history[1]["resourceChanges"] == {"create": 4}
    exported = cli.run("stack", "export")
    assert "hunter2" not in exported
    (cli.project / "state.json").write_text(cli.run("stack", "export", "--show-secrets"))
    assert "hunter2" in (cli.project / "state.json").read_text()
    assert "Import complete" in cli.run("stack", "import", "--file", "state.json")
    assert "4 unchanged" in cli.up()
    assert "still has resources" in cli.run("stack", "rm", "--yes", status=None)
    cli.run("destroy", "--yes")
    assert cli.resources() == []
    cli.run("stack", "rm", "--yes")
    assert "no stack" in cli.run("stack", "--stack", "from-login-to-rm", status=6)


def test_changes_replacements_and_aliases(cli: Cli) -> None:
    cli.up()
    cli.run("config", "set", "name", "bob")
    assert "1 updated" in cli.up()
    cli.run("config", "set", "name", "new-bob")
    assert "1 replaced" in cli.up()
    assert cli.json("stack", "output", "--json")["text"] == "hello new-bob"
    cli.program(ALIASED)
    assert "4 unchanged" in cli.up()
    exported = cli.json("stack", "export")
    assert "test:index:Box" not in json.dumps(exported)
    assert "4 unchanged" in cli.up()
    cli.run("config", "set", "box", "chest")
    assert "2 created" in cli.up()
    assert "chest-inside" in cli.resources()
    assert "box-inside" not in cli.resources()
    cli.run("state", "rename", _urn_of(cli, "thing"), "renamed", "--yes")
    assert "renamed" in cli.resources()


def _urn_of(cli: Cli, name: str) -> str:
    resources = cli.json("stack", "export")["deployment"]["resources"]
    return str(next(each["urn"] for each in resources if each["urn"].endswith(f"::{name}")))


def test_without_journal_by_checkpoints(cli: Cli) -> None:
    plain = {"PULUMI_DISABLE_JOURNALING": "true"}
    assert "4 created" in cli.up(**plain)
    cli.run("config", "set", "name", "new-name")
    assert "1 replaced" in cli.up(**plain)
    assert "4 unchanged" in cli.run("refresh", "--yes", "--skip-preview", **plain)
    assert len(cli.resources()) == 5, "with the provider"
    cli.run("destroy", "--yes", "--skip-preview", **plain)
    assert cli.resources() == []


def test_a_renamed_stack_goes_on(cli: Cli) -> None:
    cli.up()
    cli.run("stack", "rename", "another-name")
    assert "4 unchanged" in cli.up()
    assert cli.json("stack", "output", "--json", "--show-secrets")["password"] == "hunter2"
    cli.run("stack", "tag", "set", "team", "blue")
    assert cli.json("stack", "tag", "ls", "--json")["team"] == "blue"
    names = [each["name"] for each in cli.json("stack", "ls", "--json")]
    assert "another-name" in names
    assert "a-renamed-stack-goes-on" not in names


def test_another_stacks_secret_output_is_read(server: Server, cli: Cli, tmp_path: Path) -> None:
    cli.run("stack", "rename", "reference-source")
    cli.up()
    reader = Cli(server.url, repository(tmp_path / "reader", "reader", REFERENCE), cli.home)
    reader.run("stack", "init", "reader")
    reader.up()
    assert reader.json("stack", "output", "--json") == {"copied": "[secret]"}
    shown = reader.json("stack", "output", "--json", "--show-secrets")
    assert shown == {"copied": "hunter2"}


def test_a_failing_program_is_a_failed_update(cli: Cli) -> None:
    cli.program(THINGS + "\nraise Exception('the program says no')\n")
    assert "the program says no" in cli.up(status=None)
    history = cli.json("stack", "history", "--json")
    assert [each["result"] for each in history] == ["failed"]
    cli.program(THINGS)
    cli.up()


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
