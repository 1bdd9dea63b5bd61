"""What GitHub sends by webhook: the examples that octokit records of GitHub and of its servers."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from tests.support import npm_package

PACKAGE = "@octokit/webhooks-examples"
VERSION = "7.6.1"
SHA512 = "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ=="
GITHUB = "api.github.com"
SERVERS = ("ghes-31", "ghes-32", "ghes-33", "ghes-34", "ghes-35")


class Example(NamedTuple):
    """One delivery."""

    event: str
    payload: dict[str, Any]

    @property
    def body(self) -> bytes:
        return json.dumps(self.payload).encode()

    @property
    def name(self) -> str:
        action = self.payload.get("action")
        return f"{self.event}.{action}" if action else self.event


@cache
def recorded(origin: str = GITHUB) -> list[Example]:
    """Every example of one origin."""
    path = npm_package.file(PACKAGE, VERSION, SHA512, f"{origin}/index.json")
    return [
        Example(each["name"], payload)
        for each in json.loads(path.read_text())
        for payload in each["examples"]
    ]


def of(event: str) -> list[Example]:
    """GitHub's own examples of one event."""
    return [each for each in recorded() if each.event == event]
