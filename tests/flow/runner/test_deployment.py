"""One deployment through the runner: its pipeline and how it ends. The control plane is a fake."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import msgspec
import pytest

from runner_actors.contract import (
    Concluded,
    LogEnded,
    SourceResolved,
    StepEnded,
    StepStarted,
    Value,
)
from runner_actors.process_tree import marked
from runner_actors.reports import RunnerStatus, RunReport
from runner_actors.shim import MARKER
from tests.flow.runner.node import Node, sh, small_disk
from tests.support.programs import commit, write
from tests.support.waiting import eventually

HANGING = "trap 'echo interrupted; exit 255' INT; echo hanging now; sleep 600 & wait"
DEAF = "trap '' INT TERM; echo deaf now; sleep 600 & wait; wait"


def processes(node: Node) -> list[int]:
    grant = node.grant()
    return marked(MARKER, f"{grant.deployment_id}.{grant.generation}")


async def started(node: Node, **changes: object) -> asyncio.Task[RunReport]:
    """A deployment whose program has begun to run."""
    runner = node.runner(**{k: v for k, v in changes.items() if k in ("output_bytes_max",)})
    grant = node.grant(**{k: v for k, v in changes.items() if k not in ("output_bytes_max",)})
    running = asyncio.create_task(node.deploy(runner, grant))
    await eventually(lambda: " now\n" in node.log(), "the program runs")
    return running


async def test_a_deployment_from_grant_to_conclusion(node: Node) -> None:
    sha = node.program("echo hello from $1")
    report = await node.deploy(node.runner())
    assert (report.ended, report.reason) == ("concluded", "completed")
    assert node.steps() == [
        ("Get source", True),
        ("Download dependencies", True),
        ("pulumi update", True),
    ]
    assert "hello from up\n" in node.log()
    assert sha in node.log()
    events = node.control_plane.events
    assert isinstance(events[0], StepStarted)
    assert isinstance(events[-2], LogEnded)
    assert isinstance(events[-1], Concluded)
    assert events[-1].succeeded
    [source] = node.control_plane.of(SourceResolved)
    assert (source.commit, source.message, source.author) == (sha, "The program", "Test")
    assert node.leftovers() == []


async def test_the_log_of_a_step_is_complete_before_the_next_one_begins(node: Node) -> None:
    node.program("echo done")
    commands = ["echo first", "echo second", "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo"]
    await node.deploy(node.runner(), node.grant(pre_run_commands=commands))
    newest = 0
    for event in node.control_plane.events:
        if isinstance(event, StepStarted):
            newest = event.step
        assert getattr(event, "step", newest) == newest, "nothing comes late"


@pytest.mark.parametrize(
    ("operation", "name", "arguments"),
    [
        ("update", "pulumi update", "up --yes --skip-preview"),
        ("preview", "pulumi preview", "preview"),
        ("refresh", "pulumi refresh", "refresh --yes --skip-preview"),
        ("destroy", "pulumi destroy", "destroy --yes --skip-preview"),
        (
            "detect-drift",
            "pulumi refresh --preview-only",
            "refresh --preview-only --expect-no-changes",
        ),
        ("remediate-drift", "pulumi up --refresh", "up --refresh --yes --skip-preview"),
    ],
)
async def test_every_operation_is_one_command(
    node: Node, operation: str, name: str, arguments: str
) -> None:
    node.program('echo "arguments: $*"')
    await node.deploy(node.runner(), node.grant(operation=operation))
    common = "--non-interactive --color always --stack org/project/stack"
    assert node.log().count("arguments:") == 1
    assert f"arguments: {arguments} {common}\n" in node.log()
    assert node.steps()[-1] == (name, True)


async def test_a_destroyed_stack_is_removed_when_that_was_asked(node: Node) -> None:
    node.program('echo "arguments: $1 $2"')
    grant = node.grant(operation="destroy", delete_after_destroy=True)
    assert (await node.deploy(node.runner(), grant)).reason == "completed"
    assert [name for name, _ in node.steps()][-2:] == ["pulumi destroy", "pulumi stack rm"]
    assert "arguments: stack rm" in node.log()


async def test_the_environment_of_programs(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_of_the_runner = {
        "RAY_AUTH_TOKEN": "x",
        "SLIPWAY_RUNNER__POOL_TOKEN_PATH": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "SOME_API_KEY": "x",
        "PULUMI_ACCESS_TOKEN": "the operator's",
        "SSH_AUTH_SOCK": "/agent",
        "PYTHONPATH": "/x",
    }
    for name, value in secrets_of_the_runner.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.invalid")
    node.program("env | sort; pwd; ls -ld $HOME $TMPDIR")
    environment = {
        "PLAIN": Value(plain="as it is"),
        "HIDDEN": node.secret("very secret value", "env/HIDDEN"),
        "PULUMI_BACKEND_URL": Value(plain="http://elsewhere"),
        "PULUMI_CI_BUILD_ID": Value(plain="forged"),
        "GOCACHE": Value(plain="/tmp/mine"),
    }
    await node.deploy(node.runner(), node.grant(environment=environment))
    lines = node.log().splitlines()
    grant = node.grant()
    for line in (
        "PLAIN=as it is",
        "HIDDEN=[secret]",
        "GOCACHE=/tmp/mine",
        "HTTPS_PROXY=http://proxy.example.invalid",
        "PULUMI_ACCESS_TOKEN=[secret]",
        f"PULUMI_CI_BUILD_ID={grant.deployment_id}",
        "PULUMI_CI_BUILD_NUMBER=7",
        f"PULUMI_CI_BUILD_URL={grant.console_url}",
        "PULUMI_CI_SYSTEM=Pulumi Deployments",
        "PULUMI_CI_ORGANIZATION=org",
        "PULUMI_CI_PROJECT=project",
        "PULUMI_CI_STACK=stack",
        "PULUMI_CI_OPERATION=update",
        "PULUMI_CI_BRANCH_NAME=main",
        "PULUMI_SKIP_UPDATE_CHECK=1",
    ):
        assert line in lines
    # Of a deployment with secrets: its guard, not the control plane itself.
    assert any(line.startswith("PULUMI_BACKEND_URL=http://127.0.0.1:") for line in lines)
    given = {line.partition("=")[0] for line in lines if "=" in line}
    assert not given & (set(secrets_of_the_runner) - {"PULUMI_ACCESS_TOKEN"})
    home = next(line for line in lines if line.startswith("HOME="))
    assert home.startswith(f"HOME={node.settings.work_dir}/stacks/")
    assert f"PATH={node.settings.toolchain_dir}:" in node.log()


async def test_a_users_own_access_token_is_taken_and_hidden(node: Node) -> None:
    node.program('test "$PULUMI_ACCESS_TOKEN" = pul-of-the-user && echo $PULUMI_ACCESS_TOKEN')
    token = node.secret("pul-of-the-user", "env/PULUMI_ACCESS_TOKEN")
    grant = node.grant(environment={"PULUMI_ACCESS_TOKEN": token})
    assert (await node.deploy(node.runner(), grant)).reason == "completed"
    assert "pul-of-the-user" not in node.log()


async def test_secrets_are_nowhere_on_the_disk(node: Node) -> None:
    node.program("echo $HIDDEN; echo -n $HIDDEN | base64; env > /dev/null")
    environment = {"HIDDEN": node.secret("correct-horse-battery", "env/HIDDEN")}
    await node.deploy(node.runner(), node.grant(environment=environment))
    assert node.log().splitlines()[-2:] == ["[secret]", "[secret]"]
    secrets = "correct-horse|cli-token-of|runner-token"
    assert sh("grep", "-rlE", secrets, node.directory) == b""
    assert "correct-horse" not in str(node.control_plane.events)


async def test_pre_run_commands_prepare_what_follows(node: Node) -> None:
    using = "until test -f tunnel; do sleep 0.02; done; echo operation $A $B; cat made"
    node.program(using, **{"install.sh": "echo install $A; cat made"})
    commands = [
        "echo A=one >> $PULUMI_ENV; echo made > made",
        "echo \"export B='two words'\" >> $PULUMI_ENV; echo PULUMI_CI_STACK=x >> $PULUMI_ENV; "
        "echo second $A",
        "test $PULUMI_CI_STACK = stack; (sleep 0.3; echo dug; touch tunnel) & sleep 600 & disown",
    ]
    report = await node.deploy(
        node.runner(), node.grant(pre_run_commands=commands, shell="bash -e")
    )
    assert report.reason == "completed", node.log()
    names = [name for name, _ in node.steps()]
    before = ["Get source", "Pre-run command 1", "Pre-run command 2", "Pre-run command 3"]
    assert names == [*before, "Download dependencies", "pulumi update"]
    assert "dug\n" in node.log()
    log = node.log().replace("dug\n", "")
    assert "second one\n" in log
    assert "install one\nmade\n" in log
    assert "operation one two words\nmade\n" in log
    assert processes(node) == []


async def test_installing_can_be_left_out(node: Node) -> None:
    node.program(**{"install.sh": "exit 1"})
    grant = node.grant(skip_install_dependencies=True)
    assert (await node.deploy(node.runner(), grant)).reason == "completed"
    assert "Download dependencies" not in str(node.steps())


@pytest.mark.parametrize(
    ("files", "changes", "reason", "words"),
    [
        ({}, {"pre_run_commands": ["true", "echo no; exit 7"]}, "prerun_error", "exit code 7"),
        ({}, {"pre_run_commands": ["kill -9 $$"]}, "prerun_error", "signal 9"),
        ({}, {"pre_run_commands": ["true"], "shell": "nosh"}, "prerun_error", "nosh: No such file"),
        ({"install.sh": "echo no such package; exit 3"}, {}, "install_error", "exit code 3"),
        (
            {"program.sh": "echo -e '\\e[31merror: \\e[0mthe bucket exists'; exit 255"},
            {},
            "cli_exit",
            "pulumi update failed (exit code 255): the bucket exists",
        ),
        ({"program.sh": "exit 4"}, {}, "cli_exit", "exit code 4"),
        ({"program.sh": "kill -9 $$"}, {}, "out_of_memory", "memory"),
        ({"program.sh": "kill -SEGV $$"}, {}, "cli_exit", "SIGSEGV"),
        (
            {"program.sh": "echo 'write x: No space left on device'; exit 1"},
            {},
            "disk_full",
            "disk is full",
        ),
    ],
)
async def test_what_goes_wrong_is_named(
    node: Node, files: dict, changes: dict, reason: str, words: str
) -> None:
    node.program(**files)
    report = await node.deploy(node.runner(), node.grant(**changes))
    assert (report.ended, report.reason) == ("concluded", reason)
    [concluded] = node.control_plane.of(Concluded)
    assert not concluded.succeeded
    assert words in concluded.message
    assert node.steps()[-1][1] is False
    assert words.split(" (")[0] in node.control_plane.of(StepEnded)[-1].message
    if reason != "cli_exit" or "SIG" in words:
        assert f"error: {concluded.message}" in node.log()
    assert node.leftovers() == []
    node.program(**{"install.sh": "true"})
    assert (await node.again(node.runners[0])).reason == "completed", "the next one works"


async def test_a_failed_installation_is_not_trusted_again(node: Node) -> None:
    node.program(**{"install.sh": "test -f ok || exit 1"})
    runner = node.runner()
    assert (await node.deploy(runner)).reason == "install_error"
    assert (await node.again(runner)).reason == "install_error"
    write(node.repository, {"ok": ""})
    commit(node.repository, "Mended")
    assert (await node.again(runner)).reason == "completed"


async def test_dependencies_stay_while_they_fit(node: Node) -> None:
    files = {
        "Pulumi.yaml": "name: project\nruntime: nodejs\n",
        "package.json": "{}",
        "install.sh": "echo installing; mkdir -p node_modules; date +%N > node_modules/when",
    }
    node.program("cat node_modules/when; touch made; ls", **files)
    runner = node.runner()
    await node.deploy(runner)
    assert "installing" in node.log()
    await node.again(runner)
    assert "installing" not in node.log()
    assert "Dependencies are unchanged" in node.log()
    assert "\nmade" in node.log().partition("node_modules")[0]

    write(node.repository, {"program.sh": "ls"})
    commit(node.repository, "Another program, the same dependencies")
    await node.again(runner)
    assert "installing" not in node.log()
    assert "made" not in node.log()

    write(node.repository, {"package.json": '{"dependencies": {}}'})
    commit(node.repository, "Other dependencies")
    await node.again(runner)
    assert "installing" in node.log()

    write(node.repository, {"package.json": '{"dependencies": {"x": "file:lib"}}'})
    commit(node.repository, "A dependency in the repository itself")
    await node.again(runner)
    write(node.repository, {"lib/x": "changed"})
    commit(node.repository, "It changes without package.json")
    await node.again(runner)
    assert "installing" in node.log()


async def test_a_graceful_cancel(node: Node) -> None:
    node.program(HANGING)
    running = await started(node)
    node.control_plane.request_cancel("graceful")
    report = await running
    assert report.reason == "cancelled"
    assert "interrupted\n" in node.log()
    assert node.control_plane.of(Concluded)[-1].message == "Cancelled by ana."
    assert node.log().endswith("error: Cancelled by ana.\n")
    assert processes(node) == []


async def test_a_cancel_that_says_now_follows_one_that_is_not_heard(node: Node) -> None:
    node.program(DEAF)
    running = await started(node, grace_seconds=60.0)
    node.control_plane.request_cancel("graceful")
    await eventually(lambda: node.control_plane.calls.count("lease") > 1, "it is heard")
    node.control_plane.request_cancel("now")
    report = await asyncio.wait_for(running, 5)
    assert report.reason == "cancelled"
    assert processes(node) == []


async def test_a_cancel_before_anything_runs(node: Node) -> None:
    node.program("echo never")
    node.control_plane.cancel = "graceful"
    report = await node.deploy(node.runner(), node.grant(pre_run_commands=["sleep 600"]))
    assert (report.ended, report.reason) == ("concluded", "cancelled")
    assert "never" not in node.log()


async def test_an_operation_that_ends_well_has_succeeded_in_spite_of_a_cancel(node: Node) -> None:
    node.program("trap '' INT; echo working now; sleep 1; echo finished")
    running = await started(node)
    node.control_plane.request_cancel("graceful")
    assert (await running).reason == "completed"
    assert "finished\n" in node.log()


async def test_the_time_limit(node: Node) -> None:
    node.program(HANGING)
    report = await node.deploy(node.runner(), node.grant(timeout_seconds=1.0))
    assert report.reason == "timed_out"
    assert "did not end within 1 s" in report.message
    assert "interrupted\n" in node.log()


async def test_the_time_limit_is_one_for_all_steps(node: Node) -> None:
    node.program(HANGING)
    began = time.monotonic()
    grant = node.grant(timeout_seconds=4.0, pre_run_commands=["sleep 2.5"])
    report = await node.deploy(node.runner(), grant)
    assert report.reason == "timed_out"
    assert "did not end within 4 s" in report.message
    assert "interrupted\n" in node.log()
    assert time.monotonic() - began < 6


async def test_nothing_begins_after_the_time_limit(node: Node) -> None:
    node.program("echo never")
    report = await node.deploy(node.runner(), node.grant(timeout_seconds=0.0))
    assert report.reason == "timed_out"
    assert node.steps() == [("Get source", False)]
    assert not (node.clone() / ".git").exists()


async def test_a_source_that_does_not_come_within_the_time_limit(node: Node) -> None:
    node.program()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        grant = node.grant(timeout_seconds=1.0, source=node.source(repo_url=url))
        report = await node.deploy(node.runner(), grant)
    assert report.reason == "timed_out"
    assert "did not end within 1 s" in report.message


async def test_a_flood_of_output_is_stopped_at_the_limit(node: Node) -> None:
    node.program("trap 'exit 9' INT; echo; echo flooding now; while true; do echo 0123456789; done")
    running = await started(node, output_bytes_max=3 << 20)
    report = await running
    assert report.reason == "output_limit"
    assert "more than 3 MiB" in report.message
    assert len(node.log()) < (3 << 20) + 1000
    assert node.log().endswith(f"error: {report.message}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_full_disk(node: Node) -> None:
    work = Path(node.settings.work_dir)
    with small_disk(work, "3m"):
        node.program("echo ok; head -c 10000000 /dev/zero > big", **{"install.sh": "true"})
        runner = node.runner()
        report = await node.deploy(runner)
        assert (report.ended, report.reason) == ("concluded", "disk_full"), node.log()
        assert report.message in node.log()
        node.program("yes")
        report = await node.again(runner)
        assert (report.ended, report.reason) == ("concluded", "disk_full"), node.log()[-300:]
        node.program("echo fine")
        report = await node.again(runner)
        assert report.reason == "completed", "the next one finds room again"
        sh("sh", "-c", f"cat /dev/zero > {work}/hog")
        report = await node.again(runner)
        assert report.reason == "disk_full"


async def test_grants_that_are_not_for_this_actor(node: Node) -> None:
    node.program()
    runner = node.runner()
    for changes, words in (
        ({"stack": "another"}, "org/project/another"),
        ({"slipway_version": "99.0.0"}, "Slipway 99.0.0"),
        ({"sealed_runner_token": node.seal("x", "lease/another/1/runner")}, "runner"),
    ):
        report = await node.deploy(runner, node.grant(**changes))
        assert report.ended == "refused"
        assert words in report.message
    assert node.control_plane.events == []
    (node.directory / "pool.key").write_bytes(b"short")
    assert (await node.deploy(runner)).ended == "refused"


async def test_a_secret_of_another_stack_cannot_be_opened(node: Node) -> None:
    node.program()
    environment = {"STOLEN": Value(sealed=node.seal("x", "env/OTHER"))}
    report = await node.deploy(node.runner(), node.grant(environment=environment))
    assert (report.ended, report.reason) == ("concluded", "internal")
    assert "'env/STOLEN'" in report.message
    assert "Set the secret again" in report.message


async def test_an_actor_tells_what_it_does_and_takes_one_at_a_time(node: Node) -> None:
    node.program(HANGING)
    running = await started(node)
    runner, grant = node.runners[0], node.grant()
    status = msgspec.json.decode(await runner.status(), type=RunnerStatus)
    assert status.busy
    assert status.busy.deployment_id == grant.deployment_id
    assert status.pid == os.getpid()
    other = asyncio.create_task(runner.wait(grant.deployment_id, 1))
    same = asyncio.create_task(runner.run(msgspec.json.encode(grant)))
    await asyncio.sleep(0)
    running.cancel()
    node.control_plane.request_cancel("graceful")
    reports = [msgspec.json.decode(await task, type=RunReport) for task in (other, same)]
    assert [report.reason for report in reports] == ["cancelled", "cancelled"]
    status = msgspec.json.decode(await runner.status(), type=RunnerStatus)
    assert status.busy is None
    answer = msgspec.json.decode(await runner.wait("unknown", 1), type=RunReport)
    assert answer.ended == "nothing"


async def test_a_grant_that_comes_while_the_last_one_is_tidied_up_waits(node: Node) -> None:
    node.program()
    runner = node.runner()
    first = asyncio.create_task(node.deploy(runner))
    await node.control_plane.until(Concluded)
    report = await node.again(runner)
    assert (report.ended, report.reason) == ("concluded", "completed")
    assert (await first).ended == "concluded"


async def test_a_killed_shim_before_the_operation_leaves_the_rest_to_the_control_plane(
    node: Node,
) -> None:
    node.program()
    commands = ["echo preparing now; setsid sleep 600 & kill -9 $(ps -o ppid= $$); sleep 600"]
    report = await node.deploy(node.runner(), node.grant(pre_run_commands=commands))
    assert (report.ended, report.reason) == ("not_started", "runner_lost")
    assert node.control_plane.of(Concluded) == []
    assert processes(node) == []


async def test_a_killed_shim_during_the_operation_is_a_lost_runner(node: Node) -> None:
    node.program("echo working now; setsid sleep 600 & kill -9 $(ps -o ppid= $$); sleep 600")
    report = await node.deploy(node.runner())
    assert (report.ended, report.reason) == ("concluded", "runner_lost")
    assert not report.log_complete
    assert node.control_plane.of(LogEnded) == []
    assert "working now" in node.log()
    assert processes(node) == []
    node.program()
    assert (await node.again(node.runners[0])).reason == "completed"
