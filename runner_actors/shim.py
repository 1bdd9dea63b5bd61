"""The small program between an actor and everything that one deployment runs.

It owns the process tree, the spool and the lease's deadline, and outlives the actor just long
enough to end the tree in order. It is started by `shim_client.py` with one socket; both sides
write JSON lines `{verb: payload}`, and the end of the socket means that the actor is gone.

    actor to shim   begin  spool, locks, marker, secrets, lease and limits; once, before all else
                    step   number and name of the step that what follows belongs to
                    run    one command (see `commands.Command`); one at a time
                    note   a line of our own for the log
                    lease  the new end of the lease, in seconds of CLOCK_BOOTTIME
                    stop   mode (graceful, now) and reason; no command starts any more
                    finish end whatever is left, settle the spool, exit
    shim to actor   begun, stepped, started, output (bytes so far), exited, finished, failed

A stop, the end of the socket and a lease that runs out all do the same: SIGINT to the command's
group, after the grace SIGTERM, then SIGKILL for every descendant, all of it before the lease ends.
Only the standard library is imported, and little of it, since the start counts.
"""

from __future__ import annotations

import base64
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from runner_actors.commands import Command, Link, Stream
from runner_actors.process_tree import (
    CannotStart,
    become_supervisor,
    end_descendants,
    send_group,
)
from runner_actors.redact import Redactor
from runner_actors.spool import LOCK, SpoolFull, SpoolWriter, try_lock
from runner_actors.stop_ladder import Lease, StopLadder, boot_seconds

MARKER = "SLIPWAY_DEPLOYMENT"
"""In every child's environment: `<deployment id>.<generation>`, to find what outlived a shim."""
OUTPUT_REPORT_SECONDS = 0.02
SHORTEST_WAIT_SECONDS = 0.005
RETRY_SECONDS = 0.005
SWEEP_SECONDS_MAX = 10.0
"""After this long a process that cannot be killed no longer holds up the report of its command."""


class Shim:
    """One deployment's supervisor: a loop over the actor's socket, the pipes and the children."""

    def __init__(self, link: Link, wakeups: int) -> None:
        self._link = link
        self._wakeups = wakeups
        self._verbs: dict[str, Callable[[Any], None]] = {
            "begin": self._ask_to_begin,
            "step": self._begin_step,
            "run": self._run,
            "note": self._note,
            "lease": self._renew,
            "stop": lambda stop: self.halt(stop["reason"], stop["mode"]),
            "finish": lambda _: self._end_soon(),
        }
        self._wanted: dict[str, Any] | None = None
        self._begun: dict[str, Any] = {}
        self._locks: list[int] = []
        self._spool: SpoolWriter | None = None
        self._redactor = Redactor(())
        self._lease: Lease | None = None
        self._ladder: StopLadder | None = None
        self._command: Command | None = None
        self._background: list[Stream] = []
        self._reported = (0, 0.0)
        self._ending = False
        self._finished = False

    # The loop.

    def serve(self) -> None:
        """Work until the deployment is over and no process is left."""
        while not self._finished:
            ready = self._wait()
            if self._wakeups in ready:
                os.read(self._wakeups, 4096)
            if self._link.descriptor in ready:
                self._hear()
            for descriptor, stream in self._streams().items():
                if descriptor in ready:
                    self._keep(stream.read())
            self._turn(boot_seconds())

    def _wait(self) -> set[int]:
        poll = select.poll()
        links = () if self._link.closed else (self._link.descriptor,)
        for descriptor in (self._wakeups, *links, *self._streams()):
            poll.register(descriptor, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(self._idle_seconds() * 1000)}

    def _idle_seconds(self) -> float:
        """How long nothing will need a look, unless something happens."""
        now = boot_seconds()
        waits = [60.0]
        if self._wanted or self._link.unsent:
            waits.append(RETRY_SECONDS)
        if self._spool and self._spool.total != self._reported[0]:
            waits.append(self._reported[1] + OUTPUT_REPORT_SECONDS - now)
        if self._lease and not self._ladder:
            waits.append(self._lease.stop_at - now)
        if self._lease and self._ladder and self._command:
            waits.append(self._ladder.next_at(self._lease) - now)
        if self._command and self._command.status is not None:
            waits.append(self._command.linger_until - now)
        if self._ending and not self._command:
            waits.append(0.0)
        return max(min(waits), SHORTEST_WAIT_SECONDS)

    def _turn(self, now: float) -> None:
        """Everything that time or the end of a process brings about."""
        self._try_to_begin()
        if self._lease and not self._ladder and now >= self._lease.stop_at:
            self.halt("lease_expired")
        self._climb(now)
        self._settle(now)
        self._report_output(now)
        self._link.flush()

    # What the actor asks for.

    def _hear(self) -> None:
        for verb, payload in self._link.receive():
            self._verbs[verb](payload)
        if self._link.closed:
            self.halt("actor_died")
            self._end_soon()

    def _ask_to_begin(self, request: dict[str, Any]) -> None:
        self._wanted = request
        secrets = [base64.b64decode(secret) for secret in request["secrets"]]
        self._redactor = Redactor(secrets)
        limits = ("lease_until", "lease_seconds", "grace_seconds")
        self._lease = Lease(*(request[limit] for limit in limits))

    def _try_to_begin(self) -> None:
        """The spool and the workspace belong to one shim at a time: wait for both."""
        request = self._wanted
        if request is None:
            return
        try:
            if self._ladder:
                raise BlockingIOError("the files of this stack were still in use until the end")
            if not self._take_locks([os.path.join(request["spool"], LOCK), *request["locks"]]):
                return
            self._spool = SpoolWriter(request["spool"], request["output_bytes_max"])
        except OSError as problem:
            self._link.send("failed", {"problem": str(problem)})
            self._end_soon()
        else:
            self._begun = request
            self._link.send("begun", {"pid": os.getpid()})
        self._wanted = None

    def _take_locks(self, paths: list[str]) -> bool:
        for path in paths[len(self._locks) :]:
            lock = try_lock(path)
            if lock is None:
                return False
            self._locks.append(lock)
        return True

    def _begin_step(self, step: dict[str, Any]) -> None:
        if self._spool:
            self._spool.begin_step(step["number"], step["name"])
            self._link.send("stepped", {"total": self._spool.total})

    def _run(self, request: dict[str, Any]) -> None:
        command = Command(request, Redactor.like(self._redactor))
        if self._ladder or self._spool is None:
            self._report_exit(command)
            return
        started = {"id": command.id, "at_ms": time.time_ns() // 1_000_000}
        self.record({"started": {**started, "step": self._spool.step}})
        try:
            command.start(f"{MARKER}={self._begun['marker']}")
        except CannotStart:
            self._report_exit(command)
        else:
            self._command = command
            self._link.send("started", {**started, "pid": command.pid})

    def _note(self, line: str) -> None:
        if self._spool:
            self._spool.append_line(self._redactor.whole(line.encode()))

    def _renew(self, until: float) -> None:
        if self._lease:
            self._lease.until = max(self._lease.until, until)

    def _end_soon(self) -> None:
        self._ending = True

    # Output.

    def _streams(self) -> dict[int, Stream]:
        own = [self._command.stream] if self._command and self._command.stream else []
        return {s.descriptor: s for s in (*own, *self._background) if not s.closed}

    def _keep(self, data: bytes) -> None:
        if self._spool and data:
            try:
                self._spool.append(data)
            except SpoolFull as full:
                self.halt(str(full))

    def _report_output(self, now: float) -> None:
        total = self._spool.total if self._spool else 0
        reported, at = self._reported
        if total > reported and now >= at + OUTPUT_REPORT_SECONDS:
            self._link.send("output", total)
            self._reported = (total, now)

    # Stopping.

    def halt(self, reason: str, mode: str = "graceful") -> None:
        """Begin to stop, or stop harder; the first reason stays."""
        if self._ladder is None:
            grace = self._begun.get("grace_seconds", 0.0)
            self._ladder = StopLadder(reason, mode, boot_seconds(), grace)
        elif mode == "now":
            self._ladder.kill_now(boot_seconds())

    def _climb(self, now: float) -> None:
        number = self._ladder.due(now, self._lease) if self._ladder and self._lease else None
        if number is None:
            return
        if number == signal.SIGKILL or self._command is None:
            end_descendants(os.getpid())
        elif self._command.status is None:
            send_group(self._command.pid, number)

    def _settle(self, now: float) -> None:
        """See who has ended, end what outlived its command, and report."""
        alone = self.reap(now)
        if self._command:
            if self._command.status is not None:
                self._settle_command(self._command, alone, now)
        elif self._ending:
            if not alone:
                end_descendants(os.getpid())
            self._end()
            self._finished = alone

    def _settle_command(self, command: Command, alone: bool, now: float) -> None:
        lingering = now < command.linger_until
        command.sweep = command.sweep or self._ladder is not None
        if alone or (not command.sweep and (command.silent or not lingering)):
            self._finish_command(command)
        elif not lingering:
            end_descendants(os.getpid())
            if now > command.linger_until + SWEEP_SECONDS_MAX:
                self._finish_command(command)

    def reap(self, now: float) -> bool:
        """Collect children that have ended; True when no process is left below this one."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if self._command and pid == self._command.pid:
                self._command.ended(status, now)

    def _finish_command(self, command: Command) -> None:
        self._keep(command.drain())
        if command.stream and not command.stream.closed:
            self._background.append(command.stream)
        self._command = None
        self._report_exit(command)

    def _report_exit(self, command: Command) -> None:
        report = command.report(self._ladder.reason if self._ladder else None)
        self.record({"exited": report}, command.durable)
        total = self._spool.total if self._spool else 0
        self._link.send("exited", {**report, **command.output(), "total": total})

    def _end(self) -> None:
        """Nothing of ours runs any more: settle the spool and say so."""
        for stream in self._background:
            self._keep(stream.close())
        self._background = []
        if self._spool:
            self._spool.settle()
            self._link.send("finished", {"total": self._spool.total})
            self._spool = None

    def record(self, entry: dict[str, Any], durable: bool = False) -> None:
        """Note something in the spool for whoever comes after."""
        if self._spool:
            self._spool.record(entry, durable)


def main() -> None:
    """Detach from the actor and serve; `argv[1]` is the socket's descriptor."""
    descriptor = int(sys.argv[1])
    if os.fork():
        os._exit(0)
    become_supervisor()
    os.chdir("/")
    wakeups, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    shim = Shim(Link(descriptor), wakeups)
    signal.signal(signal.SIGTERM, lambda *_: shim.halt("runner_stopped"))
    try:
        shim.serve()
    except Exception:
        shim.record({"crashed": traceback.format_exc()}, durable=True)
        raise
    finally:
        while not shim.reap(boot_seconds()):
            end_descendants(os.getpid())
            time.sleep(SHORTEST_WAIT_SECONDS)
