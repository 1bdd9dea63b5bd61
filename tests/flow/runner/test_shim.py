"""The process tree: what stops, when, and that nothing is left. Real processes and real time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner_actors.process_tree import end_descendants, marked, send
from runner_actors.shim import MARKER
from runner_actors.shim_client import ShimClient, ShimGone, secret_text
from runner_actors.spool import SpoolReader, try_lock
from runner_actors.stop_ladder import boot_seconds
from tests.flow.runner.conftest import Bench
from tests.flow.runner.node import sh, small_disk
from tests.support.waiting import eventually, wait_for

POLITE = """
import signal, sys, time
def stop(*_):
    print("interrupted", flush=True)
    time.sleep(0.3)
    print("cleaned up", flush=True)
    sys.exit(3)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
while True:
    time.sleep(0.05)  # a signal just before a long sleep would only be seen after it
"""
DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
FORKING = """
import os, time
for _ in range(6):
    os.fork()
while True:
    if os.fork() == 0:
        time.sleep(0.02)
        os._exit(0)
    time.sleep(0.001)
    try:
        os.waitpid(-1, os.WNOHANG)
    except OSError:
        pass
"""


@contextlib.contextmanager
def as_in_a_ray_worker() -> Iterator[None]:
    """What Ray hands down to the children of its workers, as far as one process can show it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ["RAY_AUTH_TOKEN"] = "not for programs"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 15)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        del os.environ["RAY_AUTH_TOKEN"]
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, nice)


async def test_a_command_runs_and_its_output_is_in_the_spool(bench: Bench) -> None:
    shim = await bench.begin()
    ended = await shim.run(bench.shell("echo out; echo err >&2; exit 4"))
    assert (ended.code, ended.signal, ended.stopped) == (4, None, None)
    shim.note("a line of ours")
    assert await shim.finish() == len(bench.out())
    assert bench.out() == b"out\nerr\na line of ours\n"
    spool = SpoolReader(str(bench.directory / "spool"))
    assert sum(piece.length for piece in spool.new_pieces()) == len(bench.out())
    assert spool.rest() is None
    assert [key for run in spool.runs() for key in run] == [
        "step",
        "started",
        "exited",
        "settled",
    ]


async def test_what_cannot_be_started_is_named(bench: Bench) -> None:
    shim = await bench.begin()
    assert (
        "no-such-program: No such file"
        in (await shim.run(bench.command("no-such-program"))).problem
    )
    nowhere = str(bench.directory / "nowhere")
    assert (
        f"{nowhere}: No such file" in (await shim.run(bench.command("true", cwd=nowhere))).problem
    )
    await shim.finish()


async def test_nothing_of_a_ray_worker_is_inherited(bench: Bench) -> None:
    with as_in_a_ray_worker():
        shim = ShimClient()
        await bench.begin(shim)
    ended = await shim.run(
        bench.shell("nice; env | sort; grep SigBlk /proc/self/status", capture_bytes_max=9999)
    )
    if os.geteuid() == 0:
        assert ended.captured.startswith("0\n")
    assert "RAY_" not in ended.captured
    assert "SigBlk:\t0000000000000000" in ended.captured
    await shim.finish()


async def test_a_cancel_reaches_the_program_at_once(bench: Bench) -> None:
    with as_in_a_ray_worker():
        shim = ShimClient()
        await bench.begin(shim)
    running = asyncio.create_task(shim.run(bench.command(sys.executable, "-c", POLITE)))
    await eventually(lambda: b"ready" in bench.out(), "it runs")
    begun = time.monotonic()
    shim.stop("cancelled")
    await eventually(lambda: b"interrupted" in bench.out(), "SIGINT arrived")
    assert time.monotonic() - begun < 1
    ended = await running
    assert (ended.code, ended.stopped) == (3, "cancelled")
    assert b"cleaned up" in bench.out()
    assert (await shim.run(bench.command("true"))).stopped == "cancelled", "nothing starts any more"
    await shim.finish()


async def test_a_deaf_program_is_killed_after_the_grace(bench: Bench) -> None:
    shim = await bench.begin(grace_seconds=0.3)
    running = asyncio.create_task(shim.run(bench.command(sys.executable, "-c", DEAF)))
    await eventually(lambda: b"ready" in bench.out(), "it runs")
    begun = time.monotonic()
    shim.stop("timed_out")
    ended = await running
    assert (ended.signal, ended.stopped) == (signal.SIGKILL, "timed_out")
    assert 2 < time.monotonic() - begun < 10
    await shim.finish()


async def test_a_second_stronger_stop_needs_no_grace(bench: Bench) -> None:
    shim = await bench.begin(grace_seconds=60)
    running = asyncio.create_task(shim.run(bench.command(sys.executable, "-c", DEAF)))
    await eventually(lambda: b"ready" in bench.out(), "it runs")
    shim.stop("cancelled")
    begun = time.monotonic()
    shim.stop("cancelled", "now")
    ended = await running
    assert (ended.signal, ended.stopped) == (signal.SIGKILL, "cancelled")
    assert time.monotonic() - begun < 1
    await shim.finish()


async def test_children_that_leave_the_group_are_swept(bench: Bench) -> None:
    shim = await bench.begin()
    begun = time.monotonic()
    ended = await shim.run(
        bench.shell("setsid sleep 600 & (setsid setsid sleep 601 &) ; echo started")
    )
    assert ended.code == 0
    assert time.monotonic() - begun < 5, "a leaked pipe does not hang the deployment"
    assert bench.alive() == []
    await shim.finish()


async def test_programs_that_keep_forking_cannot_outrun_the_sweep(bench: Bench) -> None:
    shim = await bench.begin()
    running = asyncio.create_task(shim.run(bench.command(sys.executable, "-c", FORKING)))
    await eventually(lambda: len(bench.alive()) > 60, "it forks")
    shim.stop("cancelled", "now")
    assert (await running).signal == signal.SIGKILL
    assert bench.alive() == []
    await shim.finish()


async def test_what_a_command_may_leave_running_ends_with_the_deployment(bench: Bench) -> None:
    shim = await bench.begin()
    ended = await shim.run(
        bench.shell("(sleep 0.5; echo from below; sleep 600) & echo tunnel", sweep=False)
    )
    assert ended.code == 0
    assert bench.alive()
    await eventually(lambda: b"from below" in bench.out(), "its output is kept")
    assert (await shim.run(bench.shell("echo using it", sweep=False))).code == 0
    assert bench.alive()
    await shim.finish()
    await eventually(lambda: bench.alive() == [], "it is gone")
    assert bench.out() == b"tunnel\nfrom below\nusing it\n"


ACTOR = """
import asyncio, os, sys
from pathlib import Path
from tests.flow.runner.conftest import Bench
from tests.flow.runner.node import sh, small_disk

async def main():
    bench = Bench(Path(sys.argv[1]))
    bench.mark = sys.argv[2]
    shim = await bench.begin(grace_seconds=5.0)
    await shim.run(bench.command(sys.executable, "-c", sys.argv[3]))

asyncio.run(main())
"""


def test_a_killed_actor_takes_its_tree_along_in_order(bench: Bench) -> None:
    program = (
        "import os, subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        + POLITE
    )
    arguments = [sys.executable, "-c", ACTOR, str(bench.directory), bench.mark, program]
    actor = subprocess.Popen(arguments, cwd=Path(__file__).parents[3])
    out = bench.directory / "spool" / "out"
    wait_for(lambda: out.exists() and b"ready" in bench.out(), "the program runs")
    lock = str(bench.directory / "spool" / "lock")
    assert try_lock(lock) is None

    actor.kill()
    actor.wait()

    wait_for(lambda: try_lock(lock), "the lock is free")
    assert bench.alive() == [], "the lock is free only when nothing is left"
    assert bench.out() == b"ready\ninterrupted\ncleaned up\n"
    exits = [
        run["exited"]
        for run in SpoolReader(str(bench.directory / "spool")).runs()
        if "exited" in run
    ]
    assert [(each["code"], each["stopped"]) for each in exits] == [(3, "actor_died")]


async def test_the_tree_is_dead_before_an_unrenewed_lease_ends(bench: Bench) -> None:
    until = boot_seconds() + 3
    shim = await bench.begin(lease_until=until, lease_seconds=3.0, grace_seconds=60.0)
    ended = await shim.run(bench.command(sys.executable, "-c", DEAF))
    assert ended.stopped == "lease_expired"
    assert bench.alive() == []
    assert until - 2 < boot_seconds() < until
    await shim.finish()


async def test_a_renewed_lease_moves_the_deadline(bench: Bench) -> None:
    shim = await bench.begin(lease_until=boot_seconds() + 3, lease_seconds=3.0)
    running = asyncio.create_task(shim.run(bench.command("sleep", "4")))
    shim.renew(boot_seconds() + 30)
    shim.renew(boot_seconds() - 5)
    assert (await running).code == 0
    await shim.finish()


async def test_two_shims_never_share_a_workspace(bench: Bench, tmp_path: Path) -> None:
    first = await bench.begin()
    running = asyncio.create_task(first.run(bench.command("sleep", "600")))
    other = Bench(tmp_path / "other")
    other.directory.mkdir()
    locks = [str(bench.directory / "workspace.lock")]
    second = asyncio.create_task(other.begin(locks=locks))
    await eventually(lambda: bench.alive(), "the first runs")
    assert not second.done()
    first.stop("cancelled", "now")
    await running
    await first.finish()
    shim = await asyncio.wait_for(second, 5)
    await shim.finish()


async def test_a_shim_that_finds_no_spool_says_so(bench: Bench) -> None:
    with pytest.raises(ShimGone, match="No such file"):
        await bench.begin(spool=str(bench.directory / "gone"))


async def test_a_killed_shim_is_noticed_and_its_children_found(bench: Bench) -> None:
    shim = ShimClient()
    await shim.connect()
    pid = await shim.begin(bench.request())
    running = asyncio.create_task(shim.run(bench.shell("setsid sleep 600 & sleep 601")))
    await eventually(lambda: len(bench.alive()) == 3, "they run")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ShimGone):
        await running
    await eventually(lambda: len(bench.alive()) == 2, "the direct child died with the shim")
    send(marked(MARKER, bench.mark), signal.SIGKILL)
    await eventually(lambda: bench.alive() == [], "nothing is left")
    await shim.close()


@pytest.mark.parametrize("program", ["yes", "tr '\\0' x < /dev/zero"])
async def test_a_flood_leaves_the_memory_flat(bench: Bench, program: str) -> None:
    shim = ShimClient()
    await shim.connect()
    pid = await shim.begin(bench.request(secrets=[secret_text(b"hidden-%d" % i) for i in range(5)]))
    await shim.run(bench.shell(f"{program} | head -c 1000000"))
    before = _resident_kib(pid)
    begun = time.monotonic()
    ended = await shim.run(bench.shell(f"{program} | head -c 100000000"))
    seconds = time.monotonic() - begun
    assert ended.code == 0
    assert ended.total == len(bench.out()) == 101_000_000
    assert _peak_kib(pid) - before < 8 * 1024
    print(f"{100 / seconds:.0f} MB/s")
    await shim.finish()


def _resident_kib(pid: int, field: str = "VmRSS") -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0])


def _peak_kib(pid: int) -> int:
    return _resident_kib(pid, "VmHWM")


async def test_the_output_limit_stops_the_program(bench: Bench) -> None:
    shim = await bench.begin(output_bytes_max=100_000, grace_seconds=0.5)
    ended = await shim.run(bench.shell("trap 'exit 5' INT; while true; do echo 0123456789; done"))
    assert (ended.code, ended.stopped) == (5, "output_limit")
    assert len(bench.out()) == 100_000
    shim.note("stopped: too much output")
    await shim.finish()
    assert bench.out().endswith(b"\nstopped: too much output\n")


async def test_a_refused_write_stops_the_program(bench: Bench) -> None:
    shim = ShimClient()
    await shim.connect()
    pid = await shim.begin(bench.request(grace_seconds=0.5))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (300_000, 300_000))
    ended = await shim.run(bench.command("yes"))
    assert ended.stopped == "disk_full"
    assert len(bench.out()) == 300_000
    await shim.finish()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_full_disk_stops_the_program_and_leaves_room_for_last_words(bench: Bench) -> None:
    disk = bench.directory / "disk"
    with small_disk(disk, "1m"):
        shim = await bench.begin(spool=str(disk), grace_seconds=0.5)
        ended = await shim.run(bench.command("yes"))
        assert ended.stopped == "disk_full"
        shim.note("stopped: the disk is full")
        total = await shim.finish()
        out = (disk / "out").read_bytes()
        assert len(out) == total
        assert out.endswith(b"stopped: the disk is full\n")
        runs = [json.loads(line) for line in (disk / "runs").read_text().splitlines()]
        assert [run["exited"]["stopped"] for run in runs if "exited" in run] == ["disk_full"]


async def test_secrets_are_hidden_across_chunks_and_in_notes(bench: Bench) -> None:
    shim = await bench.begin(secrets=[secret_text(b"correct horse")])
    await shim.run(
        bench.shell("printf 'a correct'; sleep 0.2; printf ' horse b\\n'; printf 'correct h'")
    )
    shim.note("correct horse again")
    await shim.finish()
    assert bench.out() == b"a [secret] b\ncorrect h\n[secret] again\n"
    spooled = b"".join(p.read_bytes() for p in (bench.directory / "spool").iterdir())
    assert b"correct horse" not in spooled


async def test_a_secret_file_is_readable_by_its_command_only(bench: Bench) -> None:
    shim = await bench.begin()
    key = secret_text(b"the key\n")
    script = (
        'cat "$KEY"; stat -L -c %a "$KEY"; echo "$KEY" > path; tr "\\0" "\\n" < /proc/$PPID/cmdline'
    )
    ended = await shim.run(bench.shell(script, files={"KEY": key}, capture_bytes_max=9999))
    assert ended.captured.startswith("the key\n600\n")
    assert "the key" not in ended.captured.removeprefix("the key")
    path = (bench.directory / "path").read_text().strip()
    assert sh("cat", path) == b"", "it is gone with the command"
    await shim.finish()


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")
async def test_ssh_takes_a_key_from_a_secret_file(bench: Bench) -> None:
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", bench.directory / "id")
    shim = await bench.begin()
    key = secret_text((bench.directory / "id").read_bytes())
    ended = await shim.run(
        bench.shell('ssh-keygen -y -f "$KEY"', files={"KEY": key}, capture_bytes_max=999)
    )
    assert ended.captured.split()[:2] == (bench.directory / "id.pub").read_text().split()[:2]
    await shim.finish()


def test_a_shim_nobody_uses_ends_with_its_actor() -> None:
    script = (
        "from runner_actors.shim_client import ShimClient; import os; ShimClient(); os._exit(0)"
    )
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:/unused-{os.getpid()}"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment, check=True)
    wait_for(lambda: not marked("PATH", environment["PATH"]), "it is gone")


def test_ending_descendants_of_nobody_is_harmless() -> None:
    idle = subprocess.Popen(["sleep", "600"])
    end_descendants(idle.pid)
    assert idle.poll() is None
    idle.kill()
    idle.wait()
