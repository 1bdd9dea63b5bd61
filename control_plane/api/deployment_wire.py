"""How deployments look on the wire: the Pulumi Cloud API's shapes, and fields of ours beside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from control_plane.domain.deployment import Status
from control_plane.domain.update import result
from control_plane.domain.waiting import Blocker, Waiting
from control_plane.services.deployment_queries import Shown
from control_plane.services.history import UserInfo, seconds


class Wire(msgspec.Struct, rename="camel", kw_only=True):
    """Base of the shapes here; what is UNSET is left out."""


class StepWire(Wire, kw_only=True):
    """A step of a job."""

    name: str
    status: str
    started: str | UnsetType = UNSET
    last_updated: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class JobWire(Wire, kw_only=True):
    """The one job of a deployment."""

    status: str
    started: str | UnsetType = UNSET
    last_updated: str | UnsetType = UNSET
    steps: list[StepWire]


class NestedUpdate(Wire, kw_only=True):
    """An update that a deployment made. Times are Unix seconds; 0 means not yet."""

    id: str
    update_id: str = msgspec.field(name="updateID")
    version: int
    start_time: int
    end_time: int
    result: str
    kind: str
    message: str
    environment: Raw
    resource_changes: Raw | UnsetType = UNSET


class PoolWire(Wire, kw_only=True):
    """The runner pool of a deployment."""

    id: str
    name: str


class CancelWire(Wire, kw_only=True):
    """A cancel that was asked for."""

    by: str
    mode: str
    at: str


class CommitWire(Wire, kw_only=True):
    """The source as it was found."""

    sha: str
    message: str
    author: str


class LogWire(Wire, kw_only=True):
    """How much there is to read of the log, in bytes."""

    length: int
    complete: bool


class WaitingWire(Wire, kw_only=True):
    """Why a deployment has not begun, and when it probably will."""

    position: int
    """In the line of its stack, from 1; 0 when it has been accepted."""
    organization_position: int
    reason: str
    """stack_busy, stack_queue, organization_limit, stack_paused, organization_paused,
    waiting_for_node, pool_offline, pool_not_ready, no_pool or next."""
    sentence: str
    """The same for people."""
    waiting_for: str
    """What must happen first, without "Waits for"."""
    todo: str | UnsetType = UNSET
    """What a person can do, where somebody must."""
    since: str | UnsetType = UNSET
    blocker: Blocker | None = None
    expected_start: str | UnsetType = UNSET
    """Left out while nobody can tell; then the basis says why."""
    expected_start_basis: str | UnsetType = UNSET
    """nothing_ahead, history, overdue, no_history, held, node or too_far."""
    expected_start_sentence: str | UnsetType = UNSET


class DeploymentWire(Wire, kw_only=True):
    """A deployment; `inherit_settings` and what follows only where one is shown alone."""

    id: str
    created: str
    modified: str
    status: str
    version: int
    requested_by: UserInfo
    organization_name: str
    project_name: str
    stack_name: str
    paused: bool
    pulumi_operation: str
    initiator: str | UnsetType = UNSET
    trigger: str
    updates: list[NestedUpdate]
    jobs: list[JobWire]
    agent_pool: PoolWire | UnsetType = UNSET
    console_url: str
    # Ours: how and why it ended, what it waits for, what it deploys.
    reason: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    exit_code: int | UnsetType = UNSET
    started: str | UnsetType = UNSET
    ended: str | UnsetType = UNSET
    cancel_requested: CancelWire | UnsetType = UNSET
    queue: WaitingWire | UnsetType = UNSET
    expected_end: str | UnsetType = UNSET
    commit: CommitWire | UnsetType = UNSET
    log: LogWire
    inherit_settings: bool | UnsetType = UNSET
    latest_version: int | UnsetType = UNSET
    configuration: dict[str, Any] | UnsetType = UNSET
    # Since when the stack wants to be looked at, because a runner was lost in the middle of it.
    needs_recovery_since: str | UnsetType = UNSET


class DeploymentPage(Wire, kw_only=True):
    """A page of a list."""

    deployments: list[DeploymentWire]
    items_per_page: int
    total: int


def rfc3339(milliseconds: int) -> str:
    """A time as the API writes it."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def optional_time(milliseconds: int | None) -> str | UnsetType:
    """A time, left out when it has not come: clients cannot read an empty one."""
    return UNSET if milliseconds is None else rfc3339(milliseconds)


def console_url(public_url: str, organization: str, project: str, stack: str, version: int) -> str:
    """Where a deployment is shown to people."""
    return f"{public_url}/{organization}/{project}/{stack}/deployments/{version}"


def deployment(shown: Shown, public_url: str) -> DeploymentWire:
    """A deployment on the wire."""
    row = shown.row
    wire = DeploymentWire(
        id=row.id,
        created=rfc3339(row.created_at),
        modified=rfc3339(row.modified_at),
        status=row.status,
        version=row.version,
        requested_by=UserInfo(
            name=row.user_name or "",
            github_login=row.user_login or "slipway",
            avatar_url=row.user_avatar_url or "",
        ),
        organization_name=row.organization,
        project_name=row.project,
        stack_name=row.stack,
        paused=row.stack_paused_at is not None or row.organization_paused_at is not None,
        pulumi_operation=row.operation,
        initiator=row.initiator or UNSET,
        trigger=row.trigger,
        updates=[_update(each) for each in _without_first_phase(shown.updates)],
        jobs=_jobs(row, shown.steps),
        agent_pool=PoolWire(id=row.pool_id, name=row.pool_name) if row.pool_name else UNSET,
        console_url=console_url(public_url, row.organization, row.project, row.stack, row.version),
        log=LogWire(length=row.log_length, complete=row.log_complete),
    )
    _add_ending(wire, row)
    if shown.waiting is not None:
        wire.queue = _waiting(shown.waiting)
    if shown.expected_end is not None:
        wire.expected_end = optional_time(shown.expected_end.at)
    if shown.configuration is not None:
        wire.configuration = shown.configuration
        wire.inherit_settings = row.inherit_settings
        wire.latest_version = row.latest_version
        wire.needs_recovery_since = optional_time(shown.needs_recovery_since)
    return wire


def _waiting(found: Waiting) -> WaitingWire:
    wire = WaitingWire(
        position=found.position,
        organization_position=found.organization_position,
        reason=str(found.why),
        sentence=found.sentence,
        waiting_for=found.waiting_for,
        todo=found.todo or UNSET,
        since=optional_time(found.since),
        blocker=found.blocker,
    )
    if found.expected is not None:
        wire.expected_start = optional_time(found.expected.at)
        wire.expected_start_basis = str(found.expected.basis)
        wire.expected_start_sentence = found.expected.sentence
    return wire


def _add_ending(wire: DeploymentWire, row: Any) -> None:
    wire.reason = row.reason or UNSET
    wire.message = row.message or UNSET
    wire.exit_code = UNSET if row.exit_code is None else row.exit_code
    wire.started, wire.ended = optional_time(row.started_at), optional_time(row.ended_at)
    at = row.cancel_requested_at or (row.ended_at if row.cancelled_by else None)
    if at is not None:
        wire.cancel_requested = CancelWire(
            by=row.cancelled_by or "", mode=row.cancel_mode or "now", at=rfc3339(at)
        )
    if row.source_commit:
        wire.commit = CommitWire(
            sha=row.source_commit, message=row.source_message, author=row.source_author
        )


def _jobs(row: Any, steps: Sequence[Any]) -> list[JobWire]:
    if row.status in (Status.NOT_STARTED, Status.SKIPPED):
        return []
    job = JobWire(
        status=row.status,
        started=optional_time(row.started_at),
        last_updated=rfc3339(row.modified_at),
        steps=[_step(step) for step in steps],
    )
    return [job]


def _step(row: Any) -> StepWire:
    return StepWire(
        name=row.name,
        status=row.status,
        started=optional_time(row.started_at),
        last_updated=optional_time(row.ended_at or row.started_at),
        message=row.message or UNSET,
    )


def _without_first_phase(updates: Sequence[Any]) -> Sequence[Any]:
    """The preview that an `up` begins with is left out once the update itself is there."""
    return [each for each in updates if not each.dry_run] or updates


def _update(row: Any) -> NestedUpdate:
    return NestedUpdate(
        id=row.id,
        update_id=row.id,
        version=row.version or 0,
        start_time=seconds(row.started_at),
        end_time=seconds(row.ended_at),
        result=result(row.status),
        kind=row.kind,
        message=row.message,
        environment=Raw(row.environment.encode()),
        resource_changes=Raw(row.resource_changes.encode()) if row.resource_changes else UNSET,
    )
