"""Submit: from a trigger to a queued deployment. A 202 means that it is committed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane import metrics
from control_plane.domain import admission, deployment_settings
from control_plane.domain.admission import Admit, Facts, Limits, Refuse
from control_plane.domain.deployment import Status
from control_plane.domain.names import StackName
from control_plane.domain.principal import Pool, Principal
from control_plane.domain.trigger import Submission
from control_plane.errors import Conflict, NotFound, Problem
from control_plane.services.hints import stack_changed, wake_pools
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, pools, queue
from control_plane.store.github import pulls
from control_plane.store.transaction import Transaction

PREPARE_ATTEMPTS_MAX = 5

Settings = dict[str, Any]


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A queued deployment."""

    id: str
    version: int


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Merged settings with sealed secrets, and what they were made from."""

    settings: Settings
    stack_id: str
    stored: str | None
    pool: Pool


class _Entry(msgspec.Struct, kw_only=True):
    """One submission on its way into a transaction."""

    # Made before the commit, so that committing an entry twice is impossible.
    id: str
    principal: Principal
    name: StackName
    submission: Submission
    prepared: _Prepared | None = None
    may_be_known: bool = False
    """Whether the id is made from a caller's key, so that it may have been queued before."""


class _Stale(Problem):
    """The settings changed while secrets were being sealed."""


class _Target(msgspec.Struct, kw_only=True):
    """A stack that a deployment is wanted of, as the transaction sees it."""

    stack_id: str
    version: int
    stored: str | None
    facts: Facts


@verb
async def submit(
    world: World,
    principal: Principal,
    name: StackName,
    submission: Submission,
    once: str = "",
) -> Submitted:
    """Queue a deployment. Raises Forbidden, NotFound, BadRequest, QueueFull, PoolOffline.

    What the same person submits again with the same key `once` is the same deployment.
    """
    admission.require_person(principal)
    patch = deployment_settings.merge(None, submission.request)
    entry = _Entry(
        id=_id_of("" if submission.origin else principal.user.id, name, once),
        principal=principal,
        name=name,
        submission=submission,
        may_be_known=bool(once),
    )
    for _ in range(PREPARE_ATTEMPTS_MAX):
        if deployment_settings.needs_sealing(patch):
            entry.prepared = await _prepare(world, entry)
        try:
            answer: Submitted = await world.submissions.join(entry, partial(_commit, world))
            return answer
        except _Stale:
            continue
    raise Conflict(detail="The stack's deployment settings keep changing; try again.")


def _id_of(caller: str, name: StackName, once: str) -> str:
    """What comes from GitHub is the same whoever it is done for by then."""
    if not once:
        return str(uuid.uuid4())
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{caller}/{name}/{once}"))


async def _prepare(world: World, entry: _Entry) -> _Prepared:
    """Seal secrets before the transaction: it should not last longer for them."""
    async with world.database.snapshot() as tx:
        target = (await _find_targets(tx, [entry])).get(entry.name)
    if target is None or not _may_reach(entry.principal, target.stack_id):
        raise NotFound(what=f"Stack '{entry.name}'")
    settings = _merged(world, entry, target)
    pool = admission.resolve_pool(settings, target.facts)
    assert pool.public_key is not None  # noqa: S101 - resolve_pool refuses a pool without one
    return _Prepared(
        settings=deployment_settings.seal(settings, target.stack_id, pool.public_key),
        stack_id=target.stack_id,
        stored=target.stored,
        pool=pool,
    )


async def _commit(world: World, entries: Sequence[_Entry]) -> Sequence[Submitted | Problem]:
    """Queue all entries in one transaction; each gets its own answer."""
    now = world.now()
    async with world.database.transaction() as tx:
        targets = await _find_targets(tx, entries, lock=True)
        known = await _known(tx, entries)
        answers: list[Submitted | Problem] = []
        rows: list[dict[str, Any]] = []
        origins: list[dict[str, Any]] = []
        for entry in entries:
            if entry.id in known and entry.name in targets:
                answers.append(known[entry.id])
                continue
            row = _decide(world, entry, targets.get(entry.name), rows, now)
            if isinstance(row, Problem):
                answers.append(row)
            else:
                rows.append(row)
                known[entry.id] = Submitted(id=row["id"], version=row["version"])
                answers.append(known[entry.id])
                origins += _origin_of(entry, now)
        if rows:
            await _queue(world, tx, rows)
        if origins:
            await pulls.add_sources(tx, origins)
    metrics.GROUP_COMMIT_MEMBERS.observe(len(entries))
    return answers


async def _known(tx: Transaction, entries: Sequence[_Entry]) -> dict[str, Submitted]:
    """What has been queued already, by ids that callers' keys gave."""
    ids = [entry.id for entry in entries if entry.may_be_known]
    rows = await deployments.versions_of(tx, ids) if ids else ()
    return {row.id: Submitted(id=row.id, version=row.version) for row in rows}


async def _find_targets(
    tx: Transaction, entries: Sequence[_Entry], *, lock: bool = False
) -> dict[StackName, _Target]:
    """The stacks that the entries name, as far as they exist and the callers may see them."""
    logins = {e.name.organization for e in entries if e.principal.may_see(e.name.organization)}
    organizations = {
        row.id: row.login for row in await deployments.organizations_by_login(tx, logins)
    }
    if lock:
        await queue.lock_organizations(tx, organizations)
    ids = {login: organization_id for organization_id, login in organizations.items()}
    names = {
        (ids[e.name.organization], e.name.project, e.name.stack)
        for e in entries
        if e.name.organization in ids
    }
    if not names:
        return {}
    facts = await _facts(tx, organizations)
    return {
        StackName(organizations[row.organization_id], row.project, row.name): _Target(
            stack_id=row.id,
            version=row.deployment_version,
            stored=row.settings,
            facts=facts[row.organization_id],
        )
        for row in await deployments.targets(tx, names)
    }


async def _facts(tx: Transaction, organizations: dict[str, str]) -> dict[str, Facts]:
    queued = await queue.queued_counts(tx, organizations)
    known = [(_pool(row), row.is_default) for row in await pools.usable_by(tx, organizations)]
    return {
        organization_id: admission.facts_of(
            organization_id, login, queued.get(organization_id, 0), known
        )
        for organization_id, login in organizations.items()
    }


def _pool(row: Row[Any]) -> Pool:
    return Pool(
        id=row.id, name=row.name, organization_id=row.organization_id, public_key=row.public_key
    )


def _may_reach(principal: Principal, stack_id: str) -> bool:
    return principal.stack_id in (None, stack_id)


def _decide(
    world: World, entry: _Entry, target: _Target | None, ahead: list[dict[str, Any]], now: int
) -> dict[str, Any] | Problem:
    """The row of an admitted entry, or the problem of another; counts versions up on the target.

    `ahead` are the rows that this transaction queues before it.
    """
    if target is None or not _may_reach(entry.principal, target.stack_id):
        return NotFound(what=f"Stack '{entry.name}'")
    try:
        settings = _settings(world, entry, target)
    except Problem as problem:
        return problem
    organization_id = target.facts.organization_id
    queued = target.facts.queued + sum(r["organization_id"] == organization_id for r in ahead)
    facts = msgspec.structs.replace(target.facts, queued=queued)
    verdict = admission.decide(settings, _base(entry, target), facts, _limits(world))
    if isinstance(verdict, Refuse):
        return verdict.problem
    if entry.prepared is not None and entry.prepared.pool != verdict.pool:
        return _Stale()
    target.version += 1
    return _row(entry, target, verdict, settings, now)


def _origin_of(entry: _Entry, now: int) -> list[dict[str, Any]]:
    """In the same transaction: what is granted must not take a fork's code for our own."""
    origin = entry.submission.origin
    if origin is None:
        return []
    return [msgspec.structs.asdict(origin) | {"deployment_id": entry.id, "next_report_at": now}]


def _settings(world: World, entry: _Entry, target: _Target) -> Settings:
    prepared = entry.prepared
    if prepared is None:
        return _merged(world, entry, target)
    if (prepared.stack_id, prepared.stored) != (target.stack_id, target.stored):
        raise _Stale()
    return prepared.settings


def _merged(world: World, entry: _Entry, target: _Target) -> Settings:
    settings = deployment_settings.merge(_base(entry, target), entry.submission.request)
    origin = entry.submission.origin
    if origin is not None and origin.is_fork:
        settings = deployment_settings.without_secrets(settings)
    return deployment_settings.with_repository_address(settings, world.config.github.base_url)


def _base(entry: _Entry, target: _Target) -> Settings | None:
    if not entry.submission.inherit_settings or target.stored is None:
        return None
    stored: Settings = msgspec.json.decode(target.stored)
    return stored


def _limits(world: World) -> Limits:
    config = world.config.deployments
    return Limits(
        queued_max=config.queued_max,
        environment_variables_max=config.environment_variables_max,
        local_sources=config.local_sources,
    )


def _row(
    entry: _Entry, target: _Target, verdict: Admit, settings: Settings, now: int
) -> dict[str, Any]:
    origin = entry.submission.origin
    return {
        "id": entry.id,
        "source_commit": origin.sha if origin else "",
        "source_message": origin.title if origin else "",
        "source_author": origin.author if origin else "",
        "organization_id": target.facts.organization_id,
        "stack_id": target.stack_id,
        "pool_id": verdict.pool.id,
        "version": target.version,
        "operation": str(entry.submission.operation),
        "status": str(Status.NOT_STARTED),
        "trigger": str(entry.submission.trigger),
        "initiator": entry.submission.initiator,
        "requested_by": entry.principal.user.id or None,
        "settings": msgspec.json.encode(settings).decode(),
        "inherit_settings": entry.submission.inherit_settings,
        "created_at": now,
        "modified_at": now,
    }


async def _queue(world: World, tx: Transaction, rows: list[dict[str, Any]]) -> None:
    await deployments.add(tx, rows)
    # The last row of a stack has its newest version.
    await deployments.set_versions(tx, {row["stack_id"]: row["version"] for row in rows})
    lines = {queue.Ready(row["organization_id"], row["pool_id"]) for row in rows}
    await queue.add_lines(tx, lines)
    stack_ids = {row["stack_id"] for row in rows}
    organization_ids = {row["organization_id"] for row in rows}
    ready = await queue.refresh(tx, stack_ids=stack_ids, organization_ids=organization_ids)
    wake_pools(world, tx, ready)
    for row in rows:
        stack_changed(world, tx, row["id"], row["stack_id"], row["organization_id"])
        tx.after_commit(metrics.DEPLOYMENTS_TRIGGERED.labels(row["trigger"], row["operation"]).inc)
