"""What GitHub's App leaves in a database, in words of each place's own; GitHub has none of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import msgspec

from control_plane.domain.principal import Principal, User
from control_plane.services.github import app as github_app
from control_plane.services.github.outcome import StackVerdict
from control_plane.services.github.ports import Account, CreatedApp
from control_plane.services.world import World
from control_plane.store import organizations
from control_plane.store.github import deliveries, installations, pulls

INSTALLATION = 1
DELIVERY = "a"
REPOSITORY = 5
SHA = "c" * 40


async def furnish_github(
    world: World,
    organization: str,
    words: Callable[[str], str],
    *,
    deployment_ids: Sequence[str] = (),
    count: int = 1,
) -> None:
    """The App, an installation, so many deliveries, a fork that waits, origins of deployments."""
    await _app(world, words)
    async with world.database.transaction() as tx:
        owner = await organizations.find(tx, organization)
        assert owner is not None
        now = world.now()
        installation = {
            "account_id": 2,
            "account_login": words("account"),
            "account_type": "Organization",
            "repository_selection": "selected",
            "permissions": "{}",
        }
        await installations.save(tx, INSTALLATION, installation, now)
        await installations.change(
            tx, INSTALLATION, organization_id=owner.id, claimed_by=organization, claimed_at=now
        )
        named = {"id": REPOSITORY, "full_name": words("repository"), "default_branch": "main"}
        await installations.save_repositories(tx, INSTALLATION, [named], now)
        verdict = StackVerdict(
            stack=words("judged"), code="not_the_branch", message=words("verdict")
        )
        await deliveries.add(
            tx,
            [
                {
                    "id": DELIVERY if number == 0 else f"{DELIVERY}-{number}",
                    "event": words("event"),
                    "action": words("action"),
                    "installation_id": INSTALLATION,
                    "organization_id": owner.id,
                    "repository": words("repository"),
                    "summary": words("summary"),
                    "status": "ignored",
                    "received_at": now - number,
                    "next_attempt_at": now,
                    "message": words("outcome"),
                    "verdicts": zlib.compress(msgspec.json.encode([verdict])),
                }
                for number in range(count)
            ],
        )
        await pulls.save(
            tx,
            {
                "repository_id": REPOSITORY,
                "number": 1,
                "installation_id": INSTALLATION,
                "organization_id": owner.id,
                "full_name": words("repository"),
                "title": words("pull-request"),
                "author": words("pull-author"),
                "head_sha": SHA,
                "base_ref": "main",
                "is_open": True,
                "is_fork": True,
                "updated_at": now,
            },
        )
        if deployment_ids:
            await pulls.add_sources(
                tx,
                [
                    {
                        "deployment_id": each,
                        "installation_id": INSTALLATION,
                        "repository_id": REPOSITORY,
                        "full_name": words("repository"),
                        "ref": "refs/heads/main",
                        "sha": SHA,
                        "title": words("pull-title"),
                        "author": words("origin-author"),
                        "pull_request": 1,
                        "is_open": False,
                        "next_report_at": now,
                    }
                    for each in deployment_ids
                ],
            )


async def _app(world: World, words: Callable[[str], str]) -> None:
    created = CreatedApp(
        id=1,
        slug="slipway",
        name=words("app"),
        client_id="client",
        html_url="https://github.test/apps/slipway",
        owner=Account(2, words("app-owner"), "Organization"),
        client_secret="client-secret",
        webhook_secret="webhook-secret",
        pem="private-key",
    )
    admin = Principal(user=User(id="", login="admin", site_admin=True))
    await github_app.save(world, admin, created)
