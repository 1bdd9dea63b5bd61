"""The CLI's `state …`: resources shown, protected, renamed, moved, deleted by hand; repairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.clients.conftest import RecordedServer
from tests.support.cli import Cli
from tests.support.things import THINGS, boxes, import_boxes, new_cli, urn


@pytest.fixture
def cli(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    return new_cli(recorded_server.url, tmp_path, "boxes")


def box(stack: str, name: str) -> str:
    return urn("boxes", stack, "test:index:Box", name)


def of_resource(cli: Cli, name: str) -> dict[str, object]:
    resources = cli.json("stack", "export")["deployment"]["resources"]
    return dict(next(each for each in resources if each["urn"].endswith(f"::{name}")))


def test_shown_protected_and_tainted(cli: Cli) -> None:
    cli.run("stack", "init", "marked")
    import_boxes(cli, "boxes", "marked", "a", "b")
    a = box("marked", "a")
    assert f"URN:  {a}" in cli.run("state", "get", a)
    assert "1 resources protected" in cli.run("state", "protect", a, "--yes")
    assert of_resource(cli, "a")["protect"] is True
    refused = cli.run("state", "delete", a, "--yes", status=None)
    assert "protected" in refused
    assert "1 resources unprotected" in cli.run("state", "unprotect", a, "--yes")
    assert "All resources protected" in cli.run("state", "protect", "--all", "--yes")
    assert "All resources unprotected" in cli.run("state", "unprotect", "--all", "--yes")
    assert "protect" not in of_resource(cli, "a")
    assert "1 resources tainted" in cli.run("state", "taint", a, "--yes")
    exported = cli.json("stack", "export")
    assert (exported["version"], exported["features"]) == (4, ["taint"])
    assert of_resource(cli, "a")["taint"] is True
    assert "1 resources untainted" in cli.run("state", "untaint", a, "--yes")
    assert cli.json("stack", "export")["version"] == 3
    unknown = cli.run("state", "taint", box("marked", "nope"), "--yes", status=1)
    assert "No such resource" in unknown


def test_renamed_and_deleted(cli: Cli) -> None:
    cli.run("stack", "init", "changed")
    import_boxes(cli, "boxes", "changed", "a", "b")
    assert "Resource renamed" in cli.run("state", "rename", box("changed", "a"), "c", "--yes")
    assert cli.resources() == ["boxes-changed", "c", "b"]
    assert "Resource deleted" in cli.run("state", "delete", box("changed", "b"), "--yes")
    assert cli.resources() == ["boxes-changed", "c"]
    root = urn("boxes", "changed", "pulumi:pulumi:Stack", "boxes-changed")
    refused = cli.run("state", "delete", root, "--yes", status=1)
    assert "can't be safely deleted because the following resources depend on it" in refused
    cli.run("state", "delete", root, "--yes", "--target-dependents")
    assert cli.resources() == []
    history = cli.json("stack", "history", "--json")
    assert [each["kind"] for each in history] == ["import"] * 4
    assert "1 created" not in cli.run("state", "upgrade", "--yes")


def test_a_broken_state_is_repaired(cli: Cli) -> None:
    """A child before its parent: the server keeps what it is given, the CLI sets it right."""
    cli.run("stack", "init", "broken")
    state = boxes("boxes", "broken", "a", "b")
    resources = state["deployment"]["resources"]
    resources[1]["parent"] = resources[2]["urn"]
    cli.run("stack", "import", "--force", text=json.dumps(state))
    refused = cli.run("up", "--yes", "--skip-preview", status=None)
    assert "snapshot integrity error" in refused
    # The CLI goes without completing the update that it began.
    cli.run("cancel", "--yes")
    cli.run("state", "repair", "--yes")
    assert cli.resources() == ["boxes-broken", "b", "a"]
    assert "already valid" in cli.run("state", "repair", "--yes")


SECRET_THING = THINGS.replace('config.get("name") or "world"', 'config.require_secret("password")')


def test_moved_to_another_stack(recorded_server: RecordedServer, tmp_path: Path) -> None:
    """With secrets: what moves is closed by the other stack's key."""
    cli = new_cli(recorded_server.url, tmp_path, "things", SECRET_THING)
    cli.run("stack", "init", "source")
    cli.run("config", "set", "--secret", "password", "hunter2")
    cli.up()
    cli.run("stack", "init", "target", "--no-select")
    thing = urn("things", "source", "pulumi-python:dynamic:Resource", "thing")
    moving = ("state", "move", "--yes", "--source", "source", "--dest", "target")
    moved = cli.run(*moving, thing)
    assert "Successfully moved resources from ada/things/source to ada/things/target" in moved
    assert "thing" not in cli.resources()
    # The source may go; the secrets that were moved do not lean on it.
    cli.run("stack", "rm", "source", "--yes", "--force")
    cli.run("stack", "select", "target")
    assert cli.resources() == ["things-target", "default", "thing"]
    assert "ciphertext" in json.dumps(of_resource(cli, "thing")["inputs"])
    opened = json.loads(cli.run("stack", "export", "--show-secrets"))
    inputs = opened["deployment"]["resources"][-1]["inputs"]
    assert json.loads(inputs["name"]["plaintext"]) == "hunter2"
