"""The actor's side of the shim: start one, speak with it, and know how each command ended."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

MESSAGE_BYTES_MAX = 16 << 20
_INHERITED = ("PATH", "LD_LIBRARY_PATH")
_PROGRAM = "import sys; sys.path.append(sys.argv[2]); from runner_actors.shim import main; main()"
_PACKAGE_ROOT = str(Path(__file__).resolve().parent.parent)


class ShimGone(Exception):
    """The shim ended without being asked to: killed, or it could not begin."""


class Command(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One program to run; `runner_actors.commands` tells what the fields mean."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    capture_bytes_max: int = 0
    files: dict[str, str] = {}
    sweep: bool = True
    durable: bool = False


class Exit(msgspec.Struct, kw_only=True):
    """How a command ended. Neither code nor signal means that it never started."""

    code: int | None = None
    signal: int | None = None
    stopped: str | None = None
    """Why it was stopped, or not even started; None if nobody stopped it."""
    problem: str = ""
    """Why it could not be started."""
    tail: str = ""
    captured: str = ""
    total: int = 0
    """How long the deployment's output was when it had ended."""

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself, and well."""
        return self.code == 0


class Begin(msgspec.Struct, kw_only=True):
    """What a shim must know before its first command."""

    spool: str
    locks: list[str]
    marker: str
    secrets: list[str]
    lease_until: float
    lease_seconds: float
    grace_seconds: float
    output_bytes_max: int


class ShimClient:
    """One shim. It is started early, by a plain constructor, and spoken with in an event loop."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(theirs.fileno()), _PACKAGE_ROOT]
            self._starter = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._next_id = 0
        self.on_output: Callable[[int], None] = lambda total: None
        self.on_started: Callable[[int], None] = lambda at_ms: None
        self.begun = False
        self.gone = False

    async def connect(self) -> None:
        """Make it possible to speak with the shim, from this event loop."""
        reader, self._writer = await asyncio.open_unix_connection(
            sock=self._socket, limit=MESSAGE_BYTES_MAX
        )
        self._reading = asyncio.create_task(self._read(reader))

    async def begin(self, begin: Begin) -> int:
        """Take the spool and the workspace, waiting for a predecessor; gives the shim's pid.

        Raises ShimGone, also when a stop comes first.
        """
        answer = await self._ask("begin", msgspec.to_builtins(begin), "begun")
        self.begun = True
        return int(answer["pid"])

    async def begin_step(self, number: int, name: str) -> int:
        """What follows belongs to this step; gives how much output there is before it.

        Raises ShimGone.
        """
        answer = await self._ask("step", {"number": number, "name": name}, "stepped")
        return int(answer["total"])

    async def run(self, command: Command) -> Exit:
        """Run a program to its end. Raises ShimGone."""
        self._next_id += 1
        request = {"id": self._next_id, **msgspec.to_builtins(command)}
        answer = await self._ask("run", request, f"exited {self._next_id}")
        return msgspec.convert(answer, Exit)

    def note(self, line: str) -> None:
        """Write a line of our own into the log, after all output so far."""
        self._tell("note", line)

    def renew(self, until: float) -> None:
        """The lease now ends at this moment of CLOCK_BOOTTIME."""
        self._tell("lease", until)

    def stop(self, reason: str, mode: str = "graceful") -> None:
        """Stop what runs and start nothing more; a second, stronger call shortens the first."""
        self._tell("stop", {"reason": reason, "mode": mode})

    async def finish(self) -> int:
        """End whatever is left and settle the spool; gives the output's length. Raises ShimGone."""
        answer = await self._ask("finish", None, "finished")
        await self.close()
        return int(answer["total"])

    async def close(self) -> None:
        """Let go of the shim; it ends its tree and itself."""
        if self._reading:
            self._reading.cancel()
        if self._writer:
            self._writer.close()
        self._socket.close()
        await asyncio.to_thread(self._starter.wait)

    def _tell(self, verb: str, payload: Any) -> None:
        # uvloop, which Ray's asynchronous actors run on, raises on a closed transport.
        if self._writer and not self.gone and not self._writer.is_closing():
            self._writer.write(json.dumps({verb: payload}).encode() + b"\n")

    async def _ask(self, verb: str, payload: Any, answer: str) -> Any:
        if self.gone or self._writer is None:
            raise ShimGone("the process that supervises the deployment has ended")
        future = asyncio.get_running_loop().create_future()
        self._answers[answer] = future
        self._tell(verb, payload)
        return await future

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                for verb, payload in json.loads(line).items():
                    self._hear(verb, payload)
        self._end("the process that supervises the deployment was killed")

    def _hear(self, verb: str, payload: Any) -> None:
        if verb == "output":
            self.on_output(payload)
        elif verb == "started":
            self.on_started(payload["at_ms"])
        elif verb == "failed":
            self._end(payload["problem"])
        else:
            name = f"exited {payload['id']}" if verb == "exited" else verb
            future = self._answers.pop(name, None)
            if future and not future.done():
                future.set_result(payload)

    def _end(self, problem: str) -> None:
        self.gone = True
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ShimGone(problem))
        self._answers.clear()


def secret_text(value: bytes) -> str:
    """How a secret travels to the shim: base64, inside the socket only."""
    return base64.b64encode(value).decode()
