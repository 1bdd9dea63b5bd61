"""The queue under random use: submits, grants, crashes, cancels, pauses, limits, clock moves.

Hypothesis drives the real services on a real SQLite file. After every step the invariants are
checked from the outside, in plain SQL and plain Python over all rows, which share nothing with
the queries of the store.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import text

from control_plane.domain.deployment import LIVE, Operation, Status
from control_plane.domain.names import StackName
from control_plane.errors import LeaseEnded
from control_plane.loops import janitor
from control_plane.services import cancellation, expiry, grants, leases
from control_plane.store import queue
from runner_actors.contract import Grant, Hold
from tests.flow.queue_invariants import QueueInvariants, Row
from tests.support import queue as support
from tests.support.queue import SOURCE, Farm, make_farm

LIMITS = {"acme": 2, "beta": 1, "gamma": 3}
STACKS = {"acme": 4, "beta": 2, "gamma": 3}
TERM_SECONDS = 30

organizations = st.sampled_from(sorted(LIMITS))
index = st.integers(0, 10**6)
rarely = st.integers(0, 4).map(lambda number: number == 4)


class QueueMachine(QueueInvariants, RuleBasedStateMachine):
    """Everything that may happen to a queue, in any order."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="queue-machine"))
        self.loop = asyncio.new_event_loop()
        self.context = make_farm(self.directory)
        self.farm: Farm = self.do(self.context.__aenter__())
        self.stacks: list[StackName] = []
        self.own = None
        self.do(self.build())
        self.acknowledged: list[str] = []
        self.skipping: set[str] = set()
        self.held: list[Grant] = []
        self.dead: list[Grant] = []
        self.before: dict[str, Row] = {}
        self.live_before: dict[str, int] = {}
        for number in range(len(self.stacks)):
            self.submit(number, number % 4 == 0, Operation.UPDATE, number % 2 == 0, 2)

    async def build(self) -> None:
        for login in LIMITS:
            if login != support.ORGANIZATION:
                await self.farm.add_organization(login)
            await self.set_limit_now(login, LIMITS[login])
            for number in range(STACKS[login]):
                self.stacks.append(await self.farm.add_stack("shop", f"s{number}", login))
        self.own = await self.farm.add_pool("own", organization="acme")

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.do(self.context.__aexit__(None, None, None))
            self.loop.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    # What is true, read without the store.

    def rows(self) -> list[Row]:
        names = (
            "id, position, organization_id, stack_id, pool_id, version, operation, status, reason,"
            " ended_at, generation, lease_expires_at, runner_digest, cli_digest, cancel_mode,"
            " engine_started_at, last_event"
        )
        query = f"SELECT {names} FROM deployments ORDER BY position"
        return [
            dict(zip(names.split(", "), row, strict=True)) for row in self.do(self.farm.ask(query))
        ]

    def row_of(self, deployment_id: str) -> Row:
        return next(row for row in self.rows() if row["id"] == deployment_id)

    def heads(self, rows: list[Row]) -> dict[str, Row | None]:
        """By stack, the deployment that could start if its organization has room."""
        paused = {row[0] for row in self.ask("SELECT id FROM stacks WHERE paused_at IS NOT NULL")}
        live = {row["stack_id"] for row in rows if row["status"] in LIVE}
        heads: dict[str, Row | None] = {}
        for row in rows:
            heads.setdefault(row["stack_id"], None)
            blocked = row["stack_id"] in live | paused or heads[row["stack_id"]]
            if row["status"] == Status.NOT_STARTED and not blocked:
                heads[row["stack_id"]] = row
        return heads

    def ready(self, rows: list[Row]) -> dict[tuple[str, str], Row]:
        """By organization and pool, the deployment that is next."""
        room = {
            organization_id
            for organization_id, limit, paused_at in self.ask(
                "SELECT id, deployment_limit, paused_at FROM organizations"
            )
            if paused_at is None and self.live_of(rows, organization_id) < limit
        }
        ready: dict[tuple[str, str], Row] = {}
        for head in self.heads(rows).values():
            if head is not None and head["organization_id"] in room:
                key = head["organization_id"], head["pool_id"]
                oldest = ready.setdefault(key, head)
                ready[key] = min(oldest, head, key=lambda row: row["position"])
        return ready

    def live_of(self, rows: list[Row], organization_id: str) -> int:
        return sum(
            row["status"] in LIVE and row["organization_id"] == organization_id for row in rows
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self.do(self.farm.ask(query))

    def pick(self, grants_: list[Grant], number: int) -> Grant:
        return grants_[number % len(grants_)]

    def stands(self, grant: Grant) -> bool:
        row = self.row_of(grant.deployment_id)
        return (
            row["status"] in LIVE
            and row["generation"] == grant.generation
            and row["lease_expires_at"] > self.farm.clock()
        )

    def expect(self, grant: Grant, call: Any) -> bool:
        """Make a call under a grant's lease: it works exactly while the lease stands."""
        stands = self.stands(grant)
        try:
            self.do(call)
        except LeaseEnded:
            assert not stands
            self.drop(grant)
            return False
        assert stands
        return True

    def drop(self, grant: Grant) -> None:
        if grant in self.held:
            self.held.remove(grant)
            self.dead.append(grant)

    # What may happen.

    @rule(
        number=index,
        own_pool=st.booleans(),
        operation=st.sampled_from([Operation.UPDATE, Operation.PREVIEW]),
        skips=st.booleans(),
        times=st.integers(1, 3),
    )
    def submit(
        self, number: int, own_pool: bool, operation: Operation, skips: bool, times: int
    ) -> None:
        stack = self.stacks[number % len(self.stacks)]
        request = SOURCE | {
            "operationContext": {"options": {"skipIntermediateDeployments": skips}},
            "agentPoolID": self.own.id if own_pool and stack.organization == "acme" else None,
        }

        async def together() -> list[Any]:
            return await asyncio.gather(
                *(self.farm.submit(stack, request, operation) for _ in range(times))
            )

        answers = self.do(together())
        self.acknowledged += [each.id for each in answers]
        if skips:
            self.skipping |= {each.id for each in answers}

    @rule(own_pool=st.booleans())
    def grant(self, own_pool: bool) -> None:
        """The oldest that may start is granted, and none when none may."""
        pool = self.own if own_pool else self.farm.pool
        ready = [row for key, row in self.ready(self.rows()).items() if key[1] == pool.id]
        granted = self.do(grants.grant(self.farm.world, pool))
        if not ready:
            assert granted is None
            return
        expected = min(ready, key=lambda row: row["position"])
        assert granted is not None
        assert granted.deployment_id == expected["id"]
        assert granted.generation == expected["generation"] + 1
        assert self.row_of(granted.deployment_id)["generation"] == granted.generation
        self.held.append(granted)

    @rule(own_pool=st.booleans(), succeeded=st.booleans(), number=index)
    def grant_and_run(self, own_pool: bool, succeeded: bool, number: int) -> None:
        """The common case, so that random walks get somewhere."""
        self.grant(own_pool)
        if self.held:
            self.start(number)
        if self.held:
            self.conclude(number, succeeded)

    @rule(own_pool=st.booleans(), engine=st.booleans(), number=index)
    def grant_and_lose(self, own_pool: bool, engine: bool, number: int) -> None:
        """A runner that is lost in the middle, before or after the engine started."""
        self.grant(own_pool)
        if self.held and engine:
            self.start_the_engine(number)
        if self.held:
            self.crash(number)

    @precondition(lambda self: self.held)
    @rule(number=index)
    def start(self, number: int) -> None:
        grant = self.pick(self.held, number)
        if self.expect(grant, self.farm.start(grant)):
            assert self.row_of(grant.deployment_id)["status"] == Status.RUNNING

    @precondition(lambda self: self.held)
    @rule(number=index)
    def start_the_engine(self, number: int) -> None:
        grant = self.pick(self.held, number)
        if self.stands(grant):
            self.do(self.farm.engine_started(grant.deployment_id))

    @precondition(lambda self: self.held)
    @rule(number=index, succeeded=st.booleans())
    def conclude(self, number: int, succeeded: bool) -> None:
        grant = self.pick(self.held, number)
        row = self.row_of(grant.deployment_id)
        conclusion = self.farm.conclude(grant, succeeded, number=row["last_event"] + 1)
        if not self.expect(grant, conclusion):
            return
        self.drop(grant)
        after = self.row_of(grant.deployment_id)
        wanted = Status.SUCCEEDED if succeeded else Status.FAILED
        assert after["status"] == wanted
        if not succeeded:
            cancelled = row["cancel_mode"] is not None
            assert after["reason"] == ("cancelled" if cancelled else "cli_exit")

    @precondition(lambda self: self.held)
    @rule(number=index)
    def renew(self, number: int) -> None:
        grant = self.pick(self.held, number)
        self.expect(grant, self.farm.renew(grant))

    @precondition(lambda self: self.held)
    @rule(number=index)
    def hold(self, number: int) -> None:
        grant = self.pick(self.held, number)
        pool = self.pool_of(grant)
        request = Hold(generation=grant.generation, waiting_for="a node")
        self.expect(grant, leases.hold(self.farm.world, pool, grant.deployment_id, request))

    def pool_of(self, grant: Grant) -> Any:
        pool_id = self.row_of(grant.deployment_id)["pool_id"]
        return self.own if pool_id == self.own.id else self.farm.pool

    @precondition(lambda self: self.held)
    @rule(number=index)
    def crash(self, number: int) -> None:
        """The runner is known to be gone: the gateway gives the grant back."""
        grant = self.pick(self.held, number)
        before = self.row_of(grant.deployment_id)
        farm, pool = self.farm, self.farm.pool
        farm.pool = self.pool_of(grant)
        status = self.do(farm.release(grant))
        farm.pool = pool
        self.drop(grant)
        if before["status"] in LIVE and before["generation"] == grant.generation:
            assert status == self.after_loss(before)

    def after_loss(self, row: Row) -> str:
        attempts_max = self.farm.world.config.deployments.attempts_max
        final = row["engine_started_at"] is not None or row["generation"] >= attempts_max
        return "failed" if final or row["cancel_mode"] is not None else "not-started"

    @precondition(lambda self: self.dead)
    @rule(number=index, succeeded=st.booleans())
    def a_dead_runner_speaks(self, number: int, succeeded: bool) -> None:
        """I3: under a lease that has ended, nothing is recorded."""
        grant = self.pick(self.dead, number)
        before = self.rows()
        for call in (
            self.farm.start(grant, number=99),
            self.farm.conclude(grant, succeeded),
            self.farm.renew(grant),
        ):
            try:
                self.do(call)
            except LeaseEnded:
                continue
            raise AssertionError("a dead lease was accepted")
        assert self.rows() == before

    @rule(seconds=st.integers(1, 2 * TERM_SECONDS))
    def time_passes(self, seconds: int) -> None:
        self.farm.clock.advance(seconds)

    @rule(rounds=st.integers(1, 2))
    def the_janitor_comes(self, rounds: int) -> None:
        before, now = self.rows(), self.farm.clock()
        self.do(janitor.run_once(self.farm.world))
        for row in before:
            lost = row["status"] in LIVE and row["lease_expires_at"] <= now
            if lost:
                assert self.row_of(row["id"])["status"] == self.after_loss(row)
        for _ in range(rounds - 1):
            self.do(janitor.run_once(self.farm.world))

    @rule()
    def the_server_restarts(self) -> None:
        """Its absence is nobody's fault: all live leases get another term."""
        self.farm.clock.advance(2 * TERM_SECONDS)
        self.do(leases.extend_after_restart(self.farm.world))
        # Also a lease that was over, if nobody had decided yet what becomes of its deployment.
        for grant in [grant for grant in self.dead if self.stands(grant)]:
            self.dead.remove(grant)
            self.held.append(grant)
        before = [row["status"] for row in self.rows()]
        self.do(janitor.run_once(self.farm.world))
        assert [row["status"] for row in self.rows()] == before

    @rule(chance=rarely)
    def a_week_passes(self, chance: bool) -> None:
        if not chance:
            return
        self.farm.clock.advance(8 * 86400)
        self.do(janitor.expire_waiting(self.farm.world))
        assert all(row["status"] != Status.NOT_STARTED for row in self.rows())

    @precondition(lambda self: self.acknowledged)
    @rule(number=index, mode=st.sampled_from(["graceful", "now"]))
    def cancel(self, number: int, mode: Any) -> None:
        deployment_id = self.acknowledged[number % len(self.acknowledged)]
        before = self.row_of(deployment_id)
        stack = self.stack_of(before["stack_id"])
        self.do(
            cancellation.cancel(self.farm.world, self.farm.principal(), stack, deployment_id, mode)
        )
        after = self.row_of(deployment_id)
        if before["status"] == Status.NOT_STARTED:
            assert (after["status"], after["reason"]) == ("skipped", "cancelled")
        elif before["status"] in LIVE:
            assert after["status"] == before["status"]
            assert after["cancel_mode"] == (
                "now" if "now" in (mode, before["cancel_mode"]) else mode
            )
        else:
            assert after == before

    def stack_of(self, stack_id: str) -> StackName:
        ((organization, project, name),) = self.do(
            self.farm.ask(
                "SELECT login, project, stacks.name FROM stacks"
                " JOIN organizations ON organizations.id = organization_id WHERE stacks.id = :id",
                id=stack_id,
            )
        )
        return StackName(organization, project, name)

    @rule(number=index, pause=rarely)
    def pause_or_resume_a_stack(self, number: int, pause: bool) -> None:
        stack = self.stacks[number % len(self.stacks)]
        query = (
            "SELECT stacks.id FROM stacks JOIN organizations ON organizations.id = organization_id"
            " WHERE login = :login AND stacks.name = :name"
        )
        asked = self.farm.ask(query, login=stack.organization, name=stack.stack)
        ((stack_id,),) = self.do(asked)
        at = self.farm.clock() if pause else None
        organization_id = self.farm.organizations[stack.organization]
        statement = "UPDATE stacks SET paused_at = :at WHERE id = :id"
        self.do(self.change(statement, [stack_id], organization_id, at=at, id=stack_id))

    @rule(login=organizations, pause=rarely)
    def pause_or_resume_an_organization(self, login: str, pause: bool) -> None:
        at, organization_id = self.farm.clock() if pause else None, self.farm.organizations[login]
        statement = "UPDATE organizations SET paused_at = :at WHERE id = :id"
        self.do(self.change(statement, [], organization_id, at=at, id=organization_id))

    @rule(login=organizations, limit=st.integers(0, 4))
    def set_limit(self, login: str, limit: int) -> None:
        self.do(self.set_limit_now(login, limit))

    async def set_limit_now(self, login: str, limit: int) -> None:
        organization_id = self.farm.organizations[login]
        statement = "UPDATE organizations SET deployment_limit = :limit WHERE id = :id"
        await self.change(statement, [], organization_id, limit=limit, id=organization_id)

    async def change(
        self, statement: str, stack_ids: list[str], organization_id: str, **values: Any
    ) -> None:
        async with self.farm.world.database.transaction() as tx:
            await tx.execute(text(statement), values)
            await queue.refresh(tx, stack_ids=stack_ids, organization_ids=[organization_id])

    @rule(damage=st.sampled_from(["heads", "ready"]), number=st.integers(0, 30), own=st.booleans())
    def pointers_go_wrong(self, damage: str, number: int, own: bool) -> None:
        """A wrong pointer delays; it breaks nothing, and the janitor mends it."""
        column = {"heads": "queue_heads SET head", "ready": "queue_ready SET ready"}[damage]
        self.do(self.farm.sql(f"UPDATE {column} = :number", number=number or None))
        pool = self.own if own else self.farm.pool
        if (granted := self.do(grants.grant(self.farm.world, pool))) is not None:
            self.held.append(granted)
        self.do(expiry.repair_pointers(self.farm.world))

    # What must hold after every step.

    @invariant()
    def all_is_well(self) -> None:
        if not hasattr(self, "farm"):
            return
        rows = self.rows()
        self.I1_no_two_live_of_one_stack(rows)
        self.I2_no_more_than_the_limit(rows)
        self.I3_only_the_living_have_tokens(rows)
        self.I4_nothing_is_lost(rows)
        self.only_the_newest_stay_where_they_wish_so(rows)
        self.stacks_are_served_in_order(rows)
        self.pointers_say_what_is_true(rows)
        self.before = {row["id"]: row for row in rows}
        self.live_before = {
            organization_id: self.live_of(rows, organization_id)
            for organization_id in self.farm.organizations.values()
        }


QueueMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SLIPWAY_TEST_QUEUE_EXAMPLES", "25")),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestQueueMachine = QueueMachine.TestCase
