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
PROMPT_NAME = "PULUMI_JOURNALING_BATCH_PERIOD"
PROMPT = {PROMPT_NAME: "1"}
"""The CLI holds journal entries back for so many milliseconds (by itself 50), and its engine waits
for each: it is what a creation on a near backend takes most of its time for."""
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
        ours = Cli(tools.bin_dir, _program(root / "ours"), root / "home", url, TOKEN)
        ours.run("stack", "init", f"{USER}/{PROJECT}/dev")
        prompt = Cli(tools.bin_dir, _program(root / "prompt"), root / "home", url, TOKEN, PROMPT)
        prompt.run("stack", "init", f"{USER}/{PROJECT}/prompt")
        _create(section, ours, prompt, theirs)
        _repeat(section, "no-op", ours, theirs, change=False)
        _repeat(section, "change one", ours, theirs, change=True)
    return section


def _program(directory: Path) -> Path:
    return repository(directory, PROJECT, PROGRAM, files={"value.txt": "0"})


def _create(section: Section, ours: Cli, prompt: Cli, theirs: Cli) -> None:
    say("(d) create, on our backend")
    taken = {"create": ours.up(), "create_prompt": prompt.up()}
    say(f"(d) create, on the file backend (ours took {taken['create'] / 1000:.1f} s)")
    taken["create_file"] = theirs.up()
    theirs_s = taken["create_file"] / 1000
    section.within("create", taken["create"] / 1000, "s", theirs_s, 0.25)
    name = f"create, {PROMPT_NAME}={PROMPT[PROMPT_NAME]}"
    section.within(name, taken["create_prompt"] / 1000, "s", theirs_s, 0.25)
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
