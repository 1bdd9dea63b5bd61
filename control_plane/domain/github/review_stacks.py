"""Review stacks: one stack for each pull request, made after a template and gone with it.

| the pull request is                    | the review stack is                                     |
|----------------------------------------|---------------------------------------------------------|
| opened, reopened, ready, or labelled   | made after the template, unless it is there; updated    |
| given new commits                      | updated (made, if it was not there)                     |
| closed or merged                       | destroyed, and then removed                             |
| turned into a draft, unlabelled        | left as it is                                           |

`of_template` answers the first two for a stack that is a template; what exists already is a stack
like any other, and `rules.of_pull_request` answers for it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from control_plane.domain.github import rules, triggers
from control_plane.domain.github.events import PullRequest
from control_plane.domain.github.rules import NOTHING, Code, Facts, Need, No
from control_plane.domain.github.triggers import Triggers
from control_plane.domain.names import StackName, is_legal

NAME_CHARACTERS_MAX = 100
"""The most that a stack's name may have (`names.NAME`)."""
_HASH_DIGITS = 8
SOURCE = "github-review-stack"
"""What Pulumi calls the origin of such settings."""


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A pull request is to have a review stack made after this template, if it has none yet."""

    number: int


def of_template(template: Triggers, event: PullRequest, facts: Facts = NOTHING) -> Open | No | Need:
    """Whether a pull request gets a review stack made after a template."""
    if not template.template or template.pull_request is not None:
        why = "This stack is no template for review stacks (pullRequestTemplate is off)."
        return No(code=Code.TEMPLATE_OFF, why=why)
    refusal = (
        rules.wrong_repository(template, event)
        or rules.wrong_target(template, event)
        or _not_now(template, event)
        or rules.no_review_of_fork(event)
    )
    if refusal:
        return msgspec.structs.replace(refusal, withdraws=False)
    verdict = rules.by_content(template.paths, event, facts)
    if isinstance(verdict, No):
        return msgspec.structs.replace(verdict, withdraws=False)
    return verdict or Open(number=event.number)


def _not_now(template: Triggers, event: PullRequest) -> No | None:
    labelled = event.action == "labeled" and event.label in template.labels
    refusal = rules.not_now(event)
    if refusal and not (labelled and refusal.code is Code.ACTION):
        return refusal
    if not template.labels or set(template.labels) & set(event.labels):
        return None
    wanted = " or ".join(f"'{label}'" for label in template.labels)
    why = f"Pull request #{event.number} does not have the label {wanted}."
    return No(code=Code.LABEL, why=why)


def choose(templates: Sequence[StackName]) -> tuple[list[StackName], dict[StackName, No]]:
    """Of the templates that want a review stack, those that make one, and why the others do not.

    A pull request has at most one review stack in each project; there the first by name wins.
    """
    chosen: dict[tuple[str, str], StackName] = {}
    left: dict[StackName, No] = {}
    for name in sorted(templates):
        first = chosen.setdefault((name.organization, name.project), name)
        if first != name:
            why = f"The template '{first.stack}' of this project applies too, and comes first."
            left[name] = No(code=Code.OTHER_TEMPLATE, why=why)
    return list(chosen.values()), left


def name_of(full_name: str, number: int, taken: Iterable[str] = ()) -> str:
    """The review stack's name: `pr-<owner>-<repo>-<number>`, as Pulumi calls them.

    Where that is too long, or is taken by another repository's pull request, some digits of a hash
    make it differ: `pr-<as much as fits>-<hash>-<number>`. The same question has the same answer.
    """
    owner, _, repository = full_name.partition("/")
    plain = f"pr-{owner}-{repository}-{number}"
    others = set(taken)
    if is_legal(plain) and plain not in others:
        return plain
    for salt in range(len(others) + 1):
        hashed = _hashed_name(full_name, number, salt)
        if hashed not in others:
            return hashed
    raise AssertionError("more names are taken than there are")


def _hashed_name(full_name: str, number: int, salt: int) -> str:
    subject = f"{full_name.lower()}#{number}#{salt}".encode()
    end = f"-{hashlib.sha256(subject).hexdigest()[:_HASH_DIGITS]}-{number}"
    legal = "".join(each if is_legal(each + "x") else "-" for each in full_name)
    return f"pr-{legal}"[: NAME_CHARACTERS_MAX - len(end)] + end


def settings_of(template: dict[str, Any], event: PullRequest) -> dict[str, Any]:
    """The review stack's settings: the template's, on the pull request's branch, and its alone.

    It follows its pull request whatever files that changes, so the filters stay behind; and what is
    checked out is the head's branch, which `rules` moves to each commit. Secrets stay sealed to the
    template's stack.
    """
    settings = copy.deepcopy(template)
    name = triggers.block_name(settings)
    if name is None:
        raise ValueError("a template without a repository")
    kept = {k: v for k, v in settings[name].items() if k not in _TEMPLATES_OWN}
    settings[name] = kept | {
        "deployCommits": False,
        "previewPullRequests": False,
        "pullRequestTemplate": False,
        "deployPullRequest": event.number,
    }
    source = settings.setdefault("sourceContext", {}).setdefault("git", {})
    for reference in ("commit", "tag"):
        source.pop(reference, None)
    source["branch"] = event.head.ref
    return settings


_TEMPLATES_OWN = ("paths", "reviewStackLabels", "deployTags", "tagFilters")
