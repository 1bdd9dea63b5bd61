"""A push deploys the stacks that follow its branch, and says of the others why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.github_org import Connected, connected
from tests.support.waiting import wait_for


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def test_a_push_updates_the_stacks_of_its_branch(org: Connected) -> None:
    dev = org.stack("dev")
    other = org.stack("other", deployCommits=False)
    api = org.stack("api", paths=["api/**"])
    sha = org.hub.push(org.repository, {"web/index.html": "hello"}, message="Say hello")
    org.deliveries(2)
    (deployment,) = org.deployments(dev)
    assert deployment["pulumiOperation"] == "update"
    assert org.deployments(other) == org.deployments(api) == []
    verdicts = org.verdicts("push")
    assert verdicts["shop/dev"]["code"] == "deployed"
    assert verdicts["shop/dev"]["deploymentId"] == deployment["id"]
    assert verdicts["shop/other"]["code"] == "deploy-commits-off"
    assert verdicts["shop/api"]["code"] == "paths"
    shown = org.http.get(f"{dev}/deployments/{deployment['id']}").json()
    assert sha in str(shown)


def test_a_pull_request_is_previewed_and_an_older_preview_gives_way(org: Connected) -> None:
    dev = org.stack("dev", previewPullRequests=True)
    org.hub.push(org.repository, {"a": "1"}, branch="feature")
    pull = org.hub.open_pull(org.repository, "feature", title="A feature")
    org.deliveries(3)
    (first,) = org.deployments(dev)
    assert first["pulumiOperation"] == "preview"
    org.hub.push(org.repository, {"a": "2"}, branch="feature")
    org.deliveries(5)
    second, old = org.deployments(dev)
    assert (second["status"], old["status"]) == ("not-started", "skipped")
    comments = wait_for(lambda: list(org.hub.state.comments), "there is a comment")
    assert len(comments) == 1
    assert comments[0].number == pull.number
    checks = wait_for(lambda: len(org.hub.state.check_runs) >= 2, "there are check runs")
    assert checks
