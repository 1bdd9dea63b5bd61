"""The gateway's calls to the control plane, with the pool's token: one try each, no retries."""

from __future__ import annotations

import sys
from typing import TypeVar

# httpx would import its own command line: a tenth of a second and some megabytes. It does without.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402
import msgspec  # noqa: E402

from runner_actors.contract import (  # noqa: E402
    Contract,
    Grants,
    Hold,
    LeaseState,
    LiveGrants,
    Poll,
    Registered,
    Registration,
    Release,
    Released,
)
from runner_actors.loopback import direct_mounts  # noqa: E402

ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 3.0
_TRANSIENT = {408, 425, 429}

_T = TypeVar("_T")


class Unavailable(Exception):
    """The control plane could not be reached, or could not answer: try again."""


class Refused(Exception):
    """The control plane answered no; the text says why. Trying again does not help by itself."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class LeaseEnded(Refused):
    """The deployment is no longer this pool's to run."""


class PoolClient:
    """One connection pool to the control plane."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/runner",
            headers={"authorization": f"token {token}", "content-type": "application/json"},
            limits=httpx.Limits(keepalive_expiry=4.0),
            # The certificates of all authorities take 20 ms to load.
            verify=not url.startswith("http://"),
            mounts=direct_mounts(url),
        )

    async def register(self, registration: Registration) -> Registered:
        """Say that this gateway has come up."""
        return await self._call("POST", "/register", registration, Registered)

    async def poll(self, poll: Poll) -> Grants:
        """Ask for work; held by the control plane for up to `poll.wait_seconds`."""
        seconds = poll.wait_seconds + ANSWER_SECONDS
        return await self._call("POST", "/poll", poll, Grants, seconds)

    async def live_grants(self) -> LiveGrants:
        """All deployments that the pool holds."""
        return await self._call("GET", "/grants", None, LiveGrants)

    async def hold(self, deployment_id: str, hold: Hold) -> LeaseState:
        """Keep a grant's lease alive. Raises LeaseEnded."""
        return await self._of_deployment(deployment_id, "hold", hold, LeaseState)

    async def release(self, deployment_id: str, release: Release) -> Released:
        """Give a grant back. Raises LeaseEnded."""
        return await self._of_deployment(deployment_id, "release", release, Released)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _of_deployment(
        self, deployment_id: str, verb: str, body: Contract, answer: type[_T]
    ) -> _T:
        try:
            return await self._call("POST", f"/deployments/{deployment_id}/{verb}", body, answer)
        except Refused as problem:
            if problem.status in (404, 409):
                raise LeaseEnded(problem.status, str(problem)) from None
            raise

    async def _call(
        self,
        method: str,
        path: str,
        body: Contract | None,
        answer: type[_T],
        seconds: float = ANSWER_SECONDS,
    ) -> _T:
        content = None if body is None else msgspec.json.encode(body)
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        try:
            response = await self._http.request(method, path, content=content, timeout=timeout)
            if response.is_success:
                return msgspec.json.decode(response.content, type=answer)
        except (httpx.HTTPError, msgspec.DecodeError) as problem:
            raise Unavailable(f"{type(problem).__name__}: {problem}") from None
        if response.status_code >= 500 or response.status_code in _TRANSIENT:
            raise Unavailable(f"status {response.status_code}")
        raise Refused(response.status_code, _message(response))


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
