"""(h) What the server takes for a batch of journal entries, however large the stack is."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.report import Section, p50, p99, say
from tests.bench.servers import Served, control_plane, create_stack
from tests.bench.wire import Wire
from tests.support.slipway import TOKEN

SIZES = (100, 10_000, 50_000)
BATCHES = 300
WARM_UP = 20
STEPS_EACH = 8
"""Steps begun and done in a batch: about what a CLI does at once."""
FACTOR = 1.1
PROJECT = "bench"


@dataclass
class Running:
    """An update of a stack of that many resources, under its lease."""

    size: int
    path: str
    wire: Wire
    batches: int = 0
    milliseconds: list[float] = field(default_factory=list)

    def append(self) -> float:
        """Send one batch; gives the milliseconds to the answer."""
        first = self.batches * STEPS_EACH + 1
        self.batches += 1
        entries = [entry for step in range(first, first + STEPS_EACH) for entry in _step(step)]
        sent = time.perf_counter()
        self.wire.ask("PATCH", f"{self.path}/journalentries", {"entries": entries})
        return (time.perf_counter() - sent) * 1000

    def complete(self) -> float:
        """End it, which makes the journal a state; gives the milliseconds."""
        began = time.perf_counter()
        self.wire.ask("POST", f"{self.path}/complete", {"status": "succeeded"})
        return (time.perf_counter() - began) * 1000


def measure(root: Path) -> Section:
    """Batches of the stacks in turn, so that all see the same machine."""
    section = Section(
        "h", f"a batch of {2 * STEPS_EACH} journal entries; yardstick: the smallest stack"
    )
    with control_plane(root / "data") as served, contextlib.ExitStack() as wires:
        say(f"(h) stacks of {', '.join(map(str, SIZES))} resources")
        running = [_start(served, size, wires) for size in SIZES]
        for number in range(WARM_UP + BATCHES):
            for update in running:
                milliseconds = update.append()
                if number >= WARM_UP:
                    update.milliseconds.append(milliseconds)
        ended = {update.size: update.complete() for update in running}
    _fill(section, running, ended)
    return section


def _fill(section: Section, running: list[Running], ended: dict[int, float]) -> None:
    least, *others = running
    section.know(f"{least.size} resources, p50", p50(least.milliseconds), "ms")
    for update in others:
        ours, theirs = p50(update.milliseconds), p50(least.milliseconds)
        section.within(f"{update.size} resources, p50", ours, "ms", theirs, FACTOR)
        worst, best = p99(update.milliseconds), p99(least.milliseconds)
        section.know(f"{update.size} resources, p99", worst, "ms", best)
    for size, milliseconds in ended.items():
        section.know(f"the end of an update of {size} resources", milliseconds, "ms")
    section.samples = {f"resources_{each.size}": each.milliseconds for each in running}


def _start(served: Served, size: int, wires: contextlib.ExitStack) -> Running:
    wire = wires.enter_context(Wire(served.port, TOKEN))
    stack = create_stack(wire, PROJECT, f"of-{size}")
    wire.ask("POST", f"{stack}/import", document(size))
    update = wire.ask("POST", f"{stack}/update", {"name": PROJECT, "runtime": "python"})
    path = f"{stack}/update/{update['updateID']}"
    lease = wire.ask("POST", path, {"journalVersion": 1})
    leased = wires.enter_context(Wire(served.port, lease["token"], "update-token"))
    return Running(size, path, leased)


def document(size: int) -> dict[str, Any]:
    """The state of a stack of that many resources."""
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}
    resources = [_resource(f"old-{number}") for number in range(size)]
    return {"version": 3, "deployment": {"manifest": manifest, "resources": resources}}


def _resource(name: str) -> dict[str, Any]:
    """Of about a kilobyte."""
    value = json.dumps({"name": name, "tags": ["a", "b"], "filling": "x" * 250})
    return {
        "urn": f"urn:pulumi:dev::{PROJECT}::bench:index:Thing::{name}",
        "custom": True,
        "id": name,
        "type": "bench:index:Thing",
        "inputs": {"input": value},
        "outputs": {"input": value},
    }


def _step(number: int) -> list[dict[str, Any]]:
    """A resource is about to be created, and has been."""
    state = _resource(f"new-{number}")
    begun = {"resource": state, "type": "creating"}
    return [
        {"version": 1, "kind": 0, "sequenceID": 2 * number, "operationID": number}
        | {"operation": begun},
        {"version": 1, "kind": 1, "sequenceID": 2 * number + 1, "operationID": number}
        | {"state": state},
    ]
