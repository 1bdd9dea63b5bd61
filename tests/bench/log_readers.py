"""(m) Many readers of one deployment's open page: reads of its segments, and memory."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from control_plane.services import sessions
from tests.bench.report import Section, say
from tests.support.app import TOKEN
from tests.support.deployments import make_desk
from tests.support.log_page import Doors

READERS = int(os.environ.get("BENCH_LOG_READERS", "500"))
MORE_MIB_MAX = 100
LINES_BEFORE = 12_000
SEGMENTS = 40
PAUSE_SECONDS = 0.1

# In a process of its own, so that its memory is not counted as the server's.
CLIENTS = r"""
import asyncio, sys
port, cookie, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
REQUEST = (
    "GET /ada/shop/dev/deployments/1/live HTTP/1.1\r\nHost: x\r\n"
    f"Cookie: slipway_session={cookie}\r\n\r\n"
).encode()

async def read():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    size, tail = 0, b""
    while body := await reader.read(65536):
        size += len(body)
        tail = (tail + body)[-200:]
        if b"event: end" in tail:
            return size
    raise SystemExit("a stream was cut")

async def main():
    sizes = await asyncio.gather(*(read() for _ in range(count)))
    print(min(sizes))

asyncio.run(main())
"""


@dataclass(frozen=True)
class Reading:
    """What so many readers cost."""

    reads: int
    segments: int
    more_mib: float
    seconds: float
    """From the log's end until the last reader had all of it."""


def measure(root: Path) -> Section:
    """A log that is written while all look on; the server is this process."""
    section = Section("m", f"{READERS} readers of one live log; yardstick: a single reader")
    say(f"(m) 1 reader of a live log, then {READERS}")
    for name in ("one", "many"):
        (root / name).mkdir()
    one = asyncio.run(_readers(root / "one", 1))
    many = asyncio.run(_readers(root / "many", READERS))
    share = many.reads / many.segments
    section.at_most("reads of each segment", share, "x", 1.0, yardstick=one.reads / one.segments)
    section.at_most(
        "more memory at its peak", many.more_mib, "MiB", MORE_MIB_MAX, yardstick=one.more_mib
    )
    section.know("until the last one has the end", many.seconds * 1000, "ms", one.seconds * 1000)
    return section


async def _readers(root: Path, count: int) -> Reading:
    async with make_desk(root) as desk:
        world = desk.farm.world
        keys: list[str] = []
        read = world.logs.read

        async def counted(key: str, start: int = 0, length: int | None = None) -> bytes:
            keys.append(key)
            return await read(key, start, length)

        world.logs.read = counted  # type: ignore[method-assign]
        doors = Doors(world)
        await doors.open()
        runner = await desk.run()
        await runner.step("pulumi update")
        await runner.write(b"a line that was there before anybody looked\n" * LINES_BEFORE)
        cookie = (await sessions.sign_in(world, TOKEN)).cookie
        before = _memory_mib("VmRSS")
        # The peak begins anew.
        await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5")
        clients = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CLIENTS, str(doors.port), cookie, str(count)),
            stdout=asyncio.subprocess.PIPE,
        )
        await _until(lambda: world.shared_reads.readers >= count)
        for number in range(SEGMENTS):
            await runner.write(f"line {number}\n".encode() * 20)
            await asyncio.sleep(PAUSE_SECONDS)
        await runner.end_log()
        ended = time.monotonic()
        await runner.conclude()
        await clients.communicate()
        seconds = time.monotonic() - ended
        assert clients.returncode == 0, "a reader did not get the whole log"
        more = _memory_mib("VmHWM") - before
        await doors.shut()
        return Reading(len(keys), len(set(keys)), more, seconds)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.05)


def _memory_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith(field))
    return int(line.split()[1]) / 1024
