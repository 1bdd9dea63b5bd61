"""The main job: a program goes from a REST call through queue and actor to a finished update."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import (
    DEAF,
    FAILING,
    HANGING,
    NOT_PYTHON,
    OUTPUTS,
    commit,
    git,
    repository,
    write,
)
from tests.support.slipway import USER, Slipway, Stack
from tests.support.waiting import wait_for

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@pytest.mark.parametrize("language", ["python", "nodejs", "go"])
def test_every_language_is_deployed_and_destroyed(
    slipway: Slipway, tmp_path: Path, language: str
) -> None:
    source = tmp_path / "program"
    shutil.copytree(
        EXAMPLES / language, source, ignore=shutil.ignore_patterns("venv", "node_modules")
    )
    git(source, "init", "--quiet", "--initial-branch=main")
    head = commit(source, "The example")
    stack = slipway.stack(f"hello-{language}")

    ended = stack.wait(stack.submit(source, install=True)["id"], seconds=240)

    assert ended["status"] == "succeeded", stack.log(ended["id"])
    assert ended["commit"]["sha"] == head
    names = [step["name"] for step in ended["jobs"][0]["steps"]]
    assert names == ["Get source", "Download dependencies", "pulumi update"]
    assert {step["status"] for step in ended["jobs"][0]["steps"]} == {"succeeded"}
    outputs = stack.outputs()
    assert outputs["greeting"] == "Hello, world!"
    assert "ciphertext" in outputs["password"], "a secret output is stored encrypted"

    again = stack.deploy(source, install=True)
    assert "unchanged" in stack.log(again["id"])
    assert [update["kind"] for update in again["updates"]] == ["update"]

    stack.deploy(source, "destroy", install=True)
    assert stack.outputs() == {}
    assert stack.http.delete(f"{stack.path}?force=false").status_code == 204


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("programs") / "plain", "plain", OUTPUTS)


def test_preview_refresh_and_the_drift_operations(slipway: Slipway, program: Path) -> None:
    stack = slipway.stack("plain", "operations")
    preview = stack.deploy(program, "preview")
    assert stack.outputs() == {}, "a preview changes nothing"
    assert [update["kind"] for update in preview["updates"]] == ["preview"]
    stack.deploy(program, "update")
    assert stack.outputs() == {"answer": 42}
    for operation in ("refresh", "detect-drift", "remediate-drift"):
        stack.deploy(program, operation)
    history = slipway.http.get(f"{stack.path}/updates?page=1&pageSize=10").json()["updates"]
    assert {each["result"] for each in history} == {"succeeded"}


NETWORK = """
import pulumi
pulumi.export("address", "10.0.0.1")
pulumi.export("password", pulumi.Output.secret("correct horse"))
"""
APPLICATION = """
import pulumi
network = pulumi.StackReference(f"{pulumi.get_organization()}/network/dev")
password = network.require_output("password")
pulumi.export("address", network.require_output("address"))
pulumi.export("password", password)
pulumi.export("length", pulumi.Output.unsecret(password.apply(len)))
"""


def test_a_program_refers_to_another_stack_and_its_secrets(
    slipway: Slipway, tmp_path: Path
) -> None:
    network, application = slipway.stack("network"), slipway.stack("application")
    network.deploy(repository(tmp_path / "network", "network", NETWORK))
    source = repository(tmp_path / "application", "application", APPLICATION)

    application.deploy(source)

    outputs = application.outputs()
    assert (outputs["address"], outputs["length"]) == ("10.0.0.1", len("correct horse"))
    assert "ciphertext" in outputs["password"], "a secret stays one"
    assert outputs["password"] != network.outputs()["password"], "under the stack's own key"


def test_cleared_caches_are_not_used_again(slipway: Slipway, program: Path) -> None:
    stack = slipway.stack("plain", "cached")
    stack.deploy(program)
    answer = stack.http.delete(f"{stack.path}/deployments/cache")
    assert answer.status_code == 200
    told = [stack.log(stack.deploy(program)["id"]).count("The caches were cleared") for _ in "12"]
    assert told == [1, 0]


def test_a_branch_a_commit_and_a_directory_are_found(slipway: Slipway, tmp_path: Path) -> None:
    source = repository(tmp_path / "mono", "mono", OUTPUTS)
    first = git(source, "rev-parse", "HEAD")
    write(source, {"__main__.py": "import pulumi\npulumi.export('answer', 43)\n"})
    commit(source, "Another answer")
    stack = slipway.stack("mono")
    stack.deploy(source)
    assert stack.outputs() == {"answer": 43}
    stack.deploy(source, git={"branch": "", "commit": first})
    assert stack.outputs() == {"answer": 42}

    git(source, "checkout", "--quiet", "-b", "nested")
    (source / "deep" / "er").mkdir(parents=True)
    for name in ("Pulumi.yaml", "__main__.py"):
        git(source, "mv", name, f"deep/er/{name}")
    commit(source, "Moved")
    stack.deploy(source, git={"branch": "refs/heads/nested", "repoDir": "deep/er"})
    assert stack.outputs() == {"answer": 43}


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"git": {"branch": "nowhere"}}, "source_error", "nowhere"),
        ({"git": {"repoUrl": "/does/not/exist.git"}}, "source_error", "/does/not/exist.git"),
        ({"git": {"repoDir": "no/such/dir"}}, "source_error", "no/such/dir"),
        ({"git": {"commit": "0" * 40, "branch": ""}}, "source_error", "0" * 40),
        ({"operationContext": {"preRunCommands": ["exit 7"]}}, "prerun_error", "7"),
    ],
)
def test_what_is_wrong_is_named(
    slipway: Slipway, program: Path, change: dict, reason: str, words: str
) -> None:
    stack = slipway.http and Stack(slipway, USER, "plain", "wrong")
    slipway.http.post(f"/api/stacks/{USER}/plain", json={"stackName": "wrong"})
    ended = stack.wait(stack.submit(program, **change)["id"])
    assert (ended["status"], ended["reason"]) == ("failed", reason), stack.log(ended["id"])
    assert words in ended["message"]
    assert "Traceback" not in ended["message"]


@pytest.mark.parametrize(("source", "words"), [(FAILING, "says no"), (NOT_PYTHON, "SyntaxError")])
def test_a_failing_program_fails_the_deployment_and_not_the_next(
    slipway: Slipway, tmp_path: Path, source: str, words: str
) -> None:
    project = f"failing-{words.split()[0].lower()}"
    program = repository(tmp_path / "program", project, source)
    stack = slipway.stack(project)
    ended = stack.wait(stack.submit(program)["id"])
    assert (ended["status"], ended["reason"]) == ("failed", "cli_exit")
    assert words in stack.log(ended["id"])
    write(program, {"__main__.py": OUTPUTS})
    commit(program, "Mended")
    stack.deploy(program)


def test_a_graceful_cancel_reaches_the_program_and_frees_the_stack(
    slipway: Slipway, tmp_path: Path, program: Path
) -> None:
    hanging = repository(tmp_path / "hanging", "plain", HANGING)
    stack = slipway.stack("plain", "cancelled")
    submitted = stack.submit(hanging)
    queued = stack.submit(program)
    stack.wait_for_log(submitted["id"], "hanging now")
    assert stack.deployment(queued["id"])["status"] == "not-started"

    answer = slipway.http.post(f"{stack.path}/deployments/{submitted['id']}/cancel")

    assert answer.status_code == 200
    ended = stack.wait(submitted["id"], seconds=30)
    assert (ended["status"], ended["reason"]) == ("failed", "cancelled")
    assert stack.wait(queued["id"])["status"] == "succeeded"


def test_a_program_that_ignores_every_signal_is_ended_now(slipway: Slipway, tmp_path: Path) -> None:
    deaf = repository(tmp_path / "deaf", "deaf", DEAF)
    stack = slipway.stack("deaf")
    submitted = stack.submit(deaf)
    stack.wait_for_log(submitted["id"], "deaf now")
    slipway.http.post(f"{stack.path}/deployments/{submitted['id']}/cancel?mode=now")
    ended = stack.wait(submitted["id"], seconds=20)
    assert (ended["status"], ended["reason"]) == ("failed", "cancelled")
    wait_for(lambda: not slipway.pids(str(deaf)), "the program's processes are gone", 5)


def test_a_queued_deployment_is_cancelled_at_once(slipway: Slipway, tmp_path: Path) -> None:
    hanging = repository(tmp_path / "hanging", "queued", HANGING)
    stack = slipway.stack("queued")
    first, second = stack.submit(hanging), stack.submit(hanging)
    slipway.http.post(f"{stack.path}/deployments/{second['id']}/cancel")
    skipped = stack.deployment(second["id"])
    assert (skipped["status"], skipped["reason"]) == ("skipped", "cancelled")
    slipway.http.post(f"{stack.path}/deployments/{first['id']}/cancel?mode=now")
    assert stack.wait(first["id"])["status"] == "failed"


def test_variables_pre_run_commands_and_settings(slipway: Slipway, tmp_path: Path) -> None:
    source = repository(
        tmp_path / "env",
        "env",
        "import os, pulumi\n"
        "for name in ('PLAIN', 'HIDDEN', 'FROM_PRE_RUN', 'PULUMI_CI_OPERATION'):\n"
        "    pulumi.export(name, os.environ.get(name))\n"
        "print('hidden is', os.environ['HIDDEN'])\n",
    )
    stack = slipway.stack("env")
    settings = {
        "sourceContext": {"git": {"repoUrl": str(source), "branch": "main"}},
        "operationContext": {
            "environmentVariables": {"PLAIN": "one", "HIDDEN": {"secret": "hunter2-hunter2"}},
            "preRunCommands": ['echo "FROM_PRE_RUN=$HIDDEN" | tr a-z A-Z >> "$PULUMI_ENV"'],
        },
    }
    answer = slipway.http.post(f"{stack.path}/deployments/settings", json=settings)
    assert answer.status_code == 200, answer.text
    assert "hunter2" not in answer.text

    ended = stack.deploy(None)

    outputs = stack.outputs()
    assert outputs["PLAIN"] == "one"
    assert outputs["PULUMI_CI_OPERATION"] == "update"
    assert outputs["HIDDEN"] == "hunter2-hunter2", "what a program exports is its own affair"
    log = stack.log(ended["id"])
    assert "hidden is [secret]" in log
    assert "hunter2" not in log


def test_I6_no_secret_is_on_the_disk(slipway: Slipway, tmp_path: Path) -> None:
    """Everything the server and the runner keep is searched for a secret that passed through."""
    secret = "correct-horse-battery-staple"
    source = repository(
        tmp_path / "secretive",
        "secretive",
        "import os\nprint('value', os.environ['SECRET'])\n"
        "raise Exception('failing with ' + os.environ['SECRET'])\n",
    )
    stack = slipway.stack("secretive")
    request = {"environmentVariables": {"SECRET": {"secret": secret}}}
    ended = stack.wait(stack.submit(source, operationContext=request)["id"])
    assert ended["status"] == "failed"
    assert secret not in ended["message"]
    assert "value [secret]" in stack.log(ended["id"])
    found = subprocess.run(
        ["grep", "-rlaF", secret, str(slipway.data_dir)], capture_output=True, text=True
    )
    assert found.stdout == ""
