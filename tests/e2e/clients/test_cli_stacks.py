"""The CLI's `new` and `stack …`: made, listed, tagged, renamed, exported, imported, removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.conftest import RecordedServer
from tests.support.cli import Cli
from tests.support.programs import git, virtualenv, write
from tests.support.things import THINGS, boxes, import_boxes, new_cli, urn


@pytest.fixture
def cli(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    """The CLI in a project of components; a test selects its own stacks."""
    return new_cli(recorded_server.url, tmp_path, "boxes")


def names(cli: Cli, *arguments: str) -> list[str]:
    return sorted(each["name"] for each in cli.json("stack", "ls", "--json", *arguments))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A repository with one template, `greeting`."""
    templates = tmp_path / "templates"
    project = f"""
        name: ${{PROJECT}}
        description: ${{DESCRIPTION}}
        runtime:
          name: python
          options:
            virtualenv: {virtualenv()}
        template:
          description: Says something
          config:
            greeting:
              description: What to say
              default: hello
        """
    program = 'import pulumi\npulumi.export("said", pulumi.Config().require("greeting"))\n'
    write(templates, {"greeting/Pulumi.yaml": project, "greeting/__main__.py": program})
    git(templates, "init", "--quiet", "--initial-branch=master")
    git(templates, "add", "--all")
    git(templates, "commit", "--quiet", "--message", "A template")
    return templates


def test_new_into_a_directory(cli: Cli, template: Path, tmp_path: Path) -> None:
    """By the template's path, and by its name, for which the server's registry is asked too."""
    local = str(template / "greeting")
    only = cli.run("new", local, "--dir", str(tmp_path / "only"), "--yes", "--generate-only")
    assert "Your new project is ready to go!" in only
    assert not list((tmp_path / "only").glob("Pulumi.*.yaml"))
    by_name = {"PULUMI_TEMPLATE_GIT_REPOSITORY": f"file://{template}"}
    place = tmp_path / "made"
    made = cli.run(
        *("new", "greeting", "--dir", str(place), "--yes", "--name", "greeter"),
        *("--stack", "dev", "--config", "greeting=hi", "--description", "It greets"),
        **by_name,
    )
    assert "Created project 'greeter'" in made
    assert "Created stack 'dev'" in made
    assert "Installing dependencies" in made
    project = Cli(cli.url, place, cli.home)
    tags = project.json("stack", "tag", "ls", "--json")
    assert tags["pulumi:project"] == "greeter"
    assert tags["pulumi:description"] == "It greets"
    project.up()
    assert "greeting" in project.run("stack", "tag", "get", "pulumi:template")
    assert project.run("stack", "output", "said").strip() == "hi"
    taken = cli.run(
        *("new", local, "--dir", str(tmp_path / "again"), "--yes", "--name", "greeter"),
        status=None,
    )
    assert "a project with this name already exists: greeter" in taken


def test_made_selected_listed_removed(cli: Cli) -> None:
    cli.run("stack", "init", "first")
    assert "Created stack 'second'" in cli.run("stack", "init", "second", "--no-select")
    assert cli.run("stack", "--show-name").strip() == "first"
    again = cli.run("stack", "init", "first", status=None)
    assert "stack 'ada/boxes/first' already exists" in again
    shown = cli.json("stack", "ls", "--json")
    assert shown == [{"name": "first", "current": True}, {"name": "second", "current": False}]
    cli.run("stack", "select", "second")
    assert "no stack named 'third' found" in cli.run("stack", "select", "third", status=6)
    cli.run("stack", "select", "--create", "third")
    cli.run("stack", "unselect")
    assert "no stack selected" in cli.run("stack", status=1)
    import_boxes(cli, "boxes", "third", "a", "b")
    listed = cli.run("stack", "ls")
    assert "third" in listed
    assert listed.split()[:6] == ["NAME", "LAST", "UPDATE", "RESOURCE", "COUNT", "URL"]
    (third,) = [each for each in cli.json("stack", "ls", "--json") if each["name"] == "third"]
    assert (third["resourceCount"], third["updateInProgress"]) == (3, False)
    assert third["lastUpdate"].endswith("Z")
    refused = cli.run("stack", "rm", "third", "--yes", status=1)
    assert "'third' still has resources; removal rejected" in refused
    assert "has been removed" in cli.run("stack", "rm", "third", "--yes", "--force")
    assert "has been removed" in cli.run("stack", "rm", "second", "--yes", "--preserve-config")
    assert names(cli) == ["first"]
    assert "no stack named 'second' found" in cli.run("stack", "rm", "second", "--yes", status=6)


def test_filters_of_the_list(cli: Cli, tmp_path: Path) -> None:
    other = new_cli(cli.url, tmp_path / "elsewhere", "other.project_1-x")
    other.run("stack", "init", "there")
    cli.run("stack", "init", "here")
    cli.run("stack", "tag", "set", "colour", "blue")
    assert names(cli, "-p", "other.project_1-x") == ["ada/other.project_1-x/there"]
    assert {"here", "ada/other.project_1-x/there"} <= set(names(cli, "-a"))
    assert names(cli, "-t", "colour=blue") == names(cli, "-t", "colour") == ["here"]
    assert names(cli, "-t", "colour=red") == []
    assert "here" in names(cli, "-o", "ada")
    assert names(cli, "-o", "nobody") == []


LONGEST = ("L" * 91 + "-_.aZ09.9", "p.R-0_" + "x" * 94)
"""A stack's and a project's name of 100 legal characters."""


def test_names_with_every_legal_character(cli: Cli, tmp_path: Path) -> None:
    stack, project = LONGEST
    longest = new_cli(cli.url, tmp_path / "longest", project)
    longest.run("stack", "init", stack)
    longest.run("config", "set", "--secret", "word", "open")
    longest.up()
    assert longest.run("stack", "output", "boxes").strip() == "2"
    assert longest.run("config", "get", "word").strip() == "open"
    assert longest.json("stack", "ls", "--json")[0]["name"] == stack
    assert len(longest.json("stack", "history", "--json")) == 1
    longest.run("stack", "rename", f"ada/{project}/short")
    assert "3 unchanged" in longest.up()
    for name, told in {
        "bad name": "a stack name may only contain alphanumeric",
        "n" * 101: "cannot exceed 100 characters",
        "nobody/boxes/x": "[404] Not Found: Organization 'nobody' not found",
    }.items():
        assert told in cli.run("stack", "init", name, status=None)


def test_tags(cli: Cli) -> None:
    cli.run("stack", "init", "tagged")
    cli.run("stack", "tag", "set", "owner:team.name-1_x", "blue & green / über")
    assert cli.run("stack", "tag", "get", "owner:team.name-1_x").strip() == "blue & green / über"
    assert cli.json("stack", "tag", "ls", "--json") == {
        "owner:team.name-1_x": "blue & green / über",
        "pulumi:project": "boxes",
        "pulumi:runtime": "python",
        "vcs:root": ".",
    }
    assert "blue & green" in cli.run("stack", "tag", "ls")
    cli.run("stack", "tag", "rm", "owner:team.name-1_x")
    gone = cli.run("stack", "tag", "get", "owner:team.name-1_x", status=1)
    assert "stack tag 'owner:team.name-1_x' not found for stack 'tagged'" in gone
    assert "may only contain" in cli.run("stack", "tag", "set", "a b", "c", status=1)
    assert "too long" in cli.run("stack", "tag", "set", "long", "x" * 257, status=1)


def test_what_a_stack_tells_of_itself(cli: Cli) -> None:
    cli.run("stack", "init", "told")
    assert "No resources currently in this stack" in cli.run("stack")
    assert "No output values" in cli.run("stack", "output")
    assert cli.run("stack", "history").strip() == "Stack has never been updated"
    assert "has never been updated" in cli.run("cancel", "--yes", status=1)
    assert "resources" not in cli.json("stack", "export")["deployment"]
    cli.up("--message", "The first words")
    stack = cli.run("stack", "--show-urns", "--show-ids")
    assert "Current stack resources (3)" in stack
    assert urn("boxes", "told", "test:index:Box$test:index:Box", "lid") in stack
    assert "Owner: ada" in stack
    found = cli.json("stack", "get", "--output", "json")
    assert (found["organization"], found["project"], found["stack"]) == ("ada", "boxes", "told")
    assert (found["version"], found["outputs"]) == (1, {"boxes": 2})
    assert "Version: 1" in cli.run("stack", "get")
    assert cli.run("stack", "output", "--shell").strip() == "boxes=2"
    missing = cli.run("stack", "output", "nope", status=1)
    assert "current stack does not have output property 'nope'" in missing
    cli.run("stack", "graph", "graph.dot")
    graph = (cli.project / "graph.dot").read_text()
    assert graph.startswith("strict digraph")
    assert graph.count("label=") == 3
    assert "no stack named 'nope' found" in cli.run("stack", "get", "--stack", "nope", status=6)


def test_history_in_pages_and_its_events(cli: Cli) -> None:
    cli.run("stack", "init", "long-ago")
    cli.run("config", "set", "--secret", "word", "sesame")
    cli.up("--message", "one")
    cli.run("refresh", "--yes", "--skip-preview", "--message", "two")
    cli.run("destroy", "--yes", "--skip-preview", "--message", "three")
    history = cli.json("stack", "history", "--json")
    assert [(each["version"], each["kind"], each["message"]) for each in history] == [
        (3, "destroy", "three"),
        (2, "refresh", "two"),
        (1, "update", "one"),
    ]
    assert history[0]["resourceChanges"] == {"delete": 3}
    assert history[2]["config"]["boxes:word"] == {"secret": True}
    shown = cli.json("stack", "history", "--json", "--show-secrets")
    assert shown[2]["config"]["boxes:word"]["value"] == "sesame"
    page = cli.json("stack", "history", "--json", "--page-size", "2", "--page", "2")
    assert [each["version"] for each in page] == [1]
    assert cli.json("stack", "history", "--json", "--page-size", "2", "--page", "3") == []
    plain = cli.run("stack", "history", "--full-dates", "--page-size", "1")
    assert "UpdateKind: destroy\nStatus: succeeded\nMessage: three\n" in plain
    last = cli.json("stack", "get", "--output", "json")["activeUpdate"]
    assert "result=succeeded" in cli.run("stack", "history", "events", last)
    events = cli.json("stack", "history", "events", last, "--all", "--output", "json")
    assert events[-1]["summaryEvent"]["resourceChanges"] == {"delete": 3}
    lid = urn("boxes", "long-ago", "test:index:Box$test:index:Box", "lid")
    of_lid = cli.json("stack", "history", "events", last, "--urn", lid, "--output", "json")
    assert {next(iter(set(each) - {"timestamp", "sequence"})) for each in of_lid} == {
        "resourcePreEvent",
        "resOutputsEvent",
    }
    summary = cli.json("stack", "history", "events", last, "--summary", "--output", "json")
    assert (summary["result"], summary["summary"]) == ("succeeded", {"delete": 3})
    assert "[404]" in cli.run("stack", "history", "events", "nope", status=1)
    assert json.dumps(events).count("sesame") == 0


def test_export_and_import(cli: Cli, tmp_path: Path) -> None:
    cli.run("stack", "init", "ported")
    import_boxes(cli, "boxes", "ported", "a")
    import_boxes(cli, "boxes", "ported", "a", "b")
    file = str(tmp_path / "state.json")
    cli.run("stack", "export", "--version", "1", "--file", file)
    assert len(json.loads(Path(file).read_text())["deployment"]["resources"]) == 2
    assert "Import complete" in cli.run("stack", "import", "--file", file)
    assert cli.resources() == ["boxes-ported", "a"]
    assert "Import complete" in cli.run(
        "stack", "import", text=json.dumps(boxes("boxes", "ported"))
    )
    assert cli.resources() == ["boxes-ported"]
    for version, told in {
        "99": "[404] Not Found: Version 99 of stack 'ada/boxes/ported' not found",
        "0": "It should be a positive integer",
        "x": "It should be a positive integer",
    }.items():
        assert told in cli.run("stack", "export", "--version", version, status=1)
    of_another = json.dumps(boxes("boxes", "another", "a"))
    refused = cli.run("stack", "import", text=of_another, status=1)
    assert "is from a different stack (another != ported)" in refused
    assert "rerun with --force" in refused
    assert "Import complete" in cli.run("stack", "import", "--force", text=of_another)
    assert cli.resources() == ["boxes-another", "a"]
    for document, told in {
        "nonsense": "invalid character",
        json.dumps(boxes("boxes", "ported") | {"version": 5}): "newer than what this version",
        json.dumps(boxes("boxes", "ported") | {"version": 1}): "Import complete",
    }.items():
        assert told in cli.run("stack", "import", text=document, status=None)
    history = cli.json("stack", "history", "--json")
    assert {each["kind"] for each in history} == {"import"}


def test_secrets_are_exported_closed_or_open(
    recorded_server: RecordedServer, tmp_path: Path
) -> None:
    """Open, a state can go to another stack; closed, the CLI opens it first, by its own rights."""
    cli = new_cli(recorded_server.url, tmp_path, "things", THINGS)
    cli.run("stack", "init", "source")
    cli.run("config", "set", "--secret", "password", "hunter2")
    cli.up()
    closed, opened = cli.run("stack", "export"), cli.run("stack", "export", "--show-secrets")
    assert "hunter2" not in closed
    assert "hunter2" in opened
    for number, text in enumerate((closed, opened)):
        cli.run("stack", "init", f"target-{number}")
        cli.run("stack", "import", "--force", text=text)
        assert "hunter2" not in cli.run("stack", "export")
        shown = cli.json("stack", "output", "--json", "--show-secrets")
        assert shown == {"text": "hello world", "password": "hunter2"}
    # Nothing of the copies leans on the stack from which they came.
    cli.run("stack", "rm", "source", "--yes", "--force")
    cli.run("stack", "select", "target-0")
    assert cli.run("stack", "output", "password", "--show-secrets").strip() == "hunter2"


def test_renamed_and_moved_to_another_project(recorded_server: RecordedServer, cli: Cli) -> None:
    cli.run("stack", "init", "before")
    cli.run("config", "set", "--secret", "word", "open sesame")
    cli.up()
    cli.run("stack", "init", "taken", "--no-select")
    refused = cli.run("stack", "rename", "taken", status=1)
    assert "[409] Conflict: Stack 'ada/boxes/taken' already exists." in refused
    cli.run("stack", "rename", "after")
    assert not (cli.project / "Pulumi.before.yaml").exists()
    assert cli.run("config", "get", "word").strip() == "open sesame"
    assert "3 unchanged" in cli.up()
    cli.run("stack", "rename", "ada/crates/after")
    assert "ada/crates/after" in names(cli, "-a")
    (cli.project / "Pulumi.yaml").write_text(
        (cli.project / "Pulumi.yaml").read_text().replace("name: boxes", "name: crates")
    )
    cli.run("stack", "select", "after")
    config = cli.project / "Pulumi.after.yaml"
    config.write_text(config.read_text().replace("boxes:", "crates:"))
    assert cli.run("config", "get", "word").strip() == "open sesame"
    assert "3 unchanged" in cli.up()
    kinds = [each["kind"] for each in cli.json("stack", "history", "--json")]
    assert kinds == ["update", "rename", "update", "rename", "update"]


def test_secrets_provider_to_passphrase_and_back(
    recorded_server: RecordedServer, tmp_path: Path
) -> None:
    cli = new_cli(recorded_server.url, tmp_path, "things", THINGS)
    cli.run("stack", "init", "phrased")
    cli.run("config", "set", "--secret", "password", "hunter2")
    cli.up()
    passphrase: dict[str, Any] = {"PULUMI_CONFIG_PASSPHRASE": "correct horse"}
    changing = ("stack", "change-secrets-provider")
    cli.run(*changing, "passphrase", text="correct horse\n")
    providers = cli.json("stack", "export")["deployment"]["secrets_providers"]
    assert providers["type"] == "passphrase"
    assert "encryptionsalt" in (cli.project / "Pulumi.phrased.yaml").read_text()
    shown = cli.json("stack", "output", "--json", "--show-secrets", **passphrase)
    assert shown["password"] == "hunter2"
    assert cli.run("config", "get", "password", **passphrase).strip() == "hunter2"
    refused = cli.run("stack", "output", "--show-secrets", status=None)
    assert "passphrase must be set" in refused
    assert "4 unchanged" in cli.up(**passphrase)
    cli.run(*changing, "default", **passphrase)
    state = cli.json("stack", "export")["deployment"]
    assert state["secrets_providers"]["type"] == "service"
    assert cli.json("stack", "output", "--json", "--show-secrets") == shown
    assert "4 unchanged" in cli.up()
    born = cli.run("stack", "init", "born", "--secrets-provider", "passphrase", **passphrase)
    assert "Created stack 'born'" in born
    cli.run("config", "set", "--secret", "password", "of its own", **passphrase)
    assert "4 created" in cli.up(**passphrase)
