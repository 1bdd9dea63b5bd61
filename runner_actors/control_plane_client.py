"""The actor's calls to the control plane under one lease: events, and the watch over the lease.

Every answer renews the lease, counted from when its call was sent. Failures of the network and of
the server are tried again for as long as it takes: the shim holds the deadline, and as soon as
the server can be reached again it says whether the lease still stands.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable, Sequence

# httpx would import its own command line, and with it click, rich and pygments: 0.1 s of every
# cold start. It does without when that import fails.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402
import msgspec  # noqa: E402

from runner_actors.contract import (  # noqa: E402
    AnyEvent,
    CancelMode,
    Contract,
    Events,
    Grant,
    LeaseRenewal,
    LeaseState,
    SourceToken,
    SourceTokenWanted,
)
from runner_actors.loopback import direct_mounts  # noqa: E402
from runner_actors.stop_ladder import boot_seconds  # noqa: E402

WATCH_SECONDS = 5.0
"""How long the server may hold a renewal back, waiting for a cancel."""
WATCH_PAUSE_SECONDS = 1.0
"""Between renewals that a server answers at once."""
ANSWER_SECONDS = 10.0
SOURCE_TOKEN_SECONDS = 60.0
"""The control plane asks somebody else for it."""
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.05, 2.0
_TRANSIENT = {408, 425, 429}

log = logging.getLogger("slipway.runner")


class LeaseLost(Exception):
    """The control plane no longer takes this runner's word: stop, and write nothing more."""


class Unavailable(Exception):
    """The control plane could not be reached, or could not answer."""


class NoSourceToken(Exception):
    """There is no token for the source; the text says why."""


class ControlPlaneClient:
    """One connection pool for all deployments of an actor."""

    def __init__(self, url: str) -> None:
        # The certificates of all authorities take 20 ms to load.
        verify = not url.startswith("http://")
        limits = httpx.Limits(keepalive_expiry=4.0)
        self._http = httpx.AsyncClient(
            base_url=url, verify=verify, limits=limits, mounts=direct_mounts(url)
        )

    async def post(
        self, deployment_id: str, route: str, token: str, body: Contract, seconds: float
    ) -> LeaseState:
        """One call on a deployment's route. Raises LeaseLost or Unavailable."""
        try:
            answer = await self._http.post(
                f"/api/runner/deployments/{deployment_id}/{route}",
                content=msgspec.json.encode(body),
                headers={"authorization": f"token {token}", "content-type": "application/json"},
                timeout=httpx.Timeout(seconds, connect=3.0),
            )
        except httpx.HTTPError as problem:
            raise Unavailable(f"{type(problem).__name__}: {problem}") from None
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=LeaseState)
        if answer.status_code >= 500 or answer.status_code in _TRANSIENT:
            raise Unavailable(f"status {answer.status_code}")
        raise LeaseLost(f"status {answer.status_code}: {answer.text[:200]}")

    async def source_token(
        self, deployment_id: str, token: str, body: SourceTokenWanted
    ) -> SourceToken:
        """The token of the source. Raises LeaseLost, Unavailable, or NoSourceToken."""
        try:
            answer = await self._http.post(
                f"/api/runner/deployments/{deployment_id}/source-token",
                content=msgspec.json.encode(body),
                headers={"authorization": f"token {token}", "content-type": "application/json"},
                timeout=httpx.Timeout(SOURCE_TOKEN_SECONDS, connect=3.0),
            )
        except httpx.HTTPError as problem:
            raise Unavailable(f"{type(problem).__name__}: {problem}") from None
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=SourceToken)
        if answer.status_code == 409:
            raise LeaseLost("the lease has ended")
        raise NoSourceToken(_message_of(answer))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _message_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


class HeldLease:
    """A runner's right to write the results of one deployment."""

    def __init__(
        self,
        client: ControlPlaneClient,
        grant: Grant,
        token: str,
    ) -> None:
        self._client = client
        self._deployment_id = grant.deployment_id
        self._generation = grant.generation
        self._token = token
        # The grant is older than this moment by an unknown time, so only half of it is relied on
        # until the first answer, which comes within milliseconds.
        self.until = boot_seconds() + grant.lease_seconds / 2
        self.cancel: CancelMode | None = None
        self.cancelled_by = ""
        self.on_renewed: Callable[[float], None] = lambda until: None
        self.on_cancel: Callable[[CancelMode], None] = lambda mode: None

    async def send(self, events: Sequence[AnyEvent]) -> int:
        """Post events until they are recorded; gives the number acknowledged. Raises LeaseLost."""
        body = Events(generation=self._generation, events=list(events))
        state = await self._insist("events", lambda: body, ANSWER_SECONDS)
        return state.acknowledged

    async def renew(self) -> int:
        """Renew once, without waiting; gives the number acknowledged. Raises LeaseLost."""
        state = await self._insist("lease", lambda: self._renewal(0.0), ANSWER_SECONDS)
        return state.acknowledged

    async def source_token(self) -> str:
        """The source's token, sealed. Raises LeaseLost, Unavailable, NoSourceToken."""
        wanted = SourceTokenWanted(generation=self._generation)
        found = await self._client.source_token(self._deployment_id, self._token, wanted)
        return found.sealed_token

    async def watch(self) -> None:
        """Renew for ever and hear of cancels as they happen. Ends by raising LeaseLost."""
        while True:
            sent, known = boot_seconds(), self.cancel
            await self._insist("lease", lambda: self._renewal(WATCH_SECONDS), WATCH_SECONDS + 3)
            if self.cancel == known:
                await asyncio.sleep(max(0.0, sent + WATCH_PAUSE_SECONDS - boot_seconds()))

    def _renewal(self, wait_seconds: float) -> LeaseRenewal:
        return LeaseRenewal(
            generation=self._generation, wait_seconds=wait_seconds, seen_cancel=self.cancel
        )

    async def _insist(self, route: str, body: Callable[[], Contract], seconds: float) -> LeaseState:
        """Call until there is an answer. Raises LeaseLost."""
        pause = RETRY_SECONDS_FIRST
        while True:
            sent = boot_seconds()
            try:
                state = await self._client.post(
                    self._deployment_id, route, self._token, body(), seconds
                )
            except Unavailable as problem:
                log.warning("control plane: %s; trying again", problem)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(pause * 2, RETRY_SECONDS_MAX)
            else:
                self._take(state, sent)
                return state

    def _take(self, state: LeaseState, sent: float) -> None:
        until = sent + state.lease_seconds
        if until > self.until:
            self.until = until
            self.on_renewed(until)
        if state.cancel and state.cancel != self.cancel and self.cancel != "now":
            self.cancel, self.cancelled_by = state.cancel, state.cancelled_by
            self.on_cancel(state.cancel)
