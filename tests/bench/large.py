"""(g) Ten thousand resources, each step durable, beside the CLI when it saves only at the end."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.programs import DEPLOYMENT, cli_on, many, tools_dir
from tests.bench.report import Section, say
from tests.bench.servers import control_plane
from tests.bench.yardsticks import file_backend

RESOURCES = int(os.environ.get("BENCH_RESOURCES_LARGE", "10000"))
FACTOR = 2.0
NOT_DURABLE = {"PULUMI_SKIP_CHECKPOINTS": "1"}


def measure(root: Path) -> Section:
    """One creation each."""
    section = Section(
        "g",
        f"create of {RESOURCES} resources, every step durable;"
        " yardstick: the file backend with PULUMI_SKIP_CHECKPOINTS=1",
    )
    program = many(root / "file", RESOURCES)
    theirs = file_backend(tools_dir(), program, root / "file-state", variables=NOT_DURABLE)
    with control_plane(root / "data") as served:
        ours = cli_on(
            served, many(root / "ours", RESOURCES), root / "home", "deployment", DEPLOYMENT
        )
        plain = cli_on(served, many(root / "plain", RESOURCES), root / "plain-home", "plain")
        say("(g) create, as in a deployment; then the yardstick; then a plain CLI")
        taken = {name: cli.up() / 1000 for name, cli in (("ours", ours), ("file", theirs))}
        taken["plain"] = plain.up() / 1000
    section.within("create, as in a deployment", taken["ours"], "s", taken["file"], FACTOR)
    section.within("create, a plain CLI", taken["plain"], "s", taken["file"], FACTOR)
    section.notes.append("of a plain CLI, see the note at (d): it waits ten times as long here")
    section.samples = {name: [seconds] for name, seconds in taken.items()}
    return section
