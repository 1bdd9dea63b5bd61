"""The operation itself: one start of the Pulumi CLI, nothing before and nothing after it."""

from __future__ import annotations

import re
import signal

from runner_actors.attempt import Attempt, Failure, Tools, stopped
from runner_actors.contract import Grant, Operation
from runner_actors.shim_client import Command, Exit

_COMMANDS: dict[Operation, list[str]] = {
    "update": ["up", "--yes", "--skip-preview"],
    "preview": ["preview"],
    "refresh": ["refresh", "--yes", "--skip-preview"],
    "destroy": ["destroy", "--yes", "--skip-preview"],
    "detect-drift": ["refresh", "--preview-only", "--expect-no-changes"],
    "remediate-drift": ["up", "--refresh", "--yes", "--skip-preview"],
}
_NAMES: dict[Operation, str] = {
    "detect-drift": "pulumi refresh --preview-only",
    "remediate-drift": "pulumi up --refresh",
}
"""Of these two the CLI that follows a deployment must not see the name `pulumi <operation>`."""
_REFRESHABLE: tuple[Operation, ...] = ("update", "preview", "destroy")
REMOVE_STACK = "pulumi stack rm"
_ERROR_CHARACTERS_MAX = 500
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"^\s*error:\s*(.+)$", re.M)


def step_name(operation: Operation) -> str:
    """The name of the operation's step; clients look for `pulumi <operation>`."""
    return _NAMES.get(operation, f"pulumi {operation}")


async def operate(attempt: Attempt, tools: Tools) -> Failure | None:
    """Run the operation. If it ended well it has succeeded, even when a cancel came meanwhile."""
    attempt.operating = True
    grant = attempt.grant
    ended = await _pulumi(attempt, tools, *_COMMANDS[grant.operation], *options_of(grant))
    return _failure(ended, step_name(attempt.grant.operation))


def options_of(grant: Grant) -> list[str]:
    """What this one deployment wants otherwise; each value stands behind a `=`, never alone."""
    options = [f"--target={urn}" for urn in grant.targets]
    if grant.targets and grant.target_dependents:
        options.append("--target-dependents")
    if grant.refresh and grant.operation in _REFRESHABLE:
        options.append("--refresh")
    if grant.message:
        options.append(f"--message={grant.message}")
    return options


async def remove_stack(attempt: Attempt, tools: Tools) -> Failure | None:
    """After a destroy: remove the empty stack, as the deployment was asked to."""
    ended = await _pulumi(attempt, tools, "stack", "rm", "--yes", "--preserve-config")
    return _failure(ended, REMOVE_STACK)


async def _pulumi(attempt: Attempt, tools: Tools, *arguments: str) -> Exit:
    options = ("--non-interactive", "--color", "always", "--stack", attempt.grant.stack_path)
    command = Command(
        argv=["pulumi", *arguments, *options],
        cwd=attempt.directory,
        env=attempt.environment,
        durable=True,
    )
    return await tools.run(command)


def _failure(ended: Exit, name: str) -> Failure | None:
    if ended.succeeded:
        return None
    return stopped(ended) or failure_of_exit(ended, ended.tail, name)


def failure_of_exit(ended: Exit, tail: str, name: str) -> Failure:
    """What it means that the CLI ended badly by itself."""
    if ended.problem:
        return Failure("internal", f"The Pulumi CLI could not be started: {ended.problem}")
    if ended.signal == signal.SIGKILL:
        message = f"{name} was killed, most likely because the runner's memory ran out."
        return Failure("out_of_memory", message)
    if ended.signal is not None:
        signal_name = signal.Signals(ended.signal).name
        return Failure("cli_exit", f"{name} was ended by {signal_name}.")
    error = last_error(tail)
    why = f": {error}" if error else "; the log says why."
    message = f"{name} failed (exit code {ended.code}){why}"
    return Failure("cli_exit", message, ended.code, said=True)


def last_error(output: str) -> str:
    """The last error that the CLI has printed, in one line; empty if there is none.

    Of an error that goes on for lines (`error: Program failed with an unhandled exception:` and a
    traceback) the last line is added, which says what happened.
    """
    text = _COLOR.sub("", output)
    found = list(_ERROR.finditer(text))
    if not found:
        return ""
    error = found[-1][1].strip()
    lines = text[found[-1].end() :].lstrip("\n").partition("\n\n")[0].splitlines()
    if error.endswith(":") and lines:
        error = f"{error} {lines[-1].strip()}"
    return error[:_ERROR_CHARACTERS_MAX]
