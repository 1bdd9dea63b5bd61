"""One granted deployment on this node: its shim, pipeline and reporter, tied together.

Whatever happens, the process tree is gone when `run` returns, and so is the spool, unless this
process dies: then the next actor on this node finds it (see `salvage.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Literal

import msgspec

from runner_actors.announcer import Steps
from runner_actors.attempt import Attempt, Failure, Source, Tools
from runner_actors.contract import CancelMode, Grant, SourceResolved, StepStarted
from runner_actors.control_plane_client import (
    ControlPlaneClient,
    HeldLease,
    LeaseLost,
    NoSourceToken,
    Unavailable,
)
from runner_actors.environment import machine_environment
from runner_actors.event_guard import Orders, start_guard
from runner_actors.job import FIRST_STEP, Circumstances, Outcome, conclude, perform
from runner_actors.log_store import LogStore
from runner_actors.outbox import EventLog
from runner_actors.process_tree import marked, send
from runner_actors.reporter import Reporter
from runner_actors.reports import RunReport
from runner_actors.settings import RunnerSettings
from runner_actors.shim import MARKER
from runner_actors.shim_client import Begin, ShimClient, ShimGone, secret_text
from runner_actors.spool import EVENTS, GRANT, LOCK, SpoolReader, spool_directory
from runner_actors.unseal import CannotUnseal, Secrets, Unsealer, open_secrets, runner_token
from runner_actors.workspace import Workspace

ORPHAN_SECONDS_MAX = 10.0

log = logging.getLogger("slipway.runner")


class Deployment:
    """A deployment of the actor, from its grant to its report."""

    def __init__(
        self,
        grant: Grant,
        settings: RunnerSettings,
        client: ControlPlaneClient,
        store: LogStore,
        shim: ShimClient,
    ) -> None:
        self._grant = grant
        self._settings = settings
        self._client = client
        self._store = store
        self._shim = shim
        self._directory = spool_directory(settings.work_dir, grant.deployment_id, grant.generation)
        self._workspace = Workspace(settings.work_dir, grant)
        self._operating = False
        self._full = False

    async def run(self) -> RunReport:
        """Carry the deployment out. Never raises for what its user can cause."""
        try:
            stack_ids = (self._grant.stack_id, self._grant.template_stack_id)
            unsealer = Unsealer.from_file(self._settings.pool_key_path, *stack_ids)
            token = runner_token(self._grant, unsealer)
            self._reporter = await self._open_spool(token)
        except CannotUnseal as problem:
            return self._report("refused", "internal", str(problem))
        except OSError as problem:
            reason = "disk_full" if problem.errno == errno.ENOSPC else "internal"
            return self._report("not_started", reason, f"The runner's disk: {problem.strerror}")
        # The control plane counts from this event, and stops by force what goes on for longer.
        self._deadline = time.monotonic() + self._grant.timeout_seconds
        self._reporter.outbox.add(StepStarted, step=0, name=FIRST_STEP)
        self._reporter.start()
        try:
            return await self._carry_out(unsealer)
        finally:
            await self._leave_nothing()

    def _make_spool(self) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        Path(self._directory, GRANT).write_bytes(msgspec.json.encode(self._grant))

    async def _open_spool(self, token: str) -> Reporter:
        self._make_spool()
        events = EventLog.at(os.path.join(self._directory, EVENTS))
        await events.lock()
        spool = SpoolReader(self._directory)
        lease = HeldLease(self._client, self._grant, token)
        return Reporter(self._grant, lease, self._store, events, spool)

    async def _carry_out(self, unsealer: Unsealer) -> RunReport:
        self._steps = Steps(self._reporter.announcer, self._shim)
        failure = await self._attempt(unsealer)
        by = self._reporter.lease.cancelled_by
        circumstances = Circumstances(by, self._settings.output_bytes_max)
        outcome = conclude(self._grant, failure, circumstances)
        self._full = outcome.reason == "disk_full"
        log_complete = await self._close_log(outcome)
        if self._reporter.lost:
            return self._report("lease_lost", outcome.reason)
        if outcome.reason == "runner_lost" and not self._operating:
            return self._report("not_started", outcome.reason, outcome.message)
        try:
            log_complete = await self._reporter.conclude(outcome, log_complete)
        except LeaseLost:
            return self._report("lease_lost", outcome.reason)
        return self._report("concluded", outcome.reason, outcome.message, log_complete)

    # The pipeline.

    async def _attempt(self, unsealer: Unsealer) -> Failure | None:
        """Run the pipeline; what goes wrong beside it becomes a failure, too."""
        try:
            secrets = open_secrets(self._grant, unsealer, await self._source_token())
            self._workspace.create()
            await self._begin(secrets)
            await self._workspace.renew()
            return await self._perform(secrets)
        except CannotUnseal as problem:
            return Failure("internal", f"A secret cannot be opened: {problem}")
        except (NoSourceToken, Unavailable) as problem:
            return Failure("source_error", f"There is no token for the source: {problem}")
        except LeaseLost:
            return Failure("lease_lost")
        except ShimGone as problem:
            return self._without_shim(str(problem))
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                return Failure("disk_full")
            log.exception("deployment %s", self._grant.deployment_id)
            return Failure("internal", f"The runner's disk: {problem.strerror}.")
        except Exception:
            identity = self._grant.deployment_id
            log.exception("deployment %s", identity)
            return Failure("internal", f"An error of the runner; its log has it under {identity}.")

    async def _source_token(self) -> str:
        """The token that the source is fetched with, sealed; empty where none is wanted."""
        source = self._grant.source
        if source is None or not source.token_wanted:
            return ""
        return await self._reporter.lease.source_token()

    async def _begin(self, secrets: Secrets) -> None:
        """Connect the shim with the lease, then give it its spool, secrets and deadline."""
        lease = self._reporter.lease
        await self._shim.connect()
        self._shim.on_output = self._reporter.sink.stir
        self._reporter.on_lost = lambda: self._shim.stop("lease_lost")
        lease.on_renewed = self._shim.renew
        lease.on_cancel = self._cancel
        if self._reporter.lost:
            self._shim.stop("lease_lost")
        if lease.cancel:
            self._cancel(lease.cancel)
        await self._shim.begin(
            Begin(
                spool=self._directory,
                locks=[str(self._workspace.lock)],
                marker=marker_of(self._grant),
                secrets=[secret_text(value) for value in secrets.hidden],
                lease_until=lease.until,
                lease_seconds=self._grant.lease_seconds,
                grace_seconds=self._grant.grace_seconds,
                output_bytes_max=self._settings.output_bytes_max,
            )
        )

    def _cancel(self, mode: CancelMode) -> None:
        self._shim.stop("cancelled", mode)

    async def _perform(self, secrets: Secrets) -> Failure | None:
        machine = machine_environment(self._settings.toolchain_dir, os.environ)
        attempt = Attempt(self._grant, self._workspace, secrets, machine)
        backend = asyncio.ensure_future(self._backend_url(secrets))
        tools = Tools(
            self._shim,
            self._settings.allow_local_sources,
            lambda: backend,
            self._deadline,
            self._source_found,
        )
        try:
            await perform(attempt, tools, self._steps)
        finally:
            self._operating = attempt.operating
            backend.cancel()
        return attempt.failure

    async def _backend_url(self, secrets: Secrets) -> str:
        """The control plane's address, or that of a guard who keeps secrets out of events."""
        if not secrets.of_user:
            return self._grant.api_url
        orders = Orders(
            target_url=self._grant.api_url,
            secrets=secrets.hidden,
            spool_lock=os.path.join(self._directory, LOCK),
        )
        return await start_guard(orders)

    def _source_found(self, source: Source) -> None:
        self._reporter.outbox.add(
            SourceResolved,
            commit=source.commit,
            branch=source.branch,
            message=source.message,
            author=source.author,
        )

    def _without_shim(self, problem: str) -> Failure:
        if self._reporter.lease.cancel:
            return Failure("cancelled")
        if os.strerror(errno.ENOSPC) in problem:
            return Failure("disk_full")
        return Failure("runner_lost", f"The deployment was stopped: {problem}.")

    # The end.

    async def _close_log(self, outcome: Outcome) -> bool:
        """The last line, the end of the tree, the last step; gives whether the log is whole."""
        log_complete = True
        try:
            if not outcome.succeeded and not outcome.said:
                self._shim.note(f"error: {outcome.message}")
            total = await self._shim.finish()
        except ShimGone:
            log_complete = not self._shim.begun
            total = self._reporter.sink.length
            await end_orphans(self._grant)
        self._steps.close(total, outcome.succeeded, outcome.message)
        return log_complete

    async def _leave_nothing(self) -> None:
        await self._shim.close()
        await self._reporter.close()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            await self._workspace.clear()
            if self._full:  # what fills the disk may lie in the clone: a program's own files
                await self._workspace.forget_source()

    def _report(
        self,
        ended: Literal["concluded", "lease_lost", "not_started", "refused"],
        reason: str,
        message: str = "",
        log_complete: bool = True,
    ) -> RunReport:
        return RunReport(
            deployment_id=self._grant.deployment_id,
            generation=self._grant.generation,
            ended=ended,
            reason=reason,
            message=message,
            log_complete=log_complete,
        )


def marker_of(grant: Grant) -> str:
    """What every process of a deployment carries in its environment."""
    return f"{grant.deployment_id}.{grant.generation}"


async def end_orphans(grant: Grant) -> None:
    """Kill what outlived a shim that was itself killed, by the mark in its environment."""
    deadline = asyncio.get_running_loop().time() + ORPHAN_SECONDS_MAX
    while orphans := await asyncio.to_thread(marked, MARKER, marker_of(grant)):
        send(orphans, signal.SIGKILL)
        if asyncio.get_running_loop().time() > deadline:
            log.error("processes of a deployment cannot be killed: %s", orphans)
            return
        await asyncio.sleep(0.02)
