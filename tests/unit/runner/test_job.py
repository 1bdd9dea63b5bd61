"""The plan of a deployment and the one decision about how it ended."""

from __future__ import annotations

from typing import Any

import pytest

from runner_actors.attempt import Failure
from runner_actors.contract import Grant
from runner_actors.environment import machine_environment, variables_of
from runner_actors.job import Circumstances, conclude, plan
from runner_actors.steps.operate import last_error
from runner_actors.workspace import safe_name

ANA = Circumstances(cancelled_by="ana", output_bytes_max=1 << 30)


def grant(**changes: Any) -> Grant:
    given: dict[str, Any] = {
        "deployment_id": "d",
        "generation": 1,
        "stack_id": "s",
        "organization": "o",
        "project": "p",
        "stack": "s",
        "version": 1,
        "operation": "update",
        "slot_limit": 10,
        "lease_seconds": 30.0,
        "timeout_seconds": 7200.0,
        "grace_seconds": 10.0,
        "sealed_runner_token": "",
        "sealed_cli_token": "",
        "api_url": "",
        "console_url": "",
        "log_prefix": "",
        "slipway_version": "",
    }
    return Grant(**(given | changes))


def test_pre_run_commands_come_before_dependencies() -> None:
    names = [step.name for step in plan(grant(pre_run_commands=["a", "b"]))]
    assert names == [
        "Get source",
        "Pre-run command 1",
        "Pre-run command 2",
        "Download dependencies",
        "pulumi update",
    ]


def test_a_stack_is_removed_only_after_a_destroy() -> None:
    assert plan(grant(operation="destroy", delete_after_destroy=True))[-1].name == "pulumi stack rm"
    assert plan(grant(operation="update", delete_after_destroy=True))[-1].name == "pulumi update"


def test_no_step_of_the_drift_operations_is_named_after_the_operation() -> None:
    """The CLI that follows a deployment would take it for an action it does not know."""
    for operation in ("detect-drift", "remediate-drift"):
        names = [step.name for step in plan(grant(operation=operation))]
        assert f"pulumi {operation}" not in names


@pytest.mark.parametrize(
    ("failure", "reason", "words"),
    [
        (None, "completed", ""),
        (Failure("cli_exit", "said", exit_code=255), "cli_exit", "said"),
        (Failure("cancelled"), "cancelled", "Cancelled by ana."),
        (Failure("timed_out"), "timed_out", "within 2 h,"),
        (Failure("output_limit"), "output_limit", "1024 MiB"),
        (Failure("disk_full"), "disk_full", "disk is full"),
        (Failure("lease_expired"), "runner_lost", "control plane for 30 s"),
        (Failure("actor_died"), "runner_lost", "lost"),
        (Failure("runner_stopped"), "runner_lost", "lost"),
    ],
)
def test_how_it_ended(failure: Failure | None, reason: str, words: str) -> None:
    outcome = conclude(grant(), failure, ANA)
    assert (outcome.succeeded, outcome.reason) == (failure is None, reason)
    assert words in outcome.message


def test_a_stop_that_nobody_asked_for_is_for_the_sake_of_time() -> None:
    outcome = conclude(grant(), Failure("cancelled"), Circumstances("", 1 << 30))
    assert outcome.reason == "timed_out"
    assert "within 2 h," in outcome.message


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ("nothing to see", ""),
        ("\x1b[31merror: \x1b[0mno stack\n", "no stack"),
        ("error: first\nlater\n  error: second\n", "second"),
        (
            "    error: Program failed with an unhandled exception:\n"
            "    Traceback (most recent call last):\n      File x\n    ValueError: no\n\nOutputs:",
            "Program failed with an unhandled exception: ValueError: no",
        ),
    ],
)
def test_the_last_error_of_the_cli(output: str, error: str) -> None:
    assert last_error(output) == error


def test_variables_of_pre_run_commands() -> None:
    text = "A=1\n# no\nexport B='two words'\nC=\"x=y\"\nnot a variable\n1X=no\nD=\nE=it's\n"
    expected = {"A": "1", "B": "two words", "C": "x=y", "D": "", "E": "it's"}
    assert variables_of(text) == expected


def test_what_programs_see_of_the_runners_environment() -> None:
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/root",
        "HTTPS_PROXY": "x",
        "GOFLAGS": "x",
        "RAY_ADDRESS": "x",
        "SLIPWAY_RUNNER__WORK_DIR": "x",
        "AWS_ACCESS_KEY_ID": "x",
        "PYTHONPATH": "x",
        "VIRTUAL_ENV": "x",
        "GITHUB_TOKEN": "x",
        "DB_PASSWORD": "x",
        "STRIPE_API_KEY": "x",
        "PULUMI_ACCESS_TOKEN": "x",
        "GIT_DIR": "x",
        "OMP_NUM_THREADS": "1",
    }
    seen = machine_environment("/tools", environ)
    assert set(seen) == {"PATH", "HOME", "HTTPS_PROXY", "GOFLAGS", "LANG"}
    assert seen["PATH"] == "/tools:/usr/bin:/bin"


def test_names_that_are_no_path() -> None:
    assert safe_name("my-org_1.x") == "my-org_1.x"
    for name in ("..", ".", "", "a/b", "a\0b", ".hidden", "ä", "x" * 101):
        hashed = safe_name(name)
        assert len(hashed) == 64
        assert hashed.isalnum()
