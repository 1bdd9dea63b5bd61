"""What the steps of one deployment share: how far it has come, how it can fail, and its tools."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner_actors.contract import Grant
from runner_actors.shim_client import Command, Exit, ShimClient
from runner_actors.unseal import Secrets
from runner_actors.workspace import Workspace

_NO_SPACE = "No space left on device"


@dataclass(frozen=True)
class Failure:
    """Why a deployment did not succeed: a reason of the wire, and a sentence or two for its user.

    `said` means that the log tells it already.
    """

    reason: str
    message: str = ""
    exit_code: int | None = None
    said: bool = False


@dataclass(frozen=True)
class Source:
    """The commit that is deployed."""

    commit: str
    branch: str
    message: str
    author: str


@dataclass(frozen=True)
class Program:
    """A Pulumi program's directory and what its project file says."""

    directory: Path
    name: str
    runtime: str
    options: Mapping[str, Any]


@dataclass
class Attempt:
    """One deployment under way."""

    grant: Grant
    workspace: Workspace
    secrets: Secrets
    machine: Mapping[str, str]
    """What programs may see of the runner's own environment."""
    environment: dict[str, str] = field(default_factory=dict)
    """What programs get; complete once the source is there."""
    source: Source | None = None
    program: Program | None = None
    dependency_key: str = ""
    """What the program's dependencies are to be made from; empty while that is not known."""
    failure: Failure | None = None
    operating: bool = False
    """The operation's command has been started, so the infrastructure may have changed."""

    def use_backend(self, url: str) -> None:
        """Let the CLI reach the control plane at this address."""
        self.grant = msgspec.structs.replace(self.grant, api_url=url)
        self.environment["PULUMI_BACKEND_URL"] = url

    @property
    def directory(self) -> str:
        """Where the program's commands run."""
        return str(self.program.directory if self.program else self.workspace.source)


@dataclass(frozen=True)
class Tools:
    """What a step may do besides looking at files."""

    shim: ShimClient
    allow_local_sources: bool
    backend_url: Callable[[], Awaitable[str]]
    """Where the deployment's CLI reaches the control plane."""
    deadline: float
    """When, by the monotonic clock, the time of the whole deployment is over."""
    on_source: Callable[[Source], None] = field(default=lambda source: None)

    def seconds_left(self) -> float:
        """How much of the deployment's time is left."""
        return max(0.0, self.deadline - time.monotonic())

    async def run(self, command: Command, seconds_max: float = math.inf) -> Exit:
        """Run a program within the deployment's time, and within its own if it has less.

        When that is over the program is stopped, and everything after it refused.
        """
        seconds = min(seconds_max, self.seconds_left())
        if not seconds:  # then it must not even begin
            self.shim.stop("timed_out")
        running = asyncio.ensure_future(self.shim.run(command))
        done, _ = await asyncio.wait({running}, timeout=seconds)
        if not done and seconds:
            self.shim.stop("timed_out")
        return await running

    def note(self, line: str) -> None:
        """Write a line of our own into the log."""
        self.shim.note(line)


def stopped(ended: Exit) -> Failure | None:
    """What a command's end means for any step: somebody stopped it, or the disk is full."""
    if ended.stopped is not None and not ended.succeeded:
        return Failure(ended.stopped)
    if not ended.succeeded and _NO_SPACE in ended.tail + ended.problem:
        return Failure("disk_full")
    return None
