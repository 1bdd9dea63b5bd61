"""A GitHub with somebody in it, and the adapter that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from control_plane.adapters.github import RestGitHub
from control_plane.services.github.ports import AppKey, Place
from tests.support.github import GitHub, github, state

TIMEOUT_SECONDS = 5.0
NOWHERE = "http://127.0.0.1:9/hook"


@dataclass
class Scene:
    """A GitHub with an App, installed in an organization that has one repository."""

    hub: GitHub
    adapter: RestGitHub
    app: state.App
    installation: state.Installation
    site: state.Repository
    first: str

    @property
    def key(self) -> AppKey:
        return AppKey(self.app.id, self.app.private_key)

    @property
    def place(self) -> Place:
        return Place(self.key, self.installation.id, self.site.full_name)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[GitHub]:
    with github(tmp_path) as found:
        found.add_user("ada", email="ada@example.com")
        found.add_user("bob")
        found.add_organization("acme", {"ada": "admin", "bob": "member"})
        yield found


@pytest.fixture
def scene(hub: GitHub) -> Scene:
    acme = hub.state.accounts["acme"]
    app = hub.add_app(acme, NOWHERE, callback_urls=["http://slipway.test/back"])
    site = hub.add_repository(acme, "site")
    first = hub.push(site, {"Pulumi.yaml": "name: site\n", "docs/a.md": "a"}, message="Begin")
    installation = hub.install(app, acme)
    adapter = RestGitHub(hub.url, hub.api_url, TIMEOUT_SECONDS)
    return Scene(hub, adapter, app, installation, site, first)
