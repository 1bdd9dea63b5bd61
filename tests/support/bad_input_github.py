"""The rows of `bad_input.ROWS` that are about GitHub, and what a stand needs for them.

GitHub itself does not answer in these tests: what asks it is refused with 503, once everything
else about the request has been found right.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from control_plane.api import github
from control_plane.domain.principal import Principal, User
from control_plane.services.github import app, receiving
from control_plane.services.github.ports import Account, CreatedApp
from control_plane.services.world import World
from control_plane.store import organizations
from control_plane.store.github import deliveries, installations, pulls

NOBODY_ANSWERS = {"base_url": "http://127.0.0.1:9"}
G = "/api/orgs/{organization:str}/integrations/github"
HEAD = "a" * 40
VALUES = {
    "installation_id": "77",
    "owner": "acme",
    "name": "site",
    "number": "5",
    "delivery_id": "a-delivery",
}
ROWS: list[tuple[str, str, Any, Any]] = [
    ("GET", G, None, None),
    ("POST", f"{G}/install", None, None),
    ("GET", f"{G}/repositories", None, None),
    ("GET", f"{G}/repositories/{{owner:str}}/{{name:str}}/branches", None, None),
    ("GET", f"{G}/deliveries", None, None),
    ("GET", f"{G}/deliveries/{{delivery_id:str}}", None, None),
    ("GET", f"{G}/pull-requests", None, None),
    (
        "POST",
        f"{G}/pull-requests/{{owner:str}}/{{name:str}}/{{number:int}}/approve",
        {"sha": HEAD},
        github.Approval,
    ),
    ("GET", f"{G}/installations/{{installation_id:int}}/concerned", None, None),
    (
        "POST",
        f"{G}/installations/{{installation_id:int}}",
        {"comments": True},
        github.Settings,
    ),
    ("DELETE", f"{G}/installations/{{installation_id:int}}", None, None),
]
"""Verb, path, a right body and what it is read as."""

ASKS_GITHUB = frozenset(
    {
        f"GET {G}/repositories/{{owner:str}}/{{name:str}}/branches",
        f"POST {G}/pull-requests/{{owner:str}}/{{name:str}}/{{number:int}}/approve",
        f"DELETE {G}/installations/{{installation_id:int}}",
    }
)


async def connect(world: World, organization: str) -> None:
    """An App, an installation, a repository, a delivery, and a fork's pull request."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    created = CreatedApp(
        id=1,
        slug="slipway",
        name="Slipway",
        client_id="Iv1.x",
        html_url="http://127.0.0.1:9/apps/slipway",
        owner=Account(1, "acme", "Organization"),
        client_secret="s" * 40,
        webhook_secret="w" * 40,
        pem=pem,
    )
    await app.save(world, Principal(user=User(id="", login="", site_admin=True)), created)
    number, now = int(VALUES["installation_id"]), world.now()
    async with world.database.transaction() as tx:
        owner = await organizations.find(tx, organization)
        assert owner is not None
        account = {"account_id": 2, "account_login": "acme", "account_type": "Organization"}
        await installations.save(tx, number, account, now)
        await installations.change(tx, number, organization_id=owner.id)
        repository = {"id": 3, "full_name": "acme/site", "default_branch": "main"}
        await installations.save_repositories(tx, number, [repository], now)
        row = receiving.row_of(world, VALUES["delivery_id"], "ping", b'{"hook_id": 1}')
        await deliveries.add(tx, [row | {"organization_id": owner.id, "status": "processed"}])
        await pulls.save(
            tx,
            {
                "repository_id": 3,
                "number": int(VALUES["number"]),
                "installation_id": number,
                "organization_id": owner.id,
                "full_name": "acme/site",
                "head_sha": HEAD,
                "base_ref": "main",
                "is_open": True,
                "is_fork": True,
                "updated_at": now,
            },
        )
