"""One request after another to GitHub: limits kept, nothing tried again, our words for errors.

githubkit signs and sends; its automatic retries are off, because who is told to wait must not ask
again. A credential that GitHub limits is not used until its time is over.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from control_plane.adapters.github_credentials import Credential
from control_plane.outside import require_no_transaction
from control_plane.services.github.ports import (
    GitHubLimited,
    GitHubMissing,
    GitHubRefused,
    GitHubUnavailable,
)

if TYPE_CHECKING:
    import httpx
    from githubkit import GitHub as Kit

    from control_plane.adapters import github_kit

API_VERSION = "2022-11-28"
"""The version of the REST API that GitHub.com and every supported Enterprise Server speak."""
CREDENTIALS_MAX = 256


class Client:
    """Sends one request at a time for a credential and says in our words what went wrong."""

    def __init__(
        self, api_url: str, timeout_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._api_url = api_url
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._made_by: github_kit.Maker | None = None
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
        kept = credential.installation_id is not None and credential.name in self._kits
        try:
            try:
                return await self._sent(credential, method, path, json, params)
            except GitHubRefused as refusal:
                if refusal.github_status != 401 or not kept:
                    raise
            # The kept token was revoked, as a suspension does; a new one decides.
            self._kits.pop(credential.name, None)
            return await self._sent(credential, method, path, json, params)
        except GitHubMissing:
            raise GitHubMissing(what) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._made_by is not None:
            await self._made_by.close()

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
        from control_plane.adapters import github_kit  # see there

        kit = self._kit(credential)
        headers = {"X-GitHub-Api-Version": API_VERSION}
        if path.startswith("http"):
            headers["Accept"] = "application/json"
        url = path if path.startswith("http") else f"{self._api_url}{path}"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await kit.arequest(method, url, params=params, json=json, headers=headers)
        except TimeoutError:
            raise GitHubUnavailable("no answer in time") from None
        except github_kit.ERRORS as error:
            problem = github_kit.problem_of(error)
            if isinstance(problem, GitHubLimited):
                self._remember(credential, problem)
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
            kit = self._maker().make(credential)
        self._kits[credential.name] = kit
        while len(self._kits) > CREDENTIALS_MAX:
            self._kits.popitem(last=False)
        return kit

    def _maker(self) -> github_kit.Maker:
        from control_plane.adapters import github_kit

        if self._made_by is None:
            self._made_by = github_kit.Maker(self._api_url, self._timeout_seconds)
        return self._made_by
