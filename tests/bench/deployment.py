"""(b) A whole warm deployment of the Python example, beside the bare CLI on its file backend."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from control_plane import toolchain
from tests.bench.report import Section, say
from tests.bench.servers import create_stack, deploy, slipway, source
from tests.bench.wire import ROOT, Wire
from tests.bench.yardsticks import file_backend
from tests.support.programs import commit, git, virtualenv
from tests.support.slipway import TOKEN

PAIRS = 15
WARM_UP = 2
POLL_SECONDS = 0.3
"""Seldom: each look takes server time away from the CLI. The end is the record's own time."""
PROJECT = "hello-python"


def measure(root: Path) -> Section:
    """Pairs of an unchanged deployment and an unchanged `pulumi up`, in turn."""
    section = Section("b", "a whole warm deployment of examples/python; yardstick: bare pulumi up")
    tools = toolchain.find()
    assert tools is not None
    bare = file_backend(tools.bin_dir, example(root / "bare"), root / "bare-state")
    repository = example(root / "repository")
    ours: list[float] = []
    theirs: list[float] = []
    with slipway(root / "data") as server, Wire(server.port, TOKEN) as wire:
        stack = create_stack(wire, PROJECT, "dev")
        say(f"(b) {PAIRS} pairs of a deployment and a bare pulumi up")
        for number in range(WARM_UP + PAIRS):
            ended = deploy(wire, stack, source(repository), poll_seconds=POLL_SECONDS)
            seconds = bare.up()
            if ended.status != "succeeded":
                raise RuntimeError(f"a deployment {ended.status}: {ended}")
            if number >= WARM_UP:
                ours.append(ended.ended)
                theirs.append(seconds)
    median = statistics.median
    section.within("submit -> ended, median", median(ours), "ms", median(theirs), 1.1)
    section.know("submit -> ended, fastest", min(ours), "ms", min(theirs))
    section.samples = {"ours": ours, "bare": theirs}
    return section


def example(directory: Path) -> Path:
    """The example in a repository, on this environment's own Python: the same for both sides."""
    shutil.copytree(
        ROOT / "examples" / "python",
        directory,
        ignore=shutil.ignore_patterns("venv", "__pycache__", "requirements.txt"),
    )
    project = directory / "Pulumi.yaml"
    text = project.read_text().replace("virtualenv: venv", f"virtualenv: {virtualenv()}")
    project.write_text(text)
    git(directory, "init", "--quiet", "--initial-branch=main")
    commit(directory, "The example")
    return directory
