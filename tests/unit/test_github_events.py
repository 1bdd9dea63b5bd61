"""What GitHub sends is understood: every recorded example, and whatever else may come."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.domain.github import events, payloads
from control_plane.domain.github.payloads import BadPayload
from tests.support import webhook_examples
from tests.support.webhook_examples import Example

USED = {
    "push": events.Push,
    "pull_request": events.PullRequest,
    "installation": events.Installation,
    "installation_repositories": events.InstallationRepositories,
    "github_app_authorization": events.AuthorizationRevoked,
    "repository": events.RepositoryChanged,
    "check_run": events.CheckRerequested,
    "check_suite": events.CheckRerequested,
    "ping": events.Ping,
}
"""What follows from an event, if anything does; of comments, no recorded one approves."""

IGNORED = {
    "pull_request.assigned",
    "pull_request.locked",
    "pull_request.review_request_removed",
    "pull_request.review_requested",
    "pull_request.unassigned",
    "pull_request.unlocked",
    "check_run.completed",
    "check_run.created",
    "check_suite.completed",
    "check_suite.requested",
}


def parse(example: Example) -> events.Event:
    return payloads.parse(example.event, example.body)


@pytest.mark.parametrize("origin", [webhook_examples.GITHUB, *webhook_examples.SERVERS])
def test_every_recorded_example_is_understood_or_rightly_ignored(origin: str) -> None:
    for example in webhook_examples.recorded(origin):
        event = parse(example)
        if example.event in USED and example.name not in IGNORED:
            assert isinstance(event, USED[example.event]), example.name
        else:
            assert isinstance(event, events.Ignored), example.name
            assert event.why
            assert event.event in (example.event, example.name)


def test_all_seven_pushes() -> None:
    pushes = [parse(each) for each in webhook_examples.of("push")]
    kinds = Counter(
        ("tag" if each.tag else "branch", "deleted" if each.deleted else "created")
        for each in pushes
        if isinstance(each, events.Push)
    )
    assert kinds == {("tag", "created"): 1, ("tag", "deleted"): 4, ("branch", "created"): 2}
    for push in pushes:
        assert isinstance(push, events.Push)
        assert push.repository.id == 186853002
        assert push.commit == ("" if push.deleted else "6113728f27ae82c7b1a177c8d03f9e96e0adf246")
        assert push.files == (() if push.deleted else None)
        assert push.pushed_at == 1557933657
        assert push.sender is not None
        assert push.sender.id


def test_all_twentynine_pull_requests() -> None:
    examples = webhook_examples.of("pull_request")
    assert len(examples) == 29
    kept = [event for each in examples if isinstance(event := parse(each), events.PullRequest)]
    assert Counter(each.action for each in kept) == {
        "opened": 4,
        "closed": 2,
        "converted_to_draft": 3,
        "labeled": 2,
        "ready_for_review": 3,
        "reopened": 2,
        "synchronize": 1,
        "unlabeled": 2,
    }
    for event in kept:
        assert not event.is_fork
        assert event.number == 2
        assert event.base.ref == "master"
        assert event.head.ref == "changes"
        assert event.source_ref == "refs/pull/2/head"
        assert event.open == (event.action != "closed")
        assert event.draft == (event.action == "converted_to_draft")
        assert event.author is not None
        assert event.author.login == "Codertocat"
        assert bool(event.label) == (event.action in ("labeled", "unlabeled"))


def test_renamed_and_transferred_repositories_tell_their_old_name() -> None:
    told = {}
    for name, payload in copy.deepcopy(webhook_examples.of("repository")):
        payload["repository"]["full_name"] = "Octocoders/now"
        event = payloads.parse(name, json.dumps(payload).encode())
        assert isinstance(event, events.RepositoryChanged)
        told[event.action] = event.full_name_before
    assert told[events.RepositoryAction.RENAMED] == "Octocoders/Hello-World"
    assert told[events.RepositoryAction.TRANSFERRED] == "octocat/now"
    assert told[events.RepositoryAction.CREATED] == "Octocoders/now"


def a_push(**changes: Any) -> dict[str, Any]:
    """A push of one commit onto a branch that was there."""
    example = copy.deepcopy(webhook_examples.of("push")[4].payload)
    commit = example["head_commit"] | {"added": ["b", "a"], "modified": ["c"], "removed": ["d"]}
    example |= {"created": False, "before": "a" * 40, "commits": [commit], "head_commit": commit}
    return example | changes


def push_of(payload: dict[str, Any]) -> events.Push:
    event = payloads.parse("push", json.dumps(payload).encode())
    assert isinstance(event, events.Push)
    return event


def test_a_plain_push_tells_its_files() -> None:
    assert push_of(a_push()).files == ("a", "b", "c", "d")


def commits(count: int, **fields: Any) -> list[dict[str, Any]]:
    one = a_push()["head_commit"]
    return [one | {"id": f"{n:040x}"} for n in range(count - 1)] + [one | fields]


@pytest.mark.parametrize(
    "changes",
    [
        {"forced": True},
        {"created": True},
        {"commits": []},
        {"commits": commits(payloads.COMMITS_MAX)},
        {"commits": commits(2, added=[f"f{n}" for n in range(payloads.FILES_MAX)])},
        {"commits": commits(2, added=None)},
        {"commits": commits(2, id="b" * 40)},
        {"commits": commits(1, added=[], modified=[], removed=[])},
    ],
    ids=["forced", "created", "no commits", "many", "long", "no list", "other head", "merge"],
)
def test_files_are_unknown_where_the_payload_may_be_cut(changes: dict[str, Any]) -> None:
    assert push_of(a_push(**changes)).files is None


def test_an_annotated_tag_deploys_its_commit_and_not_itself() -> None:
    push = push_of(a_push(ref="refs/tags/v1", after="c" * 40, created=True))
    assert push.tag == "v1"
    assert push.branch == ""
    assert push.commit == "6113728f27ae82c7b1a177c8d03f9e96e0adf246"


def a_pull_request(**head: Any) -> events.PullRequest:
    payload = copy.deepcopy(webhook_examples.of("pull_request")[0].payload)
    payload["pull_request"]["head"] |= head
    event = payloads.parse("pull_request", json.dumps(payload).encode())
    assert isinstance(event, events.PullRequest)
    return event


def test_another_repository_is_a_fork_and_one_that_is_gone_was() -> None:
    assert a_pull_request(repo=None).is_fork
    assert a_pull_request(repo={"id": 5, "full_name": "else/where"}).is_fork
    assert not a_pull_request().is_fork


def test_only_edits_of_the_target_move_a_pull_request() -> None:
    payload = copy.deepcopy(webhook_examples.of("pull_request")[0].payload) | {"action": "edited"}
    for changes, moved in (({"base": {"ref": {"from": "dev"}}}, True), ({"title": {}}, False)):
        event = payloads.parse("pull_request", json.dumps(payload | {"changes": changes}).encode())
        assert isinstance(event, events.PullRequest)
        assert event.retargeted is moved
        assert event.retitled is not moved


SHA = "0123abcdef" * 4


@pytest.mark.parametrize(
    ("body", "commit"),
    [
        (f"/slipway approve {SHA}", SHA),
        (f"Looks fine.\r\n\r\n/slipway  approve {SHA.upper()}\r\n", SHA),
        ("/slipway approve", None),
        # A short name can be made to fit another commit.
        (f"/slipway approve {SHA[:12]}", None),
        (f"> /slipway approve {SHA}", None),
        (f"/slipway approve {SHA} please", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("pull", [True, False])
def test_a_comment_approves_the_commit_that_it_names(
    body: str | None, commit: str | None, pull: bool
) -> None:
    example = next(e for e in webhook_examples.of("issue_comment") if e.name.endswith("created"))
    payload = copy.deepcopy(example.payload)
    payload["comment"]["body"] = body
    payload["issue"]["pull_request"] = {"url": "https://api.github.test"} if pull else None
    event = payloads.parse("issue_comment", json.dumps(payload).encode())
    if commit and pull:
        assert isinstance(event, events.Approval)
        assert event.commit == commit
    else:
        assert isinstance(event, events.Ignored)


def test_a_renamed_account() -> None:
    body = {
        "action": "renamed",
        "account": {"id": 7, "login": "new"},
        "changes": {"login": {"from": "old"}},
        "installation": {"id": 3},
    }
    event = payloads.parse("installation_target", json.dumps(body).encode())
    account = events.Person(id=7, login="new")
    assert event == events.AccountRenamed(installation_id=3, account=account, before="old")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "push: "),
        (b"[]", "push: Expected `object`"),
        (b"\xff\xfe", "push: "),
        (b"[" * 200_000, "push: "),
        (b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested"),
        (b'{"ref": 1}', "$.ref"),
        (b'{"ref": "refs/heads/a b"}', "$.ref"),
        (json.dumps(a_push(after="-rf")).encode(), "$.after"),
        (json.dumps(a_push(repository={"id": -1})).encode(), "$.repository.id"),
        (json.dumps(a_push(repository={"id": 2**70})).encode(), "$.repository.id"),
        (json.dumps(a_push(repository={"id": 1, "full_name": "../../x"})).encode(), "full_name"),
    ],
)
def test_a_bad_payload_is_refused_by_the_field_that_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(BadPayload) as raised:
        payloads.parse("push", body)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 500


def test_more_than_github_sends_is_refused_unread() -> None:
    with pytest.raises(BadPayload, match="larger"):
        payloads.parse("push", b" " * (payloads.PAYLOAD_BYTES_MAX + 1))


def test_texts_have_an_end_and_no_nul() -> None:
    payload = a_push()
    payload["head_commit"]["message"] = "a\x00b" + "x" * 100_000
    head = push_of(payload).head
    assert head is not None
    assert head.message.startswith("abx")
    assert len(head.message) == payloads.MESSAGE_CHARACTERS_MAX


def parsed(event: str, body: bytes) -> events.Event | BadPayload:
    try:
        return payloads.parse(event, body)
    except BadPayload as error:
        return error


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.items() for text in texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


json_values = st.recursive(
    st.sampled_from(["\x00", "a\x00", "main"])
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        inner = []
    return [at, *(path for key, each in inner for path in _paths(each, (*at, key)))]


@st.composite
def disturbed(draw: st.DrawFn) -> tuple[str, bytes]:
    """A recorded example in which a few fields hold something else, or are gone."""
    used = [each for each in webhook_examples.recorded() if each.event in USED]
    example = draw(st.sampled_from(used))
    payload = copy.deepcopy(example.payload)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(payload)))
        if not path:
            return example.event, json.dumps(draw(json_values)).encode()
        place = payload
        for key in path[:-1]:
            place = place[key]
        if draw(st.booleans()):
            place[path[-1]] = draw(json_values)
        else:
            place.pop(path[-1])
    return example.event, json.dumps(payload).encode()


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(disturbed())
def test_whatever_comes_is_an_event_or_the_one_error(delivery: tuple[str, bytes]) -> None:
    event = parsed(*delivery)
    if isinstance(event, BadPayload):
        assert str(event).startswith(delivery[0])
    else:
        assert isinstance(event, events.Event)
        assert not [text for text in texts(msgspec.to_builtins(event)) if "\x00" in text]


@given(st.sampled_from([*USED, "issue_comment", "installation_target", "x\x00"]), st.binary())
def test_any_bytes_are_an_event_or_the_one_error(event: str, body: bytes) -> None:
    assert isinstance(parsed(event, body), events.Event | BadPayload)
