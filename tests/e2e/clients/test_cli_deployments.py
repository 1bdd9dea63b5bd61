"""The CLI's `deployment …` and `--remote`: deployments run, followed, listed, cancelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.conftest import RecordedSlipway
from tests.support.cli import Cli
from tests.support.programs import HANGING, commit, repository
from tests.support.slipway import TOKEN, USER, Stack

PROGRAM = """
import os
import pulumi
config = pulumi.Config()
print("the place is", os.environ.get("PLACE"), flush=True)
pulumi.export("place", os.environ.get("PLACE"))
pulumi.export("hidden", config.get_secret("hidden"))
"""

SOURCE = ("--git-branch", "main", "--skip-install-dependencies")
REMOTE_SOURCE = ("--remote-git-branch", "main", "--remote-skip-install-dependencies")
EXPERIMENTAL = {"PULUMI_EXPERIMENTAL": "true"}


@pytest.fixture
def cli(recorded_slipway: RecordedSlipway, tmp_path: Path) -> Cli:
    project = repository(tmp_path / "project", "remote", PROGRAM)
    return Cli(recorded_slipway.url, project, tmp_path / "home", TOKEN)


def listed(cli: Cli) -> list[dict[str, Any]]:
    found = cli.json("deployment", "list", "--output", "json", "--all")
    return list(found["deployments"] if isinstance(found, dict) else found)


def test_settings_then_runs_that_inherit_them(cli: Cli) -> None:
    cli.run("stack", "init", "settled")
    assert "No deployments found" in cli.run("deployment", "list")
    assert "[404]" in cli.run("deployment", "settings", "get", status=1)
    edit = ("deployment", "settings", "edit")
    cli.run(
        *(*edit, "--git-url", str(cli.project), "--branch", "main", "--skip-install-deps"),
        *("--env", "PLACE=home", "--secret-env", "WORD=open sesame"),
        *("--pre-run-command", "echo before", "--output", "json"),
    )
    shown = cli.run("deployment", "settings", "get", "--output", "json")
    assert "open sesame" not in shown
    settings = json.loads(shown)
    assert settings["source"]["repository"] == str(cli.project)
    assert settings["environmentVariables"] == ["PLACE", "WORD"]
    assert settings["preRunCommands"] == ["echo before"]
    assert "main" in cli.run("deployment", "settings", "get")
    cli.run(*edit, "--remove-env", "WORD", "--env", "PLACE=abroad")
    assert "WORD" not in cli.run("deployment", "settings", "get", "--output", "json")
    followed = cli.run("deployment", "run", "update", "--suppress-stream-logs=false")
    assert "the place is abroad" in followed
    assert "before" in followed
    assert cli.run("stack", "output", "place").strip() == "abroad"
    (only,) = listed(cli)
    assert (only["version"], only["status"]) == (1, "succeeded")
    got = cli.run("deployment", "get", only["id"])
    assert "succeeded" in got
    log = cli.run("deployment", "log", "1", "--all")
    assert "the place is abroad" in log


def test_a_run_is_cancelled(recorded_slipway: RecordedSlipway, cli: Cli) -> None:
    cli.run("stack", "init", "hung")
    cli.program(HANGING)
    commit(cli.project, "It hangs")
    cli.run("deployment", "run", "update", str(cli.project), *SOURCE)
    (only,) = listed(cli)
    stack = Stack(recorded_slipway, USER, "remote", "hung")
    stack.wait_for_log(only["id"], "hanging now")
    refused = cli.run("up", "--yes", "--skip-preview", status=None)
    assert "[409] Conflict: Another update is currently in progress." in refused
    cli.run("deployment", "cancel", only["id"], "--yes")
    stack.wait(only["id"])
    (only,) = listed(cli)
    assert only["status"] == "failed"
    again = cli.run("deployment", "cancel", only["id"], "--yes", status=None)
    assert "panic" not in again
    assert "[404]" in cli.run("deployment", "get", "nope", status=None)


def test_the_four_operations_by_remote(cli: Cli) -> None:
    stack = f"{USER}/remote/far"
    cli.run("stack", "init", stack)
    where = (str(cli.project), "--stack", stack, *REMOTE_SOURCE)
    env = ("--remote-env", "PLACE=far", "--remote-env-secret", "WORD=open sesame")
    seen = cli.run("preview", "--remote", *where, *env, **EXPERIMENTAL)
    assert "1 to create" in seen
    done = cli.run("up", "--remote", "--yes", *where, *env, **EXPERIMENTAL)
    assert "the place is far" in done
    assert "open sesame" not in done
    assert cli.run("stack", "output", "place").strip() == "far"
    cli.run("refresh", "--remote", "--yes", *where, **EXPERIMENTAL)
    cli.run("destroy", "--remote", "--yes", *where, **EXPERIMENTAL)
    kinds = [each["kind"] for each in cli.json("stack", "history", "--json")]
    assert kinds == ["destroy", "refresh", "update"]
    assert cli.resources() == []
    missing = (str(cli.project), "--stack", f"{USER}/remote/nowhere", *REMOTE_SOURCE)
    refused = cli.run("up", "--remote", "--yes", *missing, status=None, **EXPERIMENTAL)
    assert "[404]" in refused
