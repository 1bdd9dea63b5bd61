"""Brings home what a dead actor left on this node: the rest of the log, and how it ended.

The shim outlives its actor just long enough to end the process tree, and its spool says how far
everything came. Salvage waits for the shim, uploads what is left, and concludes the deployment
under its own lease, if that still stands: as usual when the last command ended by itself, as
`runner_lost` when the operation was cut. When the operation never began, it concludes nothing:
the control plane may queue the deployment again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from runner_actors.attempt import Failure
from runner_actors.contract import Event, Grant, LogEnded, StepEnded, StepStarted
from runner_actors.control_plane_client import ControlPlaneClient, HeldLease, LeaseLost
from runner_actors.deployment import end_orphans
from runner_actors.job import LOST, Circumstances, Outcome, conclude, plan
from runner_actors.log_store import LogStore
from runner_actors.outbox import EventLog, Outbox
from runner_actors.reporter import Reporter
from runner_actors.reports import RunReport
from runner_actors.settings import RunnerSettings
from runner_actors.shim_client import Exit
from runner_actors.spool import (
    EVENTS,
    GRANT,
    LOCK,
    OUT,
    RUNS,
    SpoolReader,
    SpoolWriter,
    read_json_lines,
    spool_directory,
    try_lock,
)
from runner_actors.steps.operate import failure_of_exit, step_name
from runner_actors.unseal import CannotUnseal, Unsealer, runner_token

_TAIL_BYTES = 16384
_LOOK_SECONDS = 0.05
OLD_SPOOL_SECONDS = 2 * 86400

log = logging.getLogger("slipway.runner")


class Salvage:
    """One spool of a deployment that this actor does not run."""

    def __init__(
        self,
        settings: RunnerSettings,
        client: ControlPlaneClient,
        store: LogStore,
        deployment_id: str,
        generation: int,
    ) -> None:
        self._settings = settings
        self._client = client
        self._store = store
        self._report = RunReport(
            deployment_id=deployment_id, generation=generation, ended="nothing"
        )
        self._directory = spool_directory(settings.work_dir, deployment_id, generation)

    async def run(self) -> RunReport:
        """Wait for the actor and its tree to be gone, then bring home what there is."""
        grant = self._spooled_grant()
        if grant is None:
            return self._report
        try:
            events = EventLog.at(os.path.join(self._directory, EVENTS))
        except FileNotFoundError:
            return self._report
        try:
            await events.lock()
            if self._spooled_grant():  # else its actor was alive after all, and has concluded it
                await self._bring_home(grant, events)
        finally:
            events.close()
        if self._report.ended not in ("nothing", "refused"):
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        return self._report

    def _spooled_grant(self) -> Grant | None:
        try:
            return msgspec.json.decode(Path(self._directory, GRANT).read_bytes(), type=Grant)
        except (OSError, msgspec.DecodeError):
            return None

    async def _bring_home(self, grant: Grant, events: EventLog) -> None:
        try:
            unsealer = Unsealer.from_file(self._settings.pool_key_path, grant.stack_id)
            lease = HeldLease(self._client, grant, runner_token(grant, unsealer))
        except CannotUnseal as problem:
            self._report.ended, self._report.message = "refused", str(problem)
            return
        self._report.ended, self._report.reason = "lease_lost", "runner_lost"
        lock = await self._wait_for_the_shim(lease)
        try:
            await end_orphans(grant)
            story = _Story(grant, read_json_lines(os.path.join(self._directory, RUNS)))
            if story.operated:
                await self._tell(grant, story, lease, events)
            else:
                self._report.ended = "not_started"
        except LeaseLost as problem:
            log.warning("deployment %s: %s", grant.deployment_id, problem)
        finally:
            os.close(lock)

    async def _wait_for_the_shim(self, lease: HeldLease) -> int:
        """Its own deadline does not move any more, so the wait is short; the lease is kept."""
        watching = asyncio.create_task(lease.watch())
        try:
            while True:
                lock = try_lock(os.path.join(self._directory, LOCK))
                if lock is not None:
                    return lock
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _tell(self, grant: Grant, story: _Story, lease: HeldLease, events: EventLog) -> None:
        """Send what the dead actor did not, and conclude. Raises LeaseLost."""
        acknowledged = await lease.renew()
        damaged = acknowledged > len(events.events)
        outcome = self._outcome(grant, story, lease.cancelled_by)
        whole = story.settled == self._length() and not damaged
        length = self._add_last_line(story, outcome, events)
        if damaged:
            events.restart(acknowledged)
        reporter = Reporter(grant, lease, self._store, events, SpoolReader(self._directory))
        reporter.outbox.skip(acknowledged)
        if damaged:
            reporter.sink.give_up(length)
        elif not _told(LogEnded, events):
            _complete_steps(story, events, reporter.outbox)
        reporter.start()
        try:
            if not _told(LogEnded, events):
                number, message = story.steps[-1]["number"], outcome.message
                how = {"succeeded": outcome.succeeded, "message": message}
                reporter.announcer.add(length, StepEnded, None, step=number, **how)
            self._report.log_complete = await reporter.conclude(outcome, whole)
        finally:
            await reporter.close()
        self._report.ended = "concluded"
        self._report.reason, self._report.message = outcome.reason, outcome.message

    def _outcome(self, grant: Grant, story: _Story, cancelled_by: str) -> Outcome:
        with open(os.path.join(self._directory, OUT), "rb") as file:
            file.seek(max(0, self._length() - _TAIL_BYTES))
            failure = story.failure(file.read().decode(errors="replace"))
        circumstances = Circumstances(cancelled_by, self._settings.output_bytes_max)
        return conclude(grant, failure, circumstances)

    def _add_last_line(self, story: _Story, outcome: Outcome, events: EventLog) -> int:
        """What the shim would have been told to write; gives the output's whole length."""
        if not outcome.succeeded and not outcome.said and not _told(LogEnded, events):
            writer = SpoolWriter(self._directory, 0)
            writer.step = story.steps[-1]["number"]
            writer.append_line(f"error: {outcome.message}".encode())
            writer.settle()
        return self._length()

    def _length(self) -> int:
        return os.stat(os.path.join(self._directory, OUT)).st_size


def forget_old_spools(work_dir: str) -> None:
    """Remove what no gateway has ever asked for, long after its leases ended.

    It never raises: an actor must begin, however untidy its node is.
    """
    try:
        for directory in Path(work_dir, "spool").glob("*"):
            with contextlib.suppress(OSError):
                _forget_if_old(directory)
    except Exception:
        log.exception("old spools of %s", work_dir)


def _forget_if_old(directory: Path) -> None:
    # A spool is empty when its actor died between making it and writing the first file.
    made = directory.stat().st_mtime
    touched = max((path.stat().st_mtime for path in directory.iterdir()), default=made)
    lock = try_lock(str(directory / LOCK)) if time.time() - touched > OLD_SPOOL_SECONDS else None
    if lock is not None:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


class _Story:
    """What the spool's records tell of a deployment."""

    def __init__(self, grant: Grant, runs: list[dict[str, Any]]) -> None:
        names = [step.name for step in plan(grant)]
        self._last_step = len(names) - 1
        self._operation = step_name(grant.operation)
        operation = names.index(self._operation)
        self.steps = [each["step"] for each in runs if "step" in each]
        self.settled = next((each["settled"]["total"] for each in runs if "settled" in each), None)
        exits = {each["exited"]["id"]: each["exited"] for each in runs if "exited" in each}
        started = [each["started"] for each in runs if "started" in each]
        after = [each for each in started if each["step"] >= operation]
        self.operated = bool(after)
        self._command = after[-1] if after else {}
        self._exit = exits.get(self._command.get("id"))

    def failure(self, tail: str) -> Failure | None:
        """How the last command ended, and whether it was the last that was wanted."""
        name = self._operation
        if self._exit is None or (self._exit["stopped"] in LOST and self._exit["code"] != 0):
            return Failure(
                "runner_lost",
                f"The runner was lost while {name} ran. Resources may have been changed: "
                "look at the stack, for example with a refresh, before you deploy again.",
            )
        ended = Exit(**{key: self._exit[key] for key in ("code", "signal", "stopped", "problem")})
        if not ended.succeeded:
            stop = ended.stopped
            return Failure(stop) if stop else failure_of_exit(ended, tail, name)
        if self._command["step"] < self._last_step:
            message = f"{name} has succeeded, but the runner was lost before what was to follow."
            return Failure("runner_lost", message)
        return None


def _told(kind: type[Event], events: EventLog) -> bool:
    return any(isinstance(event, kind) for event in events.events)


def _complete_steps(story: _Story, events: EventLog, outbox: Outbox) -> None:
    """Steps that the dead actor had no time to tell of; the last one's end comes later."""
    begun = {event.step for event in events.events if isinstance(event, StepStarted)}
    over = {event.step for event in events.events if isinstance(event, StepEnded)}
    for step in story.steps:
        if step["number"] not in begun:
            outbox.add(StepStarted, step=step["number"], name=step["name"])
        if step is not story.steps[-1] and step["number"] not in over:
            outbox.add(StepEnded, step=step["number"], succeeded=True)
