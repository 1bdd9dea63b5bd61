"""The comment on a pull request: one for each stack, found again and edited in place.

It begins with a marker that is not seen. Only a comment that begins so is the stack's, and only if
the App wrote it: whatever a user's text says comes later, and inside code.
"""

from __future__ import annotations

import re

import msgspec

from control_plane.domain.deployment import Operation, Status
from control_plane.domain.github import markdown, telling
from control_plane.domain.github.resource_changes import masked
from control_plane.domain.github.telling import Told

SIZE_MAX = 65_536
"""GitHub's limit is of characters; ours is of bytes, which are at least as many."""
_ERRORS_SIZE_MAX = 8_000
_OUTPUTS_SIZE_MAX = 12_000
_ODD = re.compile(r"[^A-Za-z0-9_.-]")


def marker(stack_id: str) -> str:
    """What the comment of a stack begins with."""
    return f"<!-- slipway:stack:{_ODD.sub('', stack_id)} -->"


def is_of(body: str, stack_id: str) -> bool:
    """Whether a comment, written by the App, is about this stack."""
    return body.lstrip().startswith(marker(stack_id))


def render(told: Told) -> str:
    """The comment's text, at most `SIZE_MAX` bytes."""
    head = "\n\n".join(
        part for part in (f"{marker(told.stack_id)}\n{_title(told)}", _state(told)) if part
    )
    foot = _foot(told)
    parts = [head, _errors(told), _outputs(told)]
    room = SIZE_MAX - sum(markdown.size(part) + 2 for part in (*parts, foot)) - 200
    parts += [_changes(told, room), foot]
    return "\n\n".join(part for part in parts if part)


def _title(told: Told) -> str:
    what = "review stack" if told.review_stack else told.operation
    return f"### Slipway {what} of {markdown.code(told.name)}"


def _state(told: Told) -> str:
    headline = telling.headline(told)
    if told.review_stack:
        headline = f"{told.operation} {headline}"
    words = [f"**{headline[0].upper()}{headline[1:]}.**"]
    if told.waiting and told.status is Status.NOT_STARTED:
        words.append(f"It waits: {markdown.code(told.waiting)}.")
    if told.fork:
        words.append("It runs code of a fork, and therefore without secrets.")
    if told.review_stack and told.operation is Operation.DESTROY and told.ended:
        removed = told.status is Status.SUCCEEDED
        words.append("The review stack is gone." if removed else "The review stack is still there.")
    return " ".join(words)


def _errors(told: Told) -> str:
    errors = telling.errors(told, _ERRORS_SIZE_MAX)
    return markdown.block(errors) if errors else ""


def _outputs(told: Told) -> str:
    """A review stack's addresses are what its readers look for."""
    if not told.outputs or told.operation is Operation.DESTROY:
        return ""
    lines = [
        markdown.cut(f"{name}: {msgspec.json.encode(value).decode()}", 2_000)
        for name, value in sorted(masked(dict(told.outputs)).items())
    ]
    kept, left = markdown.first_lines(map(_one_line, lines), _OUTPUTS_SIZE_MAX)
    kept += [f"… and {left} more outputs"] if left else []
    block = markdown.block("\n".join(kept))
    return f"Outputs:\n\n{block}" if told.review_stack else markdown.details("Outputs", block)


def _one_line(text: str) -> str:
    return markdown.plain(text).replace("\n", " ")


def _changes(told: Told, room: int) -> str:
    if not (told.ended and told.changes.each):
        return ""
    diff = telling.diff(told.changes, room - 100)
    return markdown.details("Resources and properties", diff) if diff else ""


def _foot(told: Told) -> str:
    deployment = markdown.link(f"Deployment {told.version}", told.url)
    commit = markdown.link(markdown.code(told.commit[:12]), told.commit_url)
    of = f" of commit {commit}" if told.commit else ""
    took = telling.took(told)
    return f"{deployment}{of}, {took}" if took else f"{deployment}{of}"
