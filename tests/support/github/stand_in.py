"""The stand-in as tests use it: accounts and repositories are made, and things happen to them.

with github(tmp_path) as hub:
    ada = hub.add_user("ada")
    acme = hub.add_organization("acme", {"ada": "admin"})
    site = hub.add_repository(acme, "site")
    ...
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.github import shapes
from tests.support.github.models import complete
from tests.support.github.repositories import NOBODY, BareRepository
from tests.support.github.server import API, Failure, Server, serving, tell_of_push
from tests.support.github.state import Account, App, Installation, Pull, Repository, State
from tests.support.github.webhooks import Webhooks

PERMISSIONS = {
    "contents": "read",
    "metadata": "read",
    "pull_requests": "write",
    "checks": "write",
    "statuses": "write",
    "deployments": "write",
    "members": "read",
}
EVENTS = ["push", "pull_request", "repository"]


class GitHub:
    """One GitHub. `state` is open to look into; `problems` must stay empty."""

    def __init__(self, state: State, webhooks: Webhooks, server: Server) -> None:
        self.state = state
        self.webhooks = webhooks
        self.server = server

    @property
    def url(self) -> str:
        """What `github.base_url` is to be; the API is under it as on an Enterprise Server."""
        return self.state.url

    @property
    def api_url(self) -> str:
        return self.url + API

    @property
    def problems(self) -> list[str]:
        """Wrong requests, and wrong answers of our own."""
        return self.state.problems

    def requests(self, pattern: str = "") -> int:
        """How many requests there were of the routes whose `METHOD /template` matches."""
        counted = list(self.state.requests.items())
        return sum(times for name, times in counted if re.search(pattern, name))

    # Who and what there is.

    def add_user(self, login: str, *, email: str = "") -> Account:
        token = f"gho_{secrets.token_hex(10)}"
        made = Account(self.state.next_id(), login, "User", login.title(), email, token)
        self.state.accounts[login] = made
        return made

    def add_organization(self, login: str, members: Mapping[str, str]) -> Account:
        """Members are logins of users, each with `admin` or `member`."""
        made = Account(self.state.next_id(), login, "Organization", members=dict(members))
        self.state.accounts[login] = made
        return made

    def add_repository(
        self, owner: Account, name: str, *, private: bool = True, default_branch: str = "main"
    ) -> Repository:
        number = self.state.next_id()
        bare = BareRepository.create(self.state.root / f"{number}.git", default_branch)
        made = Repository(number, owner, name, private, default_branch, bare)
        self.state.repositories.append(made)
        return made

    def fork(self, it: Repository, owner: Account) -> Repository:
        made = self.add_repository(owner, it.name, private=it.private)
        made.fork_of = it
        for name, sha in it.git.refs().items():
            if name.startswith("refs/heads/"):
                made.git.take(it.git, sha, name)
        return made

    def add_app(
        self,
        owner: Account,
        webhook_url: str,
        *,
        permissions: Mapping[str, str] = PERMISSIONS,
        events: list[str] = EVENTS,
        callback_urls: list[str] | None = None,
        setup_url: str = "",
    ) -> App:
        """An App as if made from a manifest before."""
        manifest = {
            "name": f"Slipway {self.state.next_id()}",
            "url": "http://slipway.test",
            "hook_attributes": {"url": webhook_url},
            "callback_urls": callback_urls or [],
            "setup_url": setup_url,
            "default_permissions": dict(permissions),
            "default_events": list(events),
        }
        return self.server.pages.make_app(owner, manifest)

    def install(
        self, app: App, account: Account, repositories: list[Repository] | None = None
    ) -> Installation:
        """Install an App in all repositories of an account or in some; it is told."""
        chosen = None if repositories is None else {each.id for each in repositories}
        return self.server.pages.install(app, account, chosen, self.state.owner(account))

    def sign_in(self, who: Account | None) -> None:
        """Who sits at the browser from now on."""
        self.state.signed_in = who

    # What happens to installations.

    def uninstall(self, it: Installation) -> None:
        self.webhooks.installation(it, "deleted", self.state.owner(it.account))
        del self.state.installations[it.id]

    def suspend(self, it: Installation, *, suspended: bool = True) -> None:
        """Suspending ends all tokens."""
        it.suspended = suspended
        for minted in self.state.tokens.values():
            minted.revoked |= minted.installation is it
        action = "suspend" if suspended else "unsuspend"
        self.webhooks.installation(it, action, self.state.owner(it.account))

    def accept_permissions(self, it: Installation, permissions: Mapping[str, str]) -> None:
        """The App asked for more, and the account's admin said yes."""
        it.permissions = dict(permissions)
        self.webhooks.installation(it, "new_permissions_accepted", self.state.owner(it.account))

    # What happens to repositories.

    def push(
        self,
        it: Repository,
        files: Mapping[str, str | None],
        branch: str = "main",
        message: str = "Change",
        *,
        parents: list[str] | None = None,
        sender: Account | None = None,
    ) -> str:
        """One more commit on a branch, or with other parents another history; gives its id.

        A new branch begins at the default branch.
        """
        before = it.git.head(branch) or NOBODY
        start = it.git.head(it.default_branch)
        if parents is None and before == NOBODY and start:
            parents = [start]
        sha = it.git.commit(files, branch, message, parents=parents)
        self._pushed(it, f"refs/heads/{branch}", before, sha, sender)
        return sha

    def move_branch(
        self, it: Repository, branch: str, sha: str, sender: Account | None = None
    ) -> None:
        """Set a branch to a commit that is there: a force-push, a new branch, a merge by hand."""
        before = it.git.head(branch) or NOBODY
        it.git.git("update-ref", f"refs/heads/{branch}", sha)
        self._pushed(it, f"refs/heads/{branch}", before, sha, sender)

    def delete_branch(self, it: Repository, branch: str, sender: Account | None = None) -> None:
        before = it.git.head(branch) or NOBODY
        it.git.git("update-ref", "-d", f"refs/heads/{branch}")
        self._pushed(it, f"refs/heads/{branch}", before, NOBODY, sender)

    def tag(self, it: Repository, name: str, sha: str, sender: Account | None = None) -> None:
        it.git.git("update-ref", f"refs/tags/{name}", sha)
        self._pushed(it, f"refs/tags/{name}", NOBODY, sha, sender)

    def rename(self, it: Repository, name: str) -> None:
        """The old name leads to the new one."""
        old = it.name
        self.state.renamed[it.full_name.lower()] = it
        it.name = name
        seen = self.state.installations_at(it)
        changes = {"repository": {"name": {"from": old}}}
        self.webhooks.repository(it, "renamed", self.state.owner(it.owner), seen, changes=changes)

    def transfer(self, it: Repository, owner: Account) -> None:
        """To another account; the installations of both are told."""
        old, seen = it.owner, self.state.installations_at(it)
        self.state.renamed[it.full_name.lower()] = it
        it.owner = owner
        seen += [each for each in self.state.installations_at(it) if each not in seen]
        kind = "organization" if old.kind == "Organization" else "user"
        told = shapes.account(self.state, old)
        if kind == "organization":
            told = complete(
                "WebhookRepositoryTransferredPropChangesPropOwnerPropFromPropOrganization",
                {"id": old.id, "login": old.login},
            )
        changes = {"owner": {"from": {kind: told}}}
        self.webhooks.repository(it, "transferred", self.state.owner(owner), seen, changes=changes)

    def delete(self, it: Repository) -> None:
        seen = self.state.installations_at(it)
        it.deleted = True
        self.webhooks.repository(it, "deleted", self.state.owner(it.owner), seen)

    # What happens to pull requests.

    def open_pull(
        self,
        base: Repository,
        head_ref: str,
        *,
        head: Repository | None = None,
        base_ref: str = "main",
        author: Account | None = None,
        title: str = "Change",
        draft: bool = False,
        labels: list[str] | None = None,
    ) -> Pull:
        """A pull request, from a fork if `head` is one."""
        source = head or base
        sha = source.git.head(head_ref)
        assert sha, f"{source.full_name} has no branch {head_ref}"
        number, who = len(base.pulls) + 1, author or self.state.owner(source.owner)
        made = Pull(number, base, base_ref, source, head_ref, sha, who, title, draft)
        made.labels = labels or []
        base.git.take(source.git, sha, f"refs/pull/{number}/head")
        base.pulls.append(made)
        self.webhooks.pull_request(made, "opened", who)
        return made

    def close_pull(self, it: Pull, *, merge: bool = False) -> None:
        """Close it; a merge makes a merge commit on its target branch, which is a push."""
        who = self.state.owner(it.base.owner)
        it.state = "closed"
        if merge:
            target = it.base.git.head(it.base_ref) or ""
            tree = it.base.git.git("merge-tree", "--write-tree", target, it.head_sha)
            arguments = ["commit-tree", tree, "-p", target, "-p", it.head_sha, "-m"]
            it.merged = True
            identity = ["-c", "user.name=GitHub", "-c", "user.email=noreply@github.com"]
            text = f"Merge pull request #{it.number} from {it.head_ref}"
            sha = it.base.git.git(*identity, *arguments, text)
            self.webhooks.pull_request(it, "closed", who)
            self.move_branch(it.base, it.base_ref, sha, who)
        else:
            self.webhooks.pull_request(it, "closed", who)

    def reopen_pull(self, it: Pull) -> None:
        it.state = "open"
        self.webhooks.pull_request(it, "reopened", self.state.owner(it.base.owner))

    def label_pull(self, it: Pull, label: str) -> None:
        it.labels.append(label)
        told = shapes.label(label)
        self.webhooks.pull_request(it, "labeled", self.state.owner(it.base.owner), label=told)

    def ready_pull(self, it: Pull) -> None:
        """A draft no more."""
        it.draft = False
        self.webhooks.pull_request(it, "ready_for_review", it.author)

    def retarget_pull(self, it: Pull, base_ref: str) -> None:
        """Another target branch."""
        before = {"ref": {"from": it.base_ref}, "sha": {"from": it.base.git.head(it.base_ref)}}
        it.base_ref = base_ref
        changes = {"base": before}
        self.webhooks.pull_request(it, "edited", it.author, changes=changes)

    # What goes wrong.

    def fail(
        self,
        pattern: str,
        *,
        status: int = 502,
        times: int = 1,
        headers: dict[str, str] | None = None,
        body: bytes = b'{"message": "Server Error"}',
    ) -> None:
        """The next requests of routes whose `METHOD /template` matches are answered so."""
        failure = Failure(re.compile(pattern), times, status, headers or {}, body)
        self.server.failures.append(failure)

    def limit(self, pattern: str = "", *, retry_after: int = 60, times: int = 1) -> None:
        """A secondary rate limit."""
        message = b'{"message": "You have exceeded a secondary rate limit."}'
        headers = {"Retry-After": str(retry_after)}
        self.fail(pattern, status=403, times=times, headers=headers, body=message)

    def hang(self, pattern: str = "", *, times: int = 1) -> threading.Event:
        """No answer until the event is set, or the test ends."""
        failure = Failure(re.compile(pattern), times)
        self.server.failures.append(failure)
        return failure.release

    def lose_deliveries(self, times: int = 1) -> None:
        """The next webhooks do not arrive; the deliveries API has them."""
        self.webhooks.lose += times

    def duplicate_deliveries(self, times: int = 1) -> None:
        """The next webhooks arrive twice."""
        self.webhooks.duplicate += times

    # Helpers.

    def clone_url(self, it: Repository) -> str:
        return f"{self.url}/{it.full_name}.git"

    def _pushed(
        self, it: Repository, name: str, before: str, after: str, sender: Account | None
    ) -> None:
        who = sender or self.state.owner(it.owner)
        tell_of_push(self.state, self.webhooks, it, name, before, after, who)


@contextmanager
def github(tmp_path: Path, *, strict: bool = True) -> Iterator[GitHub]:
    """A GitHub with nobody in it; at the end no request may have been wrong."""
    root = tmp_path / "github"
    root.mkdir(parents=True)
    state = State(root)
    webhooks = Webhooks(state)
    with serving(state, webhooks) as server:
        yield GitHub(state, webhooks, server)
    if strict:
        assert state.problems == [], "\n".join(state.problems)


def settings(hub: GitHub) -> dict[str, Any]:
    """The section `github` of a configuration that uses the stand-in."""
    return {"base_url": hub.url}
