"""Of a review stack: the configuration that it begins with is its template's.

`pulumi config cp` encrypts secrets anew for the review stack; to read them, the deployment's token
must be one that reads the template. A file of the review stack's own in the repository is left
alone.
"""

from __future__ import annotations

from runner_actors.attempt import Attempt, Failure, Tools, stopped
from runner_actors.shim_client import Command

STEP = "Copy configuration"


async def copy_configuration(attempt: Attempt, tools: Tools) -> Failure | None:
    """Write `Pulumi.<review stack>.yaml` from the template's."""
    grant = attempt.grant
    if attempt.program is None:
        return None
    directory = attempt.program.directory
    if (directory / f"Pulumi.{grant.stack}.yaml").exists():
        tools.note(f"The repository has Pulumi.{grant.stack}.yaml already.")
        return None
    if not (directory / f"Pulumi.{grant.template_stack}.yaml").exists():
        tools.note(f"There is no Pulumi.{grant.template_stack}.yaml: nothing to copy.")
        return None
    project = f"{grant.organization}/{grant.project}"
    command = Command(
        argv=[
            *("pulumi", "config", "cp", "--non-interactive"),
            *("--stack", f"{project}/{grant.template_stack}"),
            *("--dest", grant.stack_path),
        ],
        cwd=attempt.directory,
        env=attempt.environment,
    )
    ended = await tools.run(command)
    if failure := stopped(ended):
        return failure
    if ended.succeeded:
        return None
    return Failure(
        "cli_exit",
        f"The configuration of '{grant.template_stack}' could not be copied"
        f" (exit code {ended.code}).",
        exit_code=ended.code,
    )
