"""A deployment as a check run, as a commit's status, and as a deployment of GitHub's own.

| deployment                    | check run              | commit status | GitHub deployment |
|-------------------------------|------------------------|---------------|-------------------|
| queued                        | queued                 | pending       | queued            |
| being placed, running         | in_progress            | pending       | in_progress       |
| succeeded                     | success                | success       | success           |
| succeeded, and was a destroy  | success                | success       | inactive          |
| failed                        | failure                | failure       | failure           |
| timed out                     | timed_out              | failure       | failure           |
| cancelled                     | cancelled              | error         | error             |
| superseded                    | skipped                | error         | inactive          |
| waited too long               | cancelled              | error         | error             |
| runner lost, server's error   | failure                | error         | error             |
| a fork that nobody approved   | action_required        |               |                   |
| left out by a rule            | skipped                |               |                   |

A skipped check satisfies branch protection that requires it, one that is missing does not.
"""

from __future__ import annotations

import msgspec

from control_plane.domain.deployment import Operation, Reason, Status
from control_plane.domain.github import markdown, telling
from control_plane.domain.github.rules import Code, No
from control_plane.domain.github.telling import Told
from control_plane.domain.names import StackName

TEXT_SIZE_MAX = 65_535
"""GitHub's limit of a check run's summary, and of its text; bytes are at least as many."""
DESCRIPTION_CHARACTERS_MAX = 140
TITLE_CHARACTERS_MAX = 255
_LOG_SIZE_MAX = 24_000
_ERRORS_SIZE_MAX = 8_000


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A check run."""

    name: str
    status: str
    """`queued`, `in_progress` or `completed`."""
    conclusion: str = ""
    """Empty until it is completed."""
    title: str
    summary: str
    text: str = ""


class CommitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A commit's status; a later one of the same context takes its place."""

    context: str
    state: str
    """`pending`, `success`, `failure` or `error`."""
    description: str


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a deployment of GitHub's own."""

    environment: str
    state: str
    """`queued`, `in_progress`, `success`, `failure`, `error` or `inactive`."""
    description: str
    transient: bool
    """Whether the environment will be gone one day, as a review stack's."""


_OURS = (Reason.RUNNER_LOST, Reason.INTERNAL)
"""Reasons that are not the program's fault."""


def check_name(stack: StackName, operation: Operation) -> str:
    """A check's name, which branch protection may require: it is the same for each commit."""
    return f"{stack.project}/{stack.stack} {operation}"


def check_run(told: Told) -> Check:
    """The check run of a deployment."""
    title = f"{told.operation.capitalize()} {telling.headline(told)}"
    return Check(
        name=check_name(told.stack, told.operation),
        status=_check_status(told),
        conclusion=_conclusion(told) if told.ended else "",
        title=title[:TITLE_CHARACTERS_MAX],
        summary=_summary(told),
        text=_text(told),
    )


def check_of_refusal(stack: StackName, operation: Operation, no: No) -> Check | None:
    """The check run where a rule said no, if readers of the commit should know."""
    asks = no.code is Code.FORK
    if not asks and no.code not in (Code.PATHS, Code.SKIP_MARKER):
        return None
    return Check(
        name=check_name(stack, operation),
        status="completed",
        conclusion="action_required" if asks else "skipped",
        title="Waits for a member's approval" if asks else "Not needed",
        summary=markdown.block(markdown.cut(markdown.plain(no.why), 2_000)),
    )


def commit_status(told: Told) -> CommitStatus:
    """The status of a commit."""
    description = f"{told.operation.capitalize()} {telling.headline(told)}"
    return CommitStatus(
        context=f"slipway/{told.name}",
        state=_commit_state(told),
        description=_cut_characters(description, DESCRIPTION_CHARACTERS_MAX),
    )


def deployment_status(told: Told) -> DeploymentStatus:
    """The status of the deployment at GitHub that stands for this one."""
    return DeploymentStatus(
        environment=told.name,
        state=_deployment_state(told),
        description=_cut_characters(telling.headline(told), DESCRIPTION_CHARACTERS_MAX),
        transient=told.review_stack,
    )


def _check_status(told: Told) -> str:
    if told.ended:
        return "completed"
    return "queued" if told.status is Status.NOT_STARTED else "in_progress"


def _conclusion(told: Told) -> str:
    if told.status is Status.SUCCEEDED:
        return "success"
    match told.reason:
        case Reason.CANCELLED | Reason.QUEUE_EXPIRED:
            return "cancelled"
        case Reason.TIMED_OUT:
            return "timed_out"
        case Reason.SUPERSEDED:
            return "skipped"
    return "skipped" if told.status is Status.SKIPPED else "failure"


def _commit_state(told: Told) -> str:
    if not told.ended:
        return "pending"
    if told.status is Status.SUCCEEDED:
        return "success"
    return "error" if told.reason in _OURS or _was_stopped(told) else "failure"


def _deployment_state(told: Told) -> str:
    if not told.ended:
        return "queued" if told.status is Status.NOT_STARTED else "in_progress"
    if told.status is Status.SUCCEEDED:
        return "inactive" if told.operation is Operation.DESTROY else "success"
    if told.reason is Reason.SUPERSEDED:
        return "inactive"
    return _commit_state(told)


def _was_stopped(told: Told) -> bool:
    """Whether it never came to an end of its own."""
    stopped = (Reason.CANCELLED, Reason.SUPERSEDED, Reason.QUEUE_EXPIRED)
    return told.reason in stopped or told.status is Status.SKIPPED


def _summary(told: Told) -> str:
    counted = telling.counts(told)
    lines = [
        f"{told.operation.capitalize()} of {markdown.code(told.name)}: {telling.state(told)}.",
        f"{counted.capitalize()}." if counted else "",
        f"It waits: {markdown.code(told.waiting)}." if told.waiting and not told.ended else "",
        "It runs code of a fork, and therefore without secrets." if told.fork else "",
    ]
    errors = telling.errors(told, _ERRORS_SIZE_MAX)
    lines.append(markdown.block(errors) if errors else "")
    took = telling.took(told)
    deployment = markdown.link(f"Deployment {told.version}", told.url)
    lines.append(f"{deployment} took {took}." if took else f"{deployment}.")
    return "\n\n".join(line for line in lines if line)


def _text(told: Told) -> str:
    log = _log(told)
    room = TEXT_SIZE_MAX - markdown.size(log) - 200
    diff = telling.diff(told.changes, room)
    changes = f"### Resources\n\n{diff}" if diff else ""
    return "\n\n".join(part for part in (changes, log) if part)


def _log(told: Told) -> str:
    tail, was_cut = markdown.last_lines(markdown.plain(told.log_tail).strip("\n"), _LOG_SIZE_MAX)
    if not tail:
        return ""
    whole = markdown.link("the whole log", told.url)
    note = f"\n\nThis is the end; {whole} is on the deployment's page." if was_cut else ""
    return f"### Log\n\n{markdown.block(tail)}{note}"


def _cut_characters(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
