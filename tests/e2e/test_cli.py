"""The real CLI on the machine of `slipway up`, with the line that `make up` prints."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import repository
from tests.support.slipway import USER, Slipway

PROGRAM = """
import pulumi
config = pulumi.Config()
pulumi.export("plain", config.require("plain"))
pulumi.export("hidden", config.require_secret("hidden"))
"""


class Cli:
    def __init__(self, slipway: Slipway, project: Path, home: Path) -> None:
        self.project = project
        self.environment = slipway.cli_environment(home)
        del self.environment["PULUMI_BACKEND_URL"]
        self.environment["PULUMI_CREDENTIALS_PATH"] = str(home)

    def run(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def cli(slipway: Slipway, tmp_path: Path) -> Cli:
    project = repository(tmp_path / "project", "by-hand", PROGRAM)
    return Cli(slipway, project, tmp_path / "home")


def test_a_deployment_and_the_cli_work_on_one_state(slipway: Slipway, cli: Cli) -> None:
    """Config secrets that a developer wrote are readable in a deployment, and the other way."""
    cli.run("login", slipway.url)
    name = f"{USER}/by-hand/shared"
    cli.run("stack", "init", name)
    cli.run("config", "set", "plain", "open")
    cli.run("config", "set", "--secret", "hidden", "under the rose")
    for arguments in (("add", "--all"), ("commit", "--quiet", "-m", "Config")):
        subprocess.run(
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.invalid", *arguments],
            cwd=cli.project,
            check=True,
        )
    stack = slipway.stack("by-hand", "other")  # a second stack does not disturb the first
    assert stack.outputs() == {}
    shared = type(stack)(slipway, USER, "by-hand", "shared")
    ended = shared.deploy(cli.project)
    assert "under the rose" not in shared.log(ended["id"])
    shown = json.loads(cli.run("stack", "output", "--json", "--show-secrets"))
    assert shown == {"plain": "open", "hidden": "under the rose"}
    cli.run("up", "--yes")
    history = json.loads(cli.run("stack", "history", "--json"))
    assert [each["kind"] for each in history] == ["update", "update"]
