"""What of pushes and pull requests deploys, and what does not, through the whole server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.github_org import Connected, connected


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def test_a_draft_is_previewed_once_it_is_ready(org: Connected) -> None:
    stack = org.stack(previewPullRequests=True)
    org.hub.push(org.repository, {"a": "1"}, branch="idea")
    pull = org.hub.open_pull(org.repository, "idea", draft=True)
    org.deliveries(3)
    assert org.verdicts("pull_request")["shop/dev"]["code"] == "draft"
    assert org.deployments(stack) == []
    org.hub.ready_pull(pull)
    org.deliveries(4)
    (preview,) = org.deployments(stack)
    assert preview["pulumiOperation"] == "preview"


@pytest.mark.parametrize("message", ["Words\n\n[skip ci]", "[skip deploy] words"])
def test_a_marker_in_the_message_skips(org: Connected, message: str) -> None:
    stack = org.stack(previewPullRequests=True)
    org.hub.push(org.repository, {"a": "1"}, message=message)
    org.deliveries(2)
    assert org.verdicts("push")["shop/dev"]["code"] == "skip-marker"
    org.hub.push(org.repository, {"a": "2"}, branch="idea", message=message)
    org.hub.open_pull(org.repository, "idea")
    org.deliveries(4)
    assert org.verdicts("pull_request")["shop/dev"]["code"] == "skip-marker"
    assert org.deployments(stack) == []


def test_tags_deploy_the_stacks_whose_filters_choose_them(org: Connected) -> None:
    plain = org.stack("plain")
    all_tags = org.stack("all", deployTags=True)
    some = org.stack("some", deployTags=True, tagFilters=["v*", "!*-rc*"])
    sha = org.repository.git.head("main")
    assert sha
    org.hub.tag(org.repository, "v1-rc1", sha)
    org.deliveries(2)
    told = {name: each["code"] for name, each in org.verdicts("push").items()}
    assert told == {
        "shop/plain": "deploy-tags-off",
        "shop/all": "deployed",
        "shop/some": "tag-filter",
    }
    org.hub.tag(org.repository, "v1", sha)
    org.deliveries(3)
    counts = [len(org.deployments(each)) for each in (plain, all_tags, some)]
    assert counts == [0, 2, 1]


def test_files_beyond_those_that_github_lists_are_found_by_git(org: Connected) -> None:
    """A pull request's payload lists no file at all, and GitHub's own list ends at 300."""
    org.stack("last", paths=["zz/**"], previewPullRequests=True)
    org.stack("none", paths=["other/**"], previewPullRequests=True)
    files = {f"aa/{number}.txt": "x" for number in range(400)} | {"zz/last.txt": "x"}
    org.hub.push(org.repository, files, branch="many")
    org.hub.open_pull(org.repository, "many")
    org.deliveries(3)
    told = org.verdicts("pull_request")
    assert (told["shop/last"]["code"], told["shop/none"]["code"]) == ("deployed", "paths")


def test_one_push_deploys_the_stacks_of_a_monorepo_that_it_concerns(org: Connected) -> None:
    web = org.stack("dev", "web", paths=["web/**", "shared/**"])
    api = org.stack("dev", "api", paths=["api/**", "shared/**"])
    docs = org.stack("dev", "docs", paths=["**", "!shared/**"])
    org.hub.push(org.repository, {"shared/a": "1"})
    org.deliveries(2)
    assert [len(org.deployments(each)) for each in (web, api, docs)] == [1, 1, 0]
    assert org.verdicts("push")["docs/dev"]["code"] == "paths"
    org.hub.push(org.repository, {"web/a": "1"})
    org.deliveries(3)
    assert [len(org.deployments(each)) for each in (web, api, docs)] == [2, 1, 1]


@pytest.mark.parametrize("how", ["closed", "retargeted"])
def test_a_preview_is_withdrawn_with_what_it_was_of(org: Connected, how: str) -> None:
    stack = org.stack(previewPullRequests=True)
    org.hub.push(org.repository, {"a": "1"}, branch="release")
    org.hub.push(org.repository, {"a": "2"}, branch="idea")
    pull = org.hub.open_pull(org.repository, "idea")
    org.deliveries(4)
    if how == "closed":
        org.hub.close_pull(pull)
    else:
        org.hub.retarget_pull(pull, "release")
    org.deliveries(5)
    (preview,) = org.deployments(stack)
    assert preview["status"] == "skipped"
    assert org.verdicts("pull_request")["shop/dev"]["code"] == (
        "closed" if how == "closed" else "branch"
    )


def test_a_pull_request_is_previewed_when_it_comes_to_target_the_branch(org: Connected) -> None:
    stack = org.stack(previewPullRequests=True)
    org.hub.push(org.repository, {"a": "1"}, branch="release")
    org.hub.push(org.repository, {"a": "2"}, branch="idea")
    pull = org.hub.open_pull(org.repository, "idea", base_ref="release")
    org.deliveries(4)
    assert org.deployments(stack) == []
    org.hub.retarget_pull(pull, "main")
    org.deliveries(5)
    assert len(org.deployments(stack)) == 1


def test_a_newer_push_stops_no_update(org: Connected) -> None:
    stack = org.stack()
    org.hub.push(org.repository, {"a": "1"})
    org.deliveries(2)
    org.hub.push(org.repository, {"a": "2"})
    org.deliveries(3)
    assert [each["status"] for each in org.deployments(stack)] == ["not-started", "not-started"]
