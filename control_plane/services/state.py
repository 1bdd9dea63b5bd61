"""The state of a stack: read by export, written by import, checkpoints and the journal."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Raw
from sqlalchemy import Row

from control_plane.domain import checkpoint, journal
from control_plane.domain.checkpoint import Home, InvalidState, Span
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update import Kind, Status
from control_plane.errors import BadRequest, Conflict, Forbidden, NotFound, UpdateInProgress
from control_plane.services import (
    access,
    materialising,
    stack_secrets,
    state_documents,
    state_lock,
    update_lease,
)
from control_plane.services.state_documents import worked
from control_plane.services.update_lease import Lease
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import journal as journals
from control_plane.store import outbox, stacks, updates
from control_plane.store.transaction import Transaction

SWEEP_BATCH = 200


@verb
async def export(
    world: World, principal: Principal, name: StackName, url: str, version: int | None = None
) -> bytes:
    """The state now, or as the update of that number left it, for a caller at that address.

    While an update is journaling, the state is what it has done so far.
    """
    await state_lock.make_readable(world, principal, name)
    async with world.database.snapshot() as tx:
        stack = await access.readable_stack(tx, principal, name)
        row = await _update_of(tx, stack, version)
        entries = await _entries(tx, row)
    if row is not None and entries:
        # Without entries it must be the base itself: the engine counts on that document's order.
        document = await materialising.build(world, row, entries, world.now())
    else:
        key = stack.checkpoint_key if version is None else _left_by(row)
        document = await state_documents.load(world, key)
    home = Home(url, stack.organization, stack.project, stack.name)
    return await worked(len(document), checkpoint.at_home, document, home)


async def _update_of(tx: Transaction, stack: Row[Any], version: int | None) -> Row[Any] | None:
    """The update whose state is asked for; None: no update is under way, the stack's is."""
    if version is None:
        running = stack.current_update_id
        if running is not None:
            return await updates.find(tx, stack.id, running)
        # One that was ended since the stack was made ready.
        return await updates.unsettled(tx, stack.id)
    row = await updates.of_version(tx, stack.id, version)
    if row is None:
        raise NotFound(what=f"Version {version} of stack '{_name(stack)}'")
    return row


async def _entries(tx: Transaction, row: Row[Any] | None) -> list[bytes]:
    if row is None or row.journal_version != updates.JOURNALED or row.checkpoint_key is not None:
        return []
    return await journals.entries(tx, row.id)


def _left_by(row: Row[Any] | None) -> str | None:
    """The document that an update left; one that saved nothing left what it found."""
    return None if row is None else row.checkpoint_key or row.base_checkpoint_key


def _name(stack: Row[Any]) -> StackName:
    return StackName(stack.organization, stack.project, stack.name)


@verb
async def import_(world: World, principal: Principal, name: StackName, document: bytes) -> str:
    """Replace the state by a document; returns the id of the update that this is.

    Raises BadRequest for what no engine could read, and for secrets of another stack.
    """
    resources = await _checked(document)
    await state_lock.make_ready(world, principal, name)
    async with world.database.snapshot() as tx:
        before = await access.stack(tx, principal, name)
    await worked(len(document), _require_own_secrets, world, before, document)
    update_id = str(uuid.uuid4())
    key = await state_documents.keep(world, before.id, update_id, 0, document)
    async with state_documents.provisional(world, key), world.database.transaction() as tx:
        stack = await state_lock.locked(world, tx, principal, name)
        if stack.id != before.id:
            # Deleted, or renamed, and made anew: the secrets are not this one's.
            raise UpdateInProgress()
        await record_whole(world, tx, principal, stack, update_id, Kind.IMPORT, key, resources)
    return update_id


async def _checked(document: bytes) -> int:
    try:
        return await worked(len(document), checkpoint.check, document)
    except InvalidState as error:
        raise BadRequest(detail=f"The state is not as expected: {error}") from None


def _require_own_secrets(world: World, stack: Row[Any], document: bytes) -> None:
    cipher: stack_secrets.StackCipher | None = None
    try:
        for ciphertext in checkpoint.ciphertexts(document):
            cipher = cipher or stack_secrets.cipher_of(world, stack)
            cipher.decrypt(stack_secrets.decode(ciphertext))
    except BadRequest:
        raise BadRequest(
            detail="The state holds secrets that another stack has encrypted. Export it there "
            "with --show-secrets, and import that."
        ) from None


async def record_whole(
    world: World,
    tx: Transaction,
    principal: Principal,
    stack: Row[Any],
    update_id: str,
    kind: Kind,
    key: str | None,
    resources: int,
) -> None:
    """Record an update that began and succeeded in one: it leaves that document as the state.

    The configuration stays that of the update before, so that `pulumi config refresh` finds it.
    """
    now, version = world.now(), stack.version + 1
    before = await updates.of_version(tx, stack.id, stack.version)
    await updates.add(
        tx,
        id=update_id,
        stack_id=stack.id,
        kind=str(kind),
        dry_run=False,
        status=str(Status.SUCCEEDED),
        version=version,
        requested_by=principal.user.id or None,
        deployment_id=principal.deployment_id,
        created_at=now,
        started_at=now,
        ended_at=now,
        resource_count=resources,
        config="{}" if before is None else before.config,
        base_checkpoint_key=stack.checkpoint_key,
        checkpoint_key=key,
    )
    await stacks.change(
        tx,
        stack.id,
        version=version,
        checkpoint_key=key,
        resource_count=resources,
        newest_update_id=update_id,
        last_update_at=now,
    )


class Delta(NamedTuple):
    """Edits of the document that this update saved last."""

    edits: Sequence[Span]
    sha256: str


@verb
async def save_document(
    world: World, lease: Lease, document: bytes, sequence: int | None = None
) -> None:
    """Save a whole state; the same one again changes nothing. `sequence` counts saves from 1."""
    resources = await _checked(document)
    async with world.database.snapshot() as tx:
        row = await _checkpointing(world, tx, lease)
    await _save(world, lease, row, document, resources, sequence)


@verb
async def pass_over(world: World, lease: Lease) -> None:
    """Take note of a state that its engine knows to be invalid: what was saved before stays."""
    async with world.database.snapshot() as tx:
        await _checkpointing(world, tx, lease)


@verb
async def save_delta(world: World, lease: Lease, delta: Delta, sequence: int) -> None:
    """Save a state as edits of the one before; raises Conflict unless it comes out as hashed."""
    async with world.database.snapshot() as tx:
        row = await _checkpointing(world, tx, lease)
    if _is_saved(row, delta.sha256, sequence):
        return
    if row.checkpoint_sequence == 0:
        raise Conflict(detail="Nothing has been saved in this update that a delta could change.")
    base = await state_documents.load(world, row.checkpoint_key)
    try:
        document = await worked(len(base), checkpoint.apply_delta, base, delta.edits, delta.sha256)
    except InvalidState as error:
        raise Conflict(detail=f"The delta does not fit: {error}.") from None
    await _save(world, lease, row, document, await _checked(document), sequence)


async def _save(
    world: World,
    lease: Lease,
    row: Row[Any],
    document: bytes,
    resources: int,
    sequence: int | None,
) -> None:
    digest = await worked(len(document), _sha256, document)
    if _is_saved(row, digest, sequence):
        return
    number = sequence if sequence is not None else row.checkpoint_sequence + 1
    key = await state_documents.keep(world, row.stack_id, row.id, number, document)
    async with world.database.transaction() as tx:
        await stacks.by_id(tx, row.stack_id, lock=True)
        now = await _checkpointing(world, tx, lease, lock=True)
        if _is_saved(now, digest, sequence):
            return
        if now.checkpoint_sequence != row.checkpoint_sequence:
            raise Conflict(detail="Another checkpoint of this update was saved at the same time.")
        await _adopt(world, tx, now, key, resources, number, digest)


def _sha256(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()


def _is_saved(row: Row[Any], digest: str, sequence: int | None) -> bool:
    """Whether this is a repetition; raises Conflict for another state under an old number."""
    if sequence is None or sequence == row.checkpoint_sequence:
        if row.checkpoint_hash == digest.lower():
            return True
        if sequence is not None:
            raise Conflict(detail=f"Checkpoint {sequence} was saved with other contents.")
    return sequence is not None and sequence < row.checkpoint_sequence


async def _adopt(
    world: World,
    tx: Transaction,
    row: Row[Any],
    key: str,
    resources: int,
    number: int,
    digest: str,
) -> None:
    await updates.change(
        tx,
        row.id,
        checkpoint_key=key,
        checkpoint_sequence=number,
        checkpoint_hash=digest,
        resource_count=resources,
    )
    await stacks.change(tx, row.stack_id, checkpoint_key=key, resource_count=resources)
    if row.checkpoint_key is not None:
        await outbox.add(tx, outbox.DELETE_OBJECT, [row.checkpoint_key], world.now())


async def _checkpointing(
    world: World, tx: Transaction, lease: Lease, *, lock: bool = False
) -> Row[Any]:
    row = await update_lease.hold(tx, lease, world.now(), lock=lock)
    _require_change(row)
    if row.journal_version == updates.JOURNALED:
        raise BadRequest(detail="This update keeps a journal; it cannot save checkpoints as well.")
    return row


def _require_change(row: Row[Any]) -> None:
    if row.dry_run:
        raise Forbidden(detail="A preview changes no state.")


@verb
async def append_journal(world: World, lease: Lease, entries: Sequence[Raw]) -> None:
    """Keep a batch of journal entries; those that came before are not kept twice.

    What it costs does not depend on the size of the stack.
    """
    numbered = [(_entry(raw).sequence_id, bytes(raw)) for raw in entries]
    async with world.database.transaction() as tx:
        row = await update_lease.hold(tx, lease, world.now(), lock=True)
        _require_change(row)
        if row.journal_version != updates.JOURNALED:
            raise BadRequest(detail="This update was started without a journal.")
        await journals.append(tx, row.id, numbered)


def _entry(raw: Raw) -> journal.Entry:
    try:
        return journal.read(raw)
    except journal.InvalidEntry as error:
        raise BadRequest(detail=f"A journal entry is not as expected: {error}") from None


@verb
async def sweep(world: World) -> int:
    """Delete objects and logs that nothing refers to any more; returns how many there were."""
    async with world.database.snapshot() as tx:
        objects = await outbox.subjects(tx, outbox.DELETE_OBJECT, SWEEP_BATCH)
        logs = await outbox.subjects(tx, outbox.DELETE_LOG, SWEEP_BATCH)
    for key in objects:
        await world.objects.delete(key)
    for prefix in logs:
        await world.logs.delete_prefix(prefix)
    if objects or logs:
        async with world.database.transaction() as tx:
            await outbox.done(tx, outbox.DELETE_OBJECT, objects)
            await outbox.done(tx, outbox.DELETE_LOG, logs)
    return len(objects) + len(logs)
