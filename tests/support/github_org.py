"""A server whose organization has installed GitHub's App, and stacks that follow repositories."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import x25519

from control_plane.app import open_world
from control_plane.config import Config
from control_plane.domain.principal import Principal, User
from control_plane.services import pools
from control_plane.services.github import app as github_app
from control_plane.services.github import installing
from control_plane.services.github.ports import Account, CreatedApp
from control_plane.services.world import World
from control_plane.store import organizations
from control_plane.store.github import installations
from runner_actors.contract import CONTRACT_VERSION
from tests.support import github as stand_in
from tests.support.app import ADMIN, TOKEN
from tests.support.github.state import App, Installation, Repository
from tests.support.server import Server, serving
from tests.support.waiting import wait_for

ORGANIZATION = ADMIN
POOL_TOKEN = "slp-" + "p" * 40
API = f"/api/orgs/{ORGANIZATION}/integrations/github"


@dataclass
class Connected:
    """A running server, GitHub, and the App installed in `acme` and claimed for `ada`."""

    server: Server
    hub: stand_in.GitHub
    http: httpx.Client
    app: App
    account: Any
    installation: Installation
    repository: Repository
    pool_key: bytes
    """The private key of the pool that all deployments go to."""

    def stack(self, name: str = "dev", project: str = "shop", **github: Any) -> str:
        """A stack that follows the repository's main branch; returns its path under /api/stacks."""
        path = f"/api/stacks/{ORGANIZATION}/{project}"
        answer = self.http.post(path, json={"stackName": name})
        assert answer.status_code == 200, answer.text
        settings = {
            "sourceContext": {"git": {"branch": "main"}},
            "gitHub": {"repository": self.repository.full_name, "deployCommits": True} | github,
        }
        answer = self.http.put(f"{path}/{name}/deployments/settings", json=settings)
        assert answer.status_code == 200, answer.text
        return f"{path}/{name}"

    def deployments(self, path: str) -> list[dict[str, Any]]:
        """A stack's deployments, newest first."""
        answer = self.http.get(f"{path}/deployments")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["deployments"])

    def deliveries(self, count: int) -> list[dict[str, Any]]:
        """All deliveries, once there are so many and each has been looked into; newest first."""

        def looked_into() -> list[dict[str, Any]]:
            found = self.http.get(f"{API}/deliveries").json()["deliveries"]
            done = [each for each in found if each["status"] != "received"]
            return found if len(done) >= count and len(done) == len(found) else []

        try:
            return wait_for(looked_into, f"{count} deliveries have been looked into")
        except AssertionError:
            raise AssertionError(self.http.get(f"{API}/deliveries").text) from None

    def verdicts(self, event: str = "") -> dict[str, dict[str, Any]]:
        """What each stack made of the last delivery (of an event)."""
        listed = self.http.get(f"{API}/deliveries").json()["deliveries"]
        last = next(each for each in listed if event in ("", each["event"]))
        found = self.http.get(f"{API}/deliveries/{last['id']}").json()
        return {each["stack"]: each for each in found["verdicts"]}


@contextmanager
def connected(
    tmp_path: Path, *, github_interval: float = 300, **settings: dict[str, object]
) -> Iterator[Connected]:
    """The App is installed and claimed; the repository `acme/site` has one commit.

    `github_interval`: seconds between looks for what was missed.
    """
    with (
        stand_in.github(tmp_path) as hub,
        serving(
            tmp_path,
            github=stand_in.settings(hub) | {"missed_interval_seconds": github_interval},
            **settings,
        ) as server,
        httpx.Client(
            base_url=server.url, headers={"Authorization": f"token {TOKEN}"}, timeout=60
        ) as http,
    ):
        owner = hub.add_user("octo-ada")
        account = hub.add_organization("acme", {"octo-ada": "admin"})
        repository = hub.add_repository(account, "site")
        made = hub.add_app(owner, f"{server.url}/webhooks/github")
        with_services(server.world.config, lambda world: keep_app(world, made))
        pool_key = register_pool(server)
        installation = hub.install(made, account)
        with_services(server.world.config, lambda world: claim(world, installation.id))
        hub.push(repository, {"README.md": "one"}, message="The first")
        yield Connected(server, hub, http, made, account, installation, repository, pool_key)


def register_pool(server: Server) -> bytes:
    """A pool that has been online once, so that deployments can be queued; its private key."""
    with_services(server.world.config, _ensure_pool)
    key = x25519.X25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    answer = httpx.post(
        f"{server.url}/api/runner/register",
        headers={"Authorization": f"token {POOL_TOKEN}"},
        json={
            "gatewayId": "gateway",
            "hostname": "here",
            "publicKey": public,
            "slipwayVersion": "1",
            "contractVersion": CONTRACT_VERSION,
        },
    )
    assert answer.status_code == 200, answer.text
    return key.private_bytes_raw()


def with_services(config: Config, work: Any) -> Any:
    """Do something with services, on a server's database, from outside of its event loop."""
    answers: list[Any] = []

    async def run() -> None:
        world = open_world(config)
        try:
            answers.append(await work(world))
        finally:
            await world.github.close()
            await world.database.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
    assert answers, "the work failed; its traceback is above"
    return answers[0]


async def _ensure_pool(world: World) -> bool:
    await pools.ensure_default(world, POOL_TOKEN)
    return True


async def keep_app(world: World, made: App) -> bool:
    """The App is this server's."""
    created = CreatedApp(
        id=made.id,
        slug=made.slug,
        name=made.name,
        client_id=made.client_id,
        html_url=made.url,
        owner=Account(made.owner.id, made.owner.login, made.owner.kind),
        client_secret=made.client_secret,
        webhook_secret=made.webhook_secret,
        pem=made.private_key,
    )
    admin = Principal(user=User(id="", login=ADMIN, site_admin=True))
    await github_app.save(world, admin, created)
    return True


async def claim(world: World, installation_id: int) -> bool:
    """The installation belongs to the organization."""
    # GitHub's own word of the installation may come later.
    await installing.refresh(world, installation_id)
    async with world.database.transaction() as tx:
        owner = await organizations.find(tx, ORGANIZATION)
        assert owner is not None
        await installations.change(tx, installation_id, organization_id=owner.id)
    return True
