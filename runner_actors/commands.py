"""What the shim handles: the socket to the actor, one command, and the pipe of its output."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

from runner_actors.process_tree import CannotStart, spawn
from runner_actors.redact import Redactor

READ_BYTES_MAX = 1 << 16
TAIL_BYTES_MAX = 16384
LINGER_SECONDS = 0.25
"""How long a command's own children may take to end after it, before they are killed."""
_PIPE_BYTES = 1 << 20


class Link:
    """The socket to the actor: JSON lines, never blocking; what cannot be sent yet is kept."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.closed = False
        self._received = b""
        self.unsent = b""

    def receive(self) -> Iterator[tuple[str, Any]]:
        """The messages that have come; notes the end of the socket."""
        try:
            while data := os.read(self.descriptor, 1 << 16):
                self._received += data
            self._close()
        except BlockingIOError:
            pass
        except OSError:
            self._close()
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            yield from json.loads(line).items()

    def send(self, verb: str, payload: Any) -> None:
        """Send a message, now or with the next flush."""
        self.unsent += json.dumps({verb: payload}).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what is left, as far as the socket takes it."""
        try:
            while self.unsent and not self.closed:
                self.unsent = self.unsent[os.write(self.descriptor, self.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._close()

    def _close(self) -> None:
        self.closed = True
        self.unsent = b""


class Stream:
    """The pipe of a command's output, and what it holds back or captures.

    It redacts for itself, since a secret can straddle two reads of one pipe, never two pipes.
    """

    def __init__(self, descriptor: int, redactor: Redactor, capture_bytes_max: int) -> None:
        self.descriptor = descriptor
        self.closed = False
        self.tail = b""
        self.captured = b""
        self._redactor = redactor
        self._capture_bytes_max = capture_bytes_max

    def read(self) -> bytes:
        """One read's worth of redacted output for the log; often empty, never waiting."""
        if self.closed:
            return b""
        try:
            data = os.read(self.descriptor, READ_BYTES_MAX)
        except BlockingIOError:
            return b""
        return self._show(data) if data else self.close()

    def close(self) -> bytes:
        """Close the pipe; gives what was still held back."""
        if self.closed:
            return b""
        os.close(self.descriptor)
        self.closed = True
        return self._remember(self._redactor.flush())

    def _show(self, data: bytes) -> bytes:
        if self._capture_bytes_max:
            self.captured = (self.captured + data)[: self._capture_bytes_max]
            return b""
        return self._remember(self._redactor.feed(data))

    def _remember(self, shown: bytes) -> bytes:
        self.tail = (self.tail + shown[-TAIL_BYTES_MAX:])[-TAIL_BYTES_MAX:]
        return shown


class Command:
    """One run request: `id`, `argv`, `cwd`, `env`, and optionally

    capture_bytes_max   keep the output out of the log and answer it, so much of it
    files               variable name -> base64: secret content, given to the command as a path
                        that only this user can read and that is gone with the command
    sweep               False: what it started may go on until the deployment ends
    durable             True: how it ended is on the disk's platter before anything follows
    """

    def __init__(self, request: dict[str, Any], redactor: Redactor) -> None:
        self.id = request["id"]
        self.sweep = request.get("sweep", True)
        self.durable = request.get("durable", False)
        self.pid = 0
        self.status: int | None = None
        self.problem = ""
        self.linger_until = 0.0
        self.stream: Stream | None = None
        self._request = request
        self._redactor = redactor
        self._files: list[int] = []

    def start(self, marker: str) -> None:
        """Start it. Raises CannotStart."""
        request = self._request
        name, _, value = marker.partition("=")
        output, to_output = os.pipe()
        _widen(output)
        self.stream = Stream(output, self._redactor, request.get("capture_bytes_max", 0))
        try:
            files = {key: self._secret_file(data) for key, data in request.get("files", {}).items()}
            env = {**request["env"], **files, name: value}
            self.pid = spawn(request["argv"], request["cwd"], env, to_output)
        except CannotStart as problem:
            self.problem = str(problem)
            self.stream.close()
            self._close_files()
            raise
        finally:
            os.close(to_output)

    def ended(self, status: int, now: float) -> None:
        """Note how it ended; its own children get a moment to follow."""
        self.status = status
        self.linger_until = now + LINGER_SECONDS
        self._close_files()

    def drain(self) -> bytes:
        """What is left in the pipe; it is closed unless a background process may still write."""
        if self.stream is None:
            return b""
        parts = []
        for _ in range(_PIPE_BYTES // READ_BYTES_MAX + 1):
            parts.append(self.stream.read())
        if self.sweep:
            parts.append(self.stream.close())
        return b"".join(parts)

    @property
    def silent(self) -> bool:
        """Whether nothing can come from its pipe any more."""
        return self.stream is None or self.stream.closed

    def report(self, stopped: str | None) -> dict[str, Any]:
        """How it ended, and why it was stopped; for the actor and for the spool."""
        code = os.waitstatus_to_exitcode(self.status) if self.status is not None else None
        return {
            "id": self.id,
            "code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "stopped": stopped,
            "problem": self.problem,
        }

    def output(self) -> dict[str, str]:
        """The end of what it wrote, redacted, or what was captured; for the actor only."""
        if self.stream is None:
            return {}
        texts = {"tail": self.stream.tail, "captured": self.stream.captured}
        return {key: text.decode(errors="replace") for key, text in texts.items()}

    def _secret_file(self, data: str) -> str:
        """A file in memory; a path through this process is the only way to it."""
        descriptor = os.memfd_create("secret")
        self._files.append(descriptor)
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, base64.b64decode(data))
        return f"/proc/{os.getpid()}/fd/{descriptor}"

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.pop())


def _widen(descriptor: int) -> None:
    """Make the pipe larger, where allowed: a flood then costs fewer turns."""
    os.set_blocking(descriptor, False)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return
