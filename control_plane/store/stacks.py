"""Queries about stacks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select, tuple_, update

from control_plane.domain.names import StackName
from control_plane.store.deployments import log_organization
from control_plane.store.tables import deployments, organizations, stacks
from control_plane.store.transaction import Transaction

_with_organization = select(
    stacks,
    organizations.c.login.label("organization"),
    organizations.c.paused_at.label("organization_paused_at"),
).join_from(stacks, organizations)


_listed = select(
    stacks.c.id,
    organizations.c.login.label("organization"),
    stacks.c.project,
    stacks.c.name,
    stacks.c.tags,
    stacks.c.last_update_at,
    stacks.c.current_update_id,
    stacks.c.checkpoint_key,
    stacks.c.resource_count,
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


async def add(tx: Transaction, **values: Any) -> None:
    """Record a new stack; a unique index judges whether its name is free."""
    await tx.execute(stacks.insert().values(**values))


async def change(tx: Transaction, stack_id: str, **values: Any) -> None:
    """Change columns of a stack."""
    await tx.execute(update(stacks).where(stacks.c.id == stack_id).values(**values))


async def change_project(
    tx: Transaction, organization_id: str, project: str, **values: Any
) -> None:
    """Change columns of all stacks of a project."""
    await tx.execute(
        update(stacks)
        .where(stacks.c.organization_id == organization_id, stacks.c.project == project)
        .values(**values)
    )


async def remove(tx: Transaction, stack_id: str) -> None:
    """Forget a stack, and with it its updates, deployments and settings."""
    await tx.execute(delete(stacks).where(stacks.c.id == stack_id))


async def page(
    tx: Transaction,
    organizations_seen: Collection[str],
    *,
    after: StackName | None,
    limit: int,
    project: str | None = None,
    stack_id: str | None = None,
) -> Sequence[Row[Any]]:
    """Stacks of these organizations in the order of their names, from after one on; of their
    columns, what a listing shows."""
    order = (organizations.c.login, stacks.c.project, stacks.c.name)
    query = _listed.where(organizations.c.login.in_(sorted(organizations_seen)))
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    if project is not None:
        query = query.where(stacks.c.project == project)
    if stack_id is not None:
        query = query.where(stacks.c.id == stack_id)
    return await tx.all(query.order_by(*order).limit(limit))


async def deployment_logs(tx: Transaction, stack_id: str) -> Sequence[Row[Any]]:
    """The stack's deployments (id, stack_id, organization_id) whose log is still kept.

    The organization is the one under whose prefix the log lies.
    """
    lies_under = log_organization.label("organization_id")
    return await tx.all(
        select(deployments.c.id, deployments.c.stack_id, lies_under).where(
            deployments.c.stack_id == stack_id, deployments.c.log_deleted_at.is_(None)
        )
    )


async def count(tx: Transaction, organization_id: str) -> Row[Any]:
    """How many `stacks` an organization has, in how many `projects`."""
    [counted] = await tx.all(
        select(
            func.count().label("stacks"),
            func.count(stacks.c.project.distinct()).label("projects"),
        ).where(stacks.c.organization_id == organization_id)
    )
    return counted
