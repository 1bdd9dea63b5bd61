"""(c) Submissions a second over HTTP, and the time of a grant however long the queue is."""

from __future__ import annotations

import asyncio
import base64
import random
import statistics
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import x25519

from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.domain.principal import Pool, Principal
from control_plane.domain.trigger import Submission
from control_plane.services import grants, identity, recording, submission
from control_plane.services.world import World
from control_plane.store import organizations
from control_plane.store.tables import stacks
from runner_actors.contract import SEAL_SUITE, Concluded, Events, Grant, seal_context
from tests.bench.report import Section, p50, p99, say
from tests.bench.servers import control_plane, furnish, open_prepared
from tests.bench.wire import Load, generate
from tests.bench.yardsticks import SingleInserts
from tests.support.slipway import TOKEN

ORGANIZATIONS = [f"bench-{number}" for number in range(10)]
STACKS_EACH = 100
CONNECTIONS = 32
ROUNDS = 5
SUBMISSIONS_EACH = 2_000
INSERTS_EACH = 1_000
DEPTHS = (100, 1_000, 10_000)
LIVE_MAX = 10 * len(ORGANIZATIONS)
GRANTS = 300
GRANTS_WARM_UP = 20
GIT = {"repoUrl": "https://git.example.com/team/program.git", "branch": "main", "repoDir": "infra"}
REQUEST: dict[str, Any] = {
    "operation": "update",
    "sourceContext": {"git": GIT},
    "operationContext": {"environmentVariables": {"REGION": "eu-west-1"}},
}


def measure(root: Path) -> Section:
    """Both halves."""
    section = Section(
        "c", "the queue: 10,000 deployments over 1,000 stacks; yardsticks: SQLAlchemy, 100 queued"
    )
    _submissions(section, root)
    asyncio.run(_grants(section, root))
    return section


def _names() -> list[StackName]:
    return [
        StackName(organization, "bench", f"stack-{number}")
        for number in range(STACKS_EACH)
        for organization in ORGANIZATIONS
    ]


# Submissions.


def _submissions(section: Section, root: Path) -> None:
    ours: list[Load] = []
    inserts = SingleInserts(root, CONNECTIONS)
    insert_rates: list[float] = []
    with control_plane(root / "submissions", ORGANIZATIONS) as served:
        say("(c) 1,000 stacks")
        names = _names()
        create = [
            ("POST", f"/api/stacks/{n.organization}/{n.project}", {"stackName": n.stack})
            for n in names
        ]
        _require("200", generate(served.port, TOKEN, create, CONNECTIONS))
        say(f"(c) {ROUNDS} rounds of {SUBMISSIONS_EACH} submissions and {INSERTS_EACH} inserts")
        paths = [f"/api/stacks/{name}/deployments" for name in names]
        for _ in range(ROUNDS):
            requests = [
                ("POST", paths[number % len(paths)], REQUEST) for number in range(SUBMISSIONS_EACH)
            ]
            ours.append(_require("202", generate(served.port, TOKEN, requests, CONNECTIONS)))
            insert_rates.append(inserts.rate(INSERTS_EACH))
    rate, yardstick = statistics.median(o.rate for o in ours), statistics.median(insert_rates)
    section.at_least("submissions, durable, HTTP x 32", rate, "/s", 600, yardstick=yardstick)
    latencies = [each for load in ours for each in load.latencies_ms]
    section.know("  one submission, p50", p50(latencies), "ms")
    section.know("  one submission, p99", p99(latencies), "ms")
    section.samples |= {"submissions": [o.rate for o in ours], "inserts": insert_rates}
    cpu = statistics.median(o.cpu_seconds / o.seconds for o in ours)
    section.notes.append(f"the load generator took {cpu:.0%} of a core beside the server")


def _require(status: str, load: Load) -> Load:
    if set(load.statuses) != {status}:
        raise RuntimeError(f"wanted only {status}, got {load.statuses}")
    return load


# Grants.


@dataclass
class Line:
    """One database with so many waiting deployments, and every organization at its limit."""

    depth: int
    world: World
    principal: Principal
    pool: Pool
    key: x25519.X25519PrivateKey
    names: list[StackName]
    live: list[Grant] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    async def fill(self) -> None:
        """Grant until every organization is at its limit, with so many still waiting."""
        names = [self.names[n % len(self.names)] for n in range(self.depth + LIVE_MAX)]
        await asyncio.gather(*(self._submit(name) for name in names))
        while (granted := await grants.grant(self.world, self.pool)) is not None:
            self.live.append(granted)
        assert len(self.live) == LIVE_MAX, f"{len(self.live)} live"

    async def step(self, dice: random.Random, *, counts: bool) -> None:
        """One ends, another comes, and what is measured: one is granted."""
        over = self.live.pop(dice.randrange(len(self.live)))
        await self._finish(over)
        await self._submit(self._idle_stack(over.organization, dice))
        began = time.perf_counter()
        granted = await grants.grant(self.world, self.pool)
        milliseconds = (time.perf_counter() - began) * 1000
        assert granted is not None, "an organization had room and work"
        self.live.append(granted)
        if counts:
            self.milliseconds.append(milliseconds)

    def _idle_stack(self, organization: str, dice: random.Random) -> StackName:
        """A stack of the organization that has room now, so that it never runs out of work."""
        live = {(grant.organization, grant.project, grant.stack) for grant in self.live}
        own = [n for n in self.names if n.organization == organization and n not in live]
        return dice.choice(own)

    async def _submit(self, name: StackName) -> None:
        request = {k: v for k, v in REQUEST.items() if k != "operation"}
        wanted = Submission(operation=Operation.UPDATE, request=request)
        await submission.submit(self.world, self.principal, name, wanted)

    async def _finish(self, grant: Grant) -> None:
        """As its runner would: with the token that was sealed to the pool."""
        name = f"lease/{grant.deployment_id}/{grant.generation}/runner"
        sealed = base64.b64decode(grant.sealed_runner_token)
        token = SEAL_SUITE.decrypt(sealed, self.key, seal_context(grant.stack_id, name)).decode()
        ended = Concluded(number=1, at_ms=self.world.now(), succeeded=True, reason="completed")
        batch = Events(generation=grant.generation, events=[ended])
        await recording.record(self.world, grant.deployment_id, token, batch)


async def _grants(section: Section, root: Path) -> None:
    lines = []
    try:
        for depth in DEPTHS:
            say(f"(c) {depth} queued deployments")
            lines.append(await _line(depth, root / f"queue-{depth}"))
            await lines[-1].fill()
        say(f"(c) {GRANTS} grants at each depth, in turn")
        dice = random.Random(7)
        for number in range(GRANTS_WARM_UP + GRANTS):
            for line in lines:
                await line.step(dice, counts=number >= GRANTS_WARM_UP)
    finally:
        for line in lines:
            await line.world.database.close()
    _grant_rows(section, lines)


def _grant_rows(section: Section, lines: list[Line]) -> None:
    short, *longer = [line.milliseconds for line in lines]
    for line, samples in zip(lines[1:], longer, strict=True):
        name = f"one grant, limits binding, {line.depth:,} queued"
        section.within(f"{name}, p50", p50(samples), "ms", p50(short), 1.3)
        section.know(f"{name}, p99", p99(samples), "ms", p99(short))
    rates = [1000 * len(line.milliseconds) / sum(line.milliseconds) for line in lines]
    section.know(f"grants, {lines[-1].depth:,} queued", rates[-1], "/s", rates[0])
    section.samples |= {f"grant_{line.depth}": line.milliseconds for line in lines}


async def _line(depth: int, data_dir: Path) -> Line:
    world = open_prepared(data_dir)
    pool, key = await furnish(world, ORGANIZATIONS)
    names = _names()
    await _add_stacks(world, names)
    return Line(depth, world, await identity.authenticate(world, TOKEN), pool, key, names)


async def _add_stacks(world: World, names: list[StackName]) -> None:
    """As rows: how stacks are made is not what is measured."""
    async with world.database.transaction() as tx:
        ids = {}
        for login in ORGANIZATIONS:
            found = await organizations.find(tx, login)
            assert found is not None
            ids[login] = found.id
        rows = [
            {
                "id": str(uuid.uuid4()),
                "organization_id": ids[name.organization],
                "project": name.project,
                "name": name.stack,
                "created_at": world.now(),
                "wrapped_data_key": b"",
            }
            for name in names
        ]
        await tx.execute(stacks.insert(), rows)
