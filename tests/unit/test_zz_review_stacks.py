"""Review stacks: who gets one, what it is called, and how it is set up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain import names
from control_plane.domain.github import review_stacks, rules, triggers
from control_plane.domain.github.events import PullRequest
from control_plane.domain.github.review_stacks import Open
from control_plane.domain.github.rules import AGAIN, Code, Deploy, Facts, Need, No
from control_plane.domain.github.triggers import Triggers
from control_plane.domain.names import StackName
from tests.unit.test_github_rules import (
    ARCHIVED,
    FROM_FORK,
    READ,
    a_pull_request,
    a_stack,
    facts,
    pull_requests,
    stacks,
)

TEMPLATE = a_stack(template=True)


@pytest.mark.parametrize("action", ["opened", "reopened", "synchronize", "ready_for_review", AGAIN])
def test_a_pull_request_gets_a_review_stack(action: str) -> None:
    verdict = review_stacks.of_template(TEMPLATE, a_pull_request(action), READ)
    assert verdict == Open(number=7)


def test_a_label_added_later_opens_one_too() -> None:
    template = a_stack(template=True, labels=("review", "Review me"))
    event = a_pull_request("labeled", labels=("review",), label="review")
    assert review_stacks.of_template(template, event, READ) == Open(number=7)
    for changes in ({"labels": ("Review",)}, {"labels": ()}):
        assert code(review_stacks.of_template(template, a_pull_request(**changes), READ)) == (
            Code.LABEL
        )
    event = a_pull_request("labeled", labels=("review", "x"), label="x")
    assert code(review_stacks.of_template(template, event, READ)) == Code.ACTION


@pytest.mark.parametrize(
    ("template", "action", "event", "expected"),
    [
        ({"template": False}, "opened", {}, Code.TEMPLATE_OFF),
        ({"pull_request": 7}, "opened", {}, Code.TEMPLATE_OFF),
        ({"repository": "acme/other"}, "opened", {}, Code.REPOSITORY),
        ({}, "opened", {"repository": ARCHIVED}, Code.ARCHIVED),
        ({"branch": "dev"}, "opened", {}, Code.BRANCH),
        ({}, "closed", {}, Code.CLOSED),
        ({}, "opened", {"draft": True}, Code.DRAFT),
        ({}, "unlabeled", {}, Code.ACTION),
        ({}, "opened", {"head": FROM_FORK}, Code.FORK_REVIEW_STACK),
        ({"paths": ("docs/**",)}, "opened", {}, Code.PATHS),
    ],
)
def test_the_first_rule_that_says_no(
    template: dict[str, Any], action: str, event: dict[str, Any], expected: Code
) -> None:
    known = Facts(head_message="Work", files=("infra/a",))
    wanted = a_stack(**({"template": True} | template))
    assert code(review_stacks.of_template(wanted, a_pull_request(action, **event), known)) == (
        expected
    )


def code(verdict: Open | No | Need) -> str:
    assert isinstance(verdict, No), verdict
    return verdict.code


@settings(deadline=None, max_examples=6000)
@given(stacks, pull_requests, facts)
def test_a_review_stack_is_opened_only_where_every_rule_allows(
    template: Triggers, event: PullRequest, known: Facts
) -> None:
    verdict = review_stacks.of_template(template, event, known)
    if isinstance(verdict, No):
        assert not verdict.withdraws
    if isinstance(verdict, Open):
        assert template.template
        assert not any((event.draft, event.is_fork, event.repository.archived))
        assert not template.labels or set(template.labels) & set(event.labels)
        assert event.base.ref == template.branch


def test_of_two_templates_in_a_project_the_first_makes_the_stack() -> None:
    a, b = StackName("acme", "shop", "a"), StackName("acme", "shop", "b")
    other = StackName("acme", "site", "z")
    chosen, left = review_stacks.choose([b, other, a])
    assert set(chosen) == {a, other}
    assert left.keys() == {b}
    assert left[b].code is Code.OTHER_TEMPLATE


full_names = st.from_regex(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9_.-]{1,100}", fullmatch=True)
numbers = st.integers(1, 10**9)


@settings(deadline=None, max_examples=6000)
@given(full_names, numbers, st.sets(full_names, max_size=3))
def test_a_name_is_legal_and_nobody_elses(full_name: str, number: int, others: set[str]) -> None:
    taken = {review_stacks.name_of(other, number) for other in others}
    name = review_stacks.name_of(full_name, number, taken)
    assert names.is_legal(name)
    assert name not in taken
    assert name.startswith("pr-")
    assert name.endswith(f"-{number}")
    assert name == review_stacks.name_of(full_name, number, taken)


def test_a_name_is_pulumis_where_it_fits() -> None:
    assert review_stacks.name_of("acme/infra", 42) == "pr-acme-infra-42"
    # Two repositories whose names run together.
    first = review_stacks.name_of("a-b/c", 1)
    assert first == "pr-a-b-c-1"
    assert review_stacks.name_of("a/b-c", 1, [first]) not in (first, "pr-a-b-c-1")


@settings(deadline=None, max_examples=6000)
@given(full_names, numbers, numbers)
def test_two_pull_requests_never_share_a_name(full_name: str, one: int, other: int) -> None:
    same = review_stacks.name_of(full_name, one) == review_stacks.name_of(full_name, other)
    assert same == (one == other)


SETTINGS: dict[str, Any] = {
    "gitHub": {
        "repository": "acme/shop",
        "deployCommits": True,
        "previewPullRequests": True,
        "pullRequestTemplate": True,
        "paths": ["infra/**"],
        "reviewStackLabels": ["review"],
        "deployTags": True,
        "tagFilters": ["v*"],
    },
    "sourceContext": {"git": {"branch": "main", "repoDir": "infra", "commit": "abc1"}},
    "operationContext": {"environmentVariables": {"A": "1", "S": {"ciphertext": "x"}}},
}


@pytest.mark.parametrize("block", ["gitHub", "vcs"])
def test_the_templates_settings_become_the_review_stacks(block: str) -> None:
    template = copy.deepcopy(SETTINGS)
    template[block] = template.pop("gitHub") | ({"provider": "github"} if block == "vcs" else {})
    before = copy.deepcopy(template)
    made = review_stacks.settings_of(template, a_pull_request())
    assert template == before
    assert made["operationContext"] == before["operationContext"]
    assert made["sourceContext"] == {"git": {"branch": "work", "repoDir": "infra"}}
    read = triggers.read(made)
    assert read == Triggers(repository="acme/shop", branch="work", pull_request=7)
    assert isinstance(rules.of_pull_request(read, a_pull_request("synchronize"), READ), Deploy)
