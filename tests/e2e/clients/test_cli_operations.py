"""The CLI's operations: preview, up, refresh, destroy, import and watch, in all their forms."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.conftest import RecordedServer
from tests.support import provider_plugin
from tests.support.cli import Cli
from tests.support.processes import end_marked
from tests.support.programs import write
from tests.support.provider_plugin import BOOKS
from tests.support.things import BOXES, THINGS, new_cli, urn
from tests.support.waiting import wait_for


@pytest.fixture
def cli(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    return new_cli(recorded_server.url, tmp_path, "boxes")


@pytest.fixture
def shelf(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    """A project whose resources are made by a provider of the tests."""
    made = new_cli(recorded_server.url, tmp_path, "shelf", BOOKS)
    provider_plugin.install(made.home)
    return made


@pytest.fixture
def things(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    return new_cli(recorded_server.url, tmp_path, "things", THINGS)


def book(stack: str, name: str) -> str:
    return urn("shelf", stack, "shelf:index:Book", name)


def history(cli: Cli) -> list[Any]:
    return list(cli.json("stack", "history", "--json"))


def test_previews_and_plans(cli: Cli) -> None:
    cli.run("stack", "init", "planned")
    assert "3 to create" in cli.run("preview", "--save-plan", "plan.json")
    shown = cli.json("preview", "--json")
    assert shown["changeSummary"] == {"create": 3}
    assert {each["op"] for each in shown["steps"]} == {"create"}
    assert "+ test:index:Box: (create)" in cli.run("preview", "--diff")
    refused = cli.run("preview", "--expect-no-changes", status=7)
    assert "no changes were expected" in refused
    assert cli.run("stack", "history").strip() == "Stack has never been updated"
    done = cli.run("up", "--yes", "--plan", "plan.json", "--message", "As planned")
    assert "3 to create" in done
    assert "3 created" in done
    assert "3 unchanged" in cli.run("preview", "--expect-no-changes")
    assert "3 unchanged" in cli.up("--expect-no-changes")
    (newest, first) = history(cli)
    assert (first["message"], first["environment"]["updatePlan"]) == ("As planned", "true")
    assert newest["message"] == "The program"
    assert newest["resourceChanges"] == {"same": 3}
    cli.run("preview", "--save-plan", "plan.json")
    cli.program(BOXES.replace('Box("box")', 'Box("crate")'))
    refused = cli.run("up", "--yes", "--skip-preview", "--plan", "plan.json", status=None)
    assert "create is not allowed by the plan" in refused
    assert history(cli)[0]["result"] == "failed"


def test_targets_replacements_and_exclusions(shelf: Cli) -> None:
    shelf.run("stack", "init", "chosen")
    first, second = book("chosen", "first"), book("chosen", "second")
    assert "2 created" in shelf.up("--target", first)  # with the stack itself
    assert sorted(shelf.resources()) == ["default", "first", "shelf-chosen"]
    assert "1 created" in shelf.up("--parallel", "1", "--refresh")
    assert "1 replaced" in shelf.up("--replace", second)
    shelf.run("config", "set", "first", "changed")
    shelf.run("config", "set", "second", "changed too")
    assert "1 updated" in shelf.up("--exclude", first)
    assert "1 replaced" in shelf.up("--target-replace", first)
    assert "3 unchanged" in shelf.up("--expect-no-changes")
    assert "unchanged" in shelf.run("refresh", "--yes", "--skip-preview", "--target", first)
    assert "3 unchanged" in shelf.run("refresh", "--preview-only")
    shelf.run("state", "protect", second, "--yes")
    kept = shelf.run("destroy", "--yes", "--skip-preview", "--exclude-protected")
    assert "All unprotected resources were destroyed" in kept
    assert "second" in shelf.resources()
    assert "first" not in shelf.resources()
    refused = shelf.run("destroy", "--yes", "--skip-preview", status=None)
    assert "cannot be deleted" in refused
    shelf.run("state", "unprotect", "--all", "--yes")
    destroyed = shelf.run("destroy", "--yes", "--skip-preview", "--target", second)
    assert "1 deleted" in destroyed
    removed = shelf.run("destroy", "--yes", "--remove")
    assert "the history and configuration removed" in removed
    assert "no stack named 'chosen' found" in shelf.run("stack", "--stack", "chosen", status=6)


def test_resources_are_imported(shelf: Cli) -> None:
    shelf.run("stack", "init", "imported")
    done = shelf.run(
        "import", "shelf:index:Book", "first", "found-1", "--yes", "--generate-code=false"
    )
    assert "1 imported" in done
    assert "first" in shelf.resources()
    assert history(shelf)[0]["kind"] == "update", "the CLI names it no other way"
    many = {"resources": [{"type": "shelf:index:Book", "name": "second", "id": "found-2"}]}
    write(shelf.project, {"many.json": json.dumps(many)})
    done = shelf.run(
        "import", "--file", "many.json", "--yes", "--protect=false", "--generate-code=false"
    )
    assert "1 imported" in done
    resources = shelf.json("stack", "export")["deployment"]["resources"]
    found = {
        each["id"]: each.get("protect", False)
        for each in resources
        if "found" in each.get("id", "")
    }
    assert found == {"found-1": True, "found-2": False}
    refused = shelf.run("import", "shelf:index:Book", "third", "lost", "--yes", status=None)
    assert "does not exist" in refused
    assert "third" not in shelf.resources()
    shelf.run("config", "set", "first", "found-1")
    shelf.run("state", "unprotect", "--all", "--yes")
    shelf.program(BOOKS)
    assert "1 updated" in shelf.up(), "the second book has another title in the program"


def test_changes_replacements_and_aliases(things: Cli) -> None:
    things.run("stack", "init", "changing")
    things.run("config", "set", "--secret", "password", "hunter2")
    assert "4 created" in things.up()
    things.run("config", "set", "name", "bob")
    assert "1 updated" in things.up()
    things.run("config", "set", "name", "new-bob")
    assert "1 replaced" in things.up()
    assert things.json("stack", "output", "--json") == {
        "text": "hello new-bob",
        "password": "[secret]",
    }
    alias = "pulumi.ResourceOptions(aliases=[pulumi.Alias(type_='test:index:Box')])"
    things.program(
        THINGS.replace(
            'super().__init__("test:index:Box", name)',
            f'super().__init__("test:index:Crate", name, None, {alias})',
        )
    )
    assert "4 unchanged" in things.up()
    assert "test:index:Box" not in things.run("stack", "export")
    things.run("config", "set", "box", "chest")
    assert "2 created" in things.up()
    assert {"chest-inside", "box-inside"} & set(things.resources()) == {"chest-inside"}
    things.program(THINGS + "\nraise Exception('the program says no')\n")
    assert "the program says no" in things.up(status=None)
    assert history(things)[0]["result"] == "failed"


REFERENCE = """
import pulumi
other = pulumi.StackReference("ada/things/{stack}")
pulumi.export("copied", other.require_output("password"))
"""


def test_another_stacks_secret_output_is_read(things: Cli, tmp_path: Path) -> None:
    things.run("stack", "init", "referred")
    things.run("config", "set", "--secret", "password", "hunter2")
    things.up()
    program = REFERENCE.format(stack="referred")
    reader = new_cli(things.url, tmp_path / "reader", "reader", program)
    reader.run("stack", "init", "reader")
    reader.up()
    assert reader.json("stack", "output", "--json") == {"copied": "[secret]"}
    shown = reader.json("stack", "output", "--json", "--show-secrets")
    assert shown == {"copied": "hunter2"}
    reader.program(REFERENCE.format(stack="nowhere"))
    refused = reader.up(status=None)
    assert 'unknown stack "ada/things/nowhere"' in refused or "nowhere" in refused


WATCHER = """\
#!{python}
import pathlib, time

program = pathlib.Path({program!r})
seen = 0
while True:
    time.sleep(0.1)
    now = program.stat().st_mtime_ns
    if now != seen:
        seen = now
        print(program, flush=True)
"""
"""What `pulumi-watch` does, which is not in the toolchain: a line for a
file as it is found, and for each change."""


def test_watch_applies_changes_until_ctrl_c(cli: Cli, tmp_path: Path) -> None:
    cli.run("stack", "init", "watched")
    watcher = tmp_path / "bin" / "pulumi-watch"
    program = str(cli.project / "__main__.py")
    write(tmp_path, {"bin/pulumi-watch": WATCHER.format(python=sys.executable, program=program)})
    watcher.chmod(0o755)
    path = f"{watcher.parent}:{cli.environment['PATH']}"
    with cli.begin("watch", PATH=path) as watching:
        try:
            wait_for(lambda: results(cli) == ["succeeded"], "a first update", 60)
            cli.program(BOXES.replace('Box("box")', 'Box("crate")'))
            wait_for(lambda: results(cli)[1:] == ["succeeded"], "a second update has begun", 60)
            wait_for(lambda: set(results(cli)) == {"succeeded"}, "it has succeeded", 60)
        finally:
            watching.send_signal(signal.SIGINT)
            wait_for(lambda: watching.poll() is not None, "Ctrl-C ends it", 30)
            # What it started may outlive it, and holds its output open.
            end_marked(f"PULUMI_HOME={cli.home}")
            output, _ = watching.communicate()
    assert "changes made: 1 create, 1 delete" in output
    assert cli.resources() == ["boxes-watched", "crate", "lid"]
    assert "Update in progress" not in cli.run("stack")


def results(cli: Cli) -> list[str]:
    return [each["result"] for each in history(cli)]
