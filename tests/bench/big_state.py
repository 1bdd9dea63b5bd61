"""(i) The server's memory while the CLI imports, exports and updates a state of 50 MB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.programs import DEPLOYMENT, cli_on, many, program
from tests.bench.report import Section, say
from tests.bench.servers import control_plane, memory_mib
from tests.bench.yardsticks import Cli

RESOURCES = 5_000
STATE_BYTES = 50_000_000
ROUNDS = 2
"""What a first round leaves behind must not add up."""
PEAK_MIB_MAX = 300
COPIES = 3
"""How often a resource's state holds its value: as input, and twice as output."""
OVERHEAD_BYTES = 900
"""What its state holds besides."""


def measure(root: Path) -> Section:
    """The peak of each command, of the serving process alone."""
    section = Section("i", f"server memory, with a state of {STATE_BYTES / 1e6:.0f} MB")
    filling = "y" * ((STATE_BYTES // RESOURCES - OVERHEAD_BYTES) // COPIES)
    with control_plane(root / "data") as served:
        idle = memory_mib(served.pid, "VmRSS")
        home = root / "home"
        cli = cli_on(served, many(root / "program", 1, filling), home, "dev", DEPLOYMENT)
        file = _state(cli, root / "state.json", filling)
        (cli.directory / "__main__.py").write_text(program(RESOURCES, filling))
        peaks: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            say(f"(i) import, export, update of all, update of none: round {number + 1}")
            for name, arguments in _commands(file):
                served.forget_peak()
                cli.run(*arguments)
                peaks.setdefault(name, []).append(served.peak_mib)
    section.know("idle", idle, "MiB")
    for name, found in peaks.items():
        section.at_most(name, max(found), "MiB", PEAK_MIB_MAX, yardstick=idle)
    section.samples = dict(peaks)
    return section


def _state(cli: Cli, file: Path, filling: str) -> Path:
    """The state of a stack of one resource, with that resource many times over.

    All values differ from the program's, so that the next update changes every resource.
    """
    cli.up()
    cli.run("stack", "export", "--file", str(file))
    document = json.loads(file.read_text())
    *others, one = document["deployment"]["resources"]
    for properties in (one["inputs"], one["outputs"]):
        properties.update(dict.fromkeys(("input", "output") & properties.keys(), f"{filling}then"))
    document["deployment"]["resources"] = [*others, *_copies(one)]
    file.write_text(json.dumps(document))
    if file.stat().st_size < STATE_BYTES * 0.98:
        raise RuntimeError(f"the state is only of {file.stat().st_size} bytes")
    return file


def _copies(resource: dict[str, Any]) -> list[dict[str, Any]]:
    stem = resource["urn"].removesuffix("0")
    return [{**resource, "urn": f"{stem}{number}"} for number in range(RESOURCES)]


def _commands(file: Path) -> list[tuple[str, list[str]]]:
    up = ["up", "--yes", "--skip-preview"]
    return [
        ("stack import", ["stack", "import", "--file", str(file)]),
        ("stack export", ["stack", "export", "--file", f"{file}.exported"]),
        ("up that changes all", up),
        ("up that changes nothing", up),
    ]
