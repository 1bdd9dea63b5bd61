"""The stand-in's web server: REST under /api/v3, pages, and git, on one address."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.git_servers import backend
from tests.support.github import routes_app, routes_repositories
from tests.support.github.pages import Page, Pages
from tests.support.github.repositories import NOBODY
from tests.support.github.rest import Call, Refusal, Rest
from tests.support.github.state import Account, Repository, State
from tests.support.github.webhooks import Webhooks

API = "/api/v3"
ROUTE_MODULES = (routes_app, routes_repositories)
"""Imported for the routes that they register."""
_GIT = re.compile(
    r"/([^/]+/[^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.+)"
)


@dataclass
class Failure:
    """How requests of some routes go wrong, so many times."""

    pattern: re.Pattern[str]
    """Of `POST /repos/{owner}/{repo}/check-runs`: the method and the route's template."""
    times: int
    status: int = 0
    """0 is no answer at all until `release`."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    release: threading.Event = field(default_factory=threading.Event)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state
        self.webhooks = webhooks
        self.rest = Rest(state, webhooks)
        self.pages = Pages(state, webhooks)
        self.failures: list[Failure] = []
        state.url = f"http://127.0.0.1:{self.server_address[1]}"

    def failing(self, name: str) -> Failure | None:
        """The failure that a route has now."""
        with self.state.lock:
            for each in self.failures:
                if each.times > 0 and each.pattern.search(name):
                    each.times -= 1
                    return each
        return None


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith(f"{API}/"):
            self._rest(path.removeprefix(API))
        elif match := _GIT.fullmatch(path):
            self._git(match[1], match[2])
        else:
            self._page()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    # REST.

    def _rest(self, path: str) -> None:
        content = self._content()
        found = self.server.rest.find(self.command, path)
        name = found[0].name if found else f"{self.command} {path}"
        with self.server.state.lock:
            self.server.state.requests[name] += 1
        if (failure := self.server.failing(name)) is not None:
            self._fail(failure)
            return
        if found is None:
            self.server.state.problems.append(f"no such route: {name}")
            self._answer(404, b'{"message": "Not Found"}')
            return
        route, values = found
        query = {key: each[0] for key, each in parse_qs(urlsplit(self.path).query).items()}
        body = json.loads(content) if content else None
        call = Call(self.command, path, query, self.headers, body, found=values)
        try:
            status, answer = self.server.rest.answer(route, call)
        except Refusal as refusal:
            told = json.dumps({"message": refusal.message, "documentation_url": ""}).encode()
            self._answer(refusal.status, told, refusal.headers)
        except Exception as error:
            self.server.state.problems.append(f"{name}: {error!r}")
            self._answer(500, b'{"message": "the stand-in broke"}')
        else:
            self._answer(status, answer, call.answer_headers)

    def _fail(self, failure: Failure) -> None:
        if failure.status:
            self._answer(failure.status, failure.body, failure.headers)
            return
        failure.release.wait()
        self.close_connection = True

    # Pages.

    def _page(self) -> None:
        content, kind = self._content(), self.headers.get("Content-Type", "")
        with self.server.state.lock:
            self.server.state.requests[f"{self.command} {urlsplit(self.path).path}"] += 1
        if (failure := self.server.failing(f"{self.command} {self.path}")) is not None:
            self._fail(failure)
            return
        body = json.loads(content) if content and "json" in kind else None
        form = parse_qs(content.decode()) if content and body is None else {}
        page = self.server.pages.answer(self.command, self.path, form, body)
        page = page or Page(404, "<h1>Not Found</h1>")
        headers = {"Content-Type": page.content_type}
        if page.location:
            headers["Location"] = page.location
        self._answer(page.status, page.body.encode(), headers)

    # Git.

    def _git(self, name: str, service: str) -> None:
        self.protocol_version = "HTTP/1.0"
        self.close_connection = True
        state = self.server.state
        with state.lock:
            state.requests[f"{self.command} git {service}"] += 1
        if (failure := self.server.failing(f"git {name}")) is not None:
            self._fail(failure)
            return
        repository = state.repository(name) or state.renamed.get(name.lower())
        if repository is None or repository.deleted:
            self._answer(404, b"Repository not found.")
            return
        writes = service == "git-receive-pack" or "receive-pack" in self.path
        who = self._allowed(repository, writes)
        if who is None:
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="GitHub"'})
            return
        path = "/" + str(repository.git.path.relative_to(state.root)) + f"/{service}"
        before = repository.git.refs() if service == "git-receive-pack" else {}
        backend(self, state.root, path)
        if service == "git-receive-pack":
            assert isinstance(who, Account)
            told = threading.Thread(target=self._tell, args=(repository, before, who), daemon=True)
            told.start()

    def _allowed(self, repository: Repository, writes: bool) -> Any:
        """A user or an installation's token, by which git may come in; True for anybody."""
        state = self.server.state
        _, _, given = self.headers.get("Authorization", "").partition(" ")
        password = base64.b64decode(given or "").decode().partition(":")[2]
        if (user := state.member(password)) is not None:
            level = state.permission(repository, user.login)
            return (
                user
                if level in (("write", "admin") if writes else ("read", "write", "admin"))
                else None
            )
        if password:
            try:
                minted = self.server.rest.minted(password)
            except Refusal:
                return None
            chosen = minted.repository_ids
            seen = repository in state.reached(minted.installation)
            inside = seen and (chosen is None or repository.id in chosen)
            return True if inside and "contents" in minted.permissions and not writes else None
        return True if not repository.private and not writes else None

    def _tell(self, repository: Repository, before: dict[str, str], who: Account) -> None:
        """The webhooks of a push by a real git."""
        after = repository.git.refs()
        for name in sorted({*before, *after}):
            old, new = before.get(name, NOBODY), after.get(name, NOBODY)
            if old != new:
                tell_of_push(
                    self.server.state, self.server.webhooks, repository, name, old, new, who
                )

    # Wire.

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)


def tell_of_push(
    state: State,
    webhooks: Webhooks,
    repository: Repository,
    name: str,
    before: str,
    after: str,
    who: Account,
) -> None:
    """The push event, and for open pull requests from that branch the new head."""
    git = repository.git
    both = NOBODY not in (before, after)
    forced = both and git.merge_base_or_none(before, after) != before
    webhooks.push(repository, name, before, after, who, forced=forced)
    branch = name.removeprefix("refs/heads/")
    if branch == name or after == NOBODY:
        return
    pulls = [pull for each in state.repositories for pull in each.pulls]
    for pull in pulls:
        if pull.head is repository and pull.head_ref == branch and pull.state == "open":
            old, pull.head_sha = pull.head_sha, after
            pull.base.git.take(git, after, f"refs/pull/{pull.number}/head")
            webhooks.pull_request(pull, "synchronize", who, before=old, after=after)


@contextmanager
def serving(state: State, webhooks: Webhooks) -> Iterator[Server]:
    """The server in a thread."""
    server = Server(state, webhooks)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        for failure in server.failures:
            failure.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
