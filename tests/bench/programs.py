"""What the CLI runs in the figures of the state backend: one program, of as many resources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from control_plane import toolchain
from tests.bench.servers import Served
from tests.bench.yardsticks import Cli
from tests.support.programs import repository
from tests.support.slipway import TOKEN, USER

DEPLOYMENT = {"PULUMI_JOURNALING_BATCH_PERIOD": "1"}
"""What the runner gives a deployment's CLI."""
BATCH_PERIOD_MS = 50
"""How long a CLI without that collects journal entries before it sends them."""
PROJECT = "many"
VALUE_FILE = "value.txt"
PROGRAM = """
import pulumi
from pathlib import Path

value = Path("value.txt").read_text()
for number in range(COUNT):
    pulumi.Stash(f"thing-{number}", input=FILLING + (value if number == 0 else "same"))
pulumi.export("count", COUNT)
"""
"""Independent resources of the engine's own provider: no plugin takes part, and time."""


def many(directory: Path, count: int, filling: str = "") -> Path:
    """A program of that many resources, each of whose values holds the filling."""
    return repository(directory, PROJECT, program(count, filling), files={VALUE_FILE: "0"})


def program(count: int, filling: str) -> str:
    """The text of such a program."""
    return PROGRAM.replace("COUNT", str(count)).replace("FILLING", repr(filling))


def tools_dir() -> Path:
    """Where the CLI is."""
    tools = toolchain.find()
    if tools is None:
        raise RuntimeError("there is no Pulumi toolchain; make setup gets it")
    return tools.bin_dir


def default_parallel() -> int:
    """How many steps the CLI does at once when it is not told."""
    return 4 * len(os.sched_getaffinity(0))


def cli_on(
    served: Served,
    directory: Path,
    home: Path,
    stack: str,
    variables: Mapping[str, str] | None = None,
) -> Cli:
    """The CLI on our backend, with a new stack selected."""
    cli = Cli(tools_dir(), directory, home, served.url, TOKEN, variables)
    cli.run("stack", "init", f"{USER}/{PROJECT}/{stack}")
    return cli
