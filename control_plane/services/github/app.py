"""The server's GitHub App: made from a manifest, its credentials kept encrypted.

There is one App for the whole server; organizations install it. It is made by whoever administers
the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.principal import Principal
from control_plane.errors import Conflict, Forbidden, NotFound
from control_plane.services.github import states
from control_plane.services.github.ports import AppKey, CreatedApp
from control_plane.services.github.states import State
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import installations as store

CREATE = "create"
_PRIVATE_KEY = "github/app/private-key"
_CLIENT_SECRET = "github/app/client-secret"  # noqa: S105 - a context, not a secret
_WEBHOOK_SECRET = "github/app/webhook-secret"  # noqa: S105


class AppFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What may be shown of the App."""

    app_id: int
    slug: str
    name: str
    owner: str
    html_url: str
    created_at: int


@dataclass(frozen=True)
class Credentials:
    """What the server knows of its App, opened."""

    key: AppKey
    slug: str
    client_id: str
    client_secret: str = field(repr=False)
    webhook_secret: str = field(repr=False)


@verb
async def show(world: World) -> AppFacts | None:
    """The App, None while there is none."""
    async with world.database.snapshot() as tx:
        row = await store.find_app(tx)
    return None if row is None else facts_of(row)


@verb
async def create(world: World, principal: Principal, code: str, state: str) -> AppFacts:
    """Make the App of what GitHub hands over for a manifest's code. Raises Forbidden, Conflict."""
    require_site_admin(principal)
    states.read(world, state, CREATE, principal.user.id)
    async with world.database.snapshot() as tx:
        if await store.find_app(tx) is not None:
            raise Conflict(detail="This server has its GitHub App already. Remove that one first.")
    created = await world.github.convert_manifest(code)
    return await save(world, principal, created)


@verb
async def save(world: World, principal: Principal, created: CreatedApp) -> AppFacts:
    """Keep an App's credentials, in the place of any before."""
    require_site_admin(principal)
    values = {
        "app_id": created.id,
        "slug": created.slug,
        "name": created.name,
        "owner": created.owner.login,
        "html_url": created.html_url,
        "client_id": created.client_id,
        "private_key": world.cipher.wrap(created.pem.encode(), _PRIVATE_KEY),
        "client_secret": world.cipher.wrap(created.client_secret.encode(), _CLIENT_SECRET),
        "webhook_secret": world.cipher.wrap(created.webhook_secret.encode(), _WEBHOOK_SECRET),
        "created_at": world.now(),
        "created_by": principal.user.id or None,
    }
    async with world.database.transaction() as tx:
        await store.save_app(tx, values)
        row = await store.find_app(tx)
    assert row is not None  # noqa: S101 - it was just saved
    return facts_of(row)


@verb
async def remove(world: World, principal: Principal) -> None:
    """Forget the App, and with it all installations. On GitHub it is deleted by its owner."""
    require_site_admin(principal)
    async with world.database.transaction() as tx:
        await store.remove_app(tx)


def creation_state(world: World, principal: Principal) -> str:
    """What comes back from GitHub with the code of a new App."""
    return states.write(world, State(purpose=CREATE, user_id=principal.user.id))


async def credentials(world: World) -> Credentials:
    """What is needed to call GitHub as the App. Raises NotFound while there is none."""
    found = await find_credentials(world)
    if found is None:
        raise NotFound(what="This server's GitHub App (set one up with: slipway github setup)")
    return found


async def find_credentials(world: World) -> Credentials | None:
    """What is needed to call GitHub as the App, None while there is none."""
    async with world.database.snapshot() as tx:
        row = await store.find_app(tx)
    return None if row is None else _opened(world, row)


def _opened(world: World, row: Row[Any]) -> Credentials:
    def text(wrapped: bytes, context: str) -> str:
        return world.cipher.unwrap(wrapped, context).decode()

    return Credentials(
        key=AppKey(row.app_id, text(row.private_key, _PRIVATE_KEY)),
        slug=row.slug,
        client_id=row.client_id,
        client_secret=text(row.client_secret, _CLIENT_SECRET),
        webhook_secret=text(row.webhook_secret, _WEBHOOK_SECRET),
    )


def facts_of(row: Row[Any]) -> AppFacts:
    """What may be shown of an App's row."""
    return AppFacts(
        app_id=row.app_id,
        slug=row.slug,
        name=row.name,
        owner=row.owner,
        html_url=row.html_url,
        created_at=row.created_at,
    )


def require_site_admin(principal: Principal) -> None:
    """Raise Forbidden for whoever does not administer the server."""
    if not principal.user.site_admin or principal.deployment_id is not None:
        raise Forbidden(detail="Only an administrator of this server may set up its GitHub App.")
