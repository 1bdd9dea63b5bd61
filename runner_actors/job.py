"""One deployment as a pipeline of steps, and the one place that decides how it ended.

The order: the source; pre-run commands, which may prepare what an installation needs, a private
registry for instance; the dependencies; of a review stack, its configuration; the operation; and
after a destroy that was asked to, the removal of the stack. The first failure ends it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from runner_actors.attempt import Attempt, Failure, Tools
from runner_actors.contract import Grant
from runner_actors.steps import configure
from runner_actors.steps.checkout import get_source
from runner_actors.steps.install import install
from runner_actors.steps.operate import REMOVE_STACK, operate, remove_stack, step_name
from runner_actors.steps.prerun import pre_run
from runner_actors.texts import duration, ended_by_cancel, over_time

FIRST_STEP = "Get source"
LOST = ("lease_expired", "lease_lost", "actor_died", "runner_stopped", "runner_lost")
"""Ways in which a runner is lost, as far as a deployment is concerned."""


@dataclass(frozen=True)
class Step:
    """A named part of a deployment."""

    name: str
    run: Callable[[Attempt, Tools], Awaitable[Failure | None]]


class StepRecord(Protocol):
    """Where the pipeline tells of its steps. They are counted from 0."""

    async def began(self, number: int, name: str) -> None:
        """A step begins."""

    def ended(self) -> None:
        """It is over."""


@dataclass(frozen=True)
class Outcome:
    """How a deployment ended, and why, in words of the wire and for its user."""

    succeeded: bool
    reason: str
    message: str = ""
    exit_code: int | None = None
    said: bool = False


@dataclass(frozen=True)
class Circumstances:
    """What the outcome's words depend on besides the attempt."""

    cancelled_by: str
    output_bytes_max: int


def plan(grant: Grant) -> list[Step]:
    """The steps of a deployment, in order."""
    steps = [Step(FIRST_STEP, get_source)]
    numbers = range(1, len(grant.pre_run_commands) + 1)
    steps += [Step(f"Pre-run command {number}", pre_run(number)) for number in numbers]
    if not grant.skip_install_dependencies:
        steps.append(Step("Download dependencies", install))
    if grant.template_stack:
        steps.append(Step(configure.STEP, configure.copy_configuration))
    steps.append(Step(step_name(grant.operation), operate))
    if grant.operation == "destroy" and grant.delete_after_destroy:
        steps.append(Step(REMOVE_STACK, remove_stack))
    return steps


async def perform(attempt: Attempt, tools: Tools, record: StepRecord) -> None:
    """Run the steps until one fails; what came of it is in the attempt."""
    for number, step in enumerate(plan(attempt.grant)):
        await record.began(number, step.name)
        attempt.failure = await step.run(attempt, tools)
        if number == 0 and not attempt.failure:
            # Known only now, because it may take as long to find out as the source to come.
            attempt.use_backend(await tools.backend_url())
        record.ended()
        if attempt.failure:
            return


def conclude(grant: Grant, failure: Failure | None, circumstances: Circumstances) -> Outcome:
    """How a deployment ended: decided here and nowhere else."""
    if failure is None:
        return Outcome(True, "completed")
    reason = "runner_lost" if failure.reason in LOST else failure.reason
    message = _message(grant, failure.reason, circumstances)
    if reason == "cancelled":
        reason, message = ended_by_cancel(circumstances.cancelled_by, grant.timeout_seconds)
    message = failure.message or message
    return Outcome(False, reason, message, failure.exit_code, failure.said)


def _message(grant: Grant, reason: str, circumstances: Circumstances) -> str:
    if reason == "timed_out":
        return over_time(grant.timeout_seconds)
    if reason == "disk_full":
        return "The runner's disk is full. Nothing more can run there until space is made."
    if reason == "output_limit":
        limit = f"{circumstances.output_bytes_max / (1 << 20):g} MiB"
        return f"It wrote more than {limit} of output and was stopped. Make the program write less."
    if reason == "lease_expired":
        return (
            f"The runner could not reach the control plane for {duration(grant.lease_seconds)}, "
            "so the deployment was stopped."
        )
    return "The runner was lost while the deployment ran."
