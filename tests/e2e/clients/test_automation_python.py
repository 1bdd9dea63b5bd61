"""Python's Automation API: local programs, inline programs, and remote deployments."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import automation as auto
from pulumi.automation import errors
from pulumi.automation._local_workspace import ExecutorImage

from tests.e2e.clients.conftest import RecordedSlipway
from tests.support.automation import (
    GIT_PASSWORD,
    GIT_USER,
    PREPARE,
    PROJECT,
    Sources,
    client_environment,
    serving_sources,
)
from tests.support.programs import repository
from tests.support.slipway import USER
from tests.support.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The SDK leaves coroutines of inline programs that it cut off, and they complain when they go."""


@pytest.fixture(scope="module", autouse=True)
def environment(
    recorded_slipway: RecordedSlipway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The Automation API is a library: its settings are those of this process."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        for name, value in client_environment(recorded_slipway, home).items():
            patch.setenv(name, value)
        patch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
        yield


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Inline programs that were cut off end here, and not in the middle of pytest's own work."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    with serving_sources(tmp_path_factory.mktemp("sources")) as served:
        yield served


# Local workspaces.


class Thing(pulumi.ComponentResource):
    def __init__(self, name: str) -> None:
        super().__init__("test:index:Thing", name)
        self.register_outputs({})


def program() -> None:
    config = pulumi.Config()
    Thing("first")
    pulumi.export("plain", config.get("plain"))
    pulumi.export("hidden", config.get_secret("hidden"))


def inline(name: str, init: Any = auto.create_stack, run: Any = program) -> auto.Stack:
    stack: auto.Stack = init(f"{USER}/inline/{name}", project_name="inline", program=run)
    return stack


def shown(outputs: auto.OutputMap) -> dict[str, tuple[Any, bool]]:
    """Each output with whether it is a secret."""
    return {name: (output.value, output.secret) for name, output in outputs.items()}


def test_config_and_tags() -> None:
    stack = inline("config")
    stack.set_config("plain", auto.ConfigValue("text"))
    stack.set_config("hidden", auto.ConfigValue("s3cret", secret=True))
    stack.set_config("nested.deep[0]", auto.ConfigValue("leaf"), path=True)
    assert stack.get_config("hidden").value == "s3cret"
    assert stack.get_config("hidden").secret is True
    assert stack.get_config("nested.deep[0]", path=True).value == "leaf"
    stack.set_all_config(
        {
            "list[0]": auto.ConfigValue("one"),
            "list[1]": auto.ConfigValue("two", secret=True),
            "other": auto.ConfigValue("gone soon"),
        },
        path=True,
    )
    every = stack.get_all_config()
    assert set(every) == {f"inline:{key}" for key in ("plain", "hidden", "nested", "list", "other")}
    assert every["inline:hidden"].value == "s3cret"
    assert every["inline:list"].secret is True
    stack.remove_config("nested.deep", path=True)
    stack.remove_all_config(["list", "other"])
    assert set(stack.get_all_config()) == {"inline:plain", "inline:hidden", "inline:nested"}
    stack.set_tag("owner", "ada")
    assert stack.get_tag("owner") == "ada"
    tags = stack.list_tags()
    assert tags["owner"] == "ada"
    assert tags["pulumi:project"] == "inline"
    stack.remove_tag("owner")
    assert "owner" not in stack.list_tags()
    stack.workspace.remove_stack(stack.name)
    with pytest.raises(errors.StackNotFoundError):
        inline("config", auto.select_stack)


def test_an_inline_program_from_its_first_update_to_its_removal() -> None:
    stack = inline("dev")
    with pytest.raises(errors.StackAlreadyExistsError):
        inline("dev")
    stack = inline("dev", auto.create_or_select_stack)
    stack.set_config("plain", auto.ConfigValue("text"))
    stack.set_config("hidden", auto.ConfigValue("s3cret", secret=True))

    foreseen = stack.preview()
    assert foreseen.change_summary == {"create": 2}
    events: list[Any] = []
    said: list[str] = []
    done = stack.up(on_event=events.append, on_output=said.append, message="by a program")
    assert done.summary.result == "succeeded"
    assert done.summary.resource_changes == {"create": 2}
    assert done.summary.message == "by a program"
    outputs = shown(done.outputs)
    assert outputs == {"plain": ("text", False), "hidden": ("s3cret", True)}
    assert any("first" in line for line in said)
    assert [e.summary_event.resource_changes for e in events if e.summary_event] == [{"create": 2}]
    assert shown(stack.outputs()) == outputs

    assert stack.preview(expect_no_changes=True).change_summary == {"same": 2}
    assert stack.refresh().summary.kind == "refresh"
    exported = stack.export_stack()
    stack.import_stack(exported)
    assert stack.export_stack().deployment["resources"] == exported.deployment["resources"]

    history = stack.history(show_secrets=True)
    assert [each.kind for each in history] == ["import", "refresh", "update"]
    assert [each.version for each in history] == [3, 2, 1]
    assert history[2].config["inline:hidden"].value == "s3cret"
    assert [each.version for each in stack.history(page_size=1, page=2)] == [2]
    summary = stack.info()
    assert summary is not None
    assert summary.version == 3

    stack.rename(f"{USER}/inline/renamed")
    assert stack.outputs()["hidden"].value == "s3cret"
    names = [each.name for each in stack.workspace.list_stacks()]
    assert any(name.endswith("renamed") for name in names), names
    assert not any(name.endswith("/dev") for name in names)
    assert stack.destroy(remove=True).summary.resource_changes == {"delete": 2}
    assert stack.workspace.list_stacks() == []


def test_who_am_i() -> None:
    who = auto.LocalWorkspace().who_am_i()
    assert (who.user, who.organizations) == (USER, [USER])


def test_errors_have_types() -> None:
    def failing() -> None:
        raise Exception("the inline program says no")

    stack = inline("failing", run=failing)
    with pytest.raises(errors.InlineSourceRuntimeError, match="says no"):
        stack.up()
    assert [each.result for each in stack.history()] == ["failed"]
    with pytest.raises(errors.CommandError):
        stack.get_config("missing")
    with pytest.raises(errors.CommandError):
        stack.get_tag("missing")
    with pytest.raises(errors.StackNotFoundError):
        inline("nobody-made-it", auto.select_stack)


def test_a_second_update_is_a_conflict_and_the_first_can_be_cancelled() -> None:
    started, go_on = threading.Event(), threading.Event()

    def waiting() -> None:
        started.set()
        go_on.wait(60)

    stack = inline("busy", run=waiting)
    first = in_background(stack.up)
    try:
        assert started.wait(60)
        with pytest.raises(errors.ConcurrentUpdateError):
            inline("busy", auto.select_stack).up()
        stack.cancel()
    finally:
        go_on.set()
    assert isinstance(first.error(), errors.CommandError)
    inline("busy", auto.select_stack).up()


def test_a_local_program(tmp_path: Path) -> None:
    source = 'import os, pulumi\npulumi.export("colour", os.environ.get("COLOUR"))\n'
    directory = repository(tmp_path / "program", "local", source)
    name = f"{USER}/local/dev"
    options = auto.LocalWorkspaceOptions(env_vars={"COLOUR": "red"})
    stack = auto.create_or_select_stack(name, work_dir=str(directory), opts=options)
    assert stack.up().outputs["colour"].value == "red"
    stack.workspace.env_vars["COLOUR"] = "blue"
    assert stack.up().outputs["colour"].value == "blue"
    (directory / "__main__.py").write_text("import pulumi\nraise Exception('broken')\n")
    with pytest.raises(errors.CommandError, match="broken"):
        stack.preview()
    assert stack.destroy().summary.result == "succeeded"
    stack.workspace.remove_stack(name)


# Remote workspaces.

BASIC = auto.RemoteGitAuth(username=GIT_USER, password=GIT_PASSWORD)


def remote(
    name: str,
    url: str | None,
    folder: str | None = "echo",
    init: Any = auto.create_remote_stack_git_source,
    auth: auto.RemoteGitAuth | None = BASIC,
    commit_hash: str | None = None,
    **options: Any,
) -> auto.RemoteStack:
    stack: auto.RemoteStack = init(
        f"{USER}/{PROJECT}/{name}",
        url,
        branch=None if commit_hash or url is None else "main",
        commit_hash=commit_hash,
        project_path=folder,
        auth=auth,
        opts=auto.RemoteWorkspaceOptions(**({"skip_install_dependencies": True} | options)),
    )
    return stack


def test_a_remote_program_from_its_first_update_to_its_end(
    recorded_slipway: RecordedSlipway, sources: Sources
) -> None:
    options = {
        "env_vars": {"REGION": "eu-west-1", "KEY": auto.Secret("s3cret-key")},
        "pre_run_commands": [PREPARE],
        "executor_image": ExecutorImage(image="pulumi/pulumi:latest"),
    }
    stack = remote("dev", sources.http_url, **options)
    with pytest.raises(errors.StackAlreadyExistsError):
        remote("dev", sources.http_url)

    assert stack.preview().change_summary == {"create": 2}
    events: list[Any] = []
    said: list[str] = []
    done = stack.up(on_event=events.append, on_output=said.append)
    assert done.summary.kind == "update"
    assert done.summary.result == "succeeded"
    outputs = shown(done.outputs)
    assert outputs == {
        "region": ("eu-west-1", False),
        "key": ("s3cret-key", True),
        "prepared": ("prepared in eu-west-1", False),
        "nested": ({"numbers": [1, 2.5], "nothing": None, "yes": True}, False),
    }
    assert any("thing" in line for line in said)
    assert "s3cret-key" not in done.stdout
    assert [e.summary_event.resource_changes for e in events if e.summary_event] == [{"create": 2}]

    again = remote("dev", sources.http_url, init=auto.select_remote_stack_git_source, **options)
    assert shown(again.outputs()) == outputs
    assert again.refresh().summary.kind == "refresh"
    exported = again.export_stack()
    again.import_stack(exported)
    assert again.destroy().summary.resource_changes == {"delete": 2}
    kinds = [each.kind for each in again.history()]
    assert kinds == ["destroy", "import", "refresh", "update"]
    assert [each.version for each in again.history(page_size=2, page=2)] == [2, 1]

    deployments = recorded_slipway.http.get(f"/api/stacks/{stack.name}/deployments").json()
    assert {each["initiator"] for each in deployments["deployments"]} == {"automation-api"}
    assert deployments["total"] == 4


def test_inherited_settings_and_ssh_keys(
    recorded_slipway: RecordedSlipway, sources: Sources
) -> None:
    stack = remote(
        "kept",
        sources.ssh_url,
        init=auto.create_or_select_remote_stack_git_source,
        auth=auto.RemoteGitAuth(ssh_private_key=sources.ssh.private_key),
        commit_hash=sources.head,
    )
    assert stack.up().outputs["region"].value == ""
    settings = {
        "sourceContext": {
            "git": {
                "repoUrl": sources.ssh_url,
                "branch": "refs/heads/main",
                "repoDir": "echo",
                "gitAuth": {"sshAuth": {"sshPrivateKey": {"secret": sources.ssh.private_key}}},
            }
        },
        "operationContext": {
            "environmentVariables": {"REGION": "kept", "KEY": {"secret": "kept-too"}},
            "preRunCommands": [PREPARE],
            "options": {"skipInstallDependencies": True},
        },
    }
    path = f"/api/stacks/{stack.name}/deployments/settings"
    assert recorded_slipway.http.put(path, json=settings).status_code == 200
    inheriting = remote(
        "kept",
        None,
        None,
        init=auto.create_or_select_remote_stack_git_source,
        auth=None,
        inherit_settings=True,
        skip_install_dependencies=None,
        env_vars={"REGION": "overridden"},
    )
    outputs = shown(inheriting.up().outputs)
    assert outputs["region"] == ("overridden", False)
    assert outputs["key"] == ("kept-too", True)
    assert outputs["prepared"] == ("prepared in overridden", False)


def test_what_goes_wrong_remotely_is_an_error_with_its_text(sources: Sources) -> None:
    stack = remote("wrong", sources.http_url, "failing")
    with pytest.raises(errors.CommandError, match="the remote program says no"):
        stack.up()
    with pytest.raises(errors.CommandError, match="the remote program says no"):
        stack.preview()
    missing = auto.select_remote_stack_git_source
    with pytest.raises(errors.StackNotFoundError):
        remote("nobody-made-it", sources.http_url, init=missing)
    select = auto.select_remote_stack_git_source
    image = ExecutorImage(image="ghcr.io/acme/runner:1")
    other_image = remote("wrong", sources.http_url, init=select, executor_image=image)
    with pytest.raises(errors.CommandError, match=r"\[400\].*'ghcr\.io/acme/runner:1'"):
        other_image.up()
    wrong = auto.RemoteGitAuth(username=GIT_USER, password="not-the-password")
    with pytest.raises(errors.CommandError, match="uthentication") as caught:
        remote("wrong", sources.http_url, init=select, auth=wrong).up()
    assert "not-the-password" not in str(caught.value)


def test_a_running_deployment_is_a_conflict_for_others_and_can_be_cancelled(
    recorded_slipway: RecordedSlipway, sources: Sources, tmp_path: Path
) -> None:
    stack = remote("busy", sources.http_url, "hanging")
    first = in_background(stack.up)

    def running() -> bool:
        deployments = recorded_slipway.http.get(f"/api/stacks/{stack.name}/deployments").json()
        return any(each["updates"] for each in deployments["deployments"])

    wait_for(running, "the update of the deployment has begun", 60)
    here = auto.select_stack(stack.name, project_name=PROJECT, program=program)
    with pytest.raises(errors.ConcurrentUpdateError):
        here.up()
    remote("busy", sources.http_url, init=auto.select_remote_stack_git_source).cancel()
    assert isinstance(first.error(), errors.CommandError)
    assert here.history()[0].result == "failed"
    here.up()


class Background:
    """A call in a thread, and how it ended."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._error: Exception | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self._error = error

    def error(self, seconds: float = 60) -> Exception | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the call has not ended"
        return self._error


def in_background(call: Callable[[], Any]) -> Background:
    return Background(call)
