"""(d) The CLI on our state backend, beside the same CLI on its file backend."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from tests.bench.programs import (
    BATCH_PERIOD_MS,
    DEPLOYMENT,
    VALUE_FILE,
    cli_on,
    default_parallel,
    many,
    tools_dir,
)
from tests.bench.report import Section, say
from tests.bench.servers import Served, control_plane
from tests.bench.yardsticks import Cli, file_backend

RESOURCES = int(os.environ.get("BENCH_RESOURCES", "1000"))
REPEATS = 5
"""Of what takes seconds; the creation on the file backend takes a minute and more: once."""
CREATE_MAX = 0.2
AGAIN_MAX = 1.05
WIDE = 32
"""What the CLI does at once by default on a machine of 8 cores."""


def measure(root: Path) -> Section:
    """Create, change nothing, change one; the two backends in turn."""
    section = Section(
        "d", f"the CLI on our state backend, {RESOURCES} resources; yardstick: its file backend"
    )
    theirs = file_backend(tools_dir(), many(root / "file", RESOURCES), root / "file-state")
    with control_plane(root / "data") as served:
        plain = _create(section, root, served, theirs)
        _repeat(section, "no-op", plain, theirs, change=False)
        _repeat(section, "change one", plain, theirs, change=True)
    return section


def _create(section: Section, root: Path, served: Served, theirs: Cli) -> Cli:
    """Gives the plain CLI, whose stack then exists."""
    variables: dict[str, dict[str, str]] = {
        "deployment": DEPLOYMENT,
        "plain": {},
        "wide": {"PULUMI_PARALLEL": str(WIDE)},
    }
    clis = {
        name: cli_on(served, many(root / name, RESOURCES), root / f"{name}-home", name, more)
        for name, more in variables.items()
    }
    say("(d) create, on our backend")
    seconds = {name: cli.up() / 1000 for name, cli in clis.items()}
    say(f"(d) create, on the file backend (ours took {seconds['deployment']:.1f} s)")
    file = theirs.up() / 1000
    section.within("create, as in a deployment", seconds["deployment"], "s", file, CREATE_MAX)
    section.within("create, a plain CLI", seconds["plain"], "s", file, CREATE_MAX)
    section.know(f"create, a plain CLI that does {WIDE} at once", seconds["wide"], "s", file)
    section.notes.append(_own_waiting())
    section.samples |= {f"create_{name}": [taken] for name, taken in seconds.items()}
    section.samples["create_file"] = [file]
    return clis["plain"]


def _own_waiting() -> str:
    """Each creation is told twice, before and after; what runs at once is told at once."""
    at_once = default_parallel()
    waits = 2 * RESOURCES / at_once * BATCH_PERIOD_MS / 1000
    return (
        f"a plain CLI sends its journal every {BATCH_PERIOD_MS} ms, whatever the server does, and"
        f" waits for it: {waits:.1f} s of the above with {at_once} at once, its default here;"
        " a deployment's CLI has PULUMI_JOURNALING_BATCH_PERIOD=1"
    )


def _repeat(section: Section, name: str, ours: Cli, theirs: Cli, *, change: bool) -> None:
    say(f"(d) {name}, {REPEATS} times on each")
    taken: dict[str, list[float]] = {"ours": [], "file": []}
    for number in range(REPEATS):
        for side, cli in (("ours", ours), ("file", theirs)):
            if change:
                (cli.directory / VALUE_FILE).write_text(str(number + 1))
            taken[side].append(cli.up())
    our_ms, their_ms = statistics.median(taken["ours"]), statistics.median(taken["file"])
    section.within(f"{name}, median", our_ms / 1000, "s", their_ms / 1000, AGAIN_MAX)
    key = name.replace(" ", "_")
    section.samples |= {key: taken["ours"], f"{key}_file": taken["file"]}
