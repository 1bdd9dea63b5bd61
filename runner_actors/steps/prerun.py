"""Pre-run commands: each in a shell of its own, in the program's directory, before dependencies.

They run before `pulumi install`, so that they can prepare what it needs (a private registry's
settings, a toolchain). What they leave running (a tunnel, say) stays until the deployment ends,
and what they append to the file named by `PULUMI_ENV` is in the environment of all that follows.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable

from runner_actors.attempt import Attempt, Failure, Tools, stopped
from runner_actors.environment import protected, variables_of
from runner_actors.shim_client import Command

PULUMI_ENV_BYTES_MAX = 1 << 20
_SHOWN_CHARACTERS_MAX = 80


def pre_run(number: int) -> Callable[[Attempt, Tools], Awaitable[Failure | None]]:
    """The step for one of the commands; they are counted from 1."""

    async def run(attempt: Attempt, tools: Tools) -> Failure | None:
        text = attempt.grant.pre_run_commands[number - 1]
        command = Command(
            argv=[*(shlex.split(attempt.grant.shell) or ["bash"]), "-c", text],
            cwd=attempt.directory,
            env=attempt.environment,
            sweep=False,
        )
        ended = await tools.run(command)
        _take_variables(attempt)
        if failure := stopped(ended):
            return failure
        if ended.succeeded:
            return None
        how = ended.problem or (
            f"exit code {ended.code}" if ended.signal is None else f"signal {ended.signal}"
        )
        message = f"Pre-run command {number} failed ({how}): {_shown(text)}"
        return Failure("prerun_error", message, exit_code=ended.code)

    return run


def _take_variables(attempt: Attempt) -> None:
    try:
        with attempt.workspace.pulumi_env.open("rb") as file:
            text = file.read(PULUMI_ENV_BYTES_MAX).decode(errors="replace")
    except OSError:
        return
    commit = attempt.source.commit if attempt.source else ""
    attempt.environment = {
        **attempt.environment,
        **variables_of(text),
        **protected(attempt.grant, attempt.workspace, commit),
    }


def _shown(text: str) -> str:
    first = text.strip().partition("\n")[0]
    return first if len(first) <= _SHOWN_CHARACTERS_MAX else first[:_SHOWN_CHARACTERS_MAX] + "…"
