"""Queries about projects. A project is there as long as it has a stack."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, exists, select

from control_plane.store.tables import organizations, projects, stacks
from control_plane.store.transaction import Transaction


async def find(tx: Transaction, organization: str, name: str) -> Row[Any] | None:
    """The organization's project of that name."""
    return await tx.first(
        select(projects)
        .join_from(projects, organizations)
        .where(organizations.c.login == organization, projects.c.name == name)
    )


async def ensure(tx: Transaction, organization_id: str, name: str, now: int) -> None:
    """Make the project if it is not there."""
    await tx.execute(
        tx.insert(projects)
        .values(organization_id=organization_id, name=name, created_at=now)
        .on_conflict_do_nothing()
    )


async def remove_if_empty(tx: Transaction, organization_id: str, name: str) -> None:
    """Forget a project that has no stack any more, so that its name is free."""
    has_stack = exists().where(
        stacks.c.organization_id == organization_id, stacks.c.project == name
    )
    await tx.execute(
        delete(projects).where(
            projects.c.organization_id == organization_id, projects.c.name == name, ~has_stack
        )
    )
