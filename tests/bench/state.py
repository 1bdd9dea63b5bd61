"""(d) The CLI on our state backend, beside the same CLI on its file backend."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from control_plane import toolchain
from tests.bench.report import Section, say
from tests.bench.servers import control_plane
from tests.bench.yardsticks import Cli, file_backend
from tests.support.programs import repository
from tests.support.slipway import TOKEN, USER

RESOURCES = int(os.environ.get("BENCH_RESOURCES", "1000"))
REPEATS = 3
"""Of what takes seconds; the creation on the file backend takes a minute and more: once."""
DEPLOYMENT = {"PULUMI_JOURNALING_BATCH_PERIOD": "1"}
"""What the runner gives a deployment's CLI. By itself the CLI holds a journal entry back for up to
50 ms to send more at once, and its engine waits for one entry after the other."""
PROJECT = "many"
PROGRAM = f"""
import pulumi
from pathlib import Path

value = Path("value.txt").read_text()

class Thing(pulumi.ComponentResource):
    def __init__(self, name, value):
        super().__init__("bench:index:Thing", name, {{"value": value}})
        self.register_outputs({{"name": name, "value": value}})

for number in range({RESOURCES}):
    Thing(f"thing-{{number}}", value if number == 0 else "same")
pulumi.export("count", {RESOURCES})
"""


def measure(root: Path) -> Section:
    """Create, change nothing, change one; the two backends in turn."""
    section = Section(
        "d", f"the CLI on our state backend, {RESOURCES} resources; yardstick: its file backend"
    )
    tools = toolchain.find()
    assert tools is not None
    theirs = file_backend(tools.bin_dir, _program(root / "file"), root / "file-state")
    with control_plane(root / "data", []) as port:
        url = f"http://127.0.0.1:{port}"
        home = root / "home"
        ours = Cli(tools.bin_dir, _program(root / "ours"), home, url, TOKEN, DEPLOYMENT)
        ours.run("stack", "init", f"{USER}/{PROJECT}/deployment")
        plain = Cli(tools.bin_dir, _program(root / "plain"), home, url, TOKEN)
        plain.run("stack", "init", f"{USER}/{PROJECT}/plain")
        _create(section, ours, plain, theirs)
        _repeat(section, "no-op", plain, theirs, change=False)
        _repeat(section, "change one", plain, theirs, change=True)
    return section


def _program(directory: Path) -> Path:
    return repository(directory, PROJECT, PROGRAM, files={"value.txt": "0"})


def _create(section: Section, deployment: Cli, plain: Cli, theirs: Cli) -> None:
    say("(d) create, on our backend")
    taken = {"create": deployment.up(), "create_plain": plain.up()}
    say(f"(d) create, on the file backend (ours took {taken['create'] / 1000:.1f} s)")
    taken["create_file"] = theirs.up()
    theirs_s = taken["create_file"] / 1000
    section.within("create, as in a deployment", taken["create"] / 1000, "s", theirs_s, 0.25)
    section.within("create, a plain CLI", taken["create_plain"] / 1000, "s", theirs_s, 0.25)
    section.notes.append(
        "a deployment's CLI has PULUMI_JOURNALING_BATCH_PERIOD=1; a plain one waits up to 50 ms"
        " before it sends a journal entry, whatever the server does"
    )
    section.samples |= {name: [ms] for name, ms in taken.items()}


def _repeat(section: Section, name: str, ours: Cli, theirs: Cli, *, change: bool) -> None:
    say(f"(d) {name}, {REPEATS} times on each")
    taken: dict[str, list[float]] = {"ours": [], "file": []}
    for number in range(REPEATS):
        for side, cli in (("ours", ours), ("file", theirs)):
            if change:
                (cli.directory / "value.txt").write_text(str(number + 1))
            taken[side].append(cli.up())
    our_ms, their_ms = statistics.median(taken["ours"]), statistics.median(taken["file"])
    section.within(f"{name}, median", our_ms / 1000, "s", their_ms / 1000, 1.1)
    key = name.replace(" ", "_")
    section.samples |= {key: taken["ours"], f"{key}_file": taken["file"]}
