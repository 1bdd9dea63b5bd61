"""A database as a busy company has after a year: 100,000 deployments of 5,000 stacks.

What decides how long a page takes goes in as rows, by the tables themselves; what has a shape that
only the services know (a state, sealed settings) goes in through them.
"""

from __future__ import annotations

import itertools
import json
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import func, select, update

from control_plane.domain.deployment import Operation, Reason, Status
from control_plane.domain.engine_events import interest_of
from control_plane.domain.names import StackName
from control_plane.domain.trigger import Submission
from control_plane.services import deployment_settings, identity, sessions, stacks, submission
from control_plane.services import state as states
from control_plane.services.grants import log_prefix
from control_plane.services.world import World
from control_plane.store import journal, organizations
from control_plane.store import stacks as stack_rows
from control_plane.store.tables import (
    deployment_steps,
    deployments,
    log_segments,
    updates,
)
from control_plane.store.tables import stacks as stacks_table
from control_plane.store.transaction import Transaction
from runner_actors.log_store import open_log_store
from tests.bench.crowd_state import document, resource, urn
from tests.bench.report import say
from tests.bench.servers import furnish
from tests.support.furnished_github import furnish_github
from tests.support.slipway import TOKEN

DEPLOYMENTS = 100_000
STACKS = 5_000
RESOURCES = 10_000
EVENTS = 20_000
DELIVERIES = 5_000
"""What GitHub told."""
FROM_GITHUB = 2_000
"""The newest deployments: what pushes and pull requests began."""
QUEUED = 400
LIVE = 10
LARGE = "large"
SMALL_ONES = ("small-a", "small-b")
SMALL_SHARE = 0.01
"""What share of the stacks, and so of the deployments, each small organization has."""
HOT_DEPLOYMENTS = 3_000
"""Deployments, and updates, of the stack that has had the most."""
LOG_LINES = 200_000
LINES_A_SEGMENT = 4_000
DAY_MS = 86_400_000
SPAN_MS = 60 * DAY_MS
BATCH = 5_000
GIT = {"repoUrl": "https://git.example.com/team/infra.git", "branch": "main", "repoDir": "infra"}
SETTINGS: dict[str, Any] = {
    "sourceContext": {"git": GIT},
    "operationContext": {
        "environmentVariables": {"AWS_REGION": "eu-west-1", "STAGE": "production"},
        "preRunCommands": ["make generate", "npm ci"],
    },
}
OPERATIONS = [Operation.UPDATE] * 6 + [Operation.PREVIEW] * 3 + [Operation.REFRESH]
TRIGGERS = ("api", "cli", "console", "push", "pull_request", "schedule", "webhook")
STEPS = ("Get source", "Install dependencies", "Pre-run commands", "pulumi {operation}")
FAILURES = (Reason.CLI_EXIT, Reason.CLI_EXIT, Reason.TIMED_OUT, Reason.SOURCE_ERROR)
WORDS = ("network", "bucket", "retry", "queue", "staging", "upgrade", "node", "policy", "fix")

T = TypeVar("T")


@dataclass(frozen=True)
class Crowd:
    """Where the interesting things are; `cookie` is a session of the administrator's."""

    organization: str
    hot: StackName
    """The stack with 10,000 resources, thousands of deployments and updates, and a long log."""
    quiet: StackName
    cookie: str
    hot_version: int
    """The newest deployment that is over: its log is long."""
    live: tuple[StackName, int]
    queued: tuple[StackName, int]
    update_version: int
    """The update with the many events."""
    preview_id: str
    resource: str
    """The URN of one of the many resources."""


@dataclass(frozen=True)
class _Stack:
    id: str
    name: StackName
    organization_id: str


async def fill(world: World) -> Crowd:
    """Everything, into a new database with the real tables."""
    dice = random.Random(5)
    await furnish(world, [LARGE, *SMALL_ONES])
    principal = await identity.authenticate(world, TOKEN)
    names = list(_names())
    hot = names[0]
    say(f"{STACKS} stacks, one with {RESOURCES} resources")
    await _add_stacks(world, names, principal.user.id, dice)
    await deployment_settings.patch(world, principal, hot, SETTINGS, "console")
    await states.import_(world, principal, hot, document(hot, RESOURCES))
    settings = await _settings(world, hot)
    known = await _known_stacks(world, names)
    say(f"{DEPLOYMENTS} deployments")
    made = _Deployments(world.now(), dice, settings, principal.user.id)
    rows = made.rows(known)
    async with world.database.transaction() as tx:
        await _insert(tx, deployments, rows)
        await _insert(tx, deployment_steps, made.steps(rows))
        await _insert(tx, updates, made.updates(rows))
        await _set_counters(tx)
    newest = _newest(rows, known[0].id)
    recent = [row["id"] for row in rows[-FROM_GITHUB:]]
    await furnish_github(world, LARGE, str, deployment_ids=recent, count=DELIVERIES)
    await _add_log(world, newest)
    update_version = await _add_events(world, newest)
    opened = await sessions.sign_in(world, TOKEN)
    by_id = {each.id: each.name for each in known}
    live = next(row for row in rows if row["status"] == Status.RUNNING)
    queued = next(row for row in reversed(rows) if row["status"] == Status.NOT_STARTED)
    return Crowd(
        organization=LARGE,
        hot=hot,
        quiet=names[-3],
        cookie=opened.cookie,
        hot_version=newest["version"],
        live=(by_id[live["stack_id"]], live["version"]),
        queued=(by_id[queued["stack_id"]], queued["version"]),
        update_version=update_version,
        preview_id=await _newest_preview(world, known[0].id),
        resource=urn(hot.project, hot.stack, RESOURCES // 2 + 1),
    )


def _names() -> Iterator[StackName]:
    """The large organization's first; the first of all is the one that everybody looks at."""
    small = int(STACKS * SMALL_SHARE)
    for number in range(STACKS - small * len(SMALL_ONES)):
        yield StackName(LARGE, f"service-{number % 500:03d}", f"stage-{number // 500}")
    for login in SMALL_ONES:
        for number in range(small):
            yield StackName(login, f"service-{number:03d}", "production")


async def _add_stacks(
    world: World, names: Sequence[StackName], user_id: str, dice: random.Random
) -> None:
    """The first of each organization by the service, the rest as copies of its row."""
    principal = await identity.authenticate(world, TOKEN)
    for name in {each.organization: each for each in reversed(names)}.values():
        await stacks.create(world, principal, name, {})
    async with world.database.transaction() as tx:
        found = {
            login: await organizations.find(tx, login) for login in {n.organization for n in names}
        }
        rows = []
        first = {each.organization: each for each in reversed(names)}
        for name in names:
            if first[name.organization] == name:
                continue
            organization = found[name.organization]
            assert organization is not None
            rows.append(
                {
                    "id": _uuid(dice),
                    "organization_id": organization.id,
                    "project": name.project,
                    "name": name.stack,
                    "tags": json.dumps({"pulumi:project": name.project, "team": "platform"}),
                    "created_at": world.now() - SPAN_MS - DAY_MS,
                    "created_by": user_id,
                    "resource_count": dice.randrange(200),
                    "wrapped_data_key": bytes(60),
                }
            )
        await _insert(tx, stacks_table, rows)


async def _known_stacks(world: World, names: Sequence[StackName]) -> list[_Stack]:
    """All stacks, in the order of the names."""
    async with world.database.snapshot() as tx:
        seen = {name.organization for name in names}
        rows = await stack_rows.page(tx, seen, after=None, limit=len(names))
        ids = {StackName(row.organization, row.project, row.name): row.id for row in rows}
        owners = {}
        for login in seen:
            organization = await organizations.find(tx, login)
            assert organization is not None
            owners[login] = organization.id
    return [_Stack(ids[name], name, owners[name.organization]) for name in names]


async def _settings(world: World, name: StackName) -> tuple[str, str]:
    """The settings as a deployment keeps them, and its pool: those of one that was asked for."""
    principal = await identity.authenticate(world, TOKEN)
    submitted = await submission.submit(
        world, principal, name, Submission(operation=Operation.UPDATE)
    )
    async with world.database.transaction() as tx:
        row = await tx.first(deployments.select().where(deployments.c.id == submitted.id))
        assert row is not None
        await tx.execute(deployments.delete().where(deployments.c.id == submitted.id))
    return row.settings, row.pool_id


class _Deployments:
    """Rows of deployments with what belongs to them, oldest first: the last ones are not over."""

    def __init__(
        self, now: int, dice: random.Random, settings: tuple[str, str], user_id: str
    ) -> None:
        self._now = now
        self._dice = dice
        self._settings, self._pool_id = settings
        self._user_id = user_id

    def rows(self, known: Sequence[_Stack]) -> list[dict[str, Any]]:
        """All of them, in the order of their positions."""
        order = [known[0]] * HOT_DEPLOYMENTS
        others = DEPLOYMENTS - len(order) - LIVE - QUEUED
        order += [known[number % len(known)] for number in range(others)]
        self._dice.shuffle(order)
        # The stack that everybody looks at is live, and has some that wait for it.
        large = [each for each in known if each.name.organization == LARGE]
        waiting = [known[0]] * 30 + [self._dice.choice(large) for _ in range(QUEUED - 30)]
        self._dice.shuffle(waiting)
        statuses = itertools.chain(
            (self._ended() for _ in order), [Status.RUNNING] * LIVE, [Status.NOT_STARTED] * QUEUED
        )
        versions: dict[str, int] = {}
        rows = []
        all_stacks = [*order, *large[:LIVE], *waiting]
        for number, (stack, status) in enumerate(zip(all_stacks, statuses, strict=True)):
            versions[stack.id] = versions.get(stack.id, 0) + 1
            rows.append(self._row(number, stack, versions[stack.id], status))
        return rows

    def _ended(self) -> Status:
        return self._dice.choices(
            (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED), weights=(80, 15, 5)
        )[0]

    def _row(self, number: int, stack: _Stack, version: int, status: Status) -> dict[str, Any]:
        dice, ended = self._dice, DEPLOYMENTS - LIVE - QUEUED
        created = self._now - SPAN_MS + SPAN_MS * number // ended
        if number >= ended:
            created = self._now - 3_600_000 + (number - ended) * 1000
        began = status not in (Status.NOT_STARTED, Status.SKIPPED)
        started = created + dice.randrange(500, 60_000) if began else None
        over = status in (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED)
        ended_at = (started or created) + dice.randrange(5_000, 600_000) if over else None
        reason = {
            Status.SUCCEEDED: Reason.COMPLETED,
            Status.FAILED: dice.choice(FAILURES),
            Status.SKIPPED: Reason.CANCELLED,
        }.get(status)
        live = status is Status.RUNNING
        digest = dice.randbytes(32) if live else None
        return {
            "position": number + 1000,
            "id": _uuid(dice),
            "organization_id": stack.organization_id,
            "stack_id": stack.id,
            "pool_id": self._pool_id,
            "version": version,
            "operation": str(dice.choice(OPERATIONS)),
            "status": str(status),
            "reason": None if reason is None else str(reason),
            "message": "The Pulumi CLI ended with code 255." if reason is Reason.CLI_EXIT else "",
            "trigger": dice.choice(TRIGGERS),
            "requested_by": self._user_id if dice.random() < 0.8 else None,
            "settings": self._settings,
            "created_at": created,
            "modified_at": ended_at or started or created,
            "accepted_at": started,
            "started_at": started,
            "ended_at": ended_at,
            "generation": 1 if began else 0,
            "lease_expires_at": self._now + DAY_MS if live else None,
            "runner_digest": digest,
            "cli_digest": digest and digest[::-1],
            "engine_started_at": started,
            "source_commit": f"{dice.getrandbits(160):040x}" if began else "",
            "source_message": " ".join(dice.choices(WORDS, k=6)) if began else "",
            "source_author": "Ada Lovelace" if began else "",
            "log_complete": over,
        }

    def steps(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Those of all that began."""
        for row in rows:
            if row["started_at"] is None:
                continue
            for number, name in enumerate(STEPS):
                yield {
                    "deployment_id": row["id"],
                    "step": number,
                    "name": name.format(operation=row["operation"]),
                    "status": "succeeded",
                    "started_at": row["started_at"] + number * 1000,
                    "ended_at": row["started_at"] + number * 1000 + 900,
                }

    def updates(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What their engines recorded; a number for each that was no preview."""
        # The one with the state has had an import.
        versions: dict[str, int] = {}
        for row in rows:
            if row["ended_at"] is None or row["started_at"] is None:
                continue
            preview = row["operation"] == Operation.PREVIEW
            version = None
            if not preview:
                version = versions.get(row["stack_id"], 1) + 1
                versions[row["stack_id"]] = version
            yield {
                "id": _uuid(self._dice),
                "stack_id": row["stack_id"],
                "kind": row["operation"],
                "dry_run": preview,
                "status": row["status"],
                "version": version,
                "message": row["source_message"],
                "environment": json.dumps({"git.head": row["source_commit"], "pulumi.env": "ci"}),
                "config": json.dumps({"aws:region": {"string": "eu-west-1"}}),
                "requested_by": row["requested_by"],
                "deployment_id": row["id"],
                "created_at": row["started_at"],
                "started_at": row["started_at"],
                "ended_at": row["ended_at"],
                "resource_changes": json.dumps({"same": 100, "update": 3, "create": 1}),
                "resource_count": 104,
            }


def _uuid(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


async def _insert(tx: Transaction, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    for batch in _batched(rows, BATCH):
        await tx.execute(table.insert(), batch)


async def _set_counters(tx: Transaction) -> None:
    """What each stack knows of its own."""

    def newest(column: Any, stack_id: Any) -> Any:
        return select(func.max(column)).where(stack_id == stacks_table.c.id).scalar_subquery()

    version = newest(updates.c.version, updates.c.stack_id)
    await tx.execute(
        update(stacks_table).values(
            deployment_version=func.coalesce(
                newest(deployments.c.version, deployments.c.stack_id), 0
            ),
            version=func.coalesce(version, stacks_table.c.version),
            last_update_at=newest(updates.c.ended_at, updates.c.stack_id),
        )
    )


def _newest(rows: Sequence[dict[str, Any]], stack_id: str) -> dict[str, Any]:
    """The stack's newest deployment that is over and has changed something."""
    return next(
        row
        for row in reversed(rows)
        if row["stack_id"] == stack_id
        and row["status"] == Status.SUCCEEDED
        and row["operation"] != Operation.PREVIEW
    )


async def _newest_preview(world: World, stack_id: str) -> str:
    async with world.database.snapshot() as tx:
        found = await tx.first(
            updates.select()
            .where(updates.c.stack_id == stack_id, updates.c.dry_run.is_(True))
            .order_by(updates.c.created_at.desc())
        )
    assert found is not None
    return str(found.id)


async def _add_log(world: World, row: dict[str, Any]) -> None:
    """A long log for one deployment, in segments as a runner makes them."""
    prefix = log_prefix(row["organization_id"], row["stack_id"], row["id"])
    lines = (
        f"\x1b[32m + \x1b[0maws:ec2:Instance web-{number} created (0.{number % 10}s)\n".encode()
        for number in range(LOG_LINES)
    )
    store = open_log_store(world.config.log_store)
    segments, offset = [], 0
    for number, batch in enumerate(_batched(lines, LINES_A_SEGMENT)):
        body, key = b"".join(batch), f"{prefix}/{number:08d}"
        await store.put(key, body)
        segments.append(
            {
                "deployment_id": row["id"],
                "segment": number,
                "step": len(STEPS) - 1,
                "offset": offset,
                "length": len(body),
                "line_breaks": len(batch),
                "object_key": key,
                "marks": f"[[0,{row['started_at'] + number * 1000}]]",
            }
        )
        offset += len(body)
    async with world.database.transaction() as tx:
        await _insert(tx, log_segments, segments)
        await tx.execute(
            update(deployments).where(deployments.c.id == row["id"]).values(log_length=offset)
        )


async def _add_events(world: World, row: dict[str, Any]) -> int:
    """What an engine reports of an update of all the resources; gives the update's number."""
    async with world.database.transaction() as tx:
        found = await tx.first(updates.select().where(updates.c.deployment_id == row["id"]))
        assert found is not None
        events = ((n, body, interest_of(body)) for n in range(EVENTS) if (body := _event(row, n)))
        for batch in _batched(events, BATCH):
            await journal.add_events(tx, found.id, batch)
    return int(found.version)


def _event(row: dict[str, Any], number: int) -> bytes:
    """Two of each resource, of which a few have changed; and now and then something said."""
    event: dict[str, Any] = {"sequence": number, "timestamp": row["started_at"] // 1000}
    of = number // 2
    if number == EVENTS - 1:
        changes = {"same": RESOURCES - 300, "update": 300}
        event["summaryEvent"] = {"maybeCorrupt": False, "durationSeconds": 90} | {
            "resourceChanges": changes,
            "PolicyPacks": {},
        }
    elif number % 100 == 99:
        event["diagnosticEvent"] = {
            "urn": urn("service-000", "stage-0", of),
            "prefix": "",
            "message": f"<{{%fg 3%}}>warning: this is said of {of}<{{%reset%}}>\n",
            "color": "raw",
            "severity": "warning",
        }
    else:
        changed = of % 33 == 0
        state = resource("service-000", "stage-0", of)
        metadata = {
            "op": "update" if changed else "same",
            "urn": state["urn"],
            "type": state["type"],
            "old": state,
            "new": state,
            "provider": state["provider"],
            "detailedDiff": {"tags.Name": {"diffKind": "update"}} if changed else None,
        }
        kind = "resOutputsEvent" if number % 2 else "resourcePreEvent"
        event[kind] = {"metadata": metadata, "planning": False}
    return json.dumps(event).encode()


# A state.
