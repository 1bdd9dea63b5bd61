"""(f) From `slipway up --demo`, as `make up` runs it, to the program's first line of output."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.report import Section, say
from tests.bench.servers import stop
from tests.bench.wire import ROOT
from tests.support.slipway import Slipway

HEADER = "== pulumi update =="
SECONDS_MAX = 20.0
WAIT_SECONDS_MAX = 300.0


def measure(root: Path) -> Section:
    """Once on a new data directory, to prepare it; then what counts."""
    section = Section("f", "slipway up --demo -> first log line of the program")
    say("(f) on a new data directory")
    first = _first_line(root / "data")
    say("(f) on a prepared data directory")
    again = _first_line(root / "data")
    section.at_most("prepared data directory", again, "s", SECONDS_MAX)
    section.know("new data directory (installs the program's packages)", first, "s")
    section.samples = {"prepared": [again], "new": [first]}
    return section


def _first_line(data_dir: Path) -> float:
    """With the look at the toolchain that `make up` takes before."""
    began = time.perf_counter()
    look = [sys.executable, "-m", "control_plane", "toolchain", "install"]
    subprocess.run(look, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    server = Slipway(data_dir)
    try:
        server.start("--demo", wait=False)
        seconds = _wait(server, began)
    finally:
        stop(server)
    return seconds


def _wait(server: Slipway, began: float) -> float:
    """Until a line comes after the header of the operation's step."""
    printed: list[str] = []
    assert server.process.stdout is not None
    while time.perf_counter() - began < WAIT_SECONDS_MAX:
        line = server.process.stdout.readline()
        if not line:
            break
        if HEADER in printed and line.strip():
            return time.perf_counter() - began
        printed.append(line.strip())
    raise RuntimeError(f"the program printed nothing:\n{chr(10).join(printed)}\n{server.logs()}")
