"""State that survives: killed clients, a killed server, calls that come twice."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.clients.conftest import recorded_serving
from tests.support.app import TOKEN
from tests.support.cli import Cli
from tests.support.disturbing_proxy import REPEATED, Answer, Call, Disturb, Proxy, plain, proxy
from tests.support.histories import PROGRAM, names, state, things
from tests.support.processes import end_marked
from tests.support.programs import repository
from tests.support.serve_process import ServeProcess
from tests.support.waiting import wait_for
from tests.support.world import FakeClock

LEASE_SECONDS = 301
"""A little more than an update's lease."""
CHECKPOINTS = {"PULUMI_DISABLE_JOURNALING": "true"}
AT_ONCE = ("--yes", "--skip-preview")
EVERYTHING = ["box", "box-inside", "guarded", "hushed", "one"]


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Proxy]:
    with recorded_serving(tmp_path_factory.mktemp("server"), clock=clock) as server:
        with proxy(server.url) as running:
            yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("survives") / "project", "survives", PROGRAM)


@pytest.fixture
def cli(between: Proxy, project: Path, tmp_path: Path) -> Iterator[Cli]:
    between.disturb = plain
    made = Cli(between.url, project, tmp_path / "home")
    begin(made)
    yield made
    between.disturb = plain
    # An engine that is killed leaves its plugins behind.
    end_marked(f"PULUMI_HOME={made.home}")
    made.run("stack", "rm", "--yes", "--force")


def begin(cli: Cli) -> None:
    (cli.project / "Pulumi.dev.yaml").unlink(missing_ok=True)
    cli.run("stack", "init", "dev")
    cli.run("config", "set", "--secret", "password", "hunter2")


def get(cli: Cli, rest: str) -> Any:
    """What the server answers about the stack."""
    url = f"{cli.url}/api/stacks/ada/survives/dev{rest}"
    answer = httpx.get(url, headers={"Authorization": f"token {TOKEN}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def history(cli: Cli) -> list[tuple[str, str, int]]:
    """Kind, result and version of all updates, oldest first."""
    updates = get(cli, "/updates")["updates"]
    return [(each["kind"], each["result"], each["version"]) for each in reversed(updates)]


def changing(call: Call) -> bool:
    """Whether an update goes on by this call; encrypting and telling events do not count."""
    words = call.path.split("/")
    begins = call.method == "POST" and "update" in words[-2:]
    return begins or call.word in ("journalentries", "checkpoint", "complete")


def word_of(call: Call) -> str:
    words = call.path.split("/")
    return {-1: "create", -2: "start"}.get(words.index("update") - len(words), call.word)


# Killed clients.

ONE_BY_ONE = {"PULUMI_JOURNALING_BATCH_SIZE": "1"}
"""So that every journal entry is a moment of its own."""


def killing(process: Callable[[], Any], word: str, at: int, *, after: bool) -> Disturb:
    """Kill a process around one of its calls; the server sees that call only if `after`."""
    numbers = itertools.count()

    def disturb(call: Call) -> Answer | None:
        if not changing(call) or word_of(call) != word or next(numbers) != at:
            return call.forward()
        if after:
            call.forward()
        process().kill()
        return None

    return disturb


def kill_up(
    cli: Cli, between: Proxy, moment: tuple[str, int, bool], value: str, **environment: Any
) -> None:
    """An `up` that is killed at a moment."""
    word, at, after = moment
    begun = threading.Event()

    def process() -> Any:
        assert begun.wait(10)
        return running

    between.disturb = killing(process, word, at, after=after)
    up = ["up", *AT_ONCE, *things(one=value, guarded="a")]
    with cli.begin(*up, **environment) as running:
        begun.set()
        # Not until its output ends: plugins keep that open.
        running.wait(60)
        end_marked(f"PULUMI_HOME={cli.home}")
    between.disturb = plain
    assert running.returncode == -9, "it came to that moment"


JOURNAL_MOMENTS = [
    ("create", 0, True),
    ("start", 0, False),
    ("start", 0, True),
    ("journalentries", 0, False),
    *(("journalentries", number, True) for number in (0, 3, 5, 7, 8, 9)),
    ("journalentries", 6, False),
    ("complete", 0, False),
    ("complete", 0, True),
]
CHECKPOINT_MOMENTS = [
    ("checkpoint", 0, True),
    ("checkpoint", 4, False),
    ("checkpoint", 6, True),
    ("complete", 0, False),
]


@pytest.mark.parametrize(
    ("moments", "environment"),
    [(JOURNAL_MOMENTS, ONE_BY_ONE), (CHECKPOINT_MOMENTS, CHECKPOINTS)],
    ids=["journal", "checkpoints"],
)
def test_an_up_that_is_killed_at_any_moment(
    between: Proxy,
    cli: Cli,
    clock: FakeClock,
    moments: list[tuple[str, int, bool]],
    environment: dict[str, str],
) -> None:
    """One crash upon the other: what each left is read, and the next one goes on from it."""
    cli.up(*things(one="new-first", guarded="a"))
    wanted = with_value(cli, "new-first")
    told = history(cli)
    for number, moment in enumerate(moments):
        value = f"new-{number}"
        kill_up(cli, between, moment, value, **environment)
        clock.advance(LEASE_SECONDS)
        word, _, after = moment
        if word != "create" and (word, after) != ("start", False):
            result = "succeeded" if (word, after) == ("complete", True) else "failed"
            told.append(("update", result, len(told) + 1))
        # A replacement may be there with what it replaces, and is never lost.
        assert sorted(set(names(cli))) == EVERYTHING
        assert history(cli) == told
        if number % 4 == 3 or number == len(moments) - 1:
            cli.run("refresh", *AT_ONCE, "--clear-pending-creates")
            assert "pending_operations" not in get(cli, "/export")["deployment"]
            cli.up(*things(one=value, guarded="a"))
            told += [
                ("refresh", "succeeded", len(told) + 1),
                ("update", "succeeded", len(told) + 2),
            ]
            assert with_value(cli, value) == wanted


def with_value(cli: Cli, value: str) -> Any:
    """The state, whatever the value of the thing that is replaced again and again."""
    return json.loads(json.dumps(state(cli)).replace(value, "VALUE"))


def test_a_preview_that_is_killed_is_in_nobodys_way(between: Proxy, cli: Cli) -> None:
    """Nor is it an update: the next `up` neither waits for it nor counts it."""
    begun = threading.Event()

    def disturb(call: Call) -> Answer | None:
        answer = call.forward()
        if changing(call) and word_of(call) == "start":
            assert begun.wait(10)
            running.kill()
            return None
        return answer

    between.disturb = disturb
    with cli.begin("up", "--yes", *things(one="a")) as running:
        begun.set()
        running.wait(60)
        end_marked(f"PULUMI_HOME={cli.home}")
    assert running.returncode == -9
    between.disturb = plain
    assert history(cli) == []
    cli.up(*things(one="a"))
    assert history(cli) == [("update", "succeeded", 1)]
    assert [each["info"]["kind"] for each in previews(cli)] == ["preview"]


def previews(cli: Cli) -> list[Any]:
    return list(get(cli, "/updates/latest/previews")["updates"])


# Calls that come twice.


def walk(cli: Cli, between: Proxy, disturb: Disturb, **environment: Any) -> list[Any]:
    """Up, up with a change and a replacement, refresh, destroy; the states and the history."""
    between.disturb = disturb
    found = []
    for arguments in (
        ["up", *things(one="a", two="a")],
        ["up", *things(one="b", two="new-b", gone="a")],
        ["refresh"],
        ["up", *things(one="b", two="new-b")],
        ["destroy"],
    ):
        cli.run(*arguments, *AT_ONCE, **environment)
        found.append(state(cli))
    between.disturb = plain
    for update in get(cli, "/updates?output-type=service")["updates"]:
        events = get(cli, f"/update/{update['updateID']}/events")["events"]
        numbers = [each["sequence"] for each in events]
        assert numbers == list(range(len(numbers)))
        found.append((update["info"]["kind"], update["info"]["result"], update["version"]))
        found.append(update["info"].get("resourceChanges"))
    return found


class Repeating:
    """The first answer to each kind of call is lost, and the CLI calls again; all other calls that
    it might repeat reach the server twice."""

    def __init__(self) -> None:
        self.lost: set[tuple[str, str]] = set()
        self.lock = threading.Lock()

    def __call__(self, call: Call) -> Answer | None:
        answer = call.forward()
        if call.kind not in REPEATED:
            return answer
        with self.lock:
            first = call.kind not in self.lost
            self.lost.add(call.kind)
        if first:
            return None
        again = call.forward()
        assert again.status == answer.status, (call.path, answer, again)
        return again


@pytest.fixture(scope="module")
def undisturbed(between: Proxy, project: Path) -> list[Any]:
    cli = Cli(between.url, project, project.parent / "home")
    begin(cli)
    found = walk(cli, between, plain)
    cli.run("stack", "rm", "--yes", "--force")
    return found


@pytest.mark.parametrize("environment", [{}, CHECKPOINTS], ids=["journal", "checkpoints"])
def test_what_comes_twice_counts_once(
    between: Proxy, cli: Cli, undisturbed: list[Any], environment: dict[str, str]
) -> None:
    repeating = Repeating()
    assert walk(cli, between, repeating, **environment) == undisturbed
    saved = ("PATCH", "checkpoint" if environment else "journalentries")
    assert repeating.lost >= {saved, ("POST", "batch"), ("POST", "complete")}
    assert repeating.lost & {("POST", "batch-encrypt"), ("POST", "encrypt")}


# A killed server.


FALLS = {
    ("journalentries", 1): False,
    ("journalentries", 2): True,
    ("batch", 1): False,
    ("complete", 1): True,
}
"""At which of an engine's calls a server falls, and whether it has executed that one before.

The CLI repeats each of them, and finds the server up again.
"""


class Falling:
    """A server that falls, and is started again each time."""

    def __init__(self, server: ServeProcess) -> None:
        self.server = server
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()

    def __call__(self, call: Call) -> Answer | None:
        with self.lock:
            self.seen[call.word] += 1
            executed = FALLS.get((call.word, self.seen[call.word]))
            if executed:
                call.forward()
            if executed is not None:
                self.server.restart()
                return None
        return call.forward()


@pytest.fixture(scope="module")
def fallible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    server = ServeProcess(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


def test_a_server_that_is_killed(fallible: ServeProcess, project: Path) -> None:
    with proxy(fallible.url) as before_it:
        cli = Cli(before_it.url, project, project.parent / "home-2")
        begin(cli)
        cli.up(*things(one="a", guarded="a"))
        wanted = state(cli)
        cli.run("state", "unprotect", "--all", "--yes")
        cli.run("destroy", *AT_ONCE)

        before_it.disturb = falling = Falling(fallible)
        cli.up(*things(one="a", guarded="a"))
        before_it.disturb = plain

        # The CLI does not wait for its last events for ever; the server may be just coming back.
        wait_for(lambda: fallible.starts == 1 + len(FALLS), f"all falls: {falling.seen}", 60)
        with falling.lock:
            pass
        assert state(cli) == wanted
        assert history(cli)[-1][:2] == ("update", "succeeded")
        both_are_killed(cli, fallible, before_it)


def both_are_killed(cli: Cli, server: ServeProcess, before_it: Proxy) -> None:
    """The CLI too, in the middle of an update; somebody then cancels that by hand."""
    back = threading.Event()

    def kill() -> None:
        running.kill()
        server.restart()
        back.set()

    both = type("Both", (), {"kill": staticmethod(kill)})
    before_it.disturb = killing(lambda: both, "journalentries", 2, after=True)
    with cli.begin(
        "up", *AT_ONCE, *things(one="new-b"), PULUMI_JOURNALING_BATCH_SIZE="1"
    ) as running:
        running.wait(60)
        end_marked(f"PULUMI_HOME={cli.home}")
    before_it.disturb = plain
    assert back.wait(60)
    assert names(cli) == EVERYTHING
    assert "Another update is currently in progress" in cli.up(status=None)
    before_it.disturb = Repeating()
    cli.run("cancel", "--yes")
    assert history(cli)[-1][:2] == ("update", "failed")
    cli.run("refresh", *AT_ONCE, "--clear-pending-creates")
    assert "1 replaced" in cli.up(*things(one="new-b", guarded="a"))
