"""GitHub's REST API behind its port: one method, one purpose, few requests.

Routes: https://docs.github.com/rest; the addresses for browsers:
https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from control_plane.adapters import github_reading as reading
from control_plane.adapters.github_client import Client
from control_plane.adapters.github_credentials import (
    NOBODY,
    Credential,
    as_app,
    as_installation,
    as_user,
)
from control_plane.config import Config
from control_plane.services.github.ports import (
    FILES_OF_COMPARISON_MAX,
    FILES_OF_PULL_REQUEST_MAX,
    Account,
    App,
    AppKey,
    CheckRun,
    Comment,
    Commit,
    CreatedApp,
    DeliveredPayload,
    Deliveries,
    Files,
    GitHubMissing,
    GitHubRefused,
    GitHubUnavailable,
    Installation,
    Permission,
    Place,
    PullRequest,
    Ref,
    Repository,
    Token,
    User,
    UserToken,
)

if TYPE_CHECKING:
    import httpx

PAGE = 100
"""The most that GitHub gives at once."""
INSTALLATIONS_MAX = 5_000
REPOSITORIES_MAX = 20_000
PULL_REQUESTS_MAX = 1_000
COMMENTS_MAX = 3_000
STATUS_DESCRIPTION_MAX = 140

_T = TypeVar("_T")


class RestGitHub:
    """The GitHub whose web pages are at `base_url` and whose API is at `api_url`."""

    def __init__(
        self,
        base_url: str,
        api_url: str,
        timeout_seconds: float = 20.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = Client(api_url.rstrip("/"), timeout_seconds, monotonic)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    # Addresses, for browsers.

    def manifest_url(self, state: str, organization: str = "") -> str:
        """Where a browser posts a manifest to create an App."""
        owner = f"organizations/{quote(organization, safe='')}/" if organization else ""
        return f"{self._base_url}/{owner}settings/apps/new?{urlencode({'state': state})}"

    def install_url(self, slug: str, state: str) -> str:
        """Where a person installs an App; an Enterprise Server has its pages elsewhere."""
        pages = "apps" if self._base_url == "https://github.com" else "github-apps"
        path = f"{pages}/{quote(slug, safe='')}/installations/new"
        return f"{self._base_url}/{path}?{urlencode({'state': state})}"

    def authorize_url(self, client_id: str, redirect_uri: str, state: str) -> str:
        """Where a person signs in through an App."""
        query = {"client_id": client_id, "redirect_uri": redirect_uri, "state": state}
        return f"{self._base_url}/login/oauth/authorize?{urlencode(query)}"

    # The App.

    async def convert_manifest(self, code: str) -> CreatedApp:
        """Redeem a manifest's code."""
        path = f"/app-manifests/{quote(code, safe='')}/conversions"
        answer = await self._client.send(NOBODY, "POST", path, what="App under this code")
        return _read(reading.created_app, answer)

    async def app(self, key: AppKey) -> App:
        """The App itself."""
        return _read(reading.app, await self._get(as_app(key), "/app", "such App"))

    async def installations(self, key: AppKey) -> tuple[Installation, ...]:
        """All installations of the App."""
        found = self._pages(as_app(key), "/app/installations", INSTALLATIONS_MAX)
        return tuple([_item(reading.installation, each) async for each in found])

    async def installation(self, key: AppKey, installation_id: int) -> Installation:
        """One installation."""
        path = f"/app/installations/{installation_id}"
        return _read(reading.installation, await self._get(as_app(key), path, "installation"))

    async def delete_installation(self, key: AppKey, installation_id: int) -> None:
        """Uninstall the App from an account."""
        path = f"/app/installations/{installation_id}"
        await self._client.send(as_app(key), "DELETE", path, what="installation")

    async def mint_token(
        self,
        key: AppKey,
        installation_id: int,
        repository_ids: Sequence[int],
        permissions: Mapping[str, str],
    ) -> Token:
        """A new token for these repositories and permissions; never kept here."""
        if not repository_ids or not permissions:
            raise ValueError("a token without limits would open the whole installation")
        path = f"/app/installations/{installation_id}/access_tokens"
        body = {"repository_ids": list(repository_ids), "permissions": dict(permissions)}
        answer = await self._client.send(as_app(key), "POST", path, json=body, what="installation")
        return _read(reading.token, answer)

    async def deliveries(self, key: AppKey, cursor: str = "", limit: int = PAGE) -> Deliveries:
        """A page of the App's webhook deliveries; the next page's cursor is in the Link header."""
        query: dict[str, str | int] = {"per_page": min(limit, PAGE)}
        if cursor:
            query["cursor"] = cursor
        answer = await self._get(as_app(key), "/app/hook/deliveries", "webhook", query)
        following = urlsplit(answer.links.get("next", {}).get("url", "")).query
        return Deliveries(
            tuple(_item(reading.delivery, each) for each in _list(answer)),
            parse_qs(following).get("cursor", [""])[0],
        )

    async def delivery(self, key: AppKey, delivery_id: int) -> DeliveredPayload:
        """One delivery with its payload."""
        path = f"/app/hook/deliveries/{delivery_id}"
        return _read(reading.delivered, await self._get(as_app(key), path, "delivery"))

    async def redeliver(self, key: AppKey, delivery_id: int) -> None:
        """Ask GitHub to deliver again."""
        path = f"/app/hook/deliveries/{delivery_id}/attempts"
        await self._client.send(as_app(key), "POST", path, what="delivery")

    # Repositories.

    async def repositories(self, key: AppKey, installation_id: int) -> tuple[Repository, ...]:
        """All repositories that an installation reaches."""
        who = as_installation(key, installation_id)
        path = "/installation/repositories"
        found = self._pages(who, path, REPOSITORIES_MAX, within="repositories")
        return tuple([_item(reading.repository, each) async for each in found])

    async def repository_by_id(
        self, key: AppKey, installation_id: int, repository_id: int
    ) -> Repository:
        """A repository under whatever name it has now."""
        who = as_installation(key, installation_id)
        answer = await self._get(who, f"/repositories/{repository_id}", "repository")
        return _read(reading.repository, answer)

    async def branches(self, place: Place, prefix: str = "", limit: int = PAGE) -> tuple[Ref, ...]:
        """Branches whose names begin so."""
        return await self._refs(place, "heads", prefix, limit)

    async def tags(self, place: Place, prefix: str = "", limit: int = PAGE) -> tuple[Ref, ...]:
        """Tags whose names begin so."""
        return await self._refs(place, "tags", prefix, limit)

    async def branch_head(self, place: Place, branch: str) -> str | None:
        """The commit a branch points to; GitHub answers 409 for an empty repository."""
        path = f"git/ref/heads/{quote(branch)}"
        try:
            answer = await self._get(_who(place), _at(place, path), "branch")
        except GitHubMissing:
            return None
        except GitHubRefused as refusal:
            if refusal.github_status == 409:
                return None
            raise
        return _read(lambda given: reading.ref(given, "").sha, answer)

    async def commit(self, place: Place, sha: str) -> Commit:
        """A commit's record; GitHub answers 422 for an id it does not know."""
        path = _at(place, f"commits/{quote(sha, safe='')}")
        try:
            answer = await self._get(_who(place), path, "commit", {"per_page": 1})
        except GitHubRefused as refusal:
            if refusal.github_status == 422:
                raise GitHubMissing("commit") from None
            raise
        return _read(reading.commit, answer)

    async def compare_files(self, place: Place, before: str, after: str) -> Files:
        """Files changed since the common ancestor; all are on the first page of commits."""
        path = _at(place, f"compare/{quote(before, safe='')}...{quote(after, safe='')}")
        answer = await self._get(_who(place), path, "commit", {"per_page": 1})

        def files(given: Any) -> Files:
            return reading.files(given.get("files") or [], FILES_OF_COMPARISON_MAX)

        return _read(files, answer)

    async def permission(self, place: Place, login: str) -> Permission:
        """What a person may do with the repository; `none` for whom GitHub does not know."""
        path = _at(place, f"collaborators/{quote(login, safe='')}/permission")
        try:
            answer = await self._get(_who(place), path, "person")
        except GitHubMissing:
            return "none"
        return cast(Permission, _read(lambda given: str(given["permission"]), answer))

    async def organization_role(
        self, key: AppKey, installation_id: int, organization: str, login: str
    ) -> str | None:
        """A person's active part in an organization."""
        names = quote(organization, safe=""), quote(login, safe="")
        path = "/orgs/{}/memberships/{}".format(*names)
        return await self._role(as_installation(key, installation_id), path)

    # Pull requests.

    async def pull_request(self, place: Place, number: int) -> PullRequest:
        """One pull request."""
        answer = await self._get(_who(place), _at(place, f"pulls/{number}"), "pull request")
        return _read(reading.pull_request, answer)

    async def open_pull_requests(self, place: Place, base: str = "") -> tuple[PullRequest, ...]:
        """The open ones, newest first."""
        query = {"state": "open"} | ({"base": base} if base else {})
        found = self._pages(_who(place), _at(place, "pulls"), PULL_REQUESTS_MAX, query)
        return tuple([_item(reading.pull_request, each) async for each in found])

    async def pull_request_files(self, place: Place, number: int) -> Files:
        """Files that a pull request changes."""
        path = _at(place, f"pulls/{number}/files")
        found = self._pages(_who(place), path, FILES_OF_PULL_REQUEST_MAX)
        entries = [each async for each in found]
        return _item(lambda given: reading.files(given, FILES_OF_PULL_REQUEST_MAX), entries)

    async def find_comment(self, place: Place, number: int, marker: str) -> Comment | None:
        """The App's own comment with the marker: anybody could write one that looks like it."""
        path = _at(place, f"issues/{number}/comments")
        async for each in self._pages(_who(place), path, COMMENTS_MAX):
            comment = _item(reading.comment, each)
            if comment.app_id == place.key.app_id and marker in comment.body:
                return comment
        return None

    async def create_comment(self, place: Place, number: int, body: str) -> Comment:
        """Write a comment."""
        answer = await self._send(place, "POST", f"issues/{number}/comments", {"body": body})
        return _read(reading.comment, answer)

    async def update_comment(self, place: Place, comment_id: int, body: str) -> Comment:
        """Change a comment's text."""
        answer = await self._send(place, "PATCH", f"issues/comments/{comment_id}", {"body": body})
        return _read(reading.comment, answer)

    async def delete_comment(self, place: Place, comment_id: int) -> None:
        """Remove a comment."""
        await self._send(place, "DELETE", f"issues/comments/{comment_id}", None)

    # What commits show.

    async def create_check_run(self, place: Place, head_sha: str, check: CheckRun) -> int:
        """A new check run of a commit."""
        body = {"head_sha": head_sha, **_check(check)}
        answer = await self._send(place, "POST", "check-runs", body)
        return _read(lambda given: int(given["id"]), answer)

    async def update_check_run(self, place: Place, check_run_id: int, check: CheckRun) -> None:
        """Change what a check run shows."""
        await self._send(place, "PATCH", f"check-runs/{check_run_id}", _check(check))

    async def set_commit_status(
        self,
        place: Place,
        sha: str,
        *,
        state: str,
        context: str,
        description: str = "",
        target_url: str = "",
    ) -> None:
        """A commit's status of one context."""
        body = {"state": state, "context": context}
        body |= _given(description=_short(description), target_url=target_url)
        await self._send(place, "POST", f"statuses/{quote(sha, safe='')}", body)

    async def create_deployment(
        self, place: Place, sha: str, *, environment: str, description: str, transient: bool
    ) -> int:
        """A GitHub deployment; it neither merges nor waits for checks, both of which GitHub does
        unless told."""
        body = {
            "ref": sha,
            "task": "deploy",
            "auto_merge": False,
            "required_contexts": [],
            "environment": environment,
            "description": _short(description),
            "transient_environment": transient,
            "production_environment": not transient,
        }
        answer = await self._send(place, "POST", "deployments", body)
        return _read(lambda given: int(given["id"]), answer)

    async def set_deployment_status(
        self,
        place: Place,
        deployment_id: int,
        *,
        state: str,
        log_url: str = "",
        description: str = "",
    ) -> None:
        """What became of a GitHub deployment."""
        body = {"state": state, **_given(log_url=log_url, description=_short(description))}
        await self._send(place, "POST", f"deployments/{deployment_id}/statuses", body)

    # People.

    async def exchange_code(
        self, client_id: str, client_secret: str, code: str, redirect_uri: str = ""
    ) -> UserToken:
        """Redeem the code of a sign-in; GitHub says no with status 200."""
        body = {"client_id": client_id, "client_secret": client_secret, "code": code}
        body |= _given(redirect_uri=redirect_uri)
        url = f"{self._base_url}/login/oauth/access_token"
        answer = await self._client.send(NOBODY, "POST", url, json=body, what="App")
        given = _json(answer)
        if isinstance(given, dict) and "error" in given:
            raise GitHubRefused(400, str(given.get("error_description") or given["error"])[:500])
        return _item(reading.user_token, given)

    async def user(self, token: str) -> User:
        """Whose token this is."""
        return _read(reading.user, await self._get(as_user(token), "/user", "user"))

    async def user_installations(self, token: str) -> tuple[Installation, ...]:
        """Installations of the App in accounts that the person has access to."""
        path = "/user/installations"
        found = self._pages(as_user(token), path, INSTALLATIONS_MAX, within="installations")
        return tuple([_item(reading.installation, each) async for each in found])

    async def controls(self, token: str, account: Account) -> bool:
        """Whether the person owns the account."""
        if account.kind == "User":
            return (await self.user(token)).id == account.id
        path = f"/user/memberships/orgs/{quote(account.login, safe='')}"
        return await self._role(as_user(token), path) == "admin"

    # Requests.

    async def _get(
        self,
        who: Credential,
        path: str,
        what: str,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        return await self._client.send(who, "GET", path, params=params, what=what)

    async def _send(
        self, place: Place, method: str, path: str, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        return await self._client.send(
            _who(place), method, _at(place, path), json=body, what=f"{path} in {place.full_name}"
        )

    async def _pages(
        self,
        who: Credential,
        path: str,
        most: int,
        query: Mapping[str, str] | None = None,
        *,
        within: str = "",
    ) -> AsyncIterator[Any]:
        """The items of all pages, at most so many; some lists are inside an object."""
        for page in range(1, most // PAGE + 1):
            params: dict[str, str | int] = {**(query or {}), "per_page": PAGE, "page": page}
            answer = await self._get(who, path, "such list", params)
            items = _list(answer, within)
            for each in items:
                yield each
            if len(items) < PAGE:
                return

    async def _refs(self, place: Place, kind: str, prefix: str, limit: int) -> tuple[Ref, ...]:
        """GitHub gives all matching refs at once; 409 is an empty repository."""
        path = _at(place, f"git/matching-refs/{kind}/{quote(prefix)}")
        try:
            answer = await self._get(_who(place), path, "repository")
        except GitHubRefused as refusal:
            if refusal.github_status == 409:
                return ()
            raise
        found = [_item(lambda each: reading.ref(each, f"refs/{kind}/"), it) for it in _list(answer)]
        return tuple(sorted(found, key=lambda each: each.name)[:limit])

    async def _role(self, who: Credential, path: str) -> str | None:
        """The role in a membership; 403 and 404 are how GitHub says that there is none to see."""
        try:
            answer = await self._get(who, path, "membership")
        except GitHubMissing:
            return None
        except GitHubRefused as refusal:
            if refusal.github_status == 403:
                return None
            raise
        return _read(lambda it: str(it["role"]) if it["state"] == "active" else None, answer)


def open_github(config: Config) -> RestGitHub:
    """GitHub by the settings."""
    return RestGitHub(config.github_url, config.github_api_url, config.github.timeout_seconds)


def _who(place: Place) -> Credential:
    return as_installation(place.key, place.installation_id)


def _at(place: Place, path: str) -> str:
    owner, _, name = place.full_name.partition("/")
    return f"/repos/{quote(owner, safe='')}/{quote(name, safe='')}/{path}"


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise GitHubUnavailable("an answer that is no JSON") from None


def _read(read: Callable[[Any], _T], answer: httpx.Response) -> _T:
    return _item(read, _json(answer))


def _item(read: Callable[[Any], _T], given: Any) -> _T:
    """What an answer says. Something else than GitHub may have answered, such as a proxy."""
    try:
        return read(given)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise GitHubUnavailable("an answer that makes no sense") from None


def _list(answer: httpx.Response, within: str = "") -> list[Any]:
    given = _json(answer)
    items = given.get(within) if within and isinstance(given, dict) else given
    if not isinstance(items, list):
        raise GitHubUnavailable("an answer that makes no sense")
    return items


def _check(check: CheckRun) -> dict[str, Any]:
    """A check run as GitHub takes it: output only as a whole."""
    body: dict[str, Any] = {"name": check.name, "status": check.status}
    body |= _given(
        conclusion=check.conclusion, details_url=check.details_url, external_id=check.external_id
    )
    if check.title:
        body["output"] = {"title": check.title, "summary": check.summary} | _given(text=check.text)
    if check.started_at_ms is not None:
        body["started_at"] = reading.moment(check.started_at_ms)
    if check.completed_at_ms is not None:
        body["completed_at"] = reading.moment(check.completed_at_ms)
    return body


def _given(**fields: str) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def _short(text: str) -> str:
    return text if len(text) <= STATUS_DESCRIPTION_MAX else text[: STATUS_DESCRIPTION_MAX - 1] + "…"
