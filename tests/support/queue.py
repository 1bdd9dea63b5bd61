"""A farm for tests of the queue: organizations, stacks, a pool, and a runner made of calls."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import x25519
from sqlalchemy import insert, select, text

from control_plane.adapters.broker import LocalBroker
from control_plane.domain import tokens
from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.domain.principal import Pool, Principal, User
from control_plane.domain.trigger import Submission
from control_plane.outside import require_no_transaction
from control_plane.services import grants, identity, leases, pools, recording, submission
from control_plane.services.submission import Submitted
from control_plane.services.world import World
from control_plane.store import pools as store_pools
from control_plane.store.tables import deployments, organizations, stacks
from runner_actors import contract
from runner_actors.contract import (
    AnyEvent,
    Concluded,
    Events,
    Grant,
    Grants,
    LeaseRenewal,
    LeaseState,
    Poll,
    Registration,
    Release,
    StepStarted,
)
from tests.support.waiting import eventually
from tests.support.world import FakeClock, make_world


class Outside:
    """A port that refuses to be called while a transaction is open (I7)."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._port, name)

        def call(*arguments: Any) -> Any:
            require_no_transaction()
            return function(*arguments)

        return call


POOL_TOKEN = "slp-" + "b" * 48
SOURCE = {"sourceContext": {"git": {"repoUrl": "https://git.test/shop.git", "branch": "main"}}}
ORGANIZATION = "acme"


def settings(**options: Any) -> dict[str, Any]:
    """A request's settings with a source, and options of the operation."""
    return SOURCE | {"operationContext": {"options": options}}


@dataclass
class Farm:
    """A world with a pool that has registered, and what a runner would do in it."""

    world: World
    clock: FakeClock
    pool: Pool
    key: x25519.X25519PrivateKey
    broker: LocalBroker
    gateway: str = "gateway-1"
    organizations: dict[str, str] = field(default_factory=dict)

    async def add_organization(self, login: str, limit: int = 10) -> str:
        """Add an organization with room for `limit` live deployments."""
        organization_id = str(uuid.uuid4())
        async with self.world.database.transaction() as tx:
            await tx.execute(
                insert(organizations).values(
                    id=organization_id,
                    login=login,
                    name=login,
                    deployment_limit=limit,
                    created_at=self.clock(),
                )
            )
        self.organizations[login] = organization_id
        return organization_id

    async def add_stack(
        self, project: str, name: str, organization: str = ORGANIZATION
    ) -> StackName:
        """Add a stack without resources."""
        async with self.world.database.transaction() as tx:
            await tx.execute(
                insert(stacks).values(
                    id=str(uuid.uuid4()),
                    organization_id=self.organizations[organization],
                    project=project,
                    name=name,
                    created_at=self.clock(),
                    wrapped_data_key=b"",
                )
            )
        return StackName(organization, project, name)

    def principal(self, login: str = "ada") -> Principal:
        """A person who belongs to all organizations."""
        user = User(id=f"user-{login}", login=login)
        return Principal(user=user, organizations=frozenset(self.organizations))

    async def submit(
        self,
        stack: StackName,
        request: dict[str, Any] | None = None,
        operation: Operation = Operation.UPDATE,
        **more: Any,
    ) -> Submitted:
        """Queue a deployment."""
        wanted = Submission(
            operation=operation, request=SOURCE if request is None else request, **more
        )
        return await submission.submit(self.world, self.principal(), stack, wanted)

    async def poll(self, wait_seconds: float = 0.0, grants_max: int = 10, **more: Any) -> Grants:
        """Ask for work as the gateway."""
        request = Poll(
            gateway_id=more.pop("gateway", self.gateway),
            wait_seconds=wait_seconds,
            grants_max=grants_max,
            **more,
        )
        return await grants.poll(self.world, self.pool, request, asyncio.Event())

    async def grant(self) -> Grant:
        """The next deployment; there must be one."""
        granted = await grants.grant(self.world, self.pool)
        assert granted is not None
        return granted

    async def grant_all(self) -> list[Grant]:
        """Everything that may start now."""
        found: list[Grant] = []
        while (granted := await grants.grant(self.world, self.pool)) is not None:
            found.append(granted)
        return found

    async def add_pool(
        self, name: str, *, organization: str | None = None, is_default: bool = False
    ) -> Pool:
        """Add a pool of an organization whose gateway has registered with the farm's key."""
        async with self.world.database.transaction() as tx:
            pool_id = await store_pools.create(
                tx,
                name=name,
                token_digest=tokens.digest(name),
                organization_id=self.organizations[organization] if organization else None,
                is_default=is_default,
                now=self.clock(),
            )
            key = self.key.public_key().public_bytes_raw()
            await store_pools.set_key(tx, pool_id, key, self.clock())
        return await identity.authenticate_pool(self.world, name)

    def open(self, stack_id: str, name: str, sealed: str | None) -> str:
        """What was sealed to the pool's key under a name."""
        assert sealed is not None
        return contract.SEAL_SUITE.decrypt(
            base64.b64decode(sealed), self.key, contract.seal_context(stack_id, name)
        ).decode()

    def unseal(self, grant: Grant, kind: str = "runner") -> str:
        """One of the grant's two tokens."""
        name = f"lease/{grant.deployment_id}/{grant.generation}/{kind}"
        sealed = grant.sealed_runner_token if kind == "runner" else grant.sealed_cli_token
        return self.open(grant.stack_id, name, sealed)

    async def say(self, grant: Grant, *events: AnyEvent) -> LeaseState:
        """Record events under the grant's lease."""
        batch = Events(generation=grant.generation, events=list(events))
        token = self.unseal(grant)
        return await recording.record(self.world, grant.deployment_id, token, batch)

    async def start(self, grant: Grant, number: int = 1) -> LeaseState:
        """The first step begins."""
        event = StepStarted(number=number, at_ms=self.clock(), step=0, name="Get source")
        return await self.say(grant, event)

    async def conclude(
        self, grant: Grant, succeeded: bool = True, reason: str = "cli_exit", number: int = 1
    ) -> LeaseState:
        """The deployment ends; `number` follows the events before."""
        event = Concluded(number=number, at_ms=self.clock(), succeeded=succeeded, reason=reason)
        return await self.say(grant, event)

    async def run(self, grant: Grant, succeeded: bool = True) -> LeaseState:
        """From the first step to the end."""
        await self.start(grant)
        return await self.conclude(grant, succeeded, number=2)

    async def renew(self, grant: Grant, wait_seconds: float = 0.0, **more: Any) -> LeaseState:
        """Renew the grant's lease."""
        renewal = LeaseRenewal(generation=grant.generation, wait_seconds=wait_seconds, **more)
        token = self.unseal(grant)
        return await leases.renew(self.world, grant.deployment_id, token, renewal)

    async def release(self, grant: Grant, reason: str = "runner_lost") -> str:
        """Give the grant back."""
        request = Release(generation=grant.generation, reason=reason)
        answer = await leases.release(self.world, self.pool, grant.deployment_id, request)
        return answer.status

    async def engine_started(self, deployment_id: str) -> None:
        """What the state backend notes when the CLI starts an update."""
        await self.sql(
            "UPDATE deployments SET engine_started_at = :now WHERE id = :id",
            now=self.clock(),
            id=deployment_id,
        )

    async def listened(self, kind: str) -> None:
        """Wait until somebody listens to a topic of that kind."""
        await eventually(
            lambda: any(topic.startswith(kind) for topic in self.broker._topics),
            f"somebody listens to a {kind}",
        )

    async def row(self, deployment_id: str) -> Any:
        """The deployment's row."""
        async with self.world.database.snapshot() as tx:
            return await tx.first(select(deployments).where(deployments.c.id == deployment_id))

    async def how(self, deployment_id: str) -> tuple[str, str | None]:
        """The deployment's status and reason."""
        row = await self.row(deployment_id)
        return row.status, row.reason

    async def sql(self, statement: str, **values: Any) -> None:
        """Change the database behind everybody's back."""
        async with self.world.database.transaction() as tx:
            await tx.execute(text(statement), values)

    async def ask(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Plain SQL, to check from the outside."""
        async with self.world.database.snapshot() as tx:
            return [tuple(row) for row in await tx.all(text(query), values)]


@asynccontextmanager
async def make_farm(tmp_path: Path, **config: dict[str, Any]) -> AsyncIterator[Farm]:
    """A farm on a fresh database, with the organization `acme`; closed at the end."""
    clock = FakeClock()
    world = make_world(tmp_path, config=config, now=clock)
    broker = LocalBroker()
    world = dataclasses.replace(world, broker=broker)
    guarded = {name: Outside(getattr(world, name)) for name in ("broker", "logs", "objects")}
    world = dataclasses.replace(world, **guarded)
    try:
        await pools.ensure_default(world, POOL_TOKEN)
        key = x25519.X25519PrivateKey.generate()
        registration = Registration(
            gateway_id="gateway-1",
            hostname="node",
            public_key=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
            slipway_version="0",
        )
        await pools.register(
            world, await identity.authenticate_pool(world, POOL_TOKEN), registration
        )
        pool = await identity.authenticate_pool(world, POOL_TOKEN)
        farm = Farm(world, clock, pool, key, broker)
        await farm.add_organization(ORGANIZATION)
        yield farm
    finally:
        await world.database.close()
