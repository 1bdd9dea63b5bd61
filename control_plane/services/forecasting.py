"""When what waits will probably begin: the queue's own history, asked for by other verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain import expectation
from control_plane.domain.deployment import LIVE, Status
from control_plane.domain.expectation import Expected, Forecast, Item, Kind, Usual
from control_plane.domain.waiting import PoolTrouble, Why
from control_plane.services.readiness import POOL_SILENCE_MS
from control_plane.services.world import World
from control_plane.store import deployment_queries as store
from control_plane.store.transaction import Transaction

LINE_MAX = 200
"""How far back in an organization's line anything is foretold."""


async def of_rows(world: World, tx: Transaction, rows: Sequence[Any]) -> Forecast:
    """The forecast for an organization's unfinished deployments: all that is live, and the head
    of the line, as `store.unfinished` gives them."""
    live = [row for row in rows if row.status in LIVE]
    line = [row for row in rows if row.status == Status.NOT_STARTED]
    usual = await _usual(tx, rows)
    return expectation.forecast(
        [_item(world, row) for row in live],
        [_item(world, row) for row in sorted(line, key=lambda row: row.position)],
        usual,
        limit=rows[0].deployment_limit if rows else 0,
        now=world.now(),
    )


async def start_of(world: World, tx: Transaction, row: Any, ahead: int) -> Expected:
    """When one waiting deployment will probably begin; `ahead` wait before it in its organization.

    What is ahead is read only as far as it goes, and not at all where nothing could be told.
    """
    if row.status == Status.ACCEPTED:
        return expectation.NODE
    if why := held_by(world, row):
        return expectation.held(why)
    if ahead >= LINE_MAX:
        return expectation.TOO_FAR
    rows = await store.unfinished(tx, row.organization_id, ahead + 1)
    found = await of_rows(world, tx, rows)
    return found.starts.get(row.id, expectation.TOO_FAR)


async def end_of(world: World, tx: Transaction, row: Any) -> Expected | None:
    """When a running deployment will probably end."""
    if row.status not in LIVE:
        return None
    found = expectation.forecast(
        [_item(world, row)], [], await _usual(tx, [row]), limit=1, now=world.now()
    )
    return found.ends[row.id]


def held_by(world: World, row: Any) -> str:
    """What somebody must end before it can begin; empty: nothing."""
    if row.organization_paused_at is not None:
        return f"{row.organization} is paused"
    if row.stack_paused_at is not None:
        return "its stack is paused"
    trouble = pool_trouble(world, row)
    return f"its runner pool takes no work, for {trouble.problem}" if trouble is not None else ""


def pool_trouble(world: World, row: Any) -> PoolTrouble | None:
    """Why a deployment's pool takes no work; None when it does."""
    if row.pool_name is None:
        return PoolTrouble(
            why=Why.NO_POOL,
            problem="it has been removed",
            todo="Cancel this deployment, choose another pool in the deploy settings, and deploy"
            " again.",
        )
    if row.pool_last_seen_at is None:
        return PoolTrouble(
            why=Why.POOL_OFFLINE,
            problem="its gateway has never been online",
            todo="Start the pool's gateway: slipway gateway (or slipway up, which brings one).",
        )
    if row.pool_last_seen_at < world.now() - POOL_SILENCE_MS:
        return PoolTrouble(
            why=Why.POOL_OFFLINE,
            problem="its gateway is silent",
            todo="Look whether the pool's gateway runs and reaches this server; start it again if"
            " not.",
            since=row.pool_last_seen_at,
        )
    if row.pool_ready:
        return None
    return PoolTrouble(
        why=Why.POOL_NOT_READY,
        problem="its gateway cannot reach Ray",
        todo="Look at the Ray cluster; the gateway's log says what it tried.",
    )


async def _usual(tx: Transaction, rows: Sequence[Any]) -> Mapping[Kind, Usual]:
    successes = await store.recent_successes(tx, {row.stack_id for row in rows})
    return expectation.usual_durations(
        (row.stack_id, row.operation, row.ended_at - row.started_at) for row in successes
    )


def _item(world: World, row: Any) -> Item:
    return Item(
        id=row.id,
        stack_id=row.stack_id,
        operation=row.operation,
        title=f"{row.operation} #{row.version} of {row.project}/{row.stack}",
        began=row.started_at,
        held=held_by(world, row) if row.status == Status.NOT_STARTED else "",
    )
