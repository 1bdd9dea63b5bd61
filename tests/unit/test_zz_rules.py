"""Which events deploy which stacks, and which rule says no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.deployment import Operation
from control_plane.domain.github import globs, rules, skipping, triggers
from control_plane.domain.github.events import (
    NO_COMMIT,
    PULL_REQUEST_ACTIONS,
    Commit,
    End,
    PullRequest,
    Push,
    Repository,
)
from control_plane.domain.github.rules import AGAIN, Code, Deploy, Facts, Need, No
from control_plane.domain.github.triggers import Triggers

HERE = Repository(id=1, full_name="acme/shop", default_branch="main")
FORK = Repository(id=2, full_name="eve/shop", fork=True)
BEFORE, AFTER, BASE = "a" * 40, "b" * 40, "c" * 40


def a_stack(**changes: Any) -> Triggers:
    wanted = {
        "repository": "Acme/Shop",
        "branch": "main",
        "deploy_commits": True,
        "preview_pull_requests": True,
    }
    return Triggers(**(wanted | changes))


def a_push(ref: str = "refs/heads/main", message: str = "Work", **changes: Any) -> Push:
    told: dict[str, Any] = {
        "installation_id": 1,
        "repository": HERE,
        "ref": ref,
        "before": BEFORE,
        "after": AFTER,
        "created": False,
        "deleted": False,
        "forced": False,
        "head": Commit(id=AFTER, message=message, author="ana", at=""),
        "pusher": "ana",
        "sender": None,
        "files": ("infra/main.ts",),
        "pushed_at": 1,
    }
    return Push(**(told | changes))


def a_pull_request(action: str = "opened", **changes: Any) -> PullRequest:
    told: dict[str, Any] = {
        "action": action,
        "installation_id": 1,
        "repository": HERE,
        "number": 7,
        "title": "Work",
        "url": "",
        "head": End(sha=AFTER, ref="work", repository=HERE),
        "base": End(sha=BASE, ref="main", repository=HERE),
        "draft": False,
        "open": action != "closed",
        "merged": False,
        "merge_commit": "",
        "labels": (),
        "author": None,
        "association": "MEMBER",
        "sender": None,
    }
    return PullRequest(**(told | changes))


FROM_FORK = End(sha=AFTER, ref="work", repository=FORK)
FROM_NOWHERE = End(sha=AFTER, ref="work", repository=None)
READ = Facts(head_message="Work")


def code(verdict: rules.Verdict) -> str:
    assert isinstance(verdict, No), verdict
    assert verdict.why.endswith(".")
    return verdict.code


def test_a_push_to_the_branch_updates() -> None:
    verdict = rules.of_push(a_stack(), a_push())
    assert verdict == Deploy(
        operation=Operation.UPDATE,
        commit=AFTER,
        ref="refs/heads/main",
        branch="main",
        environment={"PULUMI_CI_BRANCH_NAME": "main"},
    )


def test_a_pull_request_previews_its_head() -> None:
    verdict = rules.of_pull_request(a_stack(), a_pull_request(), READ)
    assert verdict == Deploy(
        operation=Operation.PREVIEW,
        commit=AFTER,
        ref="refs/pull/7/head",
        branch="work",
        pull_request=7,
        environment={
            "PULUMI_CI_BRANCH_NAME": "work",
            "PULUMI_PR_NUMBER": "7",
            "PULUMI_CI_PULL_REQUEST_SHA": AFTER,
        },
        supersedes=True,
    )
    assert verdict.secrets
    assert verdict.cache_write
    assert verdict.write_token


def test_a_tag_updates_by_its_commit() -> None:
    stack = a_stack(deploy_tags=True, tag_filters=("v*", "!*-rc*"), paths=("nothing/*",))
    verdict = rules.of_push(stack, a_push("refs/tags/v1", created=True, after="d" * 40, files=None))
    assert isinstance(verdict, Deploy)
    assert (verdict.operation, verdict.commit, verdict.tag) == (Operation.UPDATE, AFTER, "v1")
    assert verdict.environment == {
        "PULUMI_CI_BRANCH_NAME": "refs/tags/v1",
        "PULUMI_CI_TAG_NAME": "v1",
    }
    assert code(rules.of_push(stack, a_push("refs/tags/v1-rc1"))) == Code.TAG_FILTER
    assert code(rules.of_push(a_stack(), a_push("refs/tags/v1"))) == Code.TAGS_OFF


ARCHIVED = Repository(id=1, full_name="acme/shop", archived=True)


@pytest.mark.parametrize(
    ("stack", "push", "expected"),
    [
        ({"repository": "acme/other"}, {}, Code.REPOSITORY),
        ({}, {"repository": ARCHIVED}, Code.ARCHIVED),
        ({}, {"deleted": True, "after": NO_COMMIT, "head": None}, Code.DELETED),
        ({"deploy_tags": True}, {"ref": "refs/tags/v1", "deleted": True}, Code.DELETED),
        ({"pull_request": 7}, {}, Code.REVIEW_STACK),
        ({}, {"ref": "refs/notes/commits"}, Code.REF),
        ({"branch": ""}, {}, Code.NO_BRANCH),
        ({"branch": "Main"}, {}, Code.BRANCH),
        ({"branch": "dev", "deploy_commits": False}, {}, Code.BRANCH),
        ({"deploy_commits": False}, {}, Code.COMMITS_OFF),
        ({}, {"message": "Fix\n\n[skip ci]"}, Code.SKIP_MARKER),
        ({"deploy_tags": True}, {"ref": "refs/tags/v1", "message": "[no ci]"}, Code.SKIP_MARKER),
        ({"paths": ("docs/**",)}, {}, Code.PATHS),
        ({"paths": ("**", "!infra/**")}, {}, Code.PATHS),
    ],
)
def test_the_first_rule_that_says_no_to_a_push(
    stack: dict[str, Any], push: dict[str, Any], expected: Code
) -> None:
    assert code(rules.of_push(a_stack(**stack), a_push(**push))) == expected


@pytest.mark.parametrize(
    ("stack", "action", "event", "expected"),
    [
        ({"repository": "acme/other"}, "opened", {}, Code.REPOSITORY),
        ({}, "opened", {"repository": ARCHIVED}, Code.ARCHIVED),
        ({"preview_pull_requests": False}, "opened", {}, Code.PREVIEWS_OFF),
        ({"branch": ""}, "opened", {}, Code.NO_BRANCH),
        ({"branch": "dev"}, "opened", {}, Code.BRANCH),
        ({}, "closed", {"draft": True}, Code.CLOSED),
        ({}, "synchronize", {"open": False}, Code.CLOSED),
        ({}, "opened", {"draft": True}, Code.DRAFT),
        ({}, "converted_to_draft", {"draft": True}, Code.DRAFT),
        ({}, "labeled", {}, Code.ACTION),
        ({}, "edited", {"retitled": True}, Code.ACTION),
        ({}, "opened", {"head": FROM_FORK}, Code.FORK),
        ({}, "opened", {"head": FROM_NOWHERE}, Code.FORK),
        ({"pull_request": 8}, "opened", {}, Code.OTHER_PULL_REQUEST),
        ({"pull_request": 7}, "labeled", {}, Code.ACTION),
        ({"pull_request": 7}, "opened", {"head": FROM_FORK}, Code.FORK_REVIEW_STACK),
        ({"pull_request": 7}, "opened", {"repository": ARCHIVED}, Code.ARCHIVED),
    ],
)
def test_the_first_rule_that_says_no_to_a_pull_request(
    stack: dict[str, Any], action: str, event: dict[str, Any], expected: Code
) -> None:
    verdict = rules.of_pull_request(a_stack(**stack), a_pull_request(action, **event), READ)
    assert code(verdict) == expected


def test_what_a_payload_lacks_is_asked_for_at_once() -> None:
    stack = a_stack(paths=("infra/**",))
    event = a_pull_request()
    asked = Need(files=True, message=True, base=BASE, head=AFTER, from_fork_point=True)
    assert rules.of_pull_request(stack, event) == asked
    found = Facts(head_message="Work", files=("infra/a",))
    assert isinstance(rules.of_pull_request(stack, event, found), Deploy)
    found = Facts(head_message="Work", files=("docs/a",))
    assert code(rules.of_pull_request(stack, event, found)) == Code.PATHS
    found = Facts(head_message="x [ci skip]")
    assert code(rules.of_pull_request(stack, event, found)) == Code.SKIP_MARKER
    found = Facts(head_message="Work", files_unknowable=True)
    assert isinstance(rules.of_pull_request(stack, event, found), Deploy)


@pytest.mark.parametrize(("created", "base"), [(True, ""), (False, BEFORE)])
def test_files_of_a_push_are_asked_for_only_where_paths_are_said(created: bool, base: str) -> None:
    push = a_push(files=None, created=created)
    assert isinstance(rules.of_push(a_stack(), push), Deploy)
    stack = a_stack(paths=("infra/**",))
    assert rules.of_push(stack, push) == Need(files=True, base=base, head=AFTER)
    assert isinstance(rules.of_push(stack, push, Facts(files=("infra/x",))), Deploy)
    assert code(rules.of_push(stack, push, Facts(files=("docs/x",)))) == Code.PATHS
    assert isinstance(rules.of_push(stack, push, Facts(files_unknowable=True)), Deploy)


def test_asking_by_hand_passes_over_a_marker_and_over_nothing_else() -> None:
    marked = Facts(head_message="[skip ci]")
    assert isinstance(rules.of_pull_request(a_stack(), a_pull_request(AGAIN), marked), Deploy)
    event = a_pull_request(AGAIN, draft=True)
    assert code(rules.of_pull_request(a_stack(), event, marked)) == Code.DRAFT


def test_moving_a_pull_request_to_another_branch() -> None:
    event = a_pull_request("edited", retargeted=True)
    assert isinstance(rules.of_pull_request(a_stack(), event, READ), Deploy)
    verdict = rules.of_pull_request(a_stack(branch="dev"), event, READ)
    assert isinstance(verdict, No)
    assert verdict.withdraws


def test_a_review_stack_follows_its_pull_request() -> None:
    stack = a_stack(pull_request=7, branch="work", paths=("nothing",))
    for action in ("opened", "synchronize", "reopened", "ready_for_review", AGAIN):
        verdict = rules.of_pull_request(stack, a_pull_request(action), READ)
        assert isinstance(verdict, Deploy)
        assert verdict.operation is Operation.UPDATE
        assert not verdict.then_remove
        assert not verdict.supersedes
    for changes in ({}, {"draft": True}, {"merged": True}, {"repository": ARCHIVED}):
        verdict = rules.of_pull_request(stack, a_pull_request("closed", **changes))
        assert isinstance(verdict, Deploy)
        assert verdict.operation is Operation.DESTROY
        assert verdict.then_remove


stacks = st.builds(
    Triggers,
    repository=st.sampled_from(["acme/shop", "acme/other"]),
    branch=st.sampled_from(["main", "dev", ""]),
    deploy_commits=st.booleans(),
    preview_pull_requests=st.booleans(),
    template=st.booleans(),
    pull_request=st.none() | st.sampled_from([7, 8]),
    paths=st.sampled_from([(), ("infra/**",), ("!infra/**",)]),
    labels=st.sampled_from([(), ("review",)]),
    deploy_tags=st.booleans(),
    tag_filters=st.sampled_from([(), ("v*",)]),
)
MESSAGES = ["Work", "x [skip deploy]"]
facts = st.builds(
    Facts,
    files=st.none() | st.sampled_from([(), ("infra/a",), ("docs/a",)]),
    files_unknowable=st.booleans(),
    head_message=st.none() | st.sampled_from(MESSAGES),
    approved_commits=st.sets(st.sampled_from([AFTER, BEFORE])).map(frozenset),
)
pushes = st.builds(
    a_push,
    ref=st.sampled_from(["refs/heads/main", "refs/heads/dev", "refs/tags/v1", "refs/x"]),
    message=st.sampled_from(MESSAGES),
    created=st.booleans(),
    deleted=st.booleans(),
    repository=st.sampled_from([HERE, ARCHIVED]),
    files=st.none() | st.sampled_from([("infra/a",), ("docs/a",)]),
)
pull_requests = st.builds(
    a_pull_request,
    action=st.sampled_from([*sorted(PULL_REQUEST_ACTIONS), AGAIN]),
    head=st.sampled_from([FROM_FORK, FROM_NOWHERE, a_pull_request().head]),
    base=st.sampled_from([End(sha=BASE, ref=ref, repository=HERE) for ref in ("main", "dev")]),
    draft=st.booleans(),
    labels=st.sampled_from([(), ("review",), ("other",)]),
    retargeted=st.booleans(),
    repository=st.sampled_from([HERE, ARCHIVED]),
)


@settings(deadline=None, max_examples=6000)
@given(stacks, pushes, facts)
def test_a_push_deploys_only_what_every_rule_allows(
    stack: Triggers, push: Push, known: Facts
) -> None:
    verdict = rules.of_push(stack, push, known)
    files = push.files if push.files is not None else known.files
    if isinstance(verdict, Deploy):
        assert verdict.operation is Operation.UPDATE
        assert stack.is_of("acme/shop")
        assert not any((push.repository.archived, push.deleted, stack.pull_request))
        assert push.head is not None
        assert not skipping.marker(push.head.message)
        assert not verdict.fork
        if push.tag:
            assert stack.deploy_tags
        else:
            assert stack.deploy_commits
            assert push.branch == stack.branch
            assert not stack.paths or files is None or globs.first_chosen(stack.paths, files)
    elif isinstance(verdict, Need):
        assert stack.paths
        assert files is None
        assert not isinstance(rules.of_push(stack, push, Facts(files=())), Need)


@settings(deadline=None, max_examples=6000)
@given(stacks, pull_requests, facts)
def test_a_pull_request_deploys_only_what_every_rule_allows(
    stack: Triggers, event: PullRequest, known: Facts
) -> None:
    verdict = rules.of_pull_request(stack, event, known)
    if isinstance(verdict, Need):
        answered = Facts(files=(), head_message="", approved_commits=known.approved_commits)
        assert not isinstance(rules.of_pull_request(stack, event, answered), Need)
    if not isinstance(verdict, Deploy):
        return
    assert verdict.commit == event.head.sha
    assert verdict.fork == (event.is_fork and verdict.operation is Operation.PREVIEW)
    if verdict.fork:
        assert event.head.sha in known.approved_commits
        assert not any((verdict.secrets, verdict.cache_write, verdict.write_token))
    if verdict.operation is Operation.DESTROY:
        assert (stack.pull_request, event.action) == (7, "closed")
        return
    assert not event.draft
    assert event.open
    assert event.action != "closed"
    if verdict.operation is Operation.UPDATE:
        assert stack.pull_request == 7
        assert not event.is_fork
    else:
        assert stack.preview_pull_requests
        assert event.base.ref == stack.branch


@settings(deadline=None, max_examples=6000)
@given(stacks, pull_requests, facts)
def test_nobody_elses_commit_is_ever_approved(
    stack: Triggers, event: PullRequest, known: Facts
) -> None:
    other = frozenset({"f" * 40, AFTER[:12], AFTER.upper()})
    unapproved = Facts(files=known.files, head_message="Work", approved_commits=other)
    if event.is_fork and event.action != "closed":
        assert not isinstance(rules.of_pull_request(stack, event, unapproved), Deploy)


@pytest.mark.parametrize("message", ["x [skip ci]", "[CI SKIP]", "a\n\nb [no ci] c"])
def test_markers(message: str) -> None:
    assert skipping.marker(message)
    assert skipping.marker(message) in message


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("Fix\n\n\nskip-checks: true\n", "skip-checks: true"),
        ("Fix\n\nskip-checks:true\n\nMore", ""),
        ("skip-checks: true", ""),
        ("[skip actions]", ""),
        ("skip ci", ""),
        ("", ""),
    ],
)
def test_the_trailer_and_what_is_no_marker(message: str, found: str) -> None:
    assert skipping.marker(message) == found


def test_settings_are_read() -> None:
    block = {
        "repository": "Acme/Shop",
        "deployCommits": True,
        "previewPullRequests": None,
        "paths": ["infra/**"],
        "deployPullRequest": 7,
        "tagFilters": None,
    }
    git = {"branch": "refs/heads/main"}
    read = triggers.read({"gitHub": block, "sourceContext": {"git": git}})
    assert read == Triggers(
        repository="Acme/Shop",
        branch="main",
        deploy_commits=True,
        paths=("infra/**",),
        pull_request=7,
    )
    assert read == triggers.read(
        {"vcs": block | {"provider": "github"}, "sourceContext": {"git": git}}
    )
    assert triggers.repository({"gitHub": block}) == "acme/shop"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gitHub": None},
        {"gitHub": {"deployCommits": True}},
        {"vcs": {"repository": "acme/shop", "provider": "gitlab"}},
        {"vcs": {"repository": "acme/shop"}},
    ],
)
def test_settings_without_a_repository_of_github_have_no_triggers(settings: dict[str, Any]) -> None:
    assert triggers.read(settings) is None
    assert triggers.repository(settings) == ""
