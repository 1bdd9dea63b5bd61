"""GitHub's JSON as the port's structs; fields that differ between its versions are left alone.

Shapes: https://docs.github.com/rest
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from control_plane.services.github.ports import (
    Account,
    App,
    Comment,
    Commit,
    CreatedApp,
    DeliveredPayload,
    Delivery,
    Files,
    Installation,
    PullRequest,
    Ref,
    Repository,
    Token,
    User,
    UserToken,
)

Json = Mapping[str, Any]
GHOST = Account(0, "ghost", "User")
"""Whom GitHub shows for a deleted account."""


def account(given: Json | None, kind: str = "") -> Account:
    """A user, an organization or an enterprise, which has a slug for a login."""
    if not given:
        return GHOST
    login = given.get("login") or given.get("slug") or ""
    return Account(given["id"], login, kind or given.get("type") or "Enterprise")


def created_app(given: Json) -> CreatedApp:
    """The answer to a manifest's code."""
    return CreatedApp(
        id=given["id"],
        slug=given.get("slug") or "",
        name=given["name"],
        client_id=given["client_id"],
        html_url=given["html_url"],
        owner=account(given["owner"]),
        client_secret=given["client_secret"],
        webhook_secret=given.get("webhook_secret") or "",
        pem=given["pem"],
    )


def app(given: Json) -> App:
    """An App."""
    return App(
        id=given["id"],
        slug=given.get("slug") or "",
        name=given["name"],
        html_url=given["html_url"],
        permissions=_permissions(given),
        events=tuple(given.get("events") or ()),
    )


def installation(given: Json) -> Installation:
    """An installation."""
    return Installation(
        id=given["id"],
        account=account(given.get("account"), given.get("target_type") or ""),
        selection=given["repository_selection"],
        permissions=_permissions(given),
        events=tuple(given.get("events") or ()),
        suspended=given.get("suspended_at") is not None,
        html_url=given.get("html_url") or "",
    )


def _permissions(given: Json) -> dict[str, str]:
    return {name: value for name, value in (given.get("permissions") or {}).items() if value}


def repository(given: Json) -> Repository:
    """A repository."""
    return Repository(
        id=given["id"],
        full_name=given["full_name"],
        default_branch=given.get("default_branch") or "",
        private=given["private"],
        fork=given["fork"],
        archived=bool(given.get("archived")),
        html_url=given["html_url"],
        clone_url=given.get("clone_url") or f"{given['html_url']}.git",
    )


def ref(given: Json, prefix: str) -> Ref:
    """A ref without the beginning of its name (`refs/heads/`)."""
    target = given["object"]
    return Ref(given["ref"].removeprefix(prefix), target["sha"], target["type"])


def commit(given: Json) -> Commit:
    """A commit; its author may have no account."""
    inner = given["commit"]
    return Commit(
        sha=given["sha"],
        message=inner["message"],
        author_name=(inner.get("author") or {}).get("name") or "",
        author_login=(given.get("author") or {}).get("login") or "",
        html_url=given["html_url"],
    )


def token(given: Json) -> Token:
    """An installation's token."""
    return Token(given["token"], milliseconds(given["expires_at"]))


def pull_request(given: Json) -> PullRequest:
    """A pull request, of a list or alone: only the latter says `merged`."""
    head, base = given["head"], given["base"]
    return PullRequest(
        number=given["number"],
        title=given["title"],
        state=given["state"],
        merged=bool(given.get("merged") or given.get("merged_at")),
        draft=bool(given.get("draft")),
        author=account(given.get("user")),
        labels=tuple(each["name"] for each in given.get("labels") or ()),
        html_url=given["html_url"],
        head_sha=head["sha"],
        head_ref=head["ref"],
        head_repository_id=(head.get("repo") or {}).get("id"),
        base_sha=base["sha"],
        base_ref=base["ref"],
        base_repository_id=base["repo"]["id"],
    )


def files(entries: list[Json], most: int) -> Files:
    """Names of changed files, of a renamed one both; GitHub stops silently at its limit."""
    names = dict.fromkeys(
        name
        for each in entries
        for name in (each["filename"], each.get("previous_filename"))
        if name
    )
    return Files(tuple(names), cut=len(entries) >= most)


def comment(given: Json) -> Comment:
    """A comment."""
    writer = given.get("performed_via_github_app") or {}
    return Comment(given["id"], given.get("body") or "", given["html_url"], writer.get("id"))


def delivery(given: Json) -> Delivery:
    """A delivery's record."""
    return Delivery(
        id=given["id"],
        guid=given["guid"],
        event=given["event"],
        action=given.get("action") or "",
        delivered_at_ms=milliseconds(given["delivered_at"]),
        status_code=given["status_code"],
        redelivery=given["redelivery"],
        installation_id=given.get("installation_id"),
        repository_id=given.get("repository_id"),
    )


def delivered(given: Json) -> DeliveredPayload:
    """A delivery with what it carried."""
    return DeliveredPayload(delivery(given), (given.get("request") or {}).get("payload") or {})


def user(given: Json) -> User:
    """A person."""
    return User(given["id"], given["login"], given.get("name") or "", given.get("email") or "")


def user_token(given: Json) -> UserToken:
    """A person's token; without `expires_in` it does not end."""
    seconds = given.get("expires_in")
    return UserToken(
        given["access_token"],
        int((time.time() + int(seconds)) * 1000) if seconds else None,
        given.get("refresh_token") or "",
    )


def milliseconds(moment: str) -> int:
    """Unix milliseconds of an ISO 8601 time."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def moment(unix_ms: int) -> str:
    """The ISO 8601 time that GitHub takes."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
