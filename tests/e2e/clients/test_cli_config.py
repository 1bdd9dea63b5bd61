"""The CLI's `config …`: plain and secret values, by path and as JSON, copied, and fetched again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.conftest import RecordedServer
from tests.support.cli import Cli
from tests.support.things import import_boxes, new_cli


@pytest.fixture
def cli(recorded_server: RecordedServer, tmp_path: Path) -> Cli:
    return new_cli(recorded_server.url, tmp_path, "boxes")


def kept(cli: Cli, stack: str) -> str:
    """What a stack's configuration file says."""
    return (cli.project / f"Pulumi.{stack}.yaml").read_text()


def values(cli: Cli, *arguments: str) -> dict[str, Any]:
    found = cli.json("config", "--json", "--show-secrets", *arguments)
    return {key.removeprefix("boxes:"): each["value"] for key, each in found.items()}


def test_set_get_and_remove(cli: Cli) -> None:
    cli.run("stack", "init", "set")
    cli.run("config", "set", "plain", "a value with spaces, ünïcode and $SHELL")
    cli.run("config", "set", "--secret", "word", "open sesame")
    cli.run("config", "set", "--secret", "lines", text="first\nsecond\n")
    cli.run("config", "set", "other:key", "of another namespace")
    assert cli.run("config", "get", "plain").strip() == "a value with spaces, ünïcode and $SHELL"
    assert cli.run("config", "get", "word").strip() == "open sesame"
    assert cli.run("config", "get", "lines") == "first\nsecond\n"
    assert cli.run("config", "get", "other:key").strip() == "of another namespace"
    assert "open sesame" not in kept(cli, "set")
    listed = cli.run("config")
    assert "[secret]" in listed
    assert "open sesame" not in listed
    assert "open sesame" in cli.run("config", "--show-secrets")
    assert cli.json("config", "--json")["boxes:word"] == {"secret": True}
    assert cli.json("config", "get", "word", "--json") == {"value": "open sesame", "secret": True}
    cli.run("config", "rm", "word")
    gone = cli.run("config", "get", "word", status=1)
    assert "configuration key 'word' not found for stack 'set'" in gone
    cli.run("config", "rm-all", "plain", "lines")
    assert list(cli.json("config", "--json")) == ["other:key"]


def test_paths_types_and_many_at_once(cli: Cli) -> None:
    cli.run("stack", "init", "paths")
    cli.run("config", "set", "--path", "data.list[0]", "zero")
    cli.run("config", "set", "--path", "--secret", "data.inner.key", "deep")
    cli.run("config", "set", "--type", "int", "--path", "data.number", "5")
    cli.run("config", "set", "--type", "bool", "flag", "true")
    assert cli.run("config", "get", "--path", "data.inner.key").strip() == "deep"
    assert cli.run("config", "get", "--path", "data.list[0]").strip() == "zero"
    closed = cli.json("config", "--json")["boxes:data"]
    assert (closed["secret"], "deep" in json.dumps(closed)) == (True, False)
    opened = cli.json("config", "--json", "--show-secrets")["boxes:data"]["objectValue"]
    assert opened == {"list": ["zero"], "inner": {"key": "deep"}, "number": 5}
    many = ("--plaintext", "a=1", "--plaintext", "b=with=signs", "--secret", "c=closed")
    cli.run("config", "set-all", *many)
    more = {
        "boxes:d": {"value": "four", "secret": False},
        "boxes:e": {"value": "five", "secret": True},
    }
    cli.run("config", "set-all", "--json", json.dumps(more))
    found = values(cli)
    assert {key: found[key] for key in "abcde"} == {
        "a": "1",
        "b": "with=signs",
        "c": "closed",
        "d": "four",
        "e": "five",
    }
    assert all(secret not in kept(cli, "paths") for secret in ("deep", "closed", "five"))
    cli.run("config", "rm", "--path", "data.inner")
    assert "inner" not in cli.run("config", "get", "data")


def test_copied_to_another_stack_and_closed_anew(cli: Cli) -> None:
    """A ciphertext opens in its own stack alone; the CLI closes a copied value by the other."""
    cli.run("stack", "init", "target", "--no-select")
    cli.run("stack", "init", "source")
    cli.run("config", "set", "plain", "p")
    cli.run("config", "set", "--secret", "word", "open sesame")
    cli.run("config", "set", "--path", "--secret", "tree.leaf", "deep")
    cli.run("config", "cp", "word", "--dest", "target")
    assert values(cli, "--stack", "target") == {"word": "open sesame"}
    cli.run("config", "cp", "--dest", "target")
    assert cli.run("config", "get", "--path", "tree.leaf", "--stack", "target").strip() == "deep"
    cli.run("stack", "init", "twin", "--copy-config-from", "source")
    assert values(cli, "--stack", "twin") == values(cli, "--stack", "source")
    foreign = kept(cli, "source")
    (cli.project / "Pulumi.twin.yaml").write_text(foreign)
    refused = cli.run("config", "get", "word", "--stack", "twin", status=None)
    assert "[400] Bad Request" in refused
    assert "open sesame" not in refused


def test_fetched_again_from_the_last_update(cli: Cli) -> None:
    """Changes of the state by hand are updates too, and leave the configuration as it was."""
    cli.run("stack", "init", "fetched")
    assert "no previous deployment" in cli.run("config", "refresh", status=None)
    cli.run("config", "set", "plain", "p")
    cli.run("config", "set", "--secret", "word", "open sesame")
    cli.run("config", "set", "--path", "--secret", "tree.leaf", "deep")
    before = values(cli)
    cli.up()
    import_boxes(cli, "boxes", "fetched", "a")
    cli.run("stack", "rename", "fetched-again")
    file = cli.project / "Pulumi.fetched-again.yaml"
    file.unlink()
    cli.run("config", "refresh")
    assert values(cli) == before
    assert "open sesame" not in file.read_text()
    cli.run("config", "set", "plain", "changed")
    backed_up = cli.run("config", "refresh")
    assert "backed up existing configuration file" in backed_up
    assert values(cli)["plain"] == "p"
    cli.run("config", "set", "plain", "changed")
    cli.run("config", "refresh", "--force")
    assert values(cli) == before
