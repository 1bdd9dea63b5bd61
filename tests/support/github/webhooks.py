"""Webhooks of the stand-in: payloads of GitHub's shape, signed, delivered, kept, and lost."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

from tests.support.github import shapes
from tests.support.github.models import answer_problem, complete, webhook_model
from tests.support.github.repositories import NOBODY, Change
from tests.support.github.state import (
    Account,
    App,
    Delivery,
    Installation,
    Pull,
    Repository,
    State,
    iso,
)

COMMITS_MAX = 2048
"""How many commits of a push GitHub tells of."""
ALWAYS = ("installation", "installation_repositories", "installation_target")
"""Events that every App gets, asked for or not."""
SECONDS_MAX = 10
"""How long GitHub waits for an answer."""


class Webhooks:
    """Delivers events to the Apps that see them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.lose = 0
        """So many next deliveries do not arrive; GitHub keeps them as failed."""
        self.duplicate = 0
        """So many next deliveries arrive twice, as after an answer that GitHub did not see."""

    # Events.

    def push(
        self, it: Repository, name: str, before: str, after: str, sender: Account, *, forced: bool
    ) -> list[Delivery]:
        """A branch or a tag was made, moved or deleted."""
        changes = it.git.changes(name, before, after)[-COMMITS_MAX:]
        commits = [_commit(self._state, it, each) for each in changes]
        repository = shapes.repository(self._state, it) | {
            "created_at": 0,
            "pushed_at": int(time.time()),
            "master_branch": it.default_branch,
            "stargazers": 0,
        }
        repository["owner"] |= {"name": it.owner.login, "email": it.owner.email}
        head = (
            None if after == NOBODY else _commit(self._state, it, it.git.change(_peeled(it, after)))
        )
        payload = {
            "ref": name,
            "before": before,
            "after": after,
            "base_ref": None,
            "created": before == NOBODY,
            "deleted": after == NOBODY,
            "forced": forced,
            "compare": f"{self._state.url}/{it.full_name}/compare/{before[:12]}...{after[:12]}",
            "commits": commits,
            "head_commit": head,
            "pusher": {"name": sender.login, "email": sender.email},
            "repository": repository,
        }
        return self._to_all(it, "push", payload, sender)

    def pull_request(self, it: Pull, action: str, sender: Account, **more: Any) -> list[Delivery]:
        """Something happened to a pull request."""
        payload = {
            "action": action,
            "number": it.number,
            "pull_request": shapes.pull(self._state, it),
            "repository": shapes.repository(self._state, it.base),
            **more,
        }
        return self._to_all(it.base, "pull_request", payload, sender)

    def repository(
        self, it: Repository, action: str, sender: Account, seen: list[Installation], **more: Any
    ) -> list[Delivery]:
        """A repository was renamed, transferred or deleted; who saw it before is told."""
        payload = {
            "action": action,
            "repository": shapes.repository(self._state, it),
            **more,
        }
        return [self._one(each, "repository", payload, sender) for each in seen]

    def installation(self, it: Installation, action: str, sender: Account) -> Delivery:
        """An App was installed, uninstalled, suspended, or given new permissions."""
        payload = {
            "action": action,
            "installation": shapes.installation(self._state, it),
            "repositories": [_brief(each) for each in self._state.reached(it)],
            "requester": None,
        }
        return self._one(it, "installation", payload, sender)

    def installation_repositories(
        self, it: Installation, added: list[Repository], removed: list[Repository], sender: Account
    ) -> Delivery:
        """Repositories were chosen for an installation, or taken from it."""
        payload = {
            "action": "added" if added else "removed",
            "installation": shapes.installation(self._state, it),
            "repository_selection": "all" if it.repository_ids is None else "selected",
            "repositories_added": [_brief(each) for each in added],
            "repositories_removed": [_brief(each) for each in removed],
            "requester": None,
        }
        return self._one(it, "installation_repositories", payload, sender)

    def other(self, app: App, event: str, payload: dict[str, Any]) -> Delivery:
        """Any event with any payload, delivered as it is."""
        return self._deliver(app, event, payload)

    # Delivering.

    def _to_all(
        self, it: Repository, event: str, payload: dict[str, Any], sender: Account
    ) -> list[Delivery]:
        return [
            self._one(each, event, payload, sender)
            for each in self._state.installations_at(it)
            if event in each.events and not each.suspended
        ]

    def _one(
        self, it: Installation, event: str, given: dict[str, Any], sender: Account
    ) -> Delivery:
        payload = {"installation": {"id": it.id, "node_id": ""}, **given}
        payload["sender"] = shapes.account(self._state, sender)
        if it.account.kind == "Organization" and event not in ALWAYS:
            login = it.account.login
            organization = {"login": login, "id": it.account.id}
            payload["organization"] = complete("OrganizationSimpleWebhooks", organization)
        name = webhook_model(event, str(payload.get("action", "")))
        payload = complete(name, payload)
        if problem := answer_problem(name, payload):
            self._state.problems.append(f"our {event} webhook: {problem}")
        return self._deliver(it.app, event, payload)

    def _deliver(self, app: App, event: str, payload: dict[str, Any]) -> Delivery:
        delivery = self._kept(Delivery(0, str(uuid.uuid4()), app, event, payload, time.time()))
        if self.lose:
            self.lose -= 1
            return delivery
        self._send(delivery)
        if self.duplicate:
            self.duplicate -= 1
            self._send(delivery)
        return delivery

    def _kept(self, delivery: Delivery) -> Delivery:
        with self._state.lock:
            delivery.id = self._state.next_id()
            self._state.deliveries.append(delivery)
        return delivery

    def redeliver(self, old: Delivery) -> Delivery:
        """The same payload and guid again, beside the request that asked for it."""
        again = Delivery(0, old.guid, old.app, old.event, old.payload, time.time(), 0, True)
        thread = threading.Thread(target=self._send, args=(self._kept(again),), daemon=True)
        thread.start()
        return again

    def _send(self, delivery: Delivery) -> None:
        body = json.dumps(delivery.payload).encode()
        headers = headers_of(delivery, body)
        address = urlsplit(delivery.app.webhook_url)
        connection = http.client.HTTPConnection(address.netloc, timeout=SECONDS_MAX)
        try:
            connection.request("POST", address.path or "/", body, headers)
            answer = connection.getresponse()
            answer.read()
            delivery.status_code = answer.status
        except (OSError, http.client.HTTPException):
            delivery.status_code = 0
        finally:
            connection.close()


def headers_of(delivery: Delivery, body: bytes) -> dict[str, str]:
    """The headers of a delivery; https://docs.github.com/webhooks/webhook-events-and-payloads."""
    key = delivery.app.webhook_secret.encode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Delivery": delivery.guid,
        "X-GitHub-Event": delivery.event,
        "X-GitHub-Hook-ID": str(delivery.app.id + 1),
        "X-GitHub-Hook-Installation-Target-ID": str(delivery.app.id),
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-Hub-Signature": "sha1=" + hmac.new(key, body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
    }


def _peeled(it: Repository, sha: str) -> str:
    """The commit of an annotated tag."""
    return it.git.git("rev-parse", f"{sha}^{{commit}}")


def _commit(state: State, it: Repository, change: Change) -> dict[str, Any]:
    person = {"name": "Ada Lovelace", "email": "ada@example.com", "username": "ada"}
    return {
        "id": change.sha,
        "tree_id": it.git.git("rev-parse", f"{change.sha}^{{tree}}"),
        "distinct": True,
        "message": change.message,
        "timestamp": iso(0),
        "url": f"{state.url}/{it.full_name}/commit/{change.sha}",
        "author": person,
        "committer": person,
        "added": change.added,
        "removed": change.removed,
        "modified": change.modified,
    }


def _brief(it: Repository) -> dict[str, Any]:
    return {
        "id": it.id,
        "node_id": "",
        "name": it.name,
        "full_name": it.full_name,
        "private": it.private,
    }
