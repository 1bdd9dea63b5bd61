"""Download dependencies: `pulumi install`, unless those of the last deployment still fit."""

from __future__ import annotations

import msgspec

from runner_actors.attempt import Attempt, Failure, Tools, stopped
from runner_actors.shim_client import Command
from runner_actors.steps import project


async def install(attempt: Attempt, tools: Tools) -> Failure | None:
    """Install what the program needs. What a failed installation leaves is not trusted again."""
    workspace, key = attempt.workspace, attempt.dependency_key
    state = workspace.state()
    if state.dependencies == key and _lie_there(attempt):
        tools.note("Dependencies are unchanged since the last deployment of this stack.")
        return None
    workspace.save_state(msgspec.structs.replace(state, dependencies=""))
    command = Command(
        argv=["pulumi", "install", "--non-interactive", "--color", "always"],
        cwd=attempt.directory,
        env=attempt.environment,
        sweep=False,
    )
    ended = await tools.run(command)
    if failure := stopped(ended):
        return failure
    if not ended.succeeded:
        how = ended.problem or f"exit code {ended.code}"
        return Failure(
            "install_error",
            f"The program's dependencies could not be installed (pulumi install: {how}); "
            "the log says which.",
            exit_code=ended.code,
        )
    workspace.save_state(msgspec.structs.replace(state, dependencies=key))
    return None


def _lie_there(attempt: Attempt) -> bool:
    program, source = attempt.program, attempt.workspace.source
    return program is not None and project.dependencies_lie_there(program, source)
