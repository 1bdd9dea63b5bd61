"""Events, lease and log when the control plane, the network or the log store misbehave."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from runner_actors.contract import Concluded, LogEnded, LogSegment, StepEnded, StepStarted
from runner_actors.log_store import DirectoryLogStore, LogStoreUnavailable
from runner_actors.stack_runner import StackRunner
from tests.flow.runner.node import Node
from tests.flow.runner.test_deployment import DEAF, HANGING, processes, started
from tests.support.waiting import eventually


class FailingStore:
    """A real directory that refuses for a while, or answers late."""

    def __init__(self, node: Node) -> None:
        self.real = DirectoryLogStore(Path(node.settings.log_store))
        self.refuses = False
        self.late_seconds = 0.0
        self.tries = 0

    async def put(self, key: str, data: bytes) -> None:
        self.tries += 1
        await asyncio.sleep(self.late_seconds)
        if self.refuses:
            raise LogStoreUnavailable("503 Slow Down")
        await self.real.put(key, data)


@pytest.fixture
def store(node: Node, monkeypatch: pytest.MonkeyPatch) -> FailingStore:
    store = FailingStore(node)
    monkeypatch.setattr("runner_actors.stack_runner.open_log_store", lambda *_: store)
    return store


async def test_the_first_output_is_announced_while_the_program_runs(node: Node) -> None:
    node.program("echo ready now; " + HANGING)
    begun = time.monotonic()
    running = await started(node)
    assert not running.done()
    assert time.monotonic() - begun < 5
    node.control_plane.request_cancel("now")
    await running


async def test_errors_and_dropped_answers_change_nothing(node: Node) -> None:
    node.program("for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done")
    node.control_plane.faults = [503, 0, 429, 500, 0, 0, 502, 0]
    report = await node.deploy(node.runner(), node.grant(pre_run_commands=["true", "true"]))
    assert (report.ended, report.reason) == ("concluded", "completed")
    assert [ok for _, ok in node.steps()] == [True] * 5
    assert node.log().endswith("line 5\nline 6\n")


async def test_a_dropped_answer_to_the_conclusion_is_sent_again(node: Node) -> None:
    node.program("echo waiting now; sleep 0.5")
    running = await started(node)
    await node.control_plane.until(StepStarted)

    async def drop_the_conclusion() -> None:
        answer = node.control_plane._answer

        async def dropping(route: str, given: str, body: bytes) -> tuple[int, bytes]:
            status, content = await answer(route, given, body)
            if b'"concluded"' in body and not dropped:
                dropped.append(True)
                return 502, b""
            return status, content

        dropped: list[bool] = []
        node.control_plane._answer = dropping  # type: ignore[method-assign]

    await drop_the_conclusion()
    report = await running
    assert (report.ended, report.reason) == ("concluded", "completed")


async def test_a_control_plane_that_is_away_for_a_while_misses_nothing(node: Node) -> None:
    node.program("echo begun now; sleep 2; echo ended")
    running = await started(node)
    node.control_plane.away = True
    await asyncio.sleep(2.5)
    assert not running.done(), "it waits with what it has to tell"
    node.control_plane.away = False
    report = await running
    assert (report.ended, report.reason) == ("concluded", "completed")
    assert node.log().endswith("begun now\nended\n")


async def test_a_lost_lease_ends_the_tree_and_nothing_more_is_written(node: Node) -> None:
    node.program(HANGING)
    running = await started(node)
    before = len(node.control_plane.events)
    node.control_plane.generation = 2
    node.control_plane._changed.set()
    report = await asyncio.wait_for(running, 10)
    assert report.ended == "lease_lost"
    assert len(node.control_plane.events) == before
    assert processes(node) == []
    assert node.leftovers() == []


async def test_a_lease_that_cannot_be_renewed_ends_the_tree_in_time(node: Node) -> None:
    node.program(DEAF)
    node.control_plane.lease_seconds = 4.0
    running = await started(node, lease_seconds=4.0, grace_seconds=60.0)
    node.control_plane.away = True
    away_since = time.monotonic()
    await eventually(lambda: processes(node) == [], "the tree is dead", 10)
    assert time.monotonic() - away_since < 4.0
    assert not running.done(), "it still tries to tell"
    node.control_plane.away = False
    report = await running
    assert (report.ended, report.reason) == ("concluded", "runner_lost")
    assert "could not reach the control plane" in report.message
    assert node.log().endswith(f"error: {report.message}\n")


async def test_a_log_store_that_is_away_delays_the_log_and_not_the_steps(
    node: Node, store: FailingStore
) -> None:
    node.program("echo working now; sleep 2")
    store.refuses = True
    running = asyncio.create_task(node.deploy(node.runner()))
    await eventually(lambda: len(node.steps()) == 3, "the steps are told of")
    assert node.control_plane.of(LogSegment) == []
    await eventually(lambda: store.tries > 3, "it tries again")
    store.refuses = False
    report = await running
    assert (report.ended, report.reason, report.log_complete) == ("concluded", "completed", True)
    assert "working now\n" in node.log()
    assert node.control_plane.of(LogEnded)


async def test_a_slow_log_store_gets_fewer_and_larger_segments(
    node: Node, store: FailingStore
) -> None:
    node.program("for i in $(seq 40); do echo $i; sleep 0.02; done")
    store.late_seconds = 0.4
    await node.deploy(node.runner())
    assert node.log().endswith("39\n40\n")
    assert len(node.control_plane.of(LogSegment)) < 12


async def test_a_cancel_that_says_now_does_not_wait_for_the_log_store(
    node: Node, store: FailingStore
) -> None:
    node.program("echo working now")
    store.refuses = True
    running = asyncio.create_task(node.deploy(node.runner()))
    await node.control_plane.until(StepStarted)
    await eventually(lambda: len(node.steps()) == 3, "it operates")
    await eventually(lambda: len(node.control_plane.of(StepEnded)) == 3, "it has ended")
    assert not running.done()
    node.control_plane.request_cancel("now")
    report = await asyncio.wait_for(running, 5)
    assert (report.ended, report.reason, report.log_complete) == ("concluded", "completed", False)
    assert node.control_plane.of(LogEnded) == [], "the log is marked as cut"
    assert node.control_plane.of(Concluded)[-1].succeeded


async def test_a_large_log_is_whole_and_in_large_segments(node: Node) -> None:
    node.program("seq 1 600000")
    await node.deploy(node.runner())
    log = node.log()
    assert log.endswith("".join(f"{i}\n" for i in range(1, 600001)))
    segments = node.control_plane.of(LogSegment)
    assert max(segment.length for segment in segments) <= 1 << 20
    assert len(segments) < 40


async def test_a_real_s3_api(node: Node, moto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    moto.create_bucket(Bucket="logs-of-a-flow")
    node.program("echo to the bucket")
    runner: StackRunner = node.runner(
        log_store="s3://logs-of-a-flow/some/prefix", log_store_endpoint=moto.meta.endpoint_url
    )
    assert (await node.deploy(runner)).reason == "completed"
    keys = [each["Key"] for each in moto.list_objects_v2(Bucket="logs-of-a-flow")["Contents"]]
    bodies = [moto.get_object(Bucket="logs-of-a-flow", Key=key)["Body"].read() for key in keys]
    assert b"".join(bodies).endswith(b"to the bucket\n")
    assert keys[0].startswith("some/prefix/org/project/stack/")
