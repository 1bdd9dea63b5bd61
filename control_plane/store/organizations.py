"""Queries about organizations and who belongs to them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from control_plane.store.tables import memberships, organizations, users
from control_plane.store.transaction import Transaction


async def find(tx: Transaction, login: str, *, lock: bool = False) -> Row[Any] | None:
    """The organization of that login."""
    query = select(organizations).where(organizations.c.login == login)
    return await tx.first(query.with_for_update() if lock and tx.locks_rows else query)


async def create(tx: Transaction, login: str, *, personal: bool, limit: int, now: int) -> str:
    """Add an organization; returns its id. The login must be free (a unique index judges)."""
    organization_id = str(uuid.uuid4())
    await tx.execute(
        organizations.insert().values(
            id=organization_id,
            login=login,
            name=login,
            personal=personal,
            deployment_limit=limit,
            created_at=now,
        )
    )
    return organization_id


async def join(tx: Transaction, organization_id: str, user_id: str, role: str) -> None:
    """Make a user a member, or change their role."""
    await tx.execute(
        tx.insert(memberships)
        .values(organization_id=organization_id, user_id=user_id, role=role)
        .on_conflict_do_update(
            index_elements=[memberships.c.organization_id, memberships.c.user_id],
            set_={"role": role},
        )
    )


async def of_user(tx: Transaction, user_id: str) -> Sequence[Row[Any]]:
    """The user's organizations with their role in each; the personal one first."""
    return await tx.all(
        select(organizations, memberships.c.role)
        .join_from(organizations, memberships)
        .where(memberships.c.user_id == user_id)
        .order_by(organizations.c.personal.desc(), organizations.c.login)
    )


async def members(tx: Transaction, organization_id: str) -> Sequence[Row[Any]]:
    """The organization's members with their roles, by login."""
    return await tx.all(
        select(users, memberships.c.role)
        .join_from(users, memberships)
        .where(memberships.c.organization_id == organization_id)
        .order_by(users.c.login)
    )


async def set_pause(
    tx: Transaction, organization_id: str, *, at: int | None, by: str | None, note: str
) -> None:
    """Pause or resume an organization's queue."""
    await tx.execute(
        update(organizations)
        .where(organizations.c.id == organization_id)
        .values(paused_at=at, paused_by=by, pause_note=note)
    )


async def count(tx: Transaction) -> int:
    """How many organizations there are."""
    return int(await tx.scalar(select(func.count()).select_from(organizations)))


async def change(tx: Transaction, organization_id: str, *, name: str, limit: int) -> None:
    """Change what an organization is called, and how many of its deployments may be live."""
    await tx.execute(
        update(organizations)
        .where(organizations.c.id == organization_id)
        .values(name=name, deployment_limit=limit)
    )


async def role_of(tx: Transaction, organization_id: str, user_id: str) -> str | None:
    """The user's role in the organization; None for who is no member."""
    role: str | None = await tx.scalar(
        select(memberships.c.role).where(
            memberships.c.organization_id == organization_id, memberships.c.user_id == user_id
        )
    )
    return role


async def count_admins(tx: Transaction, organization_id: str) -> int:
    """How many administrators the organization has."""
    query = select(func.count()).where(
        memberships.c.organization_id == organization_id, memberships.c.role == "admin"
    )
    return int(await tx.scalar(query))


async def leave(tx: Transaction, organization_id: str, user_id: str) -> None:
    """End a membership."""
    await tx.execute(
        delete(memberships).where(
            memberships.c.organization_id == organization_id, memberships.c.user_id == user_id
        )
    )
