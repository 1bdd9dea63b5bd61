"""Old and new clients: however an engine saves a state, the same state is kept.

Delta checkpoints are offered to no CLI (see `capabilities` in `control_plane/api/user.py`), so here
a proxy offers them in the server's name; the calls that follow reach the server as the CLI made
them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services import pools
from control_plane.store import pools as store_pools
from tests.e2e.clients.conftest import RecordedServer
from tests.support.app import TOKEN
from tests.support.cli import Cli
from tests.support.disturbing_proxy import Answer, Call, Disturb, Proxy, plain, proxy
from tests.support.histories import PROGRAM, state, things
from tests.support.programs import repository
from tests.support.queue import SOURCE
from tests.support.server import serving
from tests.support.state import document, entry, new_stack, resource
from tests.support.waiting import wait_for
from tests.support.world import make_world

JOURNALING: dict[str, str] = {}
CHECKPOINTS = {"PULUMI_DISABLE_JOURNALING": "true"}
OFFERS = {1: "delta-checkpoint-uploads", 2: "delta-checkpoint-uploads-v2"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("modes") / "project", "modes", PROGRAM)


@pytest.fixture(scope="module")
def between(recorded_server: RecordedServer) -> Iterator[Proxy]:
    """One address for all modes: it is in the state."""
    with proxy(recorded_server.url) as running:
        yield running


@pytest.fixture(scope="module")
def journaled(between: Proxy, project: Path) -> list[Any]:
    """The states that today's CLI leaves, which journals."""
    states, calls = walk(between, project, plain, JOURNALING, whole=True)
    assert saved_by(calls) == {"journalentries"}
    return states


def offering(version: int, bytes_min: int) -> Disturb:
    """A server that offers delta checkpoints for documents of so many bytes or more."""
    offer = {
        "capability": OFFERS[version],
        "version": version,
        "configuration": {"checkpointCutoffSizeBytes": bytes_min},
    }

    def disturb(call: Call) -> Answer:
        answer = call.forward()
        if call.word == "capabilities":
            known = json.loads(answer.body)
            known["capabilities"].append(offer)
            return answer._replace(body=json.dumps(known).encode())
        if call.method == "PATCH":
            # A CLI whose delta was refused would send the whole document, and nobody would notice.
            assert answer.status == 204, (call.path, answer)
        return answer

    return disturb


class Walk:
    """The program's history on a stack `dev`, and the state after each step."""

    def __init__(self, cli: Cli, environment: dict[str, Any]) -> None:
        self.cli = cli
        self.environment = environment
        self.states: list[Any] = []

    def begin(self) -> None:
        for leftover in ("waiting", "go", "Pulumi.dev.yaml"):
            (self.cli.project / leftover).unlink(missing_ok=True)
        self.cli.run("stack", "init", "dev")
        self.cli.run("config", "set", "--secret", "password", "hunter2")

    def step(self, *arguments: str, status: int | None = 0) -> str:
        told = self.cli.run(
            *arguments, "--yes", "--skip-preview", status=status, **self.environment
        )
        self.states.append(state(self.cli))
        return told

    def first(self) -> None:
        told = self.step("up", *things(one="a", two="a", three="a", gone="a", guarded="a"))
        assert "9 created" in told

    def rest(self) -> None:
        """Update, replace in both orders, and delete; then a resource that fails after another has
        changed, with a new type; refreshed, cancelled, destroyed."""
        told = self.step("up", *things(one="b", two="new-b", three="new-first", guarded="a"))
        assert all(what in told for what in ("1 updated", "2 replaced", "1 deleted")), told
        kind = ("--config", "kind=Crate")
        left = {"one": "c", "two": "new-b", "three": "new-first", "guarded": "a"}
        assert "this one fails" in self.step("up", *kind, *things(**left, bad="fails"), status=1)
        assert "8 unchanged" in self.step("refresh")
        self.cancelled(*things(**left, slow="waits", more="a"))
        assert "protected" in self.step("destroy", status=1)
        self.cli.run("state", "unprotect", "--all", "--yes")
        self.step("destroy")

    def cancelled(self, *arguments: str) -> None:
        """Interrupt the engine while it creates one resource, before another that depends on it."""
        up = ["up", "--yes", "--skip-preview", *arguments]
        with self.cli.begin(*up, **self.environment) as running:
            wait_for((self.cli.project / "waiting").exists, "the slow one is being created", 60)
            running.send_signal(signal.SIGINT)
            (self.cli.project / "go").touch()
            told, _ = running.communicate(timeout=60)
        assert running.returncode != 0, told
        self.states.append(state(self.cli))

    def end(self) -> list[Any]:
        history = self.cli.json("stack", "history", "--json")
        told = [(each["kind"], each["result"], each.get("resourceChanges")) for each in history]
        self.cli.run("stack", "rm", "--yes", "--force")
        return [*self.states, told]


def walk(
    between: Proxy, project: Path, disturb: Disturb, environment: dict[str, str], *, whole: bool
) -> tuple[list[Any], list[Call]]:
    between.disturb = disturb
    between.calls.clear()
    made = Walk(Cli(between.url, project, project.parent / "home"), environment)
    made.begin()
    made.first()
    if whole:
        made.rest()
    return made.end(), list(between.calls)


def saved_by(calls: list[Call]) -> set[str]:
    """By which calls a state was saved."""
    return {call.word for call in calls if call.method == "PATCH"}


def test_the_history_has_in_it_what_it_should(journaled: list[Any]) -> None:
    *states, told = journaled
    names = [
        [each["urn"].rpartition("::")[2] for each in one["deployment"].get("resources", [])]
        for one in states
    ]
    common = ["modes-dev", "default", "hushed", "box", "box-inside", "one", "two", "three"]
    left = [*common, "guarded"]
    assert names == [[*common, "gone", "guarded"], left, left, left, [*left, "slow"], left, []]
    assert ["test:index:Crate" in json.dumps(each) for each in states] == [False] * 2 + [
        True
    ] * 4 + [False]
    assert all("pending_operations" not in each["deployment"] for each in states)
    succeeded = [result == "succeeded" for _, result, _ in told]
    assert succeeded == [True, True, False, False, True, False, True, True], told


@pytest.mark.parametrize(
    ("disturb", "words"),
    [
        (plain, {"checkpoint"}),
        (offering(2, 0), {"checkpointverbatim", "checkpointdelta"}),
    ],
    ids=["checkpoints", "deltas"],
)
def test_a_whole_history_leaves_the_state_of_a_journal(
    between: Proxy, project: Path, journaled: list[Any], disturb: Disturb, words: set[str]
) -> None:
    states, calls = walk(between, project, disturb, CHECKPOINTS, whole=True)
    assert saved_by(calls) == words
    for number, (found, wanted) in enumerate(zip(states, journaled, strict=True)):
        assert found == wanted, f"step {number}"


@pytest.mark.parametrize(
    ("disturb", "environment", "words"),
    [
        (offering(1, 0), CHECKPOINTS, {"checkpointverbatim", "checkpointdelta"}),
        (offering(2, 10_000_000), CHECKPOINTS, {"checkpointverbatim"}),
        (
            offering(2, 0),
            {**CHECKPOINTS, "PULUMI_OPTIMIZED_CHECKPOINT_PATCH": "false"},
            {"checkpoint"},
        ),
        (offering(2, 0), {"PULUMI_OPTIMIZED_CHECKPOINT_PATCH": "true"}, {"journalentries"}),
    ],
    ids=["old name", "below the cutoff", "switched off", "journaling comes first"],
)
def test_what_the_cli_is_told_to_do_changes_nothing_in_the_state(
    between: Proxy,
    project: Path,
    journaled: list[Any],
    disturb: Disturb,
    environment: dict[str, str],
    words: set[str],
) -> None:
    (*states, _), calls = walk(between, project, disturb, environment, whole=False)
    assert saved_by(calls) == words
    assert states == journaled[: len(states)]


def test_this_cli_is_offered_no_deltas(recorded_server: RecordedServer, project: Path) -> None:
    answer = httpx.get(
        f"{recorded_server.url}/api/capabilities",
        headers={"User-Agent": "pulumi-cli/1 (v3.259.0; linux; cmd=up)"},
    )
    assert not set(OFFERS.values()) & {each["capability"] for each in answer.json()["capabilities"]}


ACCEPTED = [f"application/vnd.pulumi+{version}" for version in range(5, 10)]
KINDS = ("update", "preview", "refresh", "destroy")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose calls are not held against today's schema; returns its address."""
    place = tmp_path_factory.mktemp("server")
    with serving(place) as server:
        # A world of this thread's own: the server's belongs to its event loop.
        asyncio.run(_add_pool(place))
        yield server.url


async def _add_pool(place: Path) -> None:
    world = make_world(place)
    pool_id = await pools.ensure_default(world, "slp-" + "b" * 48)
    async with world.database.transaction() as tx:
        await store_pools.set_key(tx, pool_id, b"k" * 32, world.now())
    await world.database.close()


@pytest.mark.parametrize("gzip", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize(
    ("accept", "kind"), list(zip(ACCEPTED, itertools.cycle(KINDS), strict=False))
)
async def test_an_update_in_every_form_that_clients_have_sent(
    old: str, accept: str, kind: str, gzip: bool
) -> None:
    """By journal and by checkpoints; on the address of its kind; compressed or not."""
    headers = {"Accept": accept, "Authorization": f"token {TOKEN}"}
    async with httpx.AsyncClient(base_url=old, headers=headers) as http:
        stack = await new_stack(http, f"v{accept[-1]}-{kind}-{gzip}", "shop")
        for journal in (1, 0):
            update = await stack.start(kind, journal=journal)
            update.path = update.path.replace("/update/", f"/{kind}/")
            if journal:
                saved = {"entries": [entry(1, 1, 1, state=resource("a"))]}
                answer = await update.call("PATCH", "journalentries", saved, gzip=gzip)
            else:
                saved = document(resource("a"), resource("b"))
                answer = await update.call("PATCH", "checkpoint", saved, gzip=gzip)
            assert answer.status_code == 204, answer.text
            events = {"events": [{"sequence": 0, "timestamp": 1, "stdoutEvent": {"message": "m"}}]}
            answer = await update.call("POST", "events/batch", events, gzip=gzip)
            assert answer.status_code == 200, answer.text
            assert (await update.complete()).status_code == 204
            assert (await http.get(update.path)).json()["status"] == "succeeded"
        assert await stack.resources() == ["a", "b"]
        assert await stack.resources(1) == ["a"]
        listed = await http.get("/api/user/stacks", params={"project": "shop"})
        assert stack.name.stack in [each["stackName"] for each in listed.json()["stacks"]]


@pytest.mark.parametrize("accept", ACCEPTED)
async def test_deployments_on_the_first_addresses(old: str, accept: str) -> None:
    """As CLIs up to 3.113 call them: nothing is inherited, the operation is in its context."""
    headers = {"Accept": accept, "Authorization": f"token {TOKEN}"}
    async with httpx.AsyncClient(base_url=old, headers=headers) as http:
        stack = await new_stack(http, f"first-{accept[-1]}", "shop")
        url = stack.path.replace("/api/stacks/", "/api/preview/") + "/deployments"
        context = {"operation": "destroy", "preRunCommands": [], "environmentVariables": {}}
        body = {**SOURCE, "executorContext": {}, "operationContext": context}
        made = await http.post(url, json=body)
        assert made.status_code == 202, made.text
        shown = (await http.get(f"{url}/{made.json()['id']}")).json()
        assert (shown["pulumiOperation"], shown["inheritSettings"]) == ("destroy", False)
        assert (await http.get(f"{url}/{made.json()['id']}/updates")).json() == []
        assert "lines" in (await http.get(f"{url}/{made.json()['id']}/logs")).json()
