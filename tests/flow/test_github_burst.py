"""A burst of deliveries, in any order, some again, over a server that ends in between."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests.support.app import TOKEN
from tests.support.github_org import API, ORGANIZATION, Connected, connected
from tests.support.server import serving
from tests.support.waiting import wait_for

DELIVERIES = 50
DUPLICATES = 20
REPLAYS = 10
STACKS = 5


def _id(number: int) -> str:
    return f"burst-{number}"


def _commit(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


def _request(org: Connected, number: int) -> tuple[dict[str, str], bytes]:
    """A push to a branch of its own, which all stacks but one ignore."""
    after = _commit(number)
    body = json.dumps(
        {
            "ref": f"refs/heads/line-{number % STACKS}",
            # None goes on from another, so that none is overtaken, in whatever order they come.
            "before": _commit(-1 - number),
            "after": after,
            "repository": {
                "id": org.repository.id,
                "full_name": org.repository.full_name,
                "clone_url": org.hub.clone_url(org.repository),
                "pushed_at": 1_700_000_000,
            },
            "installation": {"id": org.installation.id},
            "head_commit": {"id": after, "message": "m", "author": {"name": "a"}},
        }
    ).encode()
    signature = hmac.new(org.app.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": _id(number),
        "X-Hub-Signature-256": f"sha256={signature}",
        "Content-Type": "application/json",
    }
    return headers, body


def _send(url: str, request: tuple[dict[str, str], bytes]) -> bool:
    """Whether it was answered well; a server that is gone is no answer."""
    headers, body = request
    with suppress(httpx.HTTPError):
        answer = httpx.post(f"{url}/webhooks/github", content=body, headers=headers, timeout=60)
        return answer.status_code == 202
    return False


@pytest.mark.parametrize("seed", [1, 2])
def test_a_burst_over_a_restart_loses_nothing_and_doubles_nothing(
    tmp_path: Path, seed: int
) -> None:
    dice = Random(seed)
    sent = [*range(DELIVERIES), *dice.choices(range(DELIVERIES), k=DUPLICATES)]
    dice.shuffle(sent)
    with ThreadPoolExecutor(8) as pool:
        with connected(tmp_path) as org:
            for number in range(STACKS):
                path = org.stack(f"s{number}")
                settings = _settings(org, f"line-{number}")
                assert org.http.put(f"{path}/deployments/settings", json=settings).is_success
            requests = [_request(org, number) for number in range(DELIVERIES)]
            url = org.server.url
            answers = [pool.submit(_send, url, requests[number]) for number in sent]
            answers[dice.randrange(10, DELIVERIES)].result()
        # The server ended in the middle. Who got no answer asks again, as GitHub is made to.
        taken = {number for number, each in zip(sent, answers, strict=True) if each.result()}
        rest = [*(set(range(DELIVERIES)) - taken), *dice.sample(sorted(taken), REPLAYS)]
        with serving(tmp_path) as again:
            assert all(pool.map(lambda number: _send(again.url, requests[number]), rest))
            _check(again.url)


def _settings(org: Connected, branch: str, **github: Any) -> dict[str, Any]:
    return {
        "sourceContext": {"git": {"branch": branch}},
        "gitHub": {"repository": org.repository.full_name, "deployCommits": True} | github,
    }


def _check(url: str) -> None:
    """Each delivery is kept, and has queued one deployment, of the stack of its branch."""
    headers = {"Authorization": f"token {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:

        def kept() -> list[dict[str, Any]]:
            pages = [http.get(f"{API}/deliveries", params={"page": n}).json() for n in (1, 2, 3, 4)]
            found = [each for page in pages for each in page["deliveries"]]
            return [each for each in found if _is_ours(each)]

        wait_for(lambda: all(each["status"] == "processed" for each in kept()), "all are seen", 30)
        assert Counter(each["id"] for each in kept()) == Counter(map(_id, range(DELIVERIES)))
        assert [each["deployments"] for each in kept()] == [1] * DELIVERIES
        for number in range(STACKS):
            path = f"/api/stacks/{ORGANIZATION}/shop/s{number}/deployments"
            made = http.get(path, params={"pageSize": 100}).json()["deployments"]
            wanted = {_commit(each) for each in range(number, DELIVERIES, STACKS)}
            assert len(made) == len(wanted)
            shown = json.dumps(made)
            assert all(commit in shown for commit in wanted)


def _is_ours(delivery: dict[str, Any]) -> bool:
    return str(delivery["id"]).startswith("burst-")


def test_settings_that_changed_are_read_anew(tmp_path: Path) -> None:
    """What settings say is remembered by their text, and only by that."""
    with connected(tmp_path) as org:
        stack = org.stack()
        org.hub.push(org.repository, {"a": "1"})
        org.deliveries(2)
        assert org.verdicts("push")["shop/dev"]["code"] == "deployed"
        for flag, code in (
            (False, "deploy-commits-off"),
            (True, "deployed"),
            (False, "deploy-commits-off"),
        ):
            changed = _settings(org, "main", deployCommits=flag)
            assert org.http.put(f"{stack}/deployments/settings", json=changed).is_success
            before = len(org.deliveries(2))
            org.hub.push(org.repository, {"a": f"{before}"})
            org.deliveries(before + 1)
            assert org.verdicts("push")["shop/dev"]["code"] == code
