"""What is said after a commit, and to whom: the topics of the broker.

`pool:<id>`        a pool may have work: its gateway's long poll
`lease:<id>`       a deployment should stop, or has ended: its runner's held renewal
`deployment:<id>`  something of a deployment was recorded: who follows its log
`stack:<id>`       a deployment of the stack has another status
`org:<id>`         the same, for the organization
`github-deliveries`  something came from GitHub: who looks into it
`github-reports`   a deployment of GitHub's has another status: who tells GitHub
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from control_plane.services.world import World
from control_plane.store.queue import Ready
from control_plane.store.transaction import Transaction

GITHUB_DELIVERIES = "github-deliveries"
GITHUB_REPORTS = "github-reports"


def pool_topic(pool_id: str) -> str:
    """Where a pool's gateway listens."""
    return f"pool:{pool_id}"


def lease_topic(deployment_id: str) -> str:
    """Where a deployment's runner listens."""
    return f"lease:{deployment_id}"


def deployment_topic(deployment_id: str) -> str:
    """Where followers of a deployment listen."""
    return f"deployment:{deployment_id}"


def organization_topic(organization_id: str) -> str:
    """Where those listen who show an organization's deployments."""
    return f"org:{organization_id}"


def wake_pools(world: World, tx: Transaction, ready: Iterable[Ready]) -> None:
    """After the commit, tell the pools that have work."""
    for pool_id in {each.pool_id for each in ready}:
        tx.after_commit(partial(world.broker.wake, pool_topic(pool_id)))


def wake_lease(world: World, tx: Transaction, deployment_id: str) -> None:
    """After the commit, tell the deployment's runner to look at its lease."""
    tx.after_commit(partial(world.broker.wake, lease_topic(deployment_id)))


def deployment_recorded(world: World, tx: Transaction, deployment_id: str) -> None:
    """After the commit, tell who follows the deployment."""
    tx.after_commit(partial(world.broker.wake, deployment_topic(deployment_id)))


def stack_changed(
    world: World, tx: Transaction, deployment_id: str, stack_id: str, organization_id: str
) -> None:
    """After the commit, tell everybody who shows the deployment's status."""
    deployment_recorded(world, tx, deployment_id)
    tx.after_commit(partial(world.broker.wake, f"stack:{stack_id}"))
    tx.after_commit(partial(world.broker.wake, organization_topic(organization_id)))
    tx.after_commit(partial(world.broker.wake, GITHUB_REPORTS))
