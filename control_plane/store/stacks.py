"""Queries about stacks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from control_plane.domain.names import StackName
from control_plane.store.tables import organizations, stacks
from control_plane.store.transaction import Transaction

_with_organization = select(
    stacks,
    organizations.c.login.label("organization"),
    organizations.c.paused_at.label("organization_paused_at"),
).join_from(stacks, organizations)


async def find(tx: Transaction, name: StackName, *, lock: bool = False) -> Row[Any] | None:
    """The stack of that name, with its organization's login as `organization`."""
    query = _with_organization.where(
        organizations.c.login == name.organization,
        stacks.c.project == name.project,
        stacks.c.name == name.stack,
    )
    return await tx.first(query.with_for_update(of=stacks) if lock and tx.locks_rows else query)


async def by_id(tx: Transaction, stack_id: str, *, lock: bool = False) -> Row[Any] | None:
    """The stack of that id, with its organization's login as `organization`."""
    query = _with_organization.where(stacks.c.id == stack_id)
    return await tx.first(query.with_for_update(of=stacks) if lock and tx.locks_rows else query)
