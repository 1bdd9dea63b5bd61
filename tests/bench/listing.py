"""(j) `pulumi stack ls` of thousands of stacks, beside the CLI's bare start."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.bench.programs import PROJECT, cli_on, many
from tests.bench.report import Section, say
from tests.bench.servers import Served, control_plane
from tests.bench.wire import Wire, generate, now_ms
from tests.support.slipway import TOKEN, USER

STACKS = 5_000
CONNECTIONS = 8
REPEATS = 11
MILLISECONDS_MAX = 300


def measure(root: Path) -> Section:
    """The CLI's whole command; and what of it is the server's."""
    section = Section(
        "j", f"pulumi stack ls of {STACKS} stacks; yardstick: pulumi whoami on the same server"
    )
    with control_plane(root / "data") as served:
        say(f"(j) {STACKS} stacks")
        _fill(served)
        cli = cli_on(served, many(root / "program", 1), root / "home", "dev")
        listed, bare, version, pages = [], [], [], []
        for _ in range(REPEATS):
            listed.append(cli.run("stack", "ls"))
            bare.append(cli.run("whoami"))
            version.append(cli.run("version"))
            pages.append(_all_pages(served))
    median = statistics.median
    section.at_most("stack ls", median(listed), "ms", MILLISECONDS_MAX, yardstick=median(bare))
    section.know("its requests alone", median(pages), "ms")
    section.know("pulumi version", median(version), "ms")
    section.samples = {"ls": listed, "whoami": bare, "version": version, "pages": pages}
    return section


def _fill(served: Served) -> None:
    path = f"/api/stacks/{USER}/{PROJECT}"
    create = [("POST", path, {"stackName": f"stack-{number}"}) for number in range(STACKS - 1)]
    load = generate(served.port, TOKEN, create, CONNECTIONS)
    if set(load.statuses) != {"200"}:
        raise RuntimeError(f"the stacks could not be made: {load.statuses}")


def _all_pages(served: Served) -> float:
    """The milliseconds that the CLI's requests take by themselves."""
    path = f"/api/user/stacks?organization={USER}&project={PROJECT}"
    found, token = 0, ""
    with Wire(served.port, TOKEN) as wire:
        began = now_ms()
        while True:
            page = wire.ask("GET", f"{path}&continuationToken={token}" if token else path)
            found += len(page["stacks"])
            token = page["continuationToken"]
            if not token:
                break
        milliseconds = now_ms() - began
    if found != STACKS:
        raise RuntimeError(f"{found} stacks of {STACKS} were listed")
    return milliseconds
