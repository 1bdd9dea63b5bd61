"""A review stack is only what was made as one: nobody else's stack is ever touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.services.github import review_stacks
from tests.flow.test_github_webhooks import deliver, push_body
from tests.support.github_org import Connected, connected, with_services
from tests.support.waiting import wait_for

NAME = "pr-acme-site-1"


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def path_of(name: str) -> str:
    return f"/api/stacks/ada/shop/{name}"


def exists(org: Connected, name: str) -> bool:
    return org.http.get(path_of(name)).status_code == 200


def cancel_all(org: Connected, stack: str) -> None:
    for each in org.deployments(stack):
        org.http.post(f"{stack}/deployments/{each['id']}/cancel")


def pull_of(org: Connected, **more: Any) -> Any:
    org.hub.push(org.repository, {"a": "b"}, branch="idea")
    return org.hub.open_pull(org.repository, "idea", **more)


def test_a_stack_of_that_name_that_somebody_made_is_left_alone(org: Connected) -> None:
    org.stack("template", pullRequestTemplate=True, deployCommits=False)
    mine = org.stack(NAME, deployCommits=False)
    before = org.http.get(f"{mine}/deployments/settings").json()
    pull = pull_of(org)
    org.deliveries(3)
    made = wait_for(
        lambda: [
            each["stackName"]
            for each in org.http.get("/api/user/stacks").json()["stacks"]
            if each["stackName"].startswith("pr-") and each["stackName"] != NAME
        ],
        "a review stack of another name was made",
    )
    cancel_all(org, path_of(made[0]))
    org.hub.close_pull(pull)
    org.deliveries(4)
    assert org.http.get(f"{mine}/deployments/settings").json() == before
    assert org.deployments(mine) == []


def test_settings_alone_make_no_review_stack(org: Connected) -> None:
    """Closing a stranger's pull request of that number must not run its code, nor destroy."""
    production = org.stack("prod", deployPullRequest=1)
    stranger = org.hub.add_user("stranger")
    fork = org.hub.fork(org.repository, stranger)
    org.hub.push(fork, {"a": "evil"}, branch="mine", sender=stranger)
    pull = org.hub.open_pull(org.repository, "mine", head=fork, author=stranger)
    org.hub.close_pull(pull)
    org.deliveries(3)
    second = pull_of(org)
    org.hub.close_pull(second)
    org.deliveries(6)
    assert org.deployments(production) == []


def test_a_reopened_pull_request_keeps_its_stack(org: Connected) -> None:
    org.stack("template", pullRequestTemplate=True, deployCommits=False)
    pull = pull_of(org)
    stack = path_of(NAME)
    wait_for(lambda: exists(org, NAME) and org.deployments(stack), "it was made and is updated")
    cancel_all(org, stack)
    org.hub.close_pull(pull)
    wait_for(
        lambda: org.deployments(stack)[0]["pulumiOperation"] == "destroy", "it is to be destroyed"
    )
    org.hub.reopen_pull(pull)
    wait_for(
        lambda: org.deployments(stack)[0]["pulumiOperation"] == "update", "it is updated again"
    )
    (destroy,) = [each for each in org.deployments(stack) if each["pulumiOperation"] == "destroy"]
    assert destroy["status"] == "skipped"
    cancel_all(org, stack)
    with_services(org.server.world.config, review_stacks.sweep)
    assert org.deployments(stack)[0]["pulumiOperation"] == "update"


def test_an_excluded_stack_whose_check_is_refused_holds_nobody_up(org: Connected) -> None:
    dev = org.stack("dev", previewPullRequests=True)
    org.stack("api", previewPullRequests=True, paths=["api/**"])
    org.hub.fail("check-runs", status=403, times=50)
    pull_of(org)
    wait_for(lambda: org.deployments(dev), "the other stack is previewed")


def test_an_old_head_without_a_time_is_not_deployed(org: Connected) -> None:
    """What comparing heads finds comes without a time: it must go on from the head that we know."""
    stack = org.stack()
    sha = org.hub.push(org.repository, {"a": "1"})
    org.hub.push(org.repository, {"a": "2"})
    wait_for(lambda: len(org.deployments(stack)) == 2, "both are deployed")
    body = json.loads(push_body(org, sha))
    del body["repository"]["pushed_at"]
    assert deliver(org, json.dumps(body).encode()).status_code == 202
    org.deliveries(4)
    assert len(org.deployments(stack)) == 2
