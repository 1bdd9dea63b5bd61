"""How the stand-in answers REST: who may call a route, and by which models it is checked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import jwt

from tests.support.github.models import answer_problem, body_problem
from tests.support.github.state import (
    Account,
    App,
    Installation,
    Minted,
    Repository,
    State,
)
from tests.support.github.webhooks import Webhooks

LEVELS = {"read": 1, "write": 2, "admin": 3}


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass
class Call:
    """One request, and who turned out to send it."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: Any
    app: App | None = None
    installation: Installation | None = None
    minted: Minted | None = None
    user: Account | None = None
    repository: Repository | None = None
    answer_headers: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def number(self, name: str) -> int:
        return int(self.found[name])


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    who: str
    """app, installation, user or nobody."""
    handler: Callable[[Any, Call], Any]
    answer: str
    body: tuple[str, ...]
    needs: tuple[str, ...]
    """Any of these permissions suffices: `checks:write`."""
    status: int

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    def match(self, method: str, path: str) -> dict[str, str] | None:
        if method != self.method:
            return None
        pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.*)", self.template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        match = re.fullmatch(pattern, path)
        return {key: unquote(value) for key, value in match.groupdict().items()} if match else None


ROUTES: list[Route] = []


def route(
    method: str,
    template: str,
    who: str,
    answer: str = "",
    *,
    body: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    status: int = 200,
) -> Callable[[Callable[[Any, Call], Any]], Callable[[Any, Call], Any]]:
    """Register a handler; `answer` is the model of what it gives."""

    def register(handler: Callable[[Any, Call], Any]) -> Callable[[Any, Call], Any]:
        ROUTES.append(Route(method, template, who, handler, answer, body, needs, status))
        return handler

    return register


class Rest:
    """Checks who asks and what, and answers."""

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        self.state = state
        self.webhooks = webhooks

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a request, of which the most particular one counts."""
        for each in ROUTES:
            found = each.match(method, path)
            if found is not None:
                return each, found
        return None

    def answer(self, it: Route, call: Call) -> tuple[int, bytes]:
        """Raises Refusal."""
        self._authenticate(it, call)
        if "owner" in call.found:
            self._reach(it, call)
        if it.needs and call.minted:
            self._require(it.needs, call.minted)
        if it.body and (problem := body_problem(it.body, call.body)):
            self.state.problems.append(f"{it.name}: {problem}")
            raise Refusal(422, "Invalid request.")
        if call.body is not None and not it.body and it.method != "GET":
            self.state.problems.append(f"{it.name} takes no body")
        with self.state.lock:
            given = it.handler(self, call)
        if it.answer and (problem := answer_problem(it.answer, given)):
            self.state.problems.append(f"our answer to {it.name}: {problem}")
        return it.status, b"" if it.status == 204 else json.dumps(given).encode()

    def _authenticate(self, it: Route, call: Call) -> None:
        kind, _, token = call.headers.get("Authorization", "").partition(" ")
        if it.who == "nobody":
            return
        if kind not in ("Bearer", "token") or not token:
            raise Refusal(401, "Requires authentication")
        if it.who == "app":
            call.app = self._app_of(token)
        elif it.who == "installation":
            call.minted = self.minted(token)
            call.installation = call.minted.installation
        else:
            known = self.state.user_tokens.get(token)
            if known is None:
                raise Refusal(401, "Bad credentials")
            call.app, call.user = known

    def _app_of(self, token: str) -> App:
        """GitHub's rules for an App's JWT: RS256, not from the future, ten minutes at most."""
        try:
            issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
            app = self.state.apps[int(issuer)]
            claims = jwt.decode(
                token, app.public_key, ["RS256"], options={"require": ["iat", "exp"]}
            )
        except (jwt.PyJWTError, KeyError, ValueError) as error:
            raise Refusal(401, "A JSON web token could not be decoded") from error
        if claims["exp"] > time.time() + 600 or claims["exp"] - claims["iat"] > 660:
            self.state.problems.append("a JWT of more than ten minutes")
            raise Refusal(401, "'Expiration time' claim ('exp') is too far in the future")
        return app

    def minted(self, token: str) -> Minted:
        """An installation's token that is good now; raises Refusal."""
        minted = self.state.tokens.get(token)
        if minted is None or minted.revoked or minted.expires < time.time():
            raise Refusal(401, "Bad credentials")
        if minted.installation.suspended:
            raise Refusal(403, "This installation has been suspended")
        return minted

    def _reach(self, it: Route, call: Call) -> None:
        name = f"{call.found['owner']}/{call.found['repo']}"
        repository = self.state.repository(name)
        if repository is None and (moved := self.state.renamed.get(name.lower())):
            status = 301 if call.method == "GET" else 307
            target = call.path.replace(f"/repos/{name}", f"/repos/{moved.full_name}", 1)
            where = {"Location": f"{self.state.url}/api/v3{target}"}
            raise Refusal(status, "Moved Permanently", where)
        if repository is None or not self._sees(call, repository):
            raise Refusal(404, "Not Found")
        call.repository = repository

    def _sees(self, call: Call, repository: Repository) -> bool:
        if call.minted is None:
            return True
        chosen = call.minted.repository_ids
        reached = repository in self.state.reached(call.minted.installation)
        return reached and (chosen is None or repository.id in chosen)

    def _require(self, needs: tuple[str, ...], minted: Minted) -> None:
        for each in needs:
            name, _, level = each.partition(":")
            if LEVELS.get(minted.permissions.get(name, ""), 0) >= LEVELS[level]:
                return
        raise Refusal(403, "Resource not accessible by integration")


def page(call: Call, items: list[Any]) -> list[Any]:
    """One page, with the Link header of the next."""
    size, number = int(call.query.get("per_page", 30)), int(call.query.get("page", 1))
    if size > 100:
        raise Refusal(422, "per_page is at most 100")
    if number * size < len(items):
        link = f'<http://next{call.path}?page={number + 1}>; rel="next"'
        call.answer_headers["Link"] = link
    return items[(number - 1) * size : number * size]


def repository_of(call: Call) -> Repository:
    assert call.repository
    return call.repository
