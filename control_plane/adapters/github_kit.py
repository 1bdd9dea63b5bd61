"""githubkit as this control plane uses it; imported at the first call, for it takes 0.2 s and
12 MiB, and many a Slipway has no GitHub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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

from control_plane.adapters.github_credentials import Credential
from control_plane.services.github.ports import (
    GitHubLimited,
    GitHubMissing,
    GitHubProblem,
    GitHubRefused,
    GitHubUnavailable,
)

ERRORS = (GitHubException, ValueError)
"""What githubkit raises."""
ANSWER_BYTES_MAX = 32 * 1024 * 1024
CONCURRENT_MAX = 20
"""Far below the hundred at which GitHub begins to refuse."""
LIMITED_SECONDS_MAX = 3700.0
LIMITED_SECONDS = 60.0
"""How long GitHub asks to wait when it does not say."""
UNAVAILABLE_SECONDS = 30.0
_OF_THE_WIRE = (b"content-encoding", b"content-length", b"transfer-encoding")
_EARLIER = timedelta(minutes=4)


class Maker:
    """Makes clients that share one pool of connections."""

    def __init__(self, api_url: str, timeout_seconds: float) -> None:
        self._api_url = api_url
        self._timeout_seconds = timeout_seconds
        self._transport = _Transport()
        self._throttler = LocalThrottler(CONCURRENT_MAX)

    def make(self, credential: Credential) -> Kit[Any]:
        """A client that signs for a credential."""
        return Kit(
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

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()


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


class _ShorterCache(MemCache):
    """Installation tokens end five minutes before GitHub ends them; githubkit leaves one."""

    async def aset(self, key: str, value: str, ex: timedelta) -> None:
        self.set(key, value, ex - _EARLIER if ":installation:" in key else ex)


class _Cache(MemCacheStrategy):
    def __init__(self) -> None:
        super().__init__()
        self._cache: MemCache = _ShorterCache()  # type: ignore[no-untyped-call]


class _Transport(httpx.AsyncBaseTransport):
    """One pool of connections for all clients that githubkit makes; it bounds every answer.

    A Retry-After that is a date, at which githubkit breaks, is left out: a minute then.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._pool().send(request, stream=True, auth=None, follow_redirects=False)
        headers = [
            (name, value)
            for name, value in answer.headers.raw
            if name.lower() not in _OF_THE_WIRE
            and not (name.lower() == b"retry-after" and not value.isdigit())
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


def _strategy(credential: Credential) -> BaseAuthStrategy:
    if credential.app is not None:
        who = credential.app.app_id, credential.app.private_key
        if credential.installation_id is None:
            return AppAuthStrategy(*who)
        return _InstallationStrategy(*who, credential.installation_id)
    return TokenAuthStrategy(credential.token) if credential.token else UnauthAuthStrategy()


def problem_of(error: Exception) -> GitHubProblem:
    """Our word for githubkit's; an error of its own request for a token comes wrapped in one."""
    while type(error) is RequestError and isinstance(error.exc, GitHubException):
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
