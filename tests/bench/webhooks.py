"""(p) From a webhook to queued deployments among 1,000 stacks; (q) 1,000 deliveries in a burst."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_plane.domain.principal import Principal, User
from control_plane.services.github import app, installing
from control_plane.services.world import World
from control_plane.store import organizations
from control_plane.store.github import installations
from tests.bench.hub import Event, Facts, Wanted, hub
from tests.bench.report import Section, p50, p99, quantile, say
from tests.bench.servers import Served, close_after, furnish, open_prepared, serve
from tests.bench.wire import Load, Wire, encode, encode_with, generate_raw, now_ms, status_of
from tests.support.slipway import TOKEN, USER, free_port

STACKS = 1_000
PROJECT = "shop"
PATH = "/webhooks/github"
CONNECTIONS = 32
WARM_UP = 3
PUSHES = 60
CROWDED_PUSHES = 24
SHARED_PUSHES = 2
PULLS = 24
BURST = 1_000
DUPLICATES = 200
REPLAYS = 100
PAUSE_SECONDS = 0.05
SECONDS_MAX = 300
LOOK_SECONDS = 0.0005
REQUEST: dict[str, Any] = {"operation": "update"}


@dataclass
class Stage:
    """A running control plane, connected to a GitHub, with 1,000 stacks on its one repository."""

    served: Served
    facts: Facts
    record: sqlite3.Connection

    def webhook(self, event: str, payload: dict[str, Any], delivery_id: str) -> bytes:
        """A delivery as GitHub would send it."""
        body = json.dumps(payload).encode()
        key = self.facts.app.webhook_secret.encode()
        headers = {
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Delivery": delivery_id,
            "X-GitHub-Event": event,
            "X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
        }
        return encode_with("POST", PATH, headers, body)

    def count(self, query: str, *values: Any) -> int:
        """A number that the record holds now."""
        return int(self.record.execute(query, values).fetchone()[0])

    def wait(self, wanted: int, query: str, *values: Any, seconds: float = LOOK_SECONDS) -> float:
        """When a number in the record has come up to what is wanted: Unix milliseconds.

        The record is only looked into after somebody has committed to it.
        """
        until, version = time.monotonic() + SECONDS_MAX, -1
        while time.monotonic() < until:
            now = self.count("PRAGMA data_version")
            if now != version and self.count(query, *values) >= wanted:
                return now_ms()
            version = now
            time.sleep(seconds)
        raise RuntimeError(f"{query} gives {self.count(query, *values)}, not {wanted}")

    def settle(self) -> None:
        """Wait until every delivery has been looked into."""
        self.wait(0, "SELECT -count(*) FROM github_deliveries WHERE status = 'received'")


@contextmanager
def _stage(root: Path, wanted: Wanted, settings: Sequence[dict[str, Any]]) -> Iterator[Stage]:
    """One organization that has claimed the installation, and a stack for each of the settings."""
    with hub(wanted) as facts:
        port = free_port()
        world = open_prepared(root, port, github={"base_url": facts.url})
        asyncio.run(close_after(world, _connect(world, facts)))
        variables = {
            "SLIPWAY_GITHUB__BASE_URL": facts.url,
            # What was missed is not what is measured.
            "SLIPWAY_GITHUB__MISSED_INTERVAL_SECONDS": "86400",
        }
        with (
            serve(root, port, **variables) as served,
            closing(sqlite3.connect(root / "slipway.db", isolation_level=None)) as record,
        ):
            say(f"{len(settings)} stacks")
            _make_stacks(served, settings)
            yield Stage(served, facts, record)


async def _connect(world: World, facts: Facts) -> None:
    await furnish(world, [])
    await app.save(world, Principal(user=User(id="", login=USER, site_admin=True)), facts.app)
    await installing.refresh(world, facts.installation_id)
    async with world.database.transaction() as tx:
        owner = await organizations.find(tx, USER)
        assert owner is not None
        await installations.change(tx, facts.installation_id, organization_id=owner.id)
    await world.github.close()


def _make_stacks(served: Served, settings: Sequence[dict[str, Any]]) -> None:
    project = f"/api/stacks/{USER}/{PROJECT}"
    made = [encode("POST", project, TOKEN, {"stackName": _name(n)}) for n in range(len(settings))]
    _require("200", generate_raw(served.port, made, CONNECTIONS))
    put = [
        encode("PUT", f"{project}/{_name(n)}/deployments/settings", TOKEN, each)
        for n, each in enumerate(settings)
    ]
    _require("200", generate_raw(served.port, put, CONNECTIONS))


def _name(number: int) -> str:
    return f"service-{number}"


def _settings(facts_name: str, branch: str, **github: Any) -> dict[str, Any]:
    """What a team may well have in its settings."""
    return {
        "sourceContext": {"git": {"branch": branch, "repoDir": "infra"}},
        "operationContext": {
            "environmentVariables": {"REGION": "eu-west-1", "TEAM": "shop"},
            "preRunCommands": ["make prepare"],
        },
        "gitHub": {"repository": facts_name, "deployCommits": True} | github,
    }


def _require(status: str, load: Load) -> Load:
    if set(load.statuses) != {status}:
        raise RuntimeError(f"wanted only {status}, got {load.statuses}")
    return load


# (p) One event at a time.


@dataclass
class Samples:
    """Milliseconds since a webhook was sent, and of a submission over REST right after it."""

    answered: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)


def measure_latency(root: Path) -> Section:
    """A webhook is sent, and the record is watched until the deployments are committed."""
    section = Section(
        "p",
        f"webhook -> deployments queued, {STACKS:,} stacks on the repository;"
        " yardstick: POST deployments -> 202",
    )
    wanted = Wanted(
        pushes=WARM_UP + PUSHES,
        shared_pushes=SHARED_PUSHES,
        later_pushes=CROWDED_PUSHES,
        pulls=PULLS,
    )
    settings = [
        _settings(
            "acme/site",
            "main",
            previewPullRequests=True,
            paths=[f"services/{number}/**", "shared/**", "!**/*.md"],
        )
        for number in range(STACKS)
    ]
    with _stage(root / "latency", wanted, settings) as stage:
        events = stage.facts.of("push")
        for each in events[:WARM_UP]:
            _one(stage, each, 1, Samples())
        say(f"(p) {PUSHES} pushes that concern one stack")
        _rows(section, "push, 1 stack of 1,000", _each(stage, events[WARM_UP:][:PUSHES]))
        say(f"(p) {PULLS} pull requests")
        _rows(section, "pull request, 1 of 1,000 by paths", _each(stage, stage.facts.of("pull")))
        say(f"(p) {SHARED_PUSHES} pushes that concern all stacks")
        _all(section, stage, stage.facts.of("later"))
    return section


def _each(stage: Stage, events: Sequence[Event]) -> Samples:
    samples = Samples()
    for event in events:
        _one(stage, event, 1, samples)
        time.sleep(PAUSE_SECONDS)
        samples.rest.append(_submit(stage, event.service))
        time.sleep(PAUSE_SECONDS)
    return samples


def _one(stage: Stage, event: Event, count: int, samples: Samples) -> None:
    kind = "pull_request" if event.kind == "pull" else "push"
    delivery_id = str(uuid.uuid4())
    request = stage.webhook(kind, event.payload, delivery_id)
    # Rows only ever come: those before this event need not be looked at.
    last = stage.count("SELECT coalesce(max(rowid), 0) FROM github_sources")
    queued = "SELECT count(*) FROM github_sources WHERE rowid > ? AND delivery_id = ?"
    # A connection that rested while GitHub was told might be closed by now.
    with Wire(stage.served.port, TOKEN) as wire:
        sent, answer = wire.send_raw(request)
    samples.answered.append(now_ms() - sent)
    if status_of(answer) != 202:
        raise RuntimeError(f"a webhook answered {answer!r}")
    samples.first.append(stage.wait(1, queued, last, delivery_id) - sent)
    samples.queued.append(stage.wait(count, queued, last, delivery_id) - sent)


def _submit(stage: Stage, service: int) -> float:
    path = f"/api/stacks/{USER}/{PROJECT}/{_name(service)}/deployments"
    with Wire(stage.served.port, TOKEN) as wire:
        sent, status, answer = wire.send("POST", path, REQUEST)
    milliseconds = now_ms() - sent
    if status != 202:
        raise RuntimeError(f"a submission answered {status}: {answer}")
    return milliseconds


def _rows(section: Section, name: str, samples: Samples) -> None:
    rest = samples.rest
    section.at_most(f"{name}, p95", p95(samples.queued), "ms", 100, yardstick=p95(rest))
    section.know("  p50", p50(samples.queued), "ms", p50(rest))
    section.know("  answered, p99", p99(samples.answered), "ms", p99(rest))
    section.samples |= {name: samples.queued, f"{name}, REST": rest}


def p95(samples: Sequence[float]) -> float:
    return quantile(samples, 0.95)


def _all(section: Section, stage: Stage, others: Sequence[Event]) -> None:
    """All stacks at once; and one stack, while GitHub is told of the thousand."""
    samples, crowded, rates = Samples(), Samples(), []
    for event in stage.facts.of("shared"):
        path = f"/api/stacks/{USER}/{PROJECT}"
        load = [
            encode("POST", f"{path}/{_name(n)}/deployments", TOKEN, REQUEST) for n in range(STACKS)
        ]
        rates.append(_require("202", generate_raw(stage.served.port, load, CONNECTIONS)).seconds)
        _one(stage, event, STACKS, samples)
    for each in others:
        _one(stage, each, 1, crowded)
        time.sleep(PAUSE_SECONDS)
        crowded.rest.append(_submit(stage, each.service))
        time.sleep(PAUSE_SECONDS)
    waiting = stage.count("SELECT count(*) FROM github_sources WHERE reported_at = 0")
    section.know("push, all 1,000, the first queued, p50", p50(samples.first), "ms")
    rest = p50(rates) * 1000
    section.know("push, all 1,000, the last queued, p50", p50(samples.queued), "ms", rest)
    name = "push, 1 stack, while 1,000 are told of, p95"
    section.at_most(name, p95(crowded.queued), "ms", 100, yardstick=p95(crowded.rest))
    section.know("  p50", p50(crowded.queued), "ms", p50(crowded.rest))
    section.notes.append(
        f"the yardstick of all 1,000: as many submissions over REST x {CONNECTIONS};"
        f" {waiting:,} reports were still to be sent at the end"
    )
    section.samples |= {"all": samples.queued, "all, REST": rates, "crowded": crowded.queued}


# (q) A burst.


def measure_burst(root: Path) -> Section:
    """As many deliveries as stacks, each for one of them, some twice; and later some once more."""
    section = Section(
        "q",
        f"{BURST:,} deliveries in a burst x {CONNECTIONS}, {DUPLICATES} of them twice, among"
        f" {STACKS:,} stacks; yardstick: as many submissions over REST",
    )
    settings = [_settings("acme/site", f"line-{number}") for number in range(BURST)]
    with _stage(root / "burst", Wanted(pushes=1), settings) as stage:
        ids, requests = _burst(stage)
        say(f"(q) {len(requests)} deliveries")
        began = now_ms()
        load = generate_raw(stage.served.port, requests, CONNECTIONS)
        _require("202", load)
        over = stage.wait(
            BURST,
            "SELECT count(*) FROM github_deliveries WHERE status != 'received'",
            seconds=0.01,
        )
        _count(section, stage, ids)
        say(f"(q) {REPLAYS} deliveries again")
        _require("202", generate_raw(stage.served.port, requests[:REPLAYS], CONNECTIONS))
        stage.settle()
        _count(section, stage, ids, "after replays: ")
        _burst_rows(section, stage, load, (over - began) / 1000, len(requests))
    return section


def _burst(stage: Stage) -> tuple[list[str], list[bytes]]:
    """Pushes to as many branches, one of which each stack follows."""
    dice = random.Random(6)
    template = stage.facts.of("push")[0].payload
    ids = [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(BURST)]
    requests = [
        stage.webhook("push", template | {"ref": f"refs/heads/line-{number}"}, each)
        for number, each in enumerate(ids)
    ]
    requests += dice.sample(requests, DUPLICATES)
    dice.shuffle(requests)
    return ids, requests


def _count(section: Section, stage: Stage, ids: Sequence[str], when: str = "") -> None:
    """Exactly: each delivery is there, and made exactly one deployment of its own stack."""
    kept = {row[0] for row in stage.record.execute("SELECT id FROM github_deliveries")}
    made = stage.record.execute(
        "SELECT delivery_id, ref, name FROM github_sources"
        " JOIN deployments ON deployments.id = deployment_id"
        " JOIN stacks ON stacks.id = stack_id"
    ).fetchall()
    wanted = {(each, f"refs/heads/line-{n}", _name(n)) for n, each in enumerate(ids)}
    section.at_most(f"{when}lost", len(set(ids) - kept) + len(wanted - set(made)), "", 0)
    section.at_most(f"{when}doubled", len(made) - len(wanted & set(made)), "", 0)


def _burst_rows(
    section: Section, stage: Stage, load: Load, seconds: float, deliveries: int
) -> None:
    path = f"/api/stacks/{USER}/{PROJECT}"
    rest = [
        encode("POST", f"{path}/{_name(n % STACKS)}/deployments", TOKEN, REQUEST)
        for n in range(deliveries)
    ]
    say(f"(q) {deliveries} submissions over REST")
    yardstick = _require("202", generate_raw(stage.served.port, rest, CONNECTIONS))
    ours, theirs = load.latencies_ms, yardstick.latencies_ms
    section.at_most("answered, p99", p99(ours), "ms", 300, yardstick=p99(theirs))
    section.know("  p50", p50(ours), "ms", p50(theirs))
    section.know("answered", load.rate, "/s", yardstick.rate)
    section.know("all queued after", seconds, "s", yardstick.seconds)
    section.samples |= {"answered": ours, "REST": theirs}
