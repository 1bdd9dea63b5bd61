"""The .NET Automation API, by its command lines: read from its source, replayed with the real CLI.

No .NET runs here. What a server sees of that SDK are the CLI's own requests, so each of its methods
is one list of arguments and an environment; both are built here as `sdk/Pulumi.Automation` of
pulumi/pulumi-dotnet (2026-08) builds them, in its order, and its exceptions are told apart by its
patterns. The event log is a file instead of its gRPC address; the server sees no difference.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.conftest import RecordedSlipway
from tests.support.automation import (
    GIT_PASSWORD,
    GIT_USER,
    PREPARE,
    Sources,
    client_environment,
    serving_sources,
)
from tests.support.programs import repository
from tests.support.slipway import USER
from tests.support.waiting import wait_for

EXCEPTIONS = (
    ("StackNotFoundException", re.compile("no stack named.*found")),
    ("StackAlreadyExistsException", re.compile("stack.*already exists")),
    (
        "ConcurrentUpdateException",
        re.compile(re.escape("[409] Conflict: Another update is currently in progress.")),
    ),
)
"""`CommandException.CreateFromResult`: by standard error, the first that matches."""


class CommandException(Exception):
    """A command that failed; `name` is the SDK's exception."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass
class Workspace:
    """`LocalWorkspace`: runs commands in a directory, for a stack that is local or remote."""

    stack: str
    directory: Path
    environment: dict[str, str]
    remote: list[str] = field(default_factory=list)
    """What `GetRemoteArgs` gives; empty for a local workspace."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """What `OnEvent` was called with."""

    def run(self, *arguments: str, watched: bool = False) -> str:
        """`LocalPulumiCommand.RunAsync`; returns standard output."""
        process = self.begin(*arguments, watched=watched)
        return self.end(process)

    def begin(self, *arguments: str, watched: bool = False) -> subprocess.Popen[str]:
        log = self.directory / "events.json"
        added = [] if "--non-interactive" in arguments else ["--non-interactive"]
        environment = self.environment | ({"PULUMI_EXPERIMENTAL": "true"} if self.remote else {})
        if watched:
            log.unlink(missing_ok=True)
            added += ["--event-log", str(log)]
            environment |= {"PULUMI_DEBUG_COMMANDS": "true"}
        where = arguments.index("--") if "--" in arguments else len(arguments)
        return subprocess.Popen(
            ["pulumi", *arguments[:where], *added, *arguments[where:]],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> str:
        output, problem = process.communicate(timeout=120)
        log = self.directory / "events.json"
        if log.exists():
            self.events = [json.loads(line) for line in log.read_text().splitlines()]
        if process.returncode:
            names = [name for name, pattern in EXCEPTIONS if pattern.search(problem)]
            raise CommandException([*names, "CommandException"][0], output + problem)
        return output

    def on_stack(self, *arguments: str, watched: bool = False) -> str:
        """`WorkspaceStack.RunCommandAsync`."""
        return self.run(*arguments, "--stack", self.stack, watched=watched)

    # Workspace.

    def create(self) -> None:
        self.run("stack", "init", self.stack, *(["--no-select"] if self.remote else []))

    def select(self) -> None:
        self.run("stack", *([] if self.remote else ["select"]), "--stack", self.stack)

    def create_or_select(self) -> None:
        try:
            self.select()
        except CommandException as error:
            if error.name != "StackNotFoundException":
                raise
            self.create()

    def outputs(self) -> dict[str, tuple[Any, bool]]:
        masked = json.loads(self.on_stack("stack", "output", "--json"))
        plain = json.loads(
            self.run("stack", "output", "--json", "--show-secrets", "--stack", self.stack)
        )
        return {name: (value, masked[name] == "[secret]") for name, value in plain.items()}

    def export(self) -> Any:
        return json.loads(self.run("stack", "export", "--stack", self.stack, "--show-secrets"))

    def import_(self, state: Any) -> None:
        file = self.directory / "state.json"
        file.write_text(json.dumps(state))
        self.run("stack", "import", "--file", str(file), "--stack", self.stack)

    # WorkspaceStack.

    def up(self) -> dict[str, Any]:
        self.on_stack(*self.up_arguments(), watched=True)
        return self.info()

    def up_arguments(self) -> list[str]:
        head = ["up", "--yes", "--skip-preview", *self.remote]
        return [*head, "--exec-kind", "auto.local"]

    def preview(self) -> dict[str, int]:
        self.on_stack("preview", *self.remote, "--exec-kind", "auto.local", watched=True)
        return self.changes()

    def refresh(self) -> dict[str, Any]:
        arguments = ["refresh", "--yes", *self.remote, "--skip-preview"]
        self.on_stack(*arguments, "--exec-kind", "auto.local", watched=True)
        return self.info()

    def destroy(self) -> dict[str, Any]:
        arguments = ["destroy", "--yes", "--skip-preview", *self.remote]
        self.on_stack(*arguments, "--exec-kind", "auto.local")
        return self.info()

    def cancel(self) -> None:
        self.run("cancel", "--yes", "--stack", self.stack)

    def changes(self) -> dict[str, int]:
        """`SummaryEvent.ResourceChanges`; without such an event, the SDK throws."""
        found = [event["summaryEvent"] for event in self.events if "summaryEvent" in event]
        assert len(found) == 1
        return dict(found[0]["resourceChanges"])

    def info(self) -> dict[str, Any]:
        return self.history("--page-size", "1", "--page", "1")[0]

    def history(self, *paging: str) -> list[dict[str, Any]]:
        secrets = [] if self.remote else ["--show-secrets"]
        found = json.loads(self.on_stack("stack", "history", "--json", *secrets, *paging))
        return list(found)


@pytest.fixture(scope="module")
def environment(
    recorded_slipway: RecordedSlipway, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    return client_environment(recorded_slipway, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    with serving_sources(tmp_path_factory.mktemp("sources")) as served:
        yield served


LOCAL = """
import pulumi
config = pulumi.Config()
pulumi.export("plain", config.get("plain"))
pulumi.export("hidden", config.get_secret("hidden"))
"""


def config_of(workspace: Workspace) -> dict[str, Any]:
    text = workspace.run("config", "--show-secrets", "--json", "--stack", workspace.stack)
    return dict(json.loads(text))


def test_a_local_workspace(environment: dict[str, str], tmp_path: Path) -> None:
    directory = repository(tmp_path / "program", "local", LOCAL)
    stack = f"{USER}/local/dev"
    workspace = Workspace(stack, directory, environment)
    workspace.create_or_select()
    with pytest.raises(CommandException) as caught:
        workspace.create()
    assert caught.value.name == "StackAlreadyExistsException"

    one = ["--stack", stack, "--non-interactive", "--"]
    workspace.run("config", "set", "plain", "--plaintext", *one, "-text-")
    workspace.run("config", "set", "hidden", "--secret", *one, "s3cret")
    several = ["--path", "--plaintext", "list[0]=one", "--secret", "list[1]=two"]
    workspace.run("config", "set-all", "--stack", stack, *several)
    leaf = workspace.run("config", "get", "--path", "list[1]", "--json", "--stack", stack)
    assert json.loads(leaf)["value"] == "two"
    every = config_of(workspace)
    assert every["local:hidden"] == {"value": "s3cret", "secret": True}
    workspace.run("config", "rm", "list[1]", "--stack", stack, "--path")
    workspace.run("config", "rm-all", "--stack", stack, "list")
    assert set(config_of(workspace)) == {"local:plain", "local:hidden"}

    assert workspace.preview() == {"create": 1}
    assert workspace.up()["result"] == "succeeded"
    assert workspace.changes() == {"create": 1}
    assert workspace.outputs() == {"plain": ("-text-", False), "hidden": ("s3cret", True)}
    assert workspace.refresh()["kind"] == "refresh"
    workspace.run("config", "refresh", "--force", "--stack", stack)
    assert config_of(workspace)["local:hidden"]["value"] == "s3cret"
    workspace.import_(workspace.export())
    history = workspace.history()
    assert [each["kind"] for each in history] == ["import", "refresh", "update"]
    assert history[-1]["config"]["local:hidden"]["value"] == "s3cret"
    workspace.on_stack("state", "unprotect", "--all")

    workspace.run("stack", "tag", "set", "owner", "ada", "--stack", stack)
    assert workspace.run("stack", "tag", "get", "owner", "--stack", stack).strip() == "ada"
    tags = json.loads(workspace.run("stack", "tag", "ls", "--json", "--stack", stack))
    assert tags["owner"] == "ada"
    workspace.run("stack", "tag", "rm", "owner", "--stack", stack)
    assert json.loads(workspace.run("whoami", "--json"))["user"] == USER
    listed = json.loads(workspace.run("stack", "ls", "--json"))
    assert [each["name"] for each in listed] == ["dev"]

    assert workspace.destroy()["resourceChanges"] == {"delete": 1}
    workspace.run("stack", "rm", "--yes", stack)
    with pytest.raises(CommandException) as caught:
        workspace.select()
    assert caught.value.name == "StackNotFoundException"


def remote_arguments(url: str, folder: str, *more: str) -> list[str]:
    """`GetRemoteArgs` for `RemoteGitProgramArgs`, in its order."""
    source = ["--remote", url, "--remote-git-repo-dir", folder]
    return [*source, *more, "--remote-skip-install-dependencies"]


def with_password(*more: str) -> list[str]:
    credentials = ["--remote-git-auth-password", GIT_PASSWORD]
    credentials += ["--remote-git-auth-username", GIT_USER]
    return ["--remote-git-branch", "refs/heads/main", *credentials, *more]


def test_a_remote_workspace(environment: dict[str, str], sources: Sources, tmp_path: Path) -> None:
    wanted = ["--remote-env", "REGION=eu-west-1", "--remote-env-secret", "KEY=s3cret-key"]
    wanted += ["--remote-pre-run-command", PREPARE]
    arguments = remote_arguments(sources.http_url, "echo", *with_password(*wanted))
    workspace = Workspace(f"{USER}/remote/dev", tmp_path, environment, arguments)
    assert "--remote" in workspace.run("preview", "--help")
    workspace.create_or_select()
    with pytest.raises(CommandException) as caught:
        workspace.create()
    assert caught.value.name == "StackAlreadyExistsException"
    assert workspace.preview() == {"create": 2}
    summary = workspace.up()
    assert (summary["kind"], summary["result"]) == ("update", "succeeded")
    assert workspace.changes() == {"create": 2}
    outputs = workspace.outputs()
    assert outputs["region"] == ("eu-west-1", False)
    assert outputs["key"] == ("s3cret-key", True)
    assert outputs["prepared"] == ("prepared in eu-west-1", False)
    key = ["--remote-git-commit", sources.head]
    key += ["--remote-git-auth-ssh-private-key", sources.ssh.private_key]
    workspace.remote = remote_arguments(sources.ssh_url, "echo", *key)
    assert workspace.refresh()["kind"] == "refresh"
    workspace.import_(workspace.export())
    assert workspace.destroy()["resourceChanges"] == {"delete": 2}
    kinds = [each["kind"] for each in workspace.history()]
    assert kinds == ["destroy", "import", "refresh", "update"]
    workspace.run("stack", "rm", "--yes", workspace.stack)
    with pytest.raises(CommandException) as caught:
        workspace.select()
    assert caught.value.name == "StackNotFoundException"


def test_remote_failures_and_a_conflict(
    environment: dict[str, str], sources: Sources, tmp_path: Path
) -> None:
    hanging = remote_arguments(sources.http_url, "hanging", *with_password())
    workspace = Workspace(f"{USER}/remote/busy", tmp_path, environment, hanging)
    workspace.create()
    process = workspace.begin(*workspace.up_arguments(), "--stack", workspace.stack, watched=True)
    log = tmp_path / "events.json"
    wait_for(lambda: log.exists() and log.stat().st_size, "the update has begun", 60)
    here = repository(tmp_path / "here", "remote", LOCAL)
    local = Workspace(workspace.stack, here, environment)
    with pytest.raises(CommandException) as caught:
        local.up()
    assert caught.value.name == "ConcurrentUpdateException"
    workspace.cancel()
    with pytest.raises(CommandException) as caught:
        workspace.end(process)
    assert caught.value.name == "CommandException"

    workspace.remote = remote_arguments(sources.http_url, "failing", *with_password())
    with pytest.raises(CommandException, match="the remote program says no") as caught:
        workspace.up()
    assert caught.value.name == "CommandException"
    image = ["--remote-executor-image", "ghcr.io/acme/runner:1"]
    workspace.remote = [*workspace.remote, *image]
    with pytest.raises(CommandException, match=r"\[400\].*'ghcr\.io/acme/runner:1'"):
        workspace.up()
