"""Updates: created, started under a lease, renewed, completed, cancelled, or ended for silence."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row

from control_plane.domain import tags, tokens, update
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update import Status
from control_plane.errors import BadRequest, Conflict, NotFound, UpdateInProgress, UpdateLeaseEnded
from control_plane.services import (
    access,
    cancellation,
    materialising,
    stack_tags,
    state_lock,
    update_lease,
)
from control_plane.services.update_lease import Lease
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import journal as journals
from control_plane.store import stacks, updates
from control_plane.store.transaction import Transaction

BATCH = 100
COMPLETE_TRIES = 3


class NewUpdate(msgspec.Struct, kw_only=True):
    """What an engine says of the update that it wants to make."""

    kind: str
    dry_run: bool
    message: str = ""
    environment: dict[str, str] = {}
    config: msgspec.Raw = msgspec.Raw(b"{}")
    """Config values by key, as the client wrote them; secret ones are encrypted."""
    program: dict[str, Any] = {}


class Started(NamedTuple):
    """A running update: its number, and the token of its lease."""

    version: int
    token: str
    expires_at: int
    """Unix milliseconds."""
    journal_version: int


def topic(update_id: str) -> str:
    """Where followers of an update listen."""
    return f"update:{update_id}"


def told(world: World, tx: Transaction, update_id: str) -> None:
    """After the commit, tell who follows the update."""
    tx.after_commit(partial(world.broker.wake, topic(update_id)))


@verb
async def create(world: World, principal: Principal, name: StackName, new: NewUpdate) -> str:
    """Record an update that has not started; returns its id."""
    update_id = str(uuid.uuid4())
    async with world.database.transaction() as tx:
        await update_lease.require_live(tx, principal, world.now(), preview=new.dry_run)
        stack = await access.stack(tx, principal, name)
        await updates.add(
            tx,
            id=update_id,
            stack_id=stack.id,
            kind=str(update.kind_of(new.kind, dry_run=new.dry_run)),
            dry_run=new.dry_run,
            status=str(Status.NOT_STARTED),
            message=new.message,
            environment=msgspec.json.encode(new.environment).decode(),
            config=bytes(new.config).decode(),
            program=msgspec.json.encode(new.program).decode(),
            requested_by=principal.user.id or None,
            deployment_id=principal.deployment_id,
            created_at=world.now(),
        )
    return update_id


@verb
async def start(
    world: World,
    principal: Principal,
    name: StackName,
    update_id: str,
    *,
    new_tags: dict[str, str] | None,
    journal_version: int,
) -> Started:
    """Start an update: a lease, and unless it is a preview the state lock and the next number.

    Raises UpdateInProgress while another update holds the lock.
    """
    stack_tags.require_legal(new_tags or {})
    await state_lock.make_ready(world, principal, name)
    token = tokens.new(tokens.UPDATE_LEASE)
    now = world.now()
    lease: dict[str, Any] = {
        "status": str(Status.RUNNING),
        "started_at": now,
        "lease_digest": tokens.digest(token),
        "lease_expires_at": now + _lease_ms(world),
    }
    async with world.database.transaction() as tx:
        await update_lease.require_live(tx, principal, now, preview=True)
        stack = await access.stack(tx, principal, name, lock=True)
        row = await _find(tx, stack, update_id)
        if row.status != Status.NOT_STARTED:
            raise Conflict(detail=f"Update '{update_id}' has been started before.")
        await update_lease.require_live(tx, principal, now, preview=row.dry_run)
        journaled = updates.JOURNALED if journal_version >= updates.JOURNALED else 0
        if not row.dry_run:
            lease |= await _take_lock(tx, stack, row, new_tags, now)
            lease["journal_version"] = journaled
        await updates.change(tx, row.id, **lease)
        if principal.deployment_id is not None:
            await updates.mark_engine_started(tx, principal.deployment_id, now)
    version = lease.get("version", stack.version)
    return Started(version, token, lease["lease_expires_at"], lease.get("journal_version", 0))


async def _take_lock(
    tx: Transaction, stack: Row[Any], row: Row[Any], new_tags: dict[str, str] | None, now: int
) -> dict[str, Any]:
    await state_lock.require_free(tx, stack)
    version = stack.version + 1
    replaced = {}
    if new_tags is not None:
        replaced["tags"] = tags.encode({**new_tags, tags.PROJECT: stack.project})
    await stacks.change(
        tx,
        stack.id,
        version=version,
        current_update_id=row.id,
        newest_update_id=row.id,
        last_update_at=now,
        **replaced,
    )
    return {"version": version, "base_checkpoint_key": stack.checkpoint_key}


async def _find(tx: Transaction, stack: Row[Any], update_id: str) -> Row[Any]:
    row = await updates.find(tx, stack.id, update_id, lock=True)
    if row is None:
        raise NotFound(what=f"Update '{update_id}'")
    return row


def _lease_ms(world: World) -> int:
    return int(world.config.updates.lease_seconds * 1000)


@verb
async def renew(world: World, lease: Lease) -> int:
    """Move the lease's end; returns it in Unix milliseconds. Raises UpdateLeaseEnded."""
    until = world.now() + _lease_ms(world)
    async with world.database.transaction() as tx:
        row = await update_lease.hold(tx, lease, world.now(), lock=True)
        await updates.change(tx, row.id, lease_expires_at=until)
    return until


@verb
async def complete(world: World, lease: Lease, status: Status) -> None:
    """End an update as its engine says; repeated, it changes nothing.

    What the journal holds is made the stack's state first. An engine writes nothing more once it
    has asked for this; should an entry come all the same, the journal is read again.
    """
    for _ in range(COMPLETE_TRIES):
        async with world.database.snapshot() as tx:
            row = await update_lease.find(tx, lease)
        if _is_repeated(row, status):
            return
        if not update_lease.stands(row, world.now()):
            raise UpdateLeaseEnded()
        journaled = row.journal_version == updates.JOURNALED
        kept = await materialising.keep(world, row, world.now()) if journaled else None
        if await _complete(world, lease, status, kept):
            return
    raise UpdateInProgress()


def _is_repeated(row: Row[Any], status: Status) -> bool:
    return row.ended_at is not None and row.status == status


async def _complete(
    world: World, lease: Lease, status: Status, kept: materialising.Kept | None
) -> bool:
    """Whether it is done; False when the journal has grown in the meantime."""
    async with world.database.transaction() as tx:
        known = await update_lease.find(tx, lease)
        await stacks.by_id(tx, known.stack_id, lock=True)
        row = await update_lease.find(tx, lease, lock=True)
        if _is_repeated(row, status):
            return True
        if not update_lease.stands(row, world.now()):
            raise UpdateLeaseEnded()
        values = {}
        if kept is not None:
            if await journals.length(tx, row.id) != kept.entries:
                return False
            values = await materialising.adopt(tx, row, kept)
        await updates.end(tx, row, status, world.now(), **values)
        if status is Status.SUCCEEDED and not row.dry_run:
            await stacks.change(tx, row.stack_id, needs_recovery_since=None)
        told(world, tx, row.id)
    return True


@verb
async def cancel(world: World, principal: Principal, name: StackName, update_id: str) -> None:
    """End an update from outside: its lease dies, the lock is free, what it saved stays.

    A deployment that makes it is asked to stop too: its CLI would learn of the dead lease only
    when it next renews, minutes later, and the stack's next deployment would wait for that.
    Raises Conflict when it is over already, except by a cancel.
    """
    async with world.database.transaction() as tx:
        await update_lease.require_live(tx, principal, world.now())
        stack = await access.stack(tx, principal, name, lock=True)
        row = await _find(tx, stack, update_id)
        if row.status == Status.CANCELLED:
            return
        if row.ended_at is not None:
            raise Conflict(detail=f"Update '{update_id}' is not running.")
        await updates.end(tx, row, Status.CANCELLED, world.now())
        told(world, tx, row.id)
        if row.deployment_id is not None:
            login = principal.user.login
            await cancellation.request(world, tx, row.deployment_id, login)


@verb
async def expire(world: World) -> int:
    """End updates whose engine has been silent for the lease's length; returns how many."""
    now = world.now()
    async with world.database.snapshot() as tx:
        rows = await updates.expired(tx, now, BATCH)
    if not rows:
        return 0
    async with world.database.transaction() as tx:
        for row in rows:
            if await state_lock.expire(tx, row, now):
                told(world, tx, row.id)
    return len(rows)


@verb
async def extend_after_restart(world: World) -> None:
    """Give running updates one more term: the server's own absence is nobody's fault."""
    async with world.database.transaction() as tx:
        await updates.extend_leases(tx, world.now() + _lease_ms(world))


@verb
async def status_of(world: World, principal: Principal, name: StackName, update_id: str) -> Status:
    """Where an update stands."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await updates.find(tx, stack.id, update_id)
    if row is None:
        raise NotFound(what=f"Update '{update_id}'")
    return Status(row.status)


def completion(text: str) -> Status:
    """The end that an engine asks for; raises BadRequest."""
    if text not in update.ENDS:
        raise BadRequest(detail=f"'{text}' is no end of an update: use succeeded or failed.")
    return Status(text)
