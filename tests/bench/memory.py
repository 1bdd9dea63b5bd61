"""(e) What an idle Slipway keeps in memory."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.report import Section, say
from tests.bench.servers import create_stack, deploy, memory_mib, slipway, source
from tests.bench.wire import Wire
from tests.support.programs import repository
from tests.support.slipway import TOKEN, Slipway

REST_SECONDS = 10
PROCESSES = (
    ("control plane", "control_plane serve", 200),
    ("gateway", "runner_actors.gateway", 250),
)


def measure(root: Path) -> Section:
    """Resident memory after a first deployment, when nothing happens any more."""
    section = Section("e", "resident memory, idle after a first deployment")
    program = repository(root / "program", "bench")
    with slipway(root / "data") as server, Wire(server.port, TOKEN) as wire:
        stack = create_stack(wire, "bench", "dev")
        deploy(wire, stack, source(program))
        say(f"(e) {REST_SECONDS} s of rest")
        time.sleep(REST_SECONDS)
        for name, part, limit in PROCESSES:
            section.at_most(name, _resident_mib(server, part), "MiB", limit)
    return section


def _resident_mib(server: Slipway, part: str) -> float:
    """Of the one process whose command line has this part."""
    pids = server.pids(part)
    if len(pids) != 1:
        raise RuntimeError(f"{len(pids)} processes are '{part}': {server.processes()}")
    return memory_mib(pids[0], "VmRSS")
