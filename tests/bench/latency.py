"""(a) From a submission to its first step and to its CLI, actor warm and cold; beside bare Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.report import Section, p50, p99, say
from tests.bench.servers import (
    Ended,
    StartWatch,
    create_stack,
    deploy,
    linked_toolchain,
    slipway,
    source,
)
from tests.bench.wire import Wire
from tests.bench.yardsticks import BareRay
from tests.support.programs import repository
from tests.support.slipway import TOKEN

WARM_STEPS = 200
WARM_STARTS = 30
COLD_STARTS = 10
WARM_UP = 3
PAUSE_SECONDS = 0.05
"""Between samples: both sides come to rest."""
STEP_CLOCK_MS = 20.0
"""A step's start is noted this close to the start of its process; no two commands are so close."""
OPERATE = "pulumi update"


@dataclass
class Samples:
    """Milliseconds, ours and the yardstick's, taken in turn."""

    ours: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


@dataclass
class Stage:
    """What all samples need."""

    wire: Wire
    ray: BareRay
    starts: StartWatch
    program: Path
    pulumi: Path


def measure(root: Path) -> Section:
    """All of (a) on one running Slipway."""
    section = Section("a", "submit -> first step, submit -> CLI process; yardstick: bare Ray")
    tools = linked_toolchain(root / "tools")
    program = repository(root / "program", "bench")
    with slipway(root / "data", tools=tools) as server, Wire(server.port, TOKEN) as wire:
        say("(a) the Ray driver of the yardstick joins")
        with BareRay(server) as ray:
            stage = Stage(wire, ray, StartWatch(tools), program, tools / "pulumi")
            _fill(section, stage)
    return section


def _fill(section: Section, stage: Stage) -> None:
    warm = create_stack(stage.wire, "bench", "warm")
    for _ in range(WARM_UP):
        deploy(stage.wire, warm, source(stage.program))
        stage.ray.create(stage.pulumi)
        stage.ray.call()
    step = _warm_steps(stage, warm)
    _rows(section, "warm: first step started", step, p50_max=15, p99_max=60)
    start = _warm_starts(stage, warm)
    _rows(section, "warm: CLI process started", start, p50_max=100)
    cold_step, cold_start = _cold(stage)
    name = "cold: first step started"
    section.above(f"{name}, p50", p50(cold_step.ours), "ms", p50(cold_step.bare), 200)
    section.know(f"{name}, p99", p99(cold_step.ours), "ms", p99(cold_step.bare))
    _rows(section, "cold: CLI process started", cold_start)
    section.notes.append(
        f"{len(step.ours)} warm steps, {len(start.ours)} warm starts, {len(cold_step.ours)} cold;"
        " of fewer than 100 samples the p99 is the largest"
    )
    section.samples = {
        "warm_step": step.ours,
        "warm_step_bare": step.bare,
        "warm_start": start.ours,
        "warm_start_bare": start.bare,
        "cold_step": cold_step.ours,
        "cold_step_bare": cold_step.bare,
        "cold_start": cold_start.ours,
        "cold_start_bare": cold_start.bare,
    }


def _rows(
    section: Section,
    name: str,
    samples: Samples,
    *,
    p50_max: float | None = None,
    p99_max: float | None = None,
) -> None:
    quantiles: list[tuple[str, Callable[[list[float]], float], float | None]] = [
        ("p50", p50, p50_max),
        ("p99", p99, p99_max),
    ]
    for label, of, limit in quantiles:
        ours, bare = of(samples.ours), of(samples.bare)
        if limit is None:
            section.know(f"{name}, {label}", ours, "ms", bare)
        else:
            section.at_most(f"{name}, {label}", ours, "ms", limit, yardstick=bare)


def _warm_steps(stage: Stage, stack_path: str) -> Samples:
    """Deployments that a pre-run command fails at once, so that no CLI runs."""
    say(f"(a) {WARM_STEPS} warm deployments, to the first step")
    request = source(stage.program, preRunCommands=["exit 1"])
    samples = Samples()
    for _ in range(WARM_STEPS):
        samples.ours.append(deploy(stage.wire, stack_path, request).first_step)
        time.sleep(PAUSE_SECONDS)
        samples.bare.append(stage.ray.call()[0])
    return samples


def _warm_starts(stage: Stage, stack_path: str) -> Samples:
    say(f"(a) {WARM_STARTS} warm deployments of an unchanged commit, to the CLI")
    request = source(stage.program)
    # Once for the dependencies, which may depend on the pre-run commands that were there before.
    deploy(stage.wire, stack_path, request)
    samples = Samples()
    for _ in range(WARM_STARTS):
        ended = deploy(stage.wire, stack_path, request)
        samples.ours.append(_start(stage, ended))
        time.sleep(PAUSE_SECONDS)
        samples.bare.append(stage.ray.call(stage.pulumi)[1])
    return samples


def _cold(stage: Stage) -> tuple[Samples, Samples]:
    """Without the installation of dependencies, whose time is the program's and the network's."""
    say(f"(a) {COLD_STARTS} first deployments of new stacks")
    request = source(stage.program, options={"skipInstallDependencies": True})
    steps, starts = Samples(), Samples()
    for number in range(COLD_STARTS):
        stack_path = create_stack(stage.wire, "bench", f"cold-{number}")
        ended = deploy(stage.wire, stack_path, request)
        steps.ours.append(ended.first_step)
        starts.ours.append(_start(stage, ended))
        time.sleep(PAUSE_SECONDS)
        entered, started = stage.ray.create(stage.pulumi)
        steps.bare.append(entered)
        starts.bare.append(started)
    return steps, starts


def _start(stage: Stage, ended: Ended) -> float:
    """When the operation's process came to be; its step says which of several it is."""
    if ended.status != "succeeded":
        raise RuntimeError(f"a deployment {ended.status}: {ended}")
    step_ms = ended.sent_ms + ended.steps[OPERATE]
    return stage.starts.first_after(step_ms - STEP_CLOCK_MS) - ended.sent_ms
