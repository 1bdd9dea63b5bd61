"""What every language's Automation API must see: one list of expectations for all drivers.

A driver in `automation/` runs a scenario with its language's SDK, in a process of its own, and
prints what the SDK answered.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.automation import (
    GIT_PASSWORD,
    GIT_USER,
    PREPARE,
    client_environment,
    serving_sources,
)
from tests.support.programs import repository
from tests.support.slipway import USER, Slipway

SECONDS_MAX = 180

LOCAL_PROGRAM = """
import os, pulumi
pulumi.export("colour", os.environ.get("COLOUR"))
"""

Answer = dict[str, Any]


@dataclass
class Driver:
    """A program that uses the Automation API of one language."""

    command: list[str]
    environment: dict[str, str]
    request: dict[str, str]
    answers: dict[str, Answer] = field(default_factory=dict)

    def run(self, scenario: str) -> Answer:
        """What the program printed for a scenario, which it runs once."""
        if scenario not in self.answers:
            self.answers[scenario] = self._run(scenario)
        return self.answers[scenario]

    def _run(self, scenario: str) -> Answer:
        done = subprocess.run(
            [*self.command, scenario],
            env=self.environment,
            input=json.dumps(self.request),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return dict(json.loads(done.stdout))


@contextmanager
def driving(command: list[str], slipway: Slipway, directory: Path) -> Iterator[Driver]:
    """A driver for a server, with programs that can be deployed while the block lasts."""
    with serving_sources(directory / "sources") as sources:
        request = {
            "user": USER,
            "directory": str(repository(directory / "local", "local", LOCAL_PROGRAM)),
            "httpUrl": sources.http_url,
            "gitUser": GIT_USER,
            "gitPassword": GIT_PASSWORD,
            "sshUrl": sources.ssh_url,
            "keyFile": str(sources.key_file),
            "commit": sources.head,
            "prepare": PREPARE,
        }
        yield Driver(command, client_environment(slipway, directory / "home"), request)


def config(answer: Answer) -> None:
    assert answer["gone"]["type"] == "StackNotFoundError"
    assert {key: value for key, value in answer.items() if key != "gone"} == {
        "hidden": ["s3cret", True],
        "leaf": "leaf",
        "all": ["inline:hidden", "inline:list", "inline:nested", "inline:plain"],
        "left": ["inline:hidden", "inline:nested"],
        "tag": "ada",
        "project": "inline",
        "tagIsGone": True,
        "user": USER,
        "organizations": [USER],
    }


def local(answer: Answer) -> None:
    assert answer["exists"]["type"] == "StackAlreadyExistsError"
    assert answer["preview"] == {"create": 2}
    assert answer["up"] == ["update", "succeeded", {"create": 2}, "by a program"]
    assert answer["upOutputs"] == {"plain": ["text", False], "hidden": ["s3cret", True]}
    assert answer["outputs"] == answer["upOutputs"]
    assert "first" in answer["said"]
    assert answer["summaries"] == [{"create": 2}]
    assert answer["refresh"] == "refresh"
    assert answer["stateIsTheSame"] is True
    assert answer["history"] == [
        [3, "import", "succeeded"],
        [2, "refresh", "succeeded"],
        [1, "update", "succeeded"],
    ]
    assert answer["historicalSecret"] == "s3cret"
    assert answer["page"] == [2]
    assert [name for name in answer["stacks"] if name.endswith("renamed")]
    assert not [name for name in answer["stacks"] if name.endswith("dev")]
    assert answer["destroy"] == {"delete": 2}


def local_program(answer: Answer) -> None:
    assert answer == {"outputs": {"colour": ["red", False]}, "destroy": "succeeded"}


def conflict(answer: Answer) -> None:
    assert answer["second"]["type"] == "ConcurrentUpdateError"
    assert answer["cancelled"]["type"] == "CommandError"
    assert answer["failing"]["type"] == "CommandError"
    assert "the inline program says no" in answer["failing"]["text"]
    assert answer["missing"]["type"] == "StackNotFoundError"
    assert answer["afterwards"]["type"] == "none", answer


def remote_lifecycle(answer: Answer) -> None:
    assert answer["exists"]["type"] == "StackAlreadyExistsError"
    assert answer["preview"] == {"create": 2}
    assert answer["up"] == ["update", "succeeded"]
    assert answer["upOutputs"] == {
        "region": ["eu-west-1", False],
        "key": ["s3cret-key", True],
        "prepared": ["prepared in eu-west-1", False],
        "nested": [{"numbers": [1, 2.5], "nothing": None, "yes": True}, False],
    }
    assert answer["outputs"] == answer["upOutputs"]
    assert "thing" in answer["said"]
    assert "s3cret-key" not in answer["said"]
    assert answer["summaries"] == [{"create": 2}]
    assert answer["refresh"] == "refresh"
    assert answer["destroy"] == {"delete": 2}
    assert answer["history"] == ["destroy", "import", "refresh", "update"]
    assert answer["page"] == [2, 1]


def remote_inherited(answer: Answer) -> None:
    assert answer["own"]["region"] == ["", False]
    assert answer["inherited"]["region"] == ["overridden", False]
    assert answer["inherited"]["key"] == ["kept-too", True]
    assert answer["inherited"]["prepared"] == ["prepared in overridden", False]


def remote_errors(answer: Answer) -> None:
    assert answer["up"]["type"] == "CommandError"
    assert "the remote program says no" in answer["up"]["text"]
    assert answer["missing"]["type"] == "StackNotFoundError"
    assert answer["image"]["type"] == "CommandError"
    assert "[400]" in answer["image"]["text"]
    assert "'ghcr.io/acme/runner:1'" in answer["image"]["text"]


def remote_conflict(answer: Answer) -> None:
    assert answer["second"]["type"] == "ConcurrentUpdateError"
    assert answer["cancelled"]["type"] == "CommandError"
    assert answer["afterwards"]["type"] == "none", answer


CHECKS: dict[str, Callable[[Answer], None]] = {
    "config": config,
    "local": local,
    "local-program": local_program,
    "conflict": conflict,
    "remote-lifecycle": remote_lifecycle,
    "remote-inherited": remote_inherited,
    "remote-errors": remote_errors,
    "remote-conflict": remote_conflict,
}


def keep_settings(slipway: Slipway, request: dict[str, str]) -> None:
    """Deployment settings for the stack that `remote-inherited` deploys by nothing else."""
    key = Path(request["keyFile"]).read_text()
    slipway.stack("remote", "kept")
    settings = {
        "sourceContext": {
            "git": {
                "repoUrl": request["sshUrl"],
                "branch": "refs/heads/main",
                "repoDir": "echo",
                "gitAuth": {"sshAuth": {"sshPrivateKey": {"secret": key}}},
            }
        },
        "operationContext": {
            "environmentVariables": {"REGION": "kept", "KEY": {"secret": "kept-too"}},
            "preRunCommands": [request["prepare"]],
            "options": {"skipInstallDependencies": True},
        },
    }
    path = f"/api/stacks/{request['user']}/remote/kept/deployments/settings"
    answer = slipway.http.put(path, json=settings)
    assert answer.status_code == 200, answer.text
