"""A fork's code runs when its very commit was approved, and what it runs with opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal, User
from control_plane.domain.trigger import Trigger
from control_plane.services import resubmission
from tests.support.github.state import Account, Pull, Repository
from tests.support.github_org import API, ORGANIZATION, Connected, connected, with_services
from tests.support.github_runner import Granted, take


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


class Fork:
    """A stranger's fork, with a pull request of it."""

    def __init__(self, org: Connected) -> None:
        self.org = org
        self.stranger: Account = org.hub.add_user("stranger")
        self.repository: Repository = org.hub.fork(org.repository, self.stranger)
        self.push("1")
        self.pull: Pull = org.hub.open_pull(
            org.repository, "mine", head=self.repository, author=self.stranger
        )

    def push(self, text: str) -> str:
        return self.org.hub.push(self.repository, {"f": text}, "mine", sender=self.stranger)

    def approve(self, sha: str) -> httpx.Response:
        path = f"{API}/pull-requests/{self.org.repository.full_name}/{self.pull.number}/approve"
        return self.org.http.post(path, json={"sha": sha})

    def comment(self, author: Account, sha: str) -> None:
        payload = {
            "action": "created",
            "issue": {"number": self.pull.number, "pull_request": {"url": ""}},
            "comment": {
                "id": self.org.hub.state.next_id(),
                "body": f"/slipway approve {sha}",
                "user": {"id": author.id, "login": author.login},
                "author_association": "NONE",
            },
            "repository": {
                "id": self.org.repository.id,
                "full_name": self.org.repository.full_name,
            },
            "installation": {"id": self.org.installation.id},
        }
        self.org.hub.webhooks.other(self.org.app, "issue_comment", payload)


def test_an_approval_is_of_one_commit(org: Connected) -> None:
    stack = org.stack(previewPullRequests=True)
    fork = Fork(org)
    org.deliveries(2)
    assert org.verdicts("pull_request")["shop/dev"]["code"] == "fork-not-approved"
    old = fork.pull.head_sha
    fork.push("2")
    org.deliveries(3)
    refused = fork.approve(old)
    assert refused.status_code == 409
    assert "pushed since" in refused.json()["message"]
    assert fork.approve("").status_code == 400
    assert org.deployments(stack) == []
    assert fork.approve(fork.pull.head_sha).status_code == 200
    (first,) = org.deployments(stack)
    fork.push("3")
    org.deliveries(4)
    (only,) = org.deployments(stack)
    assert (only["id"], only["status"]) == (first["id"], "skipped")
    assert org.verdicts("pull_request")["shop/dev"]["code"] == "fork-not-approved"


def test_who_may_push_approves_by_a_comment(org: Connected) -> None:
    stack = org.stack(previewPullRequests=True)
    fork = Fork(org)
    writer = org.hub.add_user("writer")
    org.repository.collaborators["writer"] = "write"
    org.repository.collaborators["stranger"] = "read"
    sha = fork.pull.head_sha
    fork.comment(fork.stranger, sha)
    (refused, *_) = org.deliveries(3)
    assert "may not push" in refused["message"]
    fork.comment(writer, "0" * 40)
    org.deliveries(4)
    assert org.deployments(stack) == []
    fork.comment(writer, sha[:12])
    org.deliveries(5)
    assert org.deployments(stack) == [], "a short name can be made to fit another commit"
    fork.comment(writer, sha)
    org.deliveries(6)
    assert len(org.deployments(stack)) == 1


def secret_stack(org: Connected) -> str:
    stack = org.stack(previewPullRequests=True)
    secret = {"environmentVariables": {"KEY": {"secret": "of-the-members"}, "REGION": "here"}}
    answer = org.http.post(f"{stack}/deployments/settings", json={"operationContext": secret})
    assert answer.status_code < 300, answer.text
    return stack


def approved(org: Connected) -> tuple[str, Fork, dict[str, Any]]:
    """A stack with a secret, and the preview of a fork that was approved."""
    stack = secret_stack(org)
    fork = Fork(org)
    org.deliveries(2)
    assert fork.approve(fork.pull.head_sha).status_code == 200
    (deployment,) = org.deployments(stack)
    return stack, fork, deployment


def is_of_a_fork(granted: Granted) -> bool:
    grant = granted.grant
    return grant.trust == "fork" and "KEY" not in grant.environment


@pytest.mark.parametrize("how", ["console", "check"])
def test_a_forks_deployment_that_is_run_again_stays_a_forks(org: Connected, how: str) -> None:
    stack, fork, first = approved(org)
    granted = take(org)
    assert is_of_a_fork(granted)
    assert granted.grant.environment["REGION"].plain == "here"
    granted.conclude()
    if how == "console":
        principal = Principal(
            user=User(id="", login="ada"), organizations=frozenset({ORGANIZATION})
        )
        name = StackName(ORGANIZATION, "shop", "dev")
        with_services(
            org.server.world.config,
            lambda world: resubmission.again(world, principal, name, first["id"], Trigger.CONSOLE),
        )
    else:
        check = {
            "id": 1,
            "head_sha": fork.pull.head_sha,
            "external_id": first["id"],
            "app": {"id": org.app.id},
        }
        payload = {
            "action": "rerequested",
            "check_run": check,
            "repository": {"id": org.repository.id, "full_name": org.repository.full_name},
            "installation": {"id": org.installation.id},
        }
        org.hub.webhooks.other(org.app, "check_run", payload)
        org.deliveries(3)
    assert len(org.deployments(stack)) == 2
    again = take(org)
    assert again.grant.deployment_id != first["id"]
    assert again.grant.operation == "preview"
    assert is_of_a_fork(again)


def test_the_token_of_a_forks_cli_changes_nothing_and_learns_nothing(org: Connected) -> None:
    stack = secret_stack(org)
    other = org.stack("other")
    sealed = org.http.post(f"{stack}/encrypt", json={"plaintext": "aGlkZGVu"}).json()["ciphertext"]
    fork = Fork(org)
    org.deliveries(2)
    assert fork.approve(fork.pull.head_sha).status_code == 200
    token = take(org).cli_token
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(base_url=org.server.url, headers=headers, timeout=30) as http:
        assert http.get(stack).status_code == 200
        opened = http.post(f"{stack}/decrypt", json={"ciphertext": sealed})
        assert opened.status_code == 200
        assert opened.json()["plaintext"] != "aGlkZGVu"
        program = {"name": "shop", "runtime": "python", "main": "", "description": ""}
        refused = {
            "update": http.post(f"{stack}/update", json=program | {"options": {}}),
            "destroy": http.post(f"{stack}/destroy", json=program | {"options": {}}),
            "refresh": http.post(f"{stack}/refresh", json=program | {"options": {}}),
            "import": http.post(f"{stack}/import", json={"version": 3, "deployment": {}}),
            "settings": http.post(f"{stack}/deployments/settings", json={}),
            "deployment": http.post(f"{stack}/deployments", json={"operation": "update"}),
            "tags": http.patch(f"{stack}/tags", json={"a": "b"}),
            "delete": http.delete(stack),
        }
        assert {name: each.status_code for name, each in refused.items()} == dict.fromkeys(
            refused, 403
        )
        preview = http.post(f"{stack}/preview", json=program | {"options": {"dryRun": True}})
        assert preview.status_code == 200, preview.text
        assert http.get(other).status_code == 404
        assert http.get(f"{other}/export").status_code == 404
    assert org.http.get(stack).status_code == 200
