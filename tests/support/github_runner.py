"""A runner, by its API: takes what GitHub had queued, and asks for the token of the source."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric import x25519

from runner_actors.contract import SEAL_SUITE, Grant, Grants, SourceToken, seal_context
from tests.support.github_org import POOL_TOKEN, Connected

RUNNER = "/api/runner"


@dataclass
class Granted:
    """A deployment under its lease."""

    org: Connected
    grant: Grant

    def open(self, sealed: str, kind: str) -> str:
        """One of the lease's tokens."""
        key = x25519.X25519PrivateKey.from_private_bytes(self.org.pool_key)
        name = f"lease/{self.grant.deployment_id}/{self.grant.generation}/{kind}"
        context = seal_context(self.grant.stack_id, name)
        return SEAL_SUITE.decrypt(base64.b64decode(sealed), key, context).decode()

    @property
    def cli_token(self) -> str:
        """What the deployment's CLI is logged in with."""
        return self.open(self.grant.sealed_cli_token, "cli")

    def source_token(self, runner_token: str = "", generation: int = 0) -> httpx.Response:
        """The answer to the runner that wants the source's token."""
        return self._say(
            "source-token", {"generation": generation or self.grant.generation}, runner_token
        )

    def opened_source_token(self) -> str:
        """The source's token; there must be one."""
        answer = self.source_token()
        assert answer.status_code == 200, answer.text
        found = msgspec.json.decode(answer.content, type=SourceToken)
        return self.open(found.sealed_token, "source")

    def conclude(self) -> None:
        """The deployment ends well."""
        event = {
            "number": 1,
            "atMs": 5,
            "kind": "concluded",
            "succeeded": True,
            "reason": "cli_exit",
        }
        body = {"generation": self.grant.generation, "events": [event]}
        answer = self._say("events", body)
        assert answer.status_code == 200, answer.text

    def _say(self, what: str, body: object, runner_token: str = "") -> httpx.Response:
        token = runner_token or self.open(self.grant.sealed_runner_token, "runner")
        return httpx.post(
            f"{self.org.server.url}{RUNNER}/deployments/{self.grant.deployment_id}/{what}",
            headers={"Authorization": f"token {token}"},
            json=body,
            timeout=60,
        )


def take(org: Connected) -> Granted:
    """What is to be run next; there must be something."""
    answer = httpx.post(
        f"{org.server.url}{RUNNER}/poll",
        headers={"Authorization": f"token {POOL_TOKEN}"},
        json={"gatewayId": "gateway", "waitSeconds": 5, "grantsMax": 1},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    (grant,) = msgspec.json.decode(answer.content, type=Grants).grants
    return Granted(org, grant)
