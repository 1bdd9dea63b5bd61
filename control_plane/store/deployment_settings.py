"""Queries about stacks' stored deployment settings."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, select

from control_plane.store.tables import deployment_settings
from control_plane.store.transaction import Transaction


async def find(tx: Transaction, stack_id: str) -> Row[Any] | None:
    """The stack's settings: `body` is their JSON, `version` counts how often they were written."""
    return await tx.first(
        select(deployment_settings).where(deployment_settings.c.stack_id == stack_id)
    )


async def save(
    tx: Transaction, stack_id: str, body: str, version: int, now: int, repository: str = ""
) -> None:
    """Keep settings; the caller has locked the stack and counted the version up.

    `repository` is the GitHub repository in them, by which its pushes find the stack.
    """
    values = {
        "version": version,
        "body": body,
        "modified_at": now,
        "repository": repository.lower(),
    }
    await tx.execute(
        tx.insert(deployment_settings)
        .values(stack_id=stack_id, **values)
        .on_conflict_do_update(index_elements=[deployment_settings.c.stack_id], set_=values)
    )


async def remove(tx: Transaction, stack_id: str) -> None:
    """Forget the stack's settings."""
    await tx.execute(delete(deployment_settings).where(deployment_settings.c.stack_id == stack_id))
