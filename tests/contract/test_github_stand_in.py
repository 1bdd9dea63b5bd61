"""The stand-in itself: what a receiver, a browser and a git client of GitHub's would see."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from githubkit.webhooks import WebhookNamespace

from tests.support.github import GitHub, github
from tests.support.github.stand_in import PERMISSIONS
from tests.support.github.state import Minted
from tests.support.waiting import wait_for

MANIFEST = {
    "name": "Slipway of acme",
    "url": "http://slipway.test",
    "hook_attributes": {"url": "http://127.0.0.1:9/webhooks/github", "active": True},
    "redirect_url": "http://slipway.test/created",
    "callback_urls": ["http://slipway.test/signed-in"],
    "setup_url": "http://slipway.test/installed",
    "public": False,
    "default_permissions": PERMISSIONS,
    "default_events": ["push", "pull_request"],
}


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> str:
        return self.headers["x-github-event"]

    @property
    def payload(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Keeps every webhook."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                got.append(Received(headers, body))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/github"

    def words(self) -> list[str]:
        """Each event with its action."""
        return [f"{each.event} {each.payload.get('action', '')}".strip() for each in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_every_event_is_signed_and_of_githubs_shape(hub: GitHub, receiver: Receiver) -> None:
    acme, bob = hub.state.accounts["acme"], hub.state.accounts["bob"]
    app = hub.add_app(acme, receiver.url)
    site = hub.add_repository(acme, "site")
    first = hub.push(site, {"a": "1"})
    installation = hub.install(app, acme)
    second = hub.push(site, {"a": "2", "b": "1"})
    hub.push(site, {"c": "1"}, parents=[first])
    hub.move_branch(site, "fix", second)
    pull = hub.open_pull(site, "fix", draft=True)
    hub.push(site, {"d": "1"}, "fix")
    hub.label_pull(pull, "preview")
    hub.ready_pull(pull)
    hub.retarget_pull(pull, "other")
    pull.base_ref = "main"
    hub.close_pull(pull)
    hub.reopen_pull(pull)
    hub.close_pull(pull, merge=True)
    hub.delete_branch(site, "fix")
    hub.tag(site, "v1", first)
    fork = hub.fork(site, bob)
    hub.push(fork, {"theirs": "1"}, "theirs")
    hub.open_pull(site, "theirs", head=fork, author=bob)
    hub.push(fork, {"theirs": "2"}, "theirs")
    hub.rename(site, "website")
    hub.transfer(site, bob)
    hub.transfer(site, acme)
    hub.delete(site)
    hub.accept_permissions(installation, {**PERMISSIONS, "issues": "write"})
    hub.suspend(installation)
    hub.suspend(installation, suspended=False)
    hub.uninstall(installation)
    assert receiver.words() == [
        "installation created", "push", "push", "push", "pull_request opened", "push",
        "pull_request synchronize", "pull_request labeled", "pull_request ready_for_review",
        "pull_request edited", "pull_request closed", "pull_request reopened",
        "pull_request closed", "push", "push", "push", "pull_request opened",
        "pull_request synchronize", "repository renamed", "repository transferred",
        "repository transferred", "repository deleted",
        "installation new_permissions_accepted", "installation suspend",
        "installation unsuspend", "installation deleted",
    ]  # fmt: skip
    for each in receiver.got:
        code = hmac.new(app.webhook_secret.encode(), each.body, hashlib.sha256).hexdigest()
        assert each.headers["x-hub-signature-256"] == f"sha256={code}"
    for event, body in {each.event: each.body for each in receiver.got}.items():
        WebhookNamespace.parse(event, body)
    guids = {each.headers["x-github-delivery"] for each in receiver.got}
    assert len(guids) == len(receiver.got)
    push = receiver.got[1].payload
    assert (push["before"], push["after"], push["forced"]) == (first, second, False)
    assert push["commits"][0]["added"] == ["b"]
    assert push["commits"][0]["modified"] == ["a"]
    assert receiver.got[2].payload["forced"]
    assert receiver.got[3].payload["created"]
    assert [each["id"] for each in receiver.got[3].payload["commits"]] == [second]
    tagged = next(each.payload for each in receiver.got if "refs/tags" in each.body.decode())
    assert (tagged["ref"], tagged["commits"]) == ("refs/tags/v1", [])
    deleted = next(each.payload for each in receiver.got[13:] if each.payload.get("deleted"))
    assert deleted["head_commit"] is None
    merged = [each.payload for each in receiver.got if each.payload.get("action") == "closed"]
    assert [each["pull_request"]["merged"] for each in merged] == [False, True]


def test_deliveries_are_lost_and_doubled(hub: GitHub, receiver: Receiver) -> None:
    acme = hub.state.accounts["acme"]
    site = hub.add_repository(acme, "site")
    hub.install(hub.add_app(acme, receiver.url), acme)
    hub.lose_deliveries()
    hub.push(site, {"a": "1"})
    assert receiver.words() == ["installation created"]
    lost = hub.state.deliveries[-1]
    assert lost.status_code == 0
    hub.duplicate_deliveries()
    hub.push(site, {"a": "2"})
    assert [each.headers["x-github-delivery"] for each in receiver.got[1:]] == [
        hub.state.deliveries[-1].guid
    ] * 2
    hub.webhooks.redeliver(lost)
    wait_for(lambda: len(receiver.got) == 4, "the lost one arrives")
    assert receiver.got[3].headers["x-github-delivery"] == lost.guid


def _press(browser: httpx.Client, page: httpx.Response, **fields: str) -> httpx.Response:
    """Press the button of a page's form, with its hidden fields."""
    hidden = re.findall(r"type='hidden' name='(\w+)' value=\"([^\"]*)\"", page.text)
    form = {name: value.replace("&quot;", '"') for name, value in hidden} | fields
    return browser.post(page.url, data=form)


def test_a_browser_creates_installs_and_signs_in(hub: GitHub) -> None:
    hub.sign_in(hub.state.accounts["ada"])
    site = hub.add_repository(hub.state.accounts["acme"], "site")
    hub.add_repository(hub.state.accounts["acme"], "other")
    with httpx.Client(base_url=hub.url) as browser:
        address = "/organizations/acme/settings/apps/new?state=st8"
        page = browser.post(address, data={"manifest": json.dumps(MANIFEST)})
        assert "Create GitHub App for acme" in page.text
        back = httpx.URL(_press(browser, page, confirmed="1").headers["Location"])
        assert (back.path, back.params["state"]) == ("/created", "st8")
        made = browser.post(f"/api/v3/app-manifests/{back.params['code']}/conversions").json()
        page = browser.get(f"/github-apps/{made['slug']}/installations/new?state=in5")
        chosen = {"account": "acme", "selection": "selected", "repository": str(site.id)}
        back = httpx.URL(_press(browser, page, **chosen).headers["Location"])
        assert (back.path, back.params["setup_action"]) == ("/installed", "install")
        installation = hub.state.installations[int(back.params["installation_id"])]
        assert hub.state.reached(installation) == [site]
        again = _press(browser, page, account="acme", selection="all").headers["Location"]
        assert httpx.URL(again).params["setup_action"] == "update"
        hub.sign_in(hub.state.accounts["bob"])
        asked = _press(browser, page, account="acme", selection="all").headers["Location"]
        assert dict(httpx.URL(asked).params) == {"setup_action": "request", "state": "in5"}
        hub.sign_in(hub.state.accounts["ada"])
        query = {"client_id": made["client_id"], "redirect_uri": MANIFEST["callback_urls"][0]}
        page = browser.get("/login/oauth/authorize", params={**query, "state": "si6"})
        assert "Authorize Slipway of acme" in page.text
        back = httpx.URL(_press(browser, page).headers["Location"])
        assert (back.path, back.params["state"]) == ("/signed-in", "si6")
        token = browser.post(
            "/login/oauth/access_token",
            json={
                "client_id": made["client_id"],
                "client_secret": made["client_secret"],
                "code": back.params["code"],
            },
        ).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert browser.get("/api/v3/user", headers=headers).json()["login"] == "ada"


@pytest.mark.parametrize(
    "wrong",
    [
        {"default_permissions": {"content": "read"}},
        {"default_events": ["pushes"]},
        {"default_events": ["push"], "default_permissions": {}},
        {"hooks": {}},
    ],
)
def test_a_manifest_that_github_would_refuse(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with github(tmp_path, strict=False) as hub:
        hub.sign_in(hub.add_user("ada"))
        data = {"manifest": json.dumps(MANIFEST | wrong)}
        assert httpx.post(f"{hub.url}/settings/apps/new", data=data).status_code == 422
        assert len(hub.problems) == 1


def test_wrong_requests_are_noted(tmp_path: Path) -> None:
    with github(tmp_path, strict=False) as hub:
        ada = hub.add_user("ada")
        site = hub.add_repository(ada, "site")
        sha = hub.push(site, {"a": "1"})
        installation = hub.install(hub.add_app(ada, "http://127.0.0.1:9/"), ada)
        hub.state.tokens["ghs_x"] = Minted(installation, dict(PERMISSIONS), None, 1e12)
        with httpx.Client(base_url=f"{hub.api_url}/repos/ada/site") as http:
            http.headers["Authorization"] = "token ghs_x"
            bodies: list[dict[str, Any]] = [
                {"head_sha": sha},
                {"name": "n", "head_sha": sha, "status": "runing"},
                {"name": "n", "head_sha": sha, "states": "queued"},
            ]
            for body in bodies:
                assert http.post("/check-runs", json=body).status_code == 422
            assert http.get("/nothing").status_code == 404
    assert len(hub.problems) == len(bodies) + 1


def test_a_real_git_clones_and_pushes(hub: GitHub, receiver: Receiver, tmp_path: Path) -> None:
    acme, ada = hub.state.accounts["acme"], hub.state.accounts["ada"]
    site = hub.add_repository(acme, "site")
    first = hub.push(site, {"a": "1"})
    hub.install(hub.add_app(acme, receiver.url), acme)
    clone = tmp_path / "clone"

    def git(*arguments: str, token: str = ada.token) -> int:
        url = hub.clone_url(site).replace("://", f"://x:{token}@")
        command = ["git", *(url if each == "URL" else each for each in arguments)]
        environment = {
            "PATH": "/usr/bin:/bin:/usr/local/bin",
            "HOME": str(tmp_path),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.com",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.com",
        }
        return subprocess.run(command, env=environment, capture_output=True).returncode

    assert git("clone", "URL", str(clone), token="wrong") != 0
    assert git("clone", "URL", str(clone), token=hub.state.accounts["bob"].token) == 0
    (clone / "b").write_text("1")
    assert git("-C", str(clone), "add", "b") == 0
    assert git("-C", str(clone), "commit", "-qm", "More") == 0
    push = ("-C", str(clone), "push", "URL", "HEAD:main")
    assert git(*push, token=hub.state.accounts["bob"].token) != 0
    assert git(*push) == 0
    wait_for(lambda: receiver.words() == ["installation created", "push"], "the push is told")
    told = receiver.got[1].payload
    assert (told["before"], told["after"]) == (first, site.git.head("main"))
    assert told["pusher"]["name"] == "ada"
