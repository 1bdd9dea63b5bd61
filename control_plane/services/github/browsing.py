"""What there is to choose from, and what came of what GitHub told: for the console and the API."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import access
from control_plane.services.github import app
from control_plane.services.github.outcome import StackVerdict
from control_plane.services.github.ports import Place
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import deliveries, installations, pulls

BRANCHES = 100


class RepositoryFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A repository that may be chosen."""

    id: int
    full_name: str
    default_branch: str
    private: bool
    archived: bool


class DeliveryFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A delivery as it is listed."""

    id: str
    event: str
    action: str
    repository: str
    summary: str
    status: str
    """`received` (to be looked into), `processed`, `ignored` or `failed`."""
    message: str
    deployments: int
    attempts: int
    received_at: int
    """Unix milliseconds."""
    processed_at: int | None


class Delivery(DeliveryFacts, frozen=True, kw_only=True):
    """A delivery with what each stack made of it."""

    verdicts: list[StackVerdict]


class Deliveries(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryFacts]
    total: int


class PullFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pull request as it was last told."""

    repository: str
    number: int
    title: str
    author: str
    head_sha: str
    base: str
    open: bool
    fork: bool
    approved_sha: str
    approved_by: str | None


@verb
async def repositories(
    world: World, principal: Principal, organization: str, words: str = ""
) -> list[RepositoryFacts]:
    """Repositories of an organization's installations, those with the words in their names."""
    async with world.database.snapshot() as tx:
        owner = await access.organization(tx, principal, organization)
        rows = await installations.repositories_of(tx, owner.id, words)
    return [
        RepositoryFacts(
            id=row.id,
            full_name=row.full_name,
            default_branch=row.default_branch,
            private=row.private,
            archived=row.archived,
        )
        for row in rows
    ]


@verb
async def branches(
    world: World, principal: Principal, organization: str, full_name: str, prefix: str = ""
) -> list[str]:
    """Names of a repository's branches, asked of GitHub; the default branch first."""
    async with world.database.snapshot() as tx:
        owner = await access.organization(tx, principal, organization)
        row = await installations.repository_named(tx, owner.id, full_name)
    if row is None:
        raise NotFound(what=f"Repository '{full_name}' among those of '{organization}'")
    credentials = await app.credentials(world)
    place = Place(credentials.key, row.installation_id, row.full_name)
    found = [each.name for each in await world.github.branches(place, prefix, BRANCHES)]
    return sorted(found, key=lambda name: (name != row.default_branch, name))


@verb
async def recent(
    world: World, principal: Principal, organization: str, page: int = 1, size: int = 25
) -> Deliveries:
    """What GitHub has told of an organization's repositories, newest first."""
    async with world.database.snapshot() as tx:
        owner = await access.organization(tx, principal, organization)
        rows, total = await deliveries.listed(tx, owner.id, offset=(page - 1) * size, count=size)
    return Deliveries(
        deliveries=[DeliveryFacts(**_facts_of(row)) for row in rows],
        total=total,
    )


@verb
async def delivery(
    world: World, principal: Principal, organization: str, delivery_id: str
) -> Delivery:
    """One delivery, with the rule by which each stack said no. Raises NotFound."""
    async with world.database.snapshot() as tx:
        owner = await access.organization(tx, principal, organization)
        row = await deliveries.find(tx, delivery_id)
    if row is None or row.organization_id != owner.id:
        raise NotFound(what=f"Delivery '{delivery_id}'")
    verdicts = msgspec.json.decode(
        zlib.decompress(row.verdicts) if row.verdicts else b"[]", type=list[StackVerdict]
    )
    return Delivery(**_facts_of(row), verdicts=verdicts)


def _facts_of(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "event": row.event,
        "action": row.action,
        "repository": row.repository,
        "summary": row.summary,
        "status": row.status,
        "message": row.message,
        "deployments": row.deployment_count,
        "attempts": row.attempts,
        "received_at": row.received_at,
        "processed_at": row.processed_at,
    }


@verb
async def forks_that_wait(world: World, principal: Principal, organization: str) -> list[PullFacts]:
    """Open pull requests of forks whose head nobody has approved."""
    async with world.database.snapshot() as tx:
        owner = await access.organization(tx, principal, organization)
        rows = await pulls.unapproved(tx, owner.id)
    return [_pull(row) for row in rows]


def _pull(row: Row[Any]) -> PullFacts:
    return PullFacts(
        repository=row.full_name,
        number=row.number,
        title=row.title,
        author=row.author,
        head_sha=row.head_sha,
        base=row.base_ref,
        open=row.is_open,
        fork=row.is_fork,
        approved_sha=row.approved_sha,
        approved_by=row.approved_by,
    )
