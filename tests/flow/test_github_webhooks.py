"""What is taken from GitHub, what is refused, and that nothing is lost or done twice."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services.github import receiving
from tests.support.app import TOKEN
from tests.support.github_org import API, Connected, connected, with_services
from tests.support.server import serving
from tests.support.waiting import wait_for


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def deliver(
    org: Connected,
    body: bytes,
    event: str = "push",
    *,
    secret: str | None = None,
    signature: str | None = None,
    guid: str | None = None,
) -> httpx.Response:
    key = (secret or org.app.webhook_secret).encode()
    signed = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid if guid is not None else str(uuid.uuid4()),
        "X-Hub-Signature-256": signed if signature is None else signature,
        "Content-Type": "application/json",
    }
    return httpx.post(f"{org.server.url}/webhooks/github", content=body, headers=headers)


def push_body(org: Connected, after: str, pushed_at: int | None = None, **more: Any) -> bytes:
    """A push that nobody made; `pushed_at` in Unix seconds, now without."""
    return json.dumps(
        {
            "ref": "refs/heads/main",
            "before": "1" * 40,
            "after": after,
            "repository": {
                "id": org.repository.id,
                "full_name": org.repository.full_name,
                "clone_url": org.hub.clone_url(org.repository),
                "pushed_at": int(time.time()) if pushed_at is None else pushed_at,
            },
            "installation": {"id": org.installation.id},
            "head_commit": {"id": after, "message": "m", "author": {"name": "a"}},
            **more,
        }
    ).encode()


def test_only_what_github_signed_is_taken(org: Connected) -> None:
    stack = org.stack()
    body = push_body(org, "2" * 40)
    good = hmac.new(org.app.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    for signature in ("", "sha256=", f"sha1={good}", good, f"sha256={good[:-1]}0", "sha256=ü"):
        if signature.isascii():
            assert deliver(org, body, signature=signature).status_code == 401, signature
    assert deliver(org, body, secret="another").status_code == 401
    assert deliver(org, body + b" ", signature=f"sha256={good}").status_code == 401
    assert deliver(org, b"not json").status_code == 400
    assert deliver(org, b"[1]").status_code == 400
    assert deliver(org, body, guid="").status_code == 400
    assert deliver(org, body, event="").status_code == 400
    assert org.deployments(stack) == []


def test_a_payload_of_25_mb_is_taken_and_a_larger_one_refused(org: Connected) -> None:
    stack = org.stack()
    small = push_body(org, "3" * 40)
    padding = "x" * (25 * 1024 * 1024 - len(small) - 20)
    answer = deliver(org, push_body(org, "3" * 40, padding=padding))
    assert answer.status_code == 202, answer.text
    wait_for(lambda: org.deployments(stack), "it was deployed")
    assert deliver(org, push_body(org, "4" * 40, padding=padding + "x" * 1024)).status_code == 413


def test_a_replay_changes_nothing(org: Connected) -> None:
    stack = org.stack()
    guid = str(uuid.uuid4())
    body = push_body(org, "5" * 40)
    answers = [deliver(org, body, guid=guid).json() for _ in range(5)]
    assert [each["new"] for each in answers] == [True, False, False, False, False]
    wait_for(lambda: org.deployments(stack), "it was deployed")
    # Under another id it is the same push all the same.
    deliver(org, body)
    org.deliveries(3)
    assert len(org.deployments(stack)) == 1


def test_what_is_not_understood_is_noted_and_nothing_more(org: Connected) -> None:
    stack = org.stack()
    known = json.loads(push_body(org, "6" * 40))
    assert deliver(org, json.dumps(known).encode(), event="sponsorship").status_code == 202
    assert deliver(org, json.dumps(known | {"after": "no commit"}).encode()).status_code == 202
    listed = org.deliveries(3)
    assert [each["event"] for each in listed if each["status"] == "ignored"] == ["sponsorship"]
    (failed,) = [each for each in listed if each["status"] == "failed"]
    assert "after" in failed["message"]
    assert org.deployments(stack) == []
    answer = org.http.get(f"{API}/deliveries/{uuid.uuid4()}")
    assert answer.status_code == 404


def test_an_installation_that_nobody_claimed_deploys_nothing(org: Connected) -> None:
    stack = org.stack()
    other = org.hub.add_organization("others", {"octo-ada": "admin"})
    repository = org.hub.add_repository(other, "site")
    org.hub.install(org.app, other)
    org.hub.push(repository, {"a": "b"})
    wait_for(lambda: org.http.get(API).json()["unclaimed"] == 1, "one is not claimed")
    assert org.deployments(stack) == []
    assert all(each["repository"] != "others/site" for each in org.deliveries(1))


def test_a_lost_delivery_is_found_again(tmp_path: Path) -> None:
    with connected(tmp_path, github_interval=0.3) as org:
        stack = org.stack()
        org.hub.lose_deliveries()
        org.hub.push(org.repository, {"lost": "1"})
        wait_for(lambda: org.deployments(stack), "the push that was not told was deployed", 30)
        org.hub.duplicate_deliveries()
        org.hub.push(org.repository, {"twice": "1"})
        wait_for(lambda: len(org.deployments(stack)) == 2, "the next push was deployed", 30)
        assert len(org.deployments(stack)) == 2


def test_a_push_that_comes_too_late_is_not_deployed(org: Connected) -> None:
    stack = org.stack()
    org.hub.push(org.repository, {"a": "newest"})
    wait_for(lambda: org.deployments(stack), "it was deployed")
    deliver(org, push_body(org, "7" * 40, pushed_at=1_500_000_000))
    (late, *_) = org.deliveries(3)
    assert "newer push" in late["message"]
    assert len(org.deployments(stack)) == 1


def test_a_server_that_ended_before_it_looked_into_a_delivery_loses_nothing(
    tmp_path: Path,
) -> None:
    with connected(tmp_path) as org:
        stack = org.stack()
        config, secret = org.server.world.config, org.app.webhook_secret
        body = push_body(org, "8" * 40)
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    delivered = receiving.Delivered(id="late", event="push", signature=signature, body=body)
    assert with_services(config, lambda world: receiving.receive(world, delivered)).is_new
    with (
        serving(tmp_path, github={"base_url": config.github.base_url}) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": f"token {TOKEN}"}) as http,
    ):

        def deployments() -> list[Any]:
            return list(http.get(f"{stack}/deployments").json()["deployments"])

        wait_for(deployments, "it was deployed after the next start")
        assert len(deployments()) == 1
