"""A server that GitHub (the stand-in) can lead a browser back to, and people at both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from control_plane.services import identity
from control_plane.services.world import World
from tests.support import github as stand_in
from tests.support.github.state import Account, App
from tests.support.github_org import keep_app, register_pool, with_services
from tests.support.server import Server, serving
from tests.support.slipway import free_port

SAME = {"Sec-Fetch-Site": "same-origin"}
CALLBACK = "/sign-in/github/callback"
INSTALLED = "/settings/integrations/github/installed"


@dataclass
class Reachable:
    """A running server under its own public address, and GitHub."""

    server: Server
    hub: stand_in.GitHub
    owner: Account
    """Of the GitHub organization `acme`."""
    account: Account
    """`acme` itself."""

    def keep_app(self) -> App:
        """The server has its App, as if made from its manifest."""
        url = self.server.url
        made = self.hub.add_app(
            self.owner,
            f"{url}/webhooks/github",
            callback_urls=[url + CALLBACK, url + INSTALLED],
            setup_url=url + INSTALLED,
        )
        with_services(self.server.world.config, lambda world: keep_app(world, made))
        return made

    def add_user(self, login: str, **organizations: str) -> str:
        """A user here, with roles in organizations; returns an access token."""

        async def add(world: World) -> str:
            await identity.create_user(world, login)
            for organization, role in organizations.items():
                await identity.add_member(world, organization, login, role)
            return (await identity.create_token(world, login, "t")).value

        return str(with_services(self.server.world.config, add))

    def register_pool(self) -> None:
        """Deployments can be queued."""
        register_pool(self.server)

    @contextmanager
    def browser(self, token: str = "") -> Iterator[httpx.Client]:
        """A client as a browser without a script; signed in where a token is given."""
        with httpx.Client(base_url=self.server.url, headers=SAME, timeout=60) as http:
            if token:
                assert http.post("/sign-in", data={"token": token}).status_code == 303
            yield http


@contextmanager
def reachable(tmp_path: Path, **github: object) -> Iterator[Reachable]:
    """Nobody has set up an App yet; `acme` has the owner `octo-ada`, who sits at the browser."""
    port = free_port()
    with (
        stand_in.github(tmp_path) as hub,
        serving(
            tmp_path,
            port=port,
            server={"public_url": f"http://127.0.0.1:{port}"},
            github=stand_in.settings(hub) | github,
        ) as server,
    ):
        owner = hub.add_user("octo-ada")
        account = hub.add_organization("acme", {"octo-ada": "admin"})
        hub.sign_in(owner)
        yield Reachable(server, hub, owner, account)
