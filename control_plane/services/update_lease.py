"""The lease of an update: who may still write its state, journal and events."""

from __future__ import annotations

import hmac
from typing import Any, NamedTuple

from sqlalchemy import Row

from control_plane.domain import tokens
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update import Status
from control_plane.errors import Forbidden, NotFound, NotLoggedIn, UpdateLeaseEnded
from control_plane.store import updates
from control_plane.store.transaction import Transaction


class Lease(NamedTuple):
    """What a call under an update's lease names, and the token that it carries."""

    stack: StackName
    update_id: str
    token: str


async def find(tx: Transaction, lease: Lease, *, lock: bool = False) -> Row[Any]:
    """The lease's update, whether it still runs or not.

    Raises NotFound for another stack's update, UpdateLeaseEnded for a token that is not its own.
    """
    row = await updates.leased(tx, lease.update_id, lock=lock)
    if row is None or (row.organization, row.project, row.stack) != lease.stack:
        raise NotFound(what=f"Update '{lease.update_id}'")
    if not hmac.compare_digest(row.lease_digest or b"", tokens.digest(lease.token)):
        raise UpdateLeaseEnded()
    return row


async def hold(tx: Transaction, lease: Lease, now: int, *, lock: bool = False) -> Row[Any]:
    """The lease's update, which runs; raises UpdateLeaseEnded when it does not any more."""
    row = await find(tx, lease, lock=lock)
    if not stands(row, now):
        raise UpdateLeaseEnded()
    return row


def stands(row: Row[Any], now: int) -> bool:
    """Whether an update's lease is in force."""
    return (
        row.status == Status.RUNNING
        and row.lease_expires_at is not None
        and row.lease_expires_at > now
    )


async def require_live(
    tx: Transaction, principal: Principal, now: int, *, preview: bool = False
) -> None:
    """Raise NotLoggedIn when a deployment's token has died since it was looked at (I3).

    To be called first in a writing transaction: it then holds the lease until the commit. Raises
    Forbidden for a fork's code, unless what is written is of a preview.
    """
    if principal.is_fork and not preview:
        raise Forbidden(detail="A deployment of a fork's code may preview its stack, no more.")
    if principal.deployment_id is not None and not await updates.deployment_lives(
        tx, principal.deployment_id, principal.generation, now
    ):
        raise NotLoggedIn()
