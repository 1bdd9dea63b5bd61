"""Queries about the steps of deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select, update

from control_plane.store.tables import deployment_steps
from control_plane.store.transaction import Transaction

RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"


async def start(tx: Transaction, deployment_id: str, step: int, name: str, at: int) -> None:
    """Note that a step has begun; beginning it twice changes nothing."""
    await tx.execute(
        tx.insert(deployment_steps)
        .values(deployment_id=deployment_id, step=step, name=name, status=RUNNING, started_at=at)
        .on_conflict_do_nothing()
    )


async def finish(
    tx: Transaction, deployment_id: str, step: int, *, succeeded: bool, message: str, at: int
) -> None:
    """Note that a step is over."""
    await tx.execute(
        update(deployment_steps)
        .where(deployment_steps.c.deployment_id == deployment_id, deployment_steps.c.step == step)
        .values(status=SUCCEEDED if succeeded else FAILED, message=message, ended_at=at)
    )


async def fail_running(tx: Transaction, deployment_id: str, at: int) -> None:
    """End the steps that were going on when their deployment ended."""
    await tx.execute(
        update(deployment_steps)
        .where(
            deployment_steps.c.deployment_id == deployment_id,
            deployment_steps.c.status == RUNNING,
        )
        .values(status=FAILED, ended_at=at)
    )


async def of_deployment(tx: Transaction, deployment_id: str) -> Sequence[Row[Any]]:
    """The deployment's steps, in order."""
    return await tx.all(
        select(deployment_steps)
        .where(deployment_steps.c.deployment_id == deployment_id)
        .order_by(deployment_steps.c.step)
    )


async def forget(tx: Transaction, deployment_id: str) -> None:
    """Drop all steps: the deployment begins anew."""
    await tx.execute(
        delete(deployment_steps).where(deployment_steps.c.deployment_id == deployment_id)
    )
