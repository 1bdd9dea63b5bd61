"""Review stacks: made for a pull request, named after it, and gone with it whatever fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.services.github import review_stacks
from control_plane.services.world import World
from tests.support.github.state import Pull
from tests.support.github_org import Connected, connected, with_services
from tests.support.github_runner import take
from tests.support.waiting import wait_for

PROJECT = "/api/stacks/ada/shop"
HOUR_MS = 3_600_000


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def template(org: Connected, name: str = "template", **github: Any) -> str:
    return org.stack(name, pullRequestTemplate=True, deployCommits=False, **github)


def pull_request(org: Connected, branch: str = "idea", **more: Any) -> Pull:
    """A pull request that was looked into."""
    org.hub.push(org.repository, {branch: "1"}, branch=branch)
    before = len(org.hub.state.deliveries)
    pull = org.hub.open_pull(org.repository, branch, **more)
    org.deliveries(before)
    return pull


def exists(org: Connected, stack: str) -> bool:
    return org.http.get(stack).status_code == 200


def sweep(org: Connected, after_ms: int = 0) -> int:
    """Look for leftovers as if so much time had passed; returns how many were begun with."""

    async def look(world: World) -> int:
        now = world.now
        later = dataclasses.replace(world, now=lambda: now() + after_ms)
        return await review_stacks.sweep(later)

    return int(with_services(org.server.world.config, look))


def end(org: Connected, stack: str) -> None:
    """The stack's deployments end without having done anything."""
    for deployment in org.deployments(stack):
        org.http.post(f"{stack}/deployments/{deployment['id']}/cancel")


def test_a_label_makes_a_review_stack(org: Connected) -> None:
    template(org, reviewStackLabels=["review"])
    pull = pull_request(org)
    review = f"{PROJECT}/pr-acme-site-{pull.number}"
    told = org.verdicts("pull_request")
    assert told["shop/template (template)"]["code"] == "label"
    assert not exists(org, review)
    org.hub.label_pull(pull, "other")
    org.hub.label_pull(pull, "review")
    wait_for(lambda: exists(org, review), "the review stack is there")
    wait_for(lambda: org.deployments(review), "it is deployed")
    (deployment,) = org.deployments(review)
    assert deployment["pulumiOperation"] == "update"


def test_a_grant_names_the_template_whose_secrets_are_its_own(org: Connected) -> None:
    path = template(org)
    secret = {"environmentVariables": {"KEY": {"secret": "x"}}}
    answer = org.http.post(f"{path}/deployments/settings", json={"operationContext": secret})
    assert answer.status_code < 300, answer.text
    pull = pull_request(org)
    granted = take(org)
    assert granted.grant.stack == f"pr-acme-site-{pull.number}"
    assert granted.grant.template_stack == "template"
    assert granted.grant.template_stack_id not in ("", granted.grant.stack_id)
    assert granted.grant.environment["KEY"].sealed
    assert granted.grant.trust == "pull_request"


def test_a_stack_of_somebody_else_is_never_taken_for_a_review_stack(org: Connected) -> None:
    template(org)
    own = f"{PROJECT}/pr-acme-site-1"
    assert org.http.post(PROJECT, json={"stackName": "pr-acme-site-1"}).status_code == 200
    pull = pull_request(org)
    assert pull.number == 1
    listed = wait_for(lambda: _reviews(org), "there is a review stack")
    assert listed != ["pr-acme-site-1"]
    assert org.deployments(own) == []
    org.hub.close_pull(pull)
    org.deliveries(len(org.hub.state.deliveries) - 1)
    assert exists(org, own)
    assert org.deployments(own) == []


def _reviews(org: Connected) -> list[str]:
    """The stacks that pull requests have, by the deployments that there are."""
    listed = org.http.get("/api/user/stacks").json()["stacks"]
    names = [each["stackName"] for each in listed if each["stackName"].startswith("pr-")]
    return [each for each in names if org.deployments(f"{PROJECT}/{each}")]


def test_closing_lets_an_update_end_and_then_destroys(org: Connected) -> None:
    template(org)
    pull = pull_request(org)
    review = f"{PROJECT}/pr-acme-site-{pull.number}"
    running = take(org)
    org.hub.close_pull(pull)
    wait_for(lambda: len(org.deployments(review)) == 2, "its end is queued")
    destroy, update = org.deployments(review)
    assert (update["pulumiOperation"], update["status"]) == ("update", "accepted")
    assert (destroy["pulumiOperation"], destroy["status"]) == ("destroy", "not-started")
    running.conclude()
    ending = take(org)
    assert ending.grant.operation == "destroy"
    assert ending.grant.delete_after_destroy
    assert ending.grant.source is not None
    assert ending.grant.source.branch == f"refs/pull/{pull.number}/head"


def test_what_is_left_over_is_destroyed_again_after_an_hour_and_not_twice(org: Connected) -> None:
    template(org)
    pull = pull_request(org)
    review = f"{PROJECT}/pr-acme-site-{pull.number}"
    org.hub.close_pull(pull)
    wait_for(lambda: len(org.deployments(review)) == 2, "its end is queued")
    assert sweep(org, 2 * HOUR_MS) == 0
    end(org, review)
    assert sweep(org) == 0
    assert sweep(org, 2 * HOUR_MS) == 1
    assert sweep(org, 2 * HOUR_MS) == 0
    newest, *others = org.deployments(review)
    assert (newest["pulumiOperation"], len(others)) == ("destroy", 2)
    again = take(org)
    assert again.grant.delete_after_destroy
    # The branch may be gone by now: only the pull request's own ref is kept by GitHub.
    assert again.grant.source is not None
    assert again.grant.source.branch == f"refs/pull/{pull.number}/head"
    assert again.grant.source.commit == pull.head_sha


def test_a_close_that_nobody_told_is_found(org: Connected) -> None:
    template(org)
    pull = pull_request(org)
    review = f"{PROJECT}/pr-acme-site-{pull.number}"
    other = pull_request(org, "other")
    org.hub.lose_deliveries()
    org.hub.close_pull(pull)
    config = org.server.world.config
    assert with_services(config, review_stacks.close_forgotten) == 1
    assert with_services(config, review_stacks.close_forgotten) == 0
    end(org, review)
    assert sweep(org) == 1
    assert org.deployments(review)[0]["pulumiOperation"] == "destroy"
    kept = org.deployments(f"{PROJECT}/pr-acme-site-{other.number}")
    assert [each["pulumiOperation"] for each in kept] == ["update"]
