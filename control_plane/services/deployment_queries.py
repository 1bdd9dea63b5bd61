"""Deployments as they are shown: one, a list, an organization's queue, and its figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import Row

from control_plane.domain import deployment_settings, expectation
from control_plane.domain.deployment import LIVE, Operation, Status
from control_plane.domain.expectation import Expected, Forecast
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Trigger
from control_plane.domain.waiting import Pause, Standing, Waiting, waiting
from control_plane.errors import BadRequest, NotFound
from control_plane.services import access, forecasting
from control_plane.services.history import Update, update_info
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployment_queries as store
from control_plane.store import deployments, stacks, updates
from control_plane.store.deployment_queries import SORTABLE, Wanted
from control_plane.store.github import pulls
from control_plane.store.transaction import Transaction

PAGE_SIZE_MAX = 100
PAGE_MAX = 1_000_000
QUEUE_SIZE_MAX = 500
WORDS_MAX = 8
"""How many words of a search are looked at."""


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which deployments of a stack or organization, and in which order."""

    page: int = 1
    page_size: int = 10
    sort: str = "created"
    ascending: bool = False
    statuses: Collection[str] = ()
    operations: Collection[str] = ()
    triggers: Collection[str] = ()
    project: str = ""
    who: str = ""
    """The login of who asked for them."""
    since: int | None = None
    """Not asked for before; Unix milliseconds, as `until`, which is not included."""
    until: int | None = None
    count_max: int | None = None
    """How many after this page are counted for the total; None: all."""
    words: str = ""
    """All of them are in the stack's name, the commit, a message, a login, or are the number."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """From what on GitHub a deployment came, and where that is to be seen."""

    repository: str
    repository_url: str
    commit_url: str
    title: str
    author: str
    ref: str
    pull_request: int | None = None
    pull_request_url: str = ""
    is_fork: bool = False


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment with what belongs to it. `row` has the names that it is shown with, too."""

    row: Any
    steps: Sequence[Any]
    updates: Sequence[Any]
    waiting: Waiting | None = None
    expected_end: Expected | None = None
    """When it will probably end, while it runs and is shown alone or in the queue."""
    configuration: dict[str, Any] | None = None
    needs_recovery_since: int | None = None
    previous_version: int | None = None
    """The stack's deployment before it; where it is shown alone."""
    origin: Origin | None = None
    """None for what no push and no pull request began."""


class ShownPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some deployments, and how many there are in all; with `more`, at least so many."""

    deployments: Sequence[Shown]
    total: int
    more: bool = False


class StackPause(msgspec.Struct, frozen=True, kw_only=True):
    """A paused stack, with who paused it, why, and when."""

    project: str
    stack: str
    pause: Pause


class OrganizationMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """An organization's limit and figures."""

    paused: bool
    paused_by: str
    note: str
    limit: int
    counts: dict[str, int]
    paused_stacks: Sequence[str]
    paused_at: int | None = None
    stack_pauses: Sequence[StackPause] = ()


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What an organization runs, and what waits, in line."""

    limit: int
    paused: bool
    organization_id: str
    queued_total: int
    live: Sequence[Shown]
    queued: Sequence[Shown]


@verb
async def show(world: World, principal: Principal, name: StackName, deployment_id: str) -> Shown:
    """A deployment of the stack; raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await store.by_id(tx, stack.id, deployment_id)
        return await _detail(world, tx, row, deployment_id)


@verb
async def show_version(world: World, principal: Principal, name: StackName, version: int) -> Shown:
    """The stack's deployment of that number; raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await store.by_version(tx, stack.id, version) if version < 2**31 else None
        return await _detail(world, tx, row, f"#{version}")


async def in_full(world: World, tx: Transaction, deployment_id: str) -> Shown:
    """A deployment for those who are known to be let see it; raises NotFound."""
    known = await deployments.by_id(tx, deployment_id)
    row = await store.by_id(tx, known.stack_id, deployment_id) if known is not None else None
    return await _detail(world, tx, row, deployment_id)


@verb
async def id_of(world: World, principal: Principal, name: StackName, reference: str) -> str:
    """The id of a deployment that may be named by its number, `12` or `#12`; raises NotFound.

    `pulumi deployment cancel 12` puts the number in the place of the id.
    """
    number = reference.removeprefix("#")
    if not (number.isascii() and number.isdigit()):
        return reference
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await store.by_version(tx, stack.id, int(number)) if len(number) < 10 else None
    if row is None:
        raise NotFound(what=f"Deployment '{reference}'")
    return str(row.id)


@verb
async def list_of_stack(
    world: World, principal: Principal, name: StackName, query: ListQuery
) -> ShownPage:
    """A page of the stack's deployments, newest first unless asked otherwise."""
    _require_sensible(query)
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        return await _page(world, tx, stack.organization_id, stack.id, query)


@verb
async def list_of_organization(
    world: World, principal: Principal, login: str, query: ListQuery
) -> ShownPage:
    """A page of the organization's deployments."""
    _require_sensible(query)
    async with world.database.snapshot() as tx:
        organization = await access.organization(tx, principal, login)
        return await _page(world, tx, organization.id, None, query)


@verb
async def updates_of(
    world: World, principal: Principal, name: StackName, deployment_id: str
) -> list[Update]:
    """The updates that a deployment made; the one it is for comes first. Raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        if await deployments.find(tx, stack.id, deployment_id) is None:
            raise NotFound(what=f"Deployment '{deployment_id}'")
        rows = await updates.of_deployment(tx, deployment_id)
    return [update_info(row) for row in rows]


@verb
async def organization_metadata(
    world: World, principal: Principal, login: str
) -> OrganizationMetadata:
    """Whether the organization's deployments would begin, how many may, and how many there are."""
    async with world.database.snapshot() as tx:
        organization = await access.organization(tx, principal, login)
        counts = await store.counts(tx, organization.id)
        paused = await store.paused_stacks(tx, organization.id)
    return OrganizationMetadata(
        paused=organization.paused_at is not None,
        paused_by=organization.paused_by or "",
        note=organization.pause_note,
        limit=organization.deployment_limit,
        counts=counts,
        paused_stacks=[f"{row.project}/{row.name}" for row in paused],
        paused_at=organization.paused_at,
        stack_pauses=[
            StackPause(
                project=row.project,
                stack=row.name,
                pause=Pause(by=row.paused_by or "", note=row.pause_note, at=row.paused_at),
            )
            for row in paused
        ],
    )


@verb
async def queue(world: World, principal: Principal, login: str, size: int = 100) -> Queue:
    """What the organization runs now, and the first `size` that wait, each with why, and when it
    will probably end or begin."""
    if not 1 <= size <= QUEUE_SIZE_MAX:
        raise BadRequest(detail=f"pageSize must be between 1 and {QUEUE_SIZE_MAX}.")
    async with world.database.snapshot() as tx:
        organization = await access.organization(tx, principal, login)
        rows = await store.unfinished(tx, organization.id, size)
        shown = await _with_parts(world, tx, rows)
        forecast = await forecasting.of_rows(world, tx, rows)
        queued_total = await store.total(
            tx, Wanted(organization_id=organization.id, statuses=[str(Status.NOT_STARTED)])
        )
    live = [each for each in shown if each.row.status in LIVE]
    queued = [each for each in shown if each.row.status not in LIVE]
    return Queue(
        limit=organization.deployment_limit,
        paused=organization.paused_at is not None,
        organization_id=organization.id,
        queued_total=queued_total,
        live=[_live(world, each, forecast, len(live)) for each in live],
        queued=_in_line(world, queued, forecast, len(live)),
    )


def _live(world: World, each: Shown, forecast: Forecast, live_count: int) -> Shown:
    shown = _waiting_as(each, _standing(world, each.row, live_count), expectation.NODE)
    return msgspec.structs.replace(shown, expected_end=forecast.ends[each.row.id])


def _in_line(
    world: World, queued: Sequence[Shown], forecast: Forecast, live_count: int
) -> list[Shown]:
    """Each with its place: the line is read from its head, so that places can be counted off."""
    before: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    line = []
    for index, each in enumerate(queued):
        ahead = before[each.row.stack_id]
        standing = msgspec.structs.replace(
            _standing(world, each.row, live_count),
            ahead_in_stack=len(ahead),
            before_id=ahead[-1].id if ahead else None,
            before_version=ahead[-1].version if ahead else None,
            ahead_in_organization=index,
        )
        line.append(_waiting_as(each, standing, forecast.starts[each.row.id]))
        ahead.append(each.row)
    return line


def _waiting_as(shown: Shown, standing: Standing, expected: Expected) -> Shown:
    found = waiting(standing)
    if found is not None:
        found = msgspec.structs.replace(found, expected=expected)
    return msgspec.structs.replace(shown, waiting=found)


async def _detail(world: World, tx: Transaction, row: Row[Any] | None, what: str) -> Shown:
    if row is None:
        raise NotFound(what=f"Deployment '{what}'")
    (shown,) = await _with_parts(world, tx, [row])
    stack = await stacks.by_id(tx, row.stack_id)
    return msgspec.structs.replace(
        shown,
        waiting=await _waiting(world, tx, row),
        expected_end=await forecasting.end_of(world, tx, row),
        configuration=deployment_settings.configuration_of(msgspec.json.decode(row.settings)),
        needs_recovery_since=stack.needs_recovery_since if stack is not None else None,
        previous_version=await store.previous_version(tx, row.stack_id, row.version),
    )


async def _waiting(world: World, tx: Transaction, row: Row[Any]) -> Waiting | None:
    if row.status not in (Status.NOT_STARTED, Status.ACCEPTED):
        return None
    standing = _standing(world, row, await store.live_count(tx, row.organization_id))
    if row.status == Status.NOT_STARTED:
        ahead = await store.ahead(tx, row)
        standing = msgspec.structs.replace(
            standing,
            ahead_in_stack=ahead.in_stack,
            before_id=ahead.before_id,
            before_version=ahead.before_version,
            ahead_in_organization=ahead.in_organization,
        )
    expected = await forecasting.start_of(world, tx, row, standing.ahead_in_organization)
    found = waiting(standing)
    return None if found is None else msgspec.structs.replace(found, expected=expected)


def _standing(world: World, row: Row[Any], live_count: int) -> Standing:
    return Standing(
        status=Status(row.status),
        organization=row.organization,
        live_id=row.live_id,
        live_version=row.live_version,
        live_since=row.live_since,
        live_count=live_count,
        limit=row.deployment_limit,
        stack_paused=_pause(row.stack_paused_at, row.stack_paused_by, row.stack_pause_note),
        organization_paused=_pause(
            row.organization_paused_at, row.organization_paused_by, row.organization_pause_note
        ),
        pool=row.pool_name or row.pool_id,
        pool_trouble=forecasting.pool_trouble(world, row),
        placement=row.waiting_for,
        accepted_at=row.accepted_at,
    )


def _pause(at: int | None, by: str | None, note: str) -> Pause | None:
    return None if at is None else Pause(by=by or "", note=note, at=at)


async def _page(
    world: World, tx: Transaction, organization_id: str, stack_id: str | None, query: ListQuery
) -> ShownPage:
    wanted = Wanted(
        organization_id=organization_id,
        stack_id=stack_id,
        statuses=query.statuses,
        operations=query.operations,
        triggers=query.triggers,
        project=query.project,
        who=query.who,
        since=query.since,
        until=query.until,
        words=query.words.split()[:WORDS_MAX],
    )
    rows = await store.page(
        tx,
        wanted,
        sort=query.sort,
        ascending=query.ascending,
        limit=query.page_size,
        offset=(query.page - 1) * query.page_size,
    )
    total = (query.page - 1) * query.page_size + len(rows)
    most = None if query.count_max is None else total + query.count_max
    # A last page tells how many there are in all; else they are counted.
    if len(rows) == query.page_size or (not rows and query.page > 1):
        total = await store.total(tx, wanted, most)
    shown = await _with_parts(world, tx, rows)
    return ShownPage(deployments=shown, total=total, more=total == most)


async def _with_parts(world: World, tx: Transaction, rows: Sequence[Row[Any]]) -> list[Shown]:
    ids = [row.id for row in rows]
    steps = _grouped(await store.steps_of(tx, ids) if ids else ())
    updates = _grouped(await store.updates_of(tx, ids) if ids else ())
    sources = {row.deployment_id: row for row in (await pulls.sources_of(tx, ids) if ids else ())}
    return [
        Shown(
            row=row,
            steps=steps[row.id],
            updates=updates[row.id],
            origin=_origin(world, sources[row.id]) if row.id in sources else None,
        )
        for row in rows
    ]


def _origin(world: World, row: Row[Any]) -> Origin:
    repository_url = f"{world.config.github_url.rstrip('/')}/{quote(row.full_name)}"
    number = row.pull_request
    return Origin(
        repository=row.full_name,
        repository_url=repository_url,
        commit_url=f"{repository_url}/commit/{row.sha}",
        title=row.title,
        author=row.author,
        ref=row.ref,
        pull_request=number,
        pull_request_url=f"{repository_url}/pull/{number}" if number is not None else "",
        is_fork=row.is_fork,
    )


def _grouped(rows: Sequence[Row[Any]]) -> defaultdict[str, list[Row[Any]]]:
    groups: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        groups[row.deployment_id].append(row)
    return groups


def _require_sensible(query: ListQuery) -> None:
    if not 1 <= query.page <= PAGE_MAX:
        raise BadRequest(detail=f"page must be between 1 and {PAGE_MAX}.")
    if not 1 <= query.page_size <= PAGE_SIZE_MAX:
        raise BadRequest(detail=f"pageSize must be between 1 and {PAGE_SIZE_MAX}.")
    _require_known("sort", [query.sort], SORTABLE)
    _require_known("status", query.statuses, [str(each) for each in Status])
    _require_known("operation", query.operations, [str(each) for each in Operation])
    _require_known("trigger", query.triggers, [str(each) for each in Trigger])


def _require_known(what: str, given: Collection[str], known: Collection[str]) -> None:
    for each in given:
        if each not in known:
            raise BadRequest(detail=f"{what} '{each}' is unknown; use {', '.join(known)}.")
