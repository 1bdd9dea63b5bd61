"""What GitHub shows of a deployment: once, up to date, and whatever GitHub does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.github_org import Connected, connected
from tests.support.waiting import wait_for


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def checks(org: Connected) -> list[dict[str, Any]]:
    return [each.fields for each in org.hub.state.check_runs]


def cancel(org: Connected, stack: str, deployment: dict[str, Any]) -> None:
    answer = org.http.post(f"{stack}/deployments/{deployment['id']}/cancel")
    assert answer.status_code < 300, answer.text


def test_a_queued_push_is_shown_and_its_end_too(org: Connected) -> None:
    stack = org.stack()
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: [each for each in checks(org) if each["status"] == "queued"], "it waits")
    cancel(org, stack, org.deployments(stack)[0])
    wait_for(
        lambda: [each for each in checks(org) if each.get("conclusion") == "cancelled"],
        "it was cancelled",
    )
    assert len(checks(org)) == 1
    wait_for(lambda: org.hub.state.statuses[-1].fields["state"] == "error", "the status says so")


def test_a_limit_delays_and_loses_nothing(org: Connected) -> None:
    org.stack()
    org.hub.limit("check-runs", retry_after=1)
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: checks(org), "the check was made after the limit", 30)
    assert len(checks(org)) == 1


def test_an_outage_delays_and_loses_nothing(org: Connected) -> None:
    org.stack()
    org.hub.fail("check-runs", status=502, times=2)
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: checks(org), "the check was made after the outage", 30)
    assert len(checks(org)) == 1


def test_a_comment_is_edited_in_place_and_written_again_when_it_was_deleted(
    org: Connected,
) -> None:
    stack = org.stack(previewPullRequests=True)
    org.hub.push(org.repository, {"a": "b"}, branch="idea")
    org.hub.open_pull(org.repository, "idea", title="<b>@everyone</b> -->")
    (comment,) = wait_for(lambda: list(org.hub.state.comments), "there is a comment")
    assert "@everyone" not in comment.body
    cancel(org, stack, org.deployments(stack)[0])
    wait_for(lambda: "cancelled" in org.hub.state.comments[0].body.lower(), "it was edited")
    assert len(org.hub.state.comments) == 1
    org.hub.state.comments.clear()
    org.hub.push(org.repository, {"a": "c"}, branch="idea")
    wait_for(lambda: org.hub.state.comments, "it was written again")
    assert len(org.hub.state.comments) == 1


def test_comments_can_be_turned_off(org: Connected) -> None:
    org.stack(previewPullRequests=True)
    path = f"/api/orgs/ada/integrations/github/installations/{org.installation.id}"
    assert org.http.post(path, json={"comments": False}).status_code == 204
    org.hub.push(org.repository, {"a": "b"}, branch="idea")
    org.hub.open_pull(org.repository, "idea")
    wait_for(lambda: [each for each in checks(org) if "preview" in each["name"]], "it is a check")
    assert org.hub.state.comments == []


def test_a_rerequested_check_runs_again(org: Connected) -> None:
    stack = org.stack()
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: checks(org), "there is a check")
    first = org.deployments(stack)[0]
    cancel(org, stack, first)
    check = org.hub.state.check_runs[0]
    told = {"id": check.id, "head_sha": check.fields["head_sha"]}
    payload = {
        "action": "rerequested",
        "check_run": told,
        "repository": {"id": org.repository.id, "full_name": org.repository.full_name},
        "installation": {"id": org.installation.id},
    }
    # Of another App's, which an Enterprise Server tells of too, nothing follows.
    others = payload | {"check_run": told | {"app": {"id": org.app.id + 1}}}
    org.hub.webhooks.other(org.app, "check_run", others)
    (ignored, *_) = org.deliveries(3)
    assert (ignored["status"], len(org.deployments(stack))) == ("ignored", 1)
    own = told | {"external_id": check.fields["external_id"], "app": {"id": org.app.id}}
    org.hub.webhooks.other(org.app, "check_run", payload | {"check_run": own})
    wait_for(lambda: len(org.deployments(stack)) == 2, "it was run again")
