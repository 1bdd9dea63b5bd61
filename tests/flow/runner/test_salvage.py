"""What a killed actor leaves is brought home by the next one. The actor is a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from runner_actors.contract import Concluded, Grant, LogEnded, LogSegment, StepStarted
from runner_actors.reports import RunReport
from runner_actors.salvage import forget_old_spools
from runner_actors.spool import EVENTS, LOCK, OUT, spool_directory, try_lock
from tests.flow.runner.node import Node
from tests.flow.runner.test_deployment import DEAF, HANGING, processes
from tests.support.waiting import eventually

ACTOR = """
import asyncio, sys
from runner_actors.stack_runner import StackRunner

async def main():
    runner = StackRunner("org/project/stack", open(sys.argv[1], "rb").read())
    await runner.run(open(sys.argv[2], "rb").read())

asyncio.run(main())
"""


class Actors:
    """Processes with a StackRunner in each."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, grant: Grant) -> subprocess.Popen[bytes]:
        settings, granted = self.node.directory / "settings", self.node.directory / "grant"
        settings.write_bytes(msgspec.json.encode(self.node.settings))
        granted.write_bytes(msgspec.json.encode(grant))
        command = [sys.executable, "-c", ACTOR, settings, granted]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
        self.processes.append(process)
        return process

    async def salvage(self, grant: Grant) -> RunReport:
        runner = self.node.runner()
        answer = await runner.salvage(grant.deployment_id, grant.generation)
        return msgspec.json.decode(answer, type=RunReport)

    def spool(self, grant: Grant) -> Path:
        work = self.node.settings.work_dir
        return Path(spool_directory(work, grant.deployment_id, grant.generation))


@pytest.fixture
def actors(node: Node) -> Iterator[Actors]:
    actors = Actors(node)
    yield actors
    for process in actors.processes:
        process.kill()
        process.wait()


def free(lock: Path) -> bool:
    """Whether nobody holds a lock."""
    descriptor = try_lock(str(lock))
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


async def killed(actors: Actors, grant: Grant, words: str = " now\n") -> None:
    """An actor is killed while the program (or a command before it) says these words."""
    actor = actors.start(grant)
    await eventually(lambda: words in actors.node.log(), "it runs")
    actor.kill()
    actor.wait()


async def test_an_actor_killed_during_the_operation(node: Node, actors: Actors) -> None:
    node.program("trap 'echo saving; sleep 0.5; echo saved; exit 255' INT; echo on now; sleep 600")
    grant = node.grant()
    await killed(actors, grant)
    before = len(node.control_plane.events)
    report = await actors.salvage(grant)
    assert (report.ended, report.reason, report.log_complete) == ("concluded", "runner_lost", True)
    assert "saving\nsaved\n" in node.log()
    assert node.log().endswith(f"error: {report.message}\n")
    assert len(node.control_plane.events) > before, "the numbers go on"
    [ended] = node.control_plane.of(LogEnded)
    assert ended.length == len(node.log())
    assert node.steps()[-1] == ("pulumi update", False)
    assert processes(node) == []
    assert not actors.spool(grant).exists()
    assert (await actors.salvage(grant)).ended == "nothing"
    node.program("echo fine")
    assert (await node.again(node.runners[0])).reason == "completed"


async def test_an_actor_killed_before_the_operation(node: Node, actors: Actors) -> None:
    node.program()
    grant = node.grant(pre_run_commands=["echo preparing now; sleep 600"])
    await killed(actors, grant)
    report = await actors.salvage(grant)
    assert (report.ended, report.reason) == ("not_started", "runner_lost")
    assert node.control_plane.of(Concluded) == []
    assert processes(node) == []
    assert not actors.spool(grant).exists()


async def test_an_operation_that_had_ended_is_concluded_as_usual(
    node: Node, actors: Actors
) -> None:
    node.program("echo working now; sleep 1; echo all done")
    grant = node.grant()
    actor = actors.start(grant)
    await eventually(lambda: " now\n" in node.log(), "it runs")
    node.control_plane.away = True
    lock = actors.spool(grant) / LOCK
    await eventually(lambda: free(lock), "the tree is gone")
    actor.kill()
    actor.wait()
    node.control_plane.away = False
    report = await actors.salvage(grant)
    assert (report.ended, report.reason, report.log_complete) == ("concluded", "completed", True)
    assert node.log().endswith("working now\nall done\n")
    assert [ok for _, ok in node.steps()] == [True, True, True]


async def test_a_failed_operation_is_told_with_its_exit_code(node: Node, actors: Actors) -> None:
    node.program("echo working now; sleep 1; echo 'error: no such zone'; exit 255")
    grant = node.grant()
    actor = actors.start(grant)
    await eventually(lambda: " now\n" in node.log(), "it runs")
    node.control_plane.away = True
    lock = actors.spool(grant) / LOCK
    await eventually(lambda: free(lock), "the tree is gone")
    actor.kill()
    actor.wait()
    node.control_plane.away = False
    report = await actors.salvage(grant)
    assert (report.reason, report.log_complete) == ("cli_exit", True)
    concluded = node.control_plane.of(Concluded)[-1]
    assert concluded.exit_code == 255
    assert "no such zone" in concluded.message


async def test_salvage_waits_for_a_deaf_tree_as_long_as_the_lease(
    node: Node, actors: Actors
) -> None:
    node.control_plane.lease_seconds = 5.0
    node.program(DEAF)
    grant = node.grant(lease_seconds=5.0, grace_seconds=60.0)
    await killed(actors, grant)
    assert processes(node)
    report = await asyncio.wait_for(actors.salvage(grant), 8)
    assert (report.ended, report.reason) == ("concluded", "runner_lost")
    assert processes(node) == []


async def test_a_lost_lease_leaves_nothing_to_tell(node: Node, actors: Actors) -> None:
    node.program(HANGING)
    grant = node.grant()
    await killed(actors, grant)
    node.control_plane.alive = False
    before = len(node.control_plane.events)
    report = await actors.salvage(grant)
    assert report.ended == "lease_lost"
    assert len(node.control_plane.events) == before
    assert not actors.spool(grant).exists()


async def test_a_shim_killed_with_its_actor_leaves_no_process(node: Node, actors: Actors) -> None:
    node.program("echo $PPID now; setsid sleep 600 & sleep 600")
    grant = node.grant()
    actor = actors.start(grant)
    await eventually(lambda: " now\n" in node.log(), "it runs")
    shim = int(node.log().splitlines()[-1].split()[0])
    os.kill(actor.pid, signal.SIGSTOP)
    os.kill(shim, signal.SIGKILL)
    actor.kill()
    actor.wait()
    report = await actors.salvage(grant)
    assert (report.ended, report.reason, report.log_complete) == ("concluded", "runner_lost", False)
    assert node.control_plane.of(LogEnded) == []
    assert processes(node) == []


async def test_a_spool_without_its_events_is_concluded_and_the_log_marked_as_cut(
    node: Node, actors: Actors
) -> None:
    node.program(HANGING)
    grant = node.grant()
    await killed(actors, grant)
    (actors.spool(grant) / EVENTS).unlink()
    segments = len(node.control_plane.of(LogSegment))
    report = await actors.salvage(grant)
    assert (report.ended, report.reason, report.log_complete) == ("concluded", "runner_lost", False)
    assert len(node.control_plane.of(LogSegment)) == segments
    assert node.control_plane.of(LogEnded) == []


async def test_an_output_file_that_was_cut_is_told_of(node: Node, actors: Actors) -> None:
    node.program("echo working now; trap 'exit 1' INT; seq 1000; sleep 600 & wait")
    grant = node.grant()
    await killed(actors, grant, "\n1000\n")
    await eventually(lambda: free(actors.spool(grant) / LOCK), "the tree is gone")
    os.truncate(actors.spool(grant) / OUT, 30)
    report = await actors.salvage(grant)
    assert (report.ended, report.log_complete) == ("concluded", False)
    assert node.control_plane.of(LogEnded) == []


async def test_a_torn_last_event_is_written_again(node: Node, actors: Actors) -> None:
    node.program(HANGING)
    grant = node.grant()
    await killed(actors, grant)
    path = actors.spool(grant) / EVENTS
    path.write_bytes(path.read_bytes() + b'{"kind": "log-seg')
    report = await actors.salvage(grant)
    assert (report.ended, report.log_complete) == ("concluded", True)


async def test_an_actor_that_lives_after_all_keeps_its_deployment(
    node: Node, actors: Actors
) -> None:
    node.program("echo working now; sleep 1")
    grant = node.grant()
    running = asyncio.create_task(node.deploy(node.runner(), grant))
    await node.control_plane.until(StepStarted)
    salvaging = asyncio.create_task(actors.salvage(grant))
    assert (await running).reason == "completed"
    assert (await salvaging).ended in ("nothing", "lease_lost")
    assert node.control_plane.of(LogEnded)
    assert "working now\n" in node.log()


async def test_spools_that_nobody_asks_for_are_removed_some_day(node: Node, actors: Actors) -> None:
    node.program(HANGING)
    grant = node.grant()
    await killed(actors, grant)
    spool = actors.spool(grant)
    await eventually(lambda: free(spool / LOCK), "the tree is gone")
    forget_old_spools(node.settings.work_dir)
    assert spool.exists()
    for path in spool.iterdir():
        os.utime(path, (0, 0))
    busy = try_lock(str(spool / LOCK))
    assert busy is not None
    forget_old_spools(node.settings.work_dir)
    assert spool.exists(), "not while its processes may live"
    os.close(busy)
    node.runner()
    assert not spool.exists()


async def test_an_empty_spool_stops_no_actor_and_is_removed_some_day(node: Node) -> None:
    old, fresh = (Path(node.settings.work_dir, "spool", name) for name in ("old", "fresh"))
    for spool in (old, fresh):
        spool.mkdir(parents=True)
    os.utime(old, (0, 0))
    node.runner()
    assert fresh.exists()
    assert not old.exists()


async def test_spools_that_cannot_be_removed_stop_no_actor(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        raise ValueError("something unforeseen")

    spool = os.path.join(node.settings.work_dir, "spool", "old")
    os.makedirs(spool)
    os.utime(spool, (0, 0))
    monkeypatch.setattr("runner_actors.salvage.try_lock", broken)
    node.program("echo deployed")
    assert (await node.deploy(node.runner())).reason == "completed"
