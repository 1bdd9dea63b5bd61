"""What is killed, and what becomes of the deployment and of the next one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.programs import HANGING, OUTPUTS, SLOW, repository
from tests.support.slipway import Slipway
from tests.support.waiting import wait_for

FORKING = """
import subprocess, sys, pulumi
subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(3600)  # ORPHAN-MARK"],
    start_new_session=True, stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
pulumi.export("done", True)
"""

FLOOD = """
import sys, pulumi
line = "x" * 1023
for _ in range(100 * 1024):
    print(line)
pulumi.export("done", True)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("programs") / "good", "faults", OUTPUTS)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = SLOW.replace("SECONDS", "6")
    return repository(tmp_path_factory.mktemp("programs") / "slow", "faults", program)


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("programs") / "hanging", "faults", HANGING)


def _actor_pids(slipway: Slipway) -> list[int]:
    """The stack actors; Ray names a worker's process after its actor's class."""
    return slipway.pids("ray::StackRunner")


def _kill_actors(slipway: Slipway, number: int = signal.SIGKILL) -> None:
    actors = _actor_pids(slipway)
    assert actors
    for pid in actors:
        os.kill(pid, number)


def _kill_raylet(slipway: Slipway) -> None:
    for pid in slipway.pids("/raylet/raylet"):
        os.kill(pid, signal.SIGKILL)


def test_the_gateway_is_killed_and_the_deployment_finishes(slipway: Slipway, slow: Path) -> None:
    stack = slipway.stack("faults", "gateway")
    submitted = stack.submit(slow)
    stack.wait_for_log(submitted["id"], "creating slowly")
    (gateway,) = slipway.pids("runner_actors.gateway")
    os.kill(gateway, signal.SIGKILL)
    ended = stack.wait(submitted["id"])
    assert (ended["status"], ended["reason"]) == ("succeeded", "completed")
    assert stack.deploy(slow, "refresh")["status"] == "succeeded"


def test_the_control_plane_is_killed_and_the_deployment_finishes(
    slipway: Slipway, slow: Path
) -> None:
    stack = slipway.stack("faults", "server")
    submitted = stack.submit(slow)
    stack.wait_for_log(submitted["id"], "creating slowly")
    (server,) = slipway.pids("control_plane serve")
    os.kill(server, signal.SIGKILL)
    slipway.wait_until_ready()
    ended = stack.wait(submitted["id"])
    assert (ended["status"], ended["reason"]) == ("succeeded", "completed")
    assert "creating slowly" in stack.log(submitted["id"])


DEATHS = {
    "SIGKILL": _kill_actors,
    "SIGTERM": lambda slipway: _kill_actors(slipway, signal.SIGTERM),
    "raylet": _kill_raylet,
}


@pytest.mark.parametrize("death", DEATHS)
def test_the_actor_dies_after_the_engine_started(
    slipway: Slipway, slow: Path, good: Path, death: str
) -> None:
    """I4: failed(runner_lost), the log is whole, the slot is free, and the next one works.

    A worker that gets SIGTERM lets its call end first, so that deployment finishes.
    """
    stack = slipway.stack("faults", f"after-{death}")
    submitted = stack.submit(slow)
    stack.wait_for_log(submitted["id"], "creating slowly")
    DEATHS[death](slipway)
    ended = stack.wait(submitted["id"], seconds=60)
    lost = death != "SIGTERM"
    expected = ("failed", "runner_lost") if lost else ("succeeded", "completed")
    assert (ended["status"], ended["reason"]) == expected
    if death != "raylet":  # after which Ray itself comes back, perhaps later than the lease ends
        assert stack.deployment(submitted["id"])["log"]["complete"] is True
    assert "creating slowly" in stack.log(submitted["id"])
    assert stack.deploy(good)["status"] == "succeeded"


def test_the_actor_is_killed_before_the_engine_started(slipway: Slipway, tmp_path: Path) -> None:
    """I4: queued again under the same version, and then it succeeds."""
    gate = tmp_path / "gate"
    program = repository(tmp_path / "program", "faults", OUTPUTS)
    stack = slipway.stack("faults", "before")
    wait = f"echo waiting; until [ -e {gate} ]; do sleep 0.05; done"
    submitted = stack.submit(program, operationContext={"preRunCommands": [wait]})
    stack.wait_for_log(submitted["id"], "waiting")
    _kill_actors(slipway)
    gate.touch()
    ended = stack.wait(submitted["id"])
    assert (ended["status"], ended["version"]) == ("succeeded", submitted["version"])


def test_children_that_outlive_the_program_are_ended(slipway: Slipway, tmp_path: Path) -> None:
    program = repository(tmp_path / "forking", "forking", FORKING)
    slipway.stack("forking").deploy(program)
    wait_for(lambda: not slipway.pids("ORPHAN-MARK"), "the orphan is gone", 10)


def test_a_flood_of_output_is_kept_and_memory_stays_flat(slipway: Slipway, tmp_path: Path) -> None:
    program = repository(tmp_path / "flood", "flood", FLOOD)
    stack = slipway.stack("flood")
    submitted = stack.submit(program)
    peak = 0

    def ended() -> bool:
        nonlocal peak
        peak = max([peak, *(_resident_mib(pid) for pid in _watched(slipway))])
        return stack.deployment(submitted["id"])["status"] in ("succeeded", "failed")

    wait_for(ended, "the flood is over", 240)
    assert stack.deployment(submitted["id"])["status"] == "succeeded"
    log = stack.deployment(submitted["id"])["log"]
    with slipway.http.stream("GET", f"{stack.path}/deployments/{submitted['id']}/log") as answer:
        chunks = list(_whole_lines(answer))
    lines = sum(chunk.count(b"x" * 1023) for chunk in chunks)
    assert lines >= 100 * 1024, "the CLI shows each line, and once more at its end"
    assert log == {"length": sum(map(len, chunks)), "complete": True}
    assert peak < 400, f"{peak} MiB"


def _whole_lines(answer):
    rest = b""
    for chunk in answer.iter_bytes(1 << 20):
        rest += chunk
        cut = rest.rfind(b"\n") + 1
        yield rest[:cut]
        rest = rest[cut:]
    yield rest


def _watched(slipway: Slipway) -> list[int]:
    """Our own processes: server, gateway, actors and shims; not the user's program."""
    parts = ("control_plane serve", "runner_actors.gateway", "StackRunner", "runner_actors.shim")
    return [pid for pid, line in slipway.processes().items() if any(p in line for p in parts)]


def _resident_mib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")),
        0,
    )


def test_a_deployment_that_takes_too_long_is_stopped(
    tmp_path_factory: pytest.TempPathFactory, hanging: Path
) -> None:
    server = Slipway(
        tmp_path_factory.mktemp("timeout"), SLIPWAY_DEPLOYMENTS__TIMEOUT_SECONDS="3"
    ).start()
    try:
        stack = server.stack("faults")
        ended = stack.wait(stack.submit(hanging)["id"])
        assert (ended["status"], ended["reason"]) == ("failed", "timed_out")
        assert "3 s" in ended["message"] or "3 seconds" in ended["message"]
    finally:
        server.stop()
