"""How requests reach GitHub: credentials, one kept pool of connections, limits, and errors.

githubkit signs and sends; its automatic retries are off, because who is told to wait must not ask
again. A credential that GitHub limits is not used until its time is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from githubkit import (
    AppAuthStrategy,
    AppInstallationAuthStrategy,
    GitHubCore,
    TokenAuthStrategy,
    UnauthAuthStrategy,
)
from githubkit import GitHub as Kit
from githubkit.auth import BaseAuthStrategy
from githubkit.auth.app import AppAuth
from githubkit.cache import MemCacheStrategy
from githubkit.cache.mem_cache import MemCache
from githubkit.exception import GitHubException, RateLimitExceeded, RequestError, RequestFailed
from githubkit.throttling import LocalThrottler
from jwt import PyJWTError

from control_plane.outside import require_no_transaction
from control_plane.services.github.ports import (
    AppKey,
    GitHubLimited,
    GitHubMissing,
    GitHubProblem,
    GitHubRefused,
    GitHubUnavailable,
)

API_VERSION = "2022-11-28"
"""The version of the REST API that GitHub.com and every supported Enterprise Server speak."""
ANSWER_BYTES_MAX = 32 * 1024 * 1024
CONCURRENT_MAX = 20
"""Far below the hundred at which GitHub begins to refuse."""
CREDENTIALS_MAX = 256
LIMITED_SECONDS_MAX = 3700.0
LIMITED_SECONDS = 60.0
"""How long GitHub asks to wait when it does not say."""
UNAVAILABLE_SECONDS = 30.0
_EARLIER = timedelta(minutes=4)


@dataclass(frozen=True)
class Credential:
    """Who asks: an App, an installation of it, a user, or nobody."""

    name: str
    app: AppKey | None = None
    installation_id: int | None = None
    token: str = field(default="", repr=False)


NOBODY = Credential("nobody")


def as_app(key: AppKey) -> Credential:
    """An App, by a signed JWT."""
    return Credential(f"app:{key.app_id}:{_digest(key.private_key)}", key)


def as_installation(key: AppKey, installation_id: int) -> Credential:
    """An installation, by a token that githubkit mints and keeps in memory."""
    name = f"{as_app(key).name}:installation:{installation_id}"
    return Credential(name, key, installation_id)


def as_user(token: str) -> Credential:
    """A person, by the token of the App's user flow."""
    return Credential(f"user:{_digest(token)}", token=token)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:24]


class _ShorterCache(MemCache):
    """Installation tokens end five minutes before GitHub ends them; githubkit leaves one."""

    async def aset(self, key: str, value: str, ex: timedelta) -> None:
        self.set(key, value, ex - _EARLIER if ":installation:" in key else ex)


class _Cache(MemCacheStrategy):
    def __init__(self) -> None:
        super().__init__()
        self._cache: MemCache = _ShorterCache()  # type: ignore[no-untyped-call]


class _Transport(httpx.AsyncBaseTransport):
    """One pool of connections for all clients that githubkit makes; it bounds every answer."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._pool().send(request, stream=True, auth=None, follow_redirects=False)
        headers = [
            (name, value)
            for name, value in answer.headers.raw
            if name.lower() not in (b"content-encoding", b"content-length", b"transfer-encoding")
        ]
        return httpx.Response(answer.status_code, headers=headers, stream=_Bounded(answer))

    def _pool(self) -> httpx.AsyncClient:
        """Connections belong to an event loop; a process has one, tests have several."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop, self._client = loop, httpx.AsyncClient(timeout=None)  # noqa: S113
        return self._client

    async def aclose(self) -> None:
        """githubkit closes its client after each request; the pool stays."""

    async def close(self) -> None:
        """Close the pool, at the end of the process."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()


class _Bounded(httpx.AsyncByteStream):
    """A decoded body of bounded size."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._answer.aiter_bytes():
            size += len(piece)
            if size > ANSWER_BYTES_MAX:
                raise httpx.RemoteProtocolError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


class _InstallationAuth(AppAuth):
    """githubkit guesses from the path whether the App itself is asked, and is wrong about a
    branch called `x/installation`, and breaks at one with a `#`; we know who asks."""

    def _get_api_route(self, url: httpx.URL) -> httpx.URL:
        return httpx.URL(path="/")


class _InstallationStrategy(AppInstallationAuthStrategy):
    def get_auth_flow(self, github: GitHubCore[Any]) -> httpx.Auth:
        return _InstallationAuth(
            github, self.app_id, self.private_key, installation_id=self.installation_id
        )


class Client:
    """Sends one request at a time for a credential and says in our words what went wrong."""

    def __init__(
        self, api_url: str, timeout_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._api_url = api_url
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._transport = _Transport()
        self._throttler = LocalThrottler(CONCURRENT_MAX)
        self._kits: OrderedDict[str, Kit[Any]] = OrderedDict()
        self._limited_until: dict[str, float] = {}

    async def send(
        self,
        credential: Credential,
        method: str,
        path: str,
        *,
        what: str,
        json: Any = None,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        """GitHub's answer; `what` names in an error what was looked for."""
        require_no_transaction()
        self._require_unlimited(credential)
        try:
            return await self._sent(credential, method, path, json, params)
        except _Unauthorized:
            # The kept token was revoked, as a suspension does; a new one decides.
            self._kits.pop(credential.name, None)
        except GitHubMissing:
            raise GitHubMissing(what) from None
        try:
            return await self._sent(credential, method, path, json, params)
        except GitHubMissing:
            raise GitHubMissing(what) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    def _require_unlimited(self, credential: Credential) -> None:
        left = self._limited_until.get(credential.name, 0) - self._monotonic()
        if left > 0:
            raise GitHubLimited(left)
        self._limited_until.pop(credential.name, None)

    async def _sent(
        self,
        credential: Credential,
        method: str,
        path: str,
        json: Any,
        params: Mapping[str, str | int] | None,
    ) -> httpx.Response:
        fresh = credential.name not in self._kits
        kit = self._kit(credential)
        headers = {"X-GitHub-Api-Version": API_VERSION}
        if path.startswith("http"):
            headers["Accept"] = "application/json"
        url = path if path.startswith("http") else f"{self._api_url}{path}"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await kit.arequest(method, url, params=params, json=json, headers=headers)
        except TimeoutError:
            raise GitHubUnavailable("no answer in time", UNAVAILABLE_SECONDS) from None
        except (GitHubException, ValueError) as error:
            problem = _problem(error)
            if isinstance(problem, GitHubLimited):
                self._remember(credential, problem)
            if _status(problem) == 401 and credential.installation_id is not None and not fresh:
                raise _Unauthorized from None
            raise problem from None
        return answer.raw_response

    def _remember(self, credential: Credential, problem: GitHubLimited) -> None:
        now = self._monotonic()
        ended = [name for name, until in self._limited_until.items() if until <= now]
        for name in ended:
            del self._limited_until[name]
        self._limited_until[credential.name] = now + problem.retry_after_seconds

    def _kit(self, credential: Credential) -> Kit[Any]:
        kit = self._kits.pop(credential.name, None)
        if kit is None:
            kit = Kit(
                _strategy(credential),
                base_url=self._api_url,
                user_agent="Slipway",
                timeout=self._timeout_seconds,
                async_transport=self._transport,
                cache_strategy=_Cache(),
                http_cache=False,
                throttler=self._throttler,
                auto_retry=False,
            )
        self._kits[credential.name] = kit
        while len(self._kits) > CREDENTIALS_MAX:
            self._kits.popitem(last=False)
        return kit


class _Unauthorized(Exception):
    """A token that was good before is not any more."""


def _strategy(credential: Credential) -> BaseAuthStrategy:
    if credential.app is not None:
        who = credential.app.app_id, credential.app.private_key
        if credential.installation_id is None:
            return AppAuthStrategy(*who)
        return _InstallationStrategy(*who, credential.installation_id)
    return TokenAuthStrategy(credential.token) if credential.token else UnauthAuthStrategy()


def _problem(error: Exception) -> GitHubProblem:
    """Our word for githubkit's; an error of its own request for a token comes wrapped in one."""
    while type(error) is RequestError and isinstance(error.exc, GitHubException | ValueError):
        error = error.exc
    if isinstance(error, RateLimitExceeded):
        secondary = "secondary" in type(error).__name__.lower()
        return _limited(error.retry_after.total_seconds(), secondary)
    if isinstance(error, RequestFailed):
        return _failure(error.response.raw_response)
    if isinstance(error, RequestError) and isinstance(error.exc, httpx.HTTPError):
        return GitHubUnavailable(type(error.exc).__name__, UNAVAILABLE_SECONDS)
    if isinstance(error, RequestError) and isinstance(error.exc, PyJWTError):
        return GitHubRefused(401, "the App's private key cannot be used")
    if isinstance(error, ValueError):  # a Retry-After that is no number
        return _limited(LIMITED_SECONDS, secondary=True)
    return GitHubUnavailable("an answer that makes no sense", UNAVAILABLE_SECONDS)


def _limited(seconds: float, secondary: bool) -> GitHubLimited:
    return GitHubLimited(min(max(seconds, 1.0), LIMITED_SECONDS_MAX), secondary=secondary)


def _failure(answer: httpx.Response) -> GitHubProblem:
    status = answer.status_code
    if status in (404, 410):
        return GitHubMissing("such thing")
    detail = _detail(answer)
    if status == 429 or (status == 403 and "rate limit" in detail.lower()):
        return _limited(LIMITED_SECONDS, "secondary" in detail.lower())
    if status >= 500:
        given = answer.headers.get("Retry-After", "")
        seconds = float(given) if given.isdecimal() else UNAVAILABLE_SECONDS
        return GitHubUnavailable(f"status {status}", min(seconds, LIMITED_SECONDS_MAX))
    return GitHubRefused(status, detail)


def _detail(answer: httpx.Response) -> str:
    """GitHub's message and what it says of single fields."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(body, dict):
        return answer.reason_phrase
    parts = [str(body.get("message") or answer.reason_phrase)]
    errors = body.get("errors")
    for each in errors[:3] if isinstance(errors, list) else []:
        known = each if isinstance(each, dict) else {"message": each}
        words = (known.get("field"), known.get("message") or known.get("code"))
        parts.append(" ".join(str(word) for word in words if word))
    return "; ".join(parts)[:500]


def _status(problem: GitHubProblem) -> int:
    return problem.github_status if isinstance(problem, GitHubRefused) else 0
