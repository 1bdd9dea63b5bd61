"""Queries about who is who on GitHub."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select

from control_plane.store.github.tables import users
from control_plane.store.tables import memberships
from control_plane.store.tables import users as persons
from control_plane.store.transaction import Transaction


async def by_github_id(tx: Transaction, github_id: int) -> Row[Any] | None:
    """The user who is linked to a GitHub account."""
    return await tx.first(
        select(persons)
        .join(users, users.c.user_id == persons.c.id)
        .where(users.c.github_id == github_id)
    )


async def member_by_github_id(
    tx: Transaction, organization_id: str, github_id: int
) -> Row[Any] | None:
    """The member of an organization who is linked to a GitHub account."""
    return await tx.first(
        select(persons)
        .join(users, users.c.user_id == persons.c.id)
        .join(memberships, memberships.c.user_id == persons.c.id)
        .where(users.c.github_id == github_id, memberships.c.organization_id == organization_id)
    )


async def link(tx: Transaction, user_id: str, github_id: int, login: str, now: int) -> None:
    """Link a user to a GitHub account, in the place of any other."""
    await unlink(tx, github_id)
    await tx.execute(delete(users).where(users.c.user_id == user_id))
    await tx.execute(
        users.insert().values(user_id=user_id, github_id=github_id, login=login, linked_at=now)
    )


async def unlink(tx: Transaction, github_id: int) -> None:
    """Forget who a GitHub account is."""
    await tx.execute(delete(users).where(users.c.github_id == github_id))


async def of_user(tx: Transaction, user_id: str) -> Row[Any] | None:
    """The GitHub account that a user is linked to."""
    return await tx.first(select(users).where(users.c.user_id == user_id))
