"""Stacks: listed, made, shown, renamed, deleted."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from control_plane.domain import checkpoint, names, tags
from control_plane.domain.checkpoint import InvalidState
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.update import Kind
from control_plane.domain.urns import Renaming
from control_plane.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    StackExists,
    StackNotEmpty,
    UpdateInProgress,
)
from control_plane.services import (
    access,
    stack_secrets,
    stack_tags,
    state,
    state_documents,
    state_lock,
    update_lease,
)
from control_plane.services.grants import log_prefix
from control_plane.services.state_documents import worked
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import identity, outbox, projects, queue, stacks, updates
from control_plane.store.github import pulls
from control_plane.store.transaction import Transaction

BATCH = 500
TELLING_MS_MAX = 600_000
"""How long a stack that is to go may wait until GitHub has been told of its last deployment."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which stacks a listing shows."""

    organization: str | None = None
    project: str | None = None
    tag: str | None = None
    tag_value: str | None = None

    def admits(self, stack: Row[Any]) -> bool:
        """Whether the stack has the wanted tag."""
        if self.tag is None:
            return True
        value = tags.decode(stack.tags).get(self.tag)
        return value is not None and self.tag_value in (None, "", value)


class Page(NamedTuple):
    """Some stacks, and after which one the next page begins; None when this was the last."""

    stacks: Sequence[Row[Any]]
    after: StackName | None


@verb
async def listing(
    world: World, principal: Principal, filters: Filters, after: StackName | None, limit: int
) -> Page:
    """The stacks that the caller may see, in the order of their names."""
    seen = principal.organizations
    if filters.organization is not None:
        seen = seen & {filters.organization}
    found: list[Row[Any]] = []
    async with world.database.snapshot() as tx:
        while len(found) <= limit:
            # One more than is shown tells whether there is another page.
            wanted = limit + 1 - len(found) if filters.tag is None else BATCH
            rows = await stacks.page(
                tx,
                seen,
                after=after,
                limit=wanted,
                project=filters.project,
                stack_id=principal.stack_id,
            )
            found += filter(filters.admits, rows)
            if len(rows) < wanted:
                break
            after = _name(rows[-1])
    more = len(found) > limit
    return Page(found[:limit], _name(found[limit - 1]) if more else None)


def _name(stack: Row[Any]) -> StackName:
    return StackName(stack.organization, stack.project, stack.name)


class Seen(NamedTuple):
    """A stack, and the update that holds its state lock."""

    stack: Row[Any]
    current: Row[Any] | None


@verb
async def get(world: World, principal: Principal, name: StackName) -> Seen:
    """A stack, with the update that is under way; raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.readable_stack(tx, principal, name)
        current = None
        if stack.current_update_id is not None:
            current = await updates.presented(tx, stack.id, stack.current_update_id)
    if current is not None and not update_lease.stands(current, world.now()):
        current = None
    return Seen(stack, current)


@verb
async def owner(
    world: World, principal: Principal, name: StackName
) -> tuple[Row[Any], Row[Any] | None]:
    """A stack, and the user who made it."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        user = await identity.user_by_id(tx, stack.created_by) if stack.created_by else None
    return stack, user


@verb
async def require(world: World, principal: Principal, name: StackName) -> None:
    """Raise NotFound unless the stack exists, for this caller."""
    async with world.database.snapshot() as tx:
        await access.stack(tx, principal, name)


@verb
async def require_project(
    world: World, principal: Principal, organization: str, project: str
) -> None:
    """Raise NotFound unless the project exists, for this caller."""
    async with world.database.snapshot() as tx:
        found = None
        if principal.may_see(organization):
            found = await projects.find(tx, organization, project)
        if found is not None and principal.stack_id is not None:
            own = await stacks.by_id(tx, principal.stack_id)
            found = found if own is not None and own.project == project else None
    if found is None:
        raise NotFound(what=f"Project '{organization}/{project}'")


@verb
async def create(
    world: World,
    principal: Principal,
    name: StackName,
    new_tags: dict[str, str],
    document: bytes | None = None,
    *,
    review_of: dict[str, Any] | None = None,
) -> None:
    """Make a stack, and its project if that is new; a document becomes its first state.

    `review_of` notes that it is the review stack of a pull request, and after which template.
    """
    _require_legal(name)
    stack_tags.require_legal(new_tags)
    resources = await _checked(document)
    stack_id = str(uuid.uuid4())
    data_key = stack_secrets.new_data_key(world, stack_id)
    async with world.database.snapshot() as tx:
        await _require_absent(tx, principal, name)
    key = None
    if document is not None:
        key = await state_documents.keep(world, stack_id, "initial", 0, document)
    try:
        async with state_documents.provisional(world, key), world.database.transaction() as tx:
            organization = await access.organization(tx, principal, name.organization)
            await projects.ensure(tx, organization.id, name.project, world.now())
            await stacks.add(
                tx,
                id=stack_id,
                organization_id=organization.id,
                project=name.project,
                name=name.stack,
                tags=tags.encode({tags.PROJECT: name.project, **new_tags}),
                created_at=world.now(),
                created_by=principal.user.id or None,
                checkpoint_key=key,
                resource_count=resources,
                wrapped_data_key=data_key,
            )
            if review_of is not None:
                await pulls.add_review_stack(tx, {**review_of, "stack_id": stack_id})
    except IntegrityError:
        raise StackExists(stack=str(name)) from None


async def _checked(document: bytes | None) -> int:
    if document is None:
        return 0
    try:
        return await worked(len(document), checkpoint.check, document)
    except InvalidState as error:
        raise BadRequest(detail=f"The state is not as expected: {error}") from None


async def _require_absent(tx: Transaction, principal: Principal, name: StackName) -> None:
    if not principal.may_see(name.organization):
        raise NotFound(what=f"Organization '{name.organization}'")
    found = await stacks.find(tx, name)
    if principal.stack_id is not None and (found is None or found.id != principal.stack_id):
        raise Forbidden(detail="A deployment's token reaches only the deployment's own stack.")
    if found is not None:
        raise StackExists(stack=str(name))


def _require_legal(name: StackName) -> None:
    for what, part in (("project", name.project), ("stack", name.stack)):
        if not names.is_legal(part):
            raise BadRequest(
                detail=f"'{part[:120]}' cannot name a {what}: "
                "use up to 100 letters, digits, '-', '_', '.'."
            )


@verb
async def rename(
    world: World, principal: Principal, name: StackName, new_stack: str, new_project: str
) -> str:
    """Give a stack other names, in its state too; returns the id of the update that this is.

    An empty name stays as it is. The data key belongs to the id, so secrets stay readable.
    """
    new = StackName(name.organization, new_project or name.project, new_stack or name.stack)
    if new == name:
        raise BadRequest(detail="No rename to apply.")
    _require_legal(new)
    await state_lock.make_ready(world, principal, name)
    async with world.database.snapshot() as tx:
        before = await access.stack(tx, principal, name)
    update_id = str(uuid.uuid4())
    key = await _renamed_document(world, before, update_id, new)
    try:
        async with state_documents.provisional(world, key), world.database.transaction() as tx:
            stack = await state_lock.locked(world, tx, principal, name)
            await _require_no_deployment(tx, stack)
            if stack.checkpoint_key != before.checkpoint_key:
                raise UpdateInProgress()
            await _rename(world, tx, stack, new)
            await state.record_whole(
                world, tx, principal, stack, update_id, Kind.RENAME, key, stack.resource_count
            )
    except IntegrityError:
        raise StackExists(stack=str(new)) from None
    return update_id


async def _renamed_document(
    world: World, stack: Row[Any], update_id: str, new: StackName
) -> str | None:
    if stack.checkpoint_key is None:
        return None
    document = await state_documents.load(world, stack.checkpoint_key)
    renaming = Renaming(stack.name, stack.project, new.stack, new.project)
    renamed = await worked(len(document), checkpoint.renamed, document, renaming)
    return await state_documents.keep(world, stack.id, update_id, 0, renamed)


async def _rename(world: World, tx: Transaction, stack: Row[Any], new: StackName) -> None:
    old_tags = tags.decode(stack.tags)
    moved = {**old_tags, tags.PROJECT: new.project} if tags.PROJECT in old_tags else old_tags
    await projects.ensure(tx, stack.organization_id, new.project, world.now())
    await stacks.change(tx, stack.id, project=new.project, name=new.stack, tags=tags.encode(moved))
    await projects.remove_if_empty(tx, stack.organization_id, stack.project)


async def _require_no_deployment(tx: Transaction, stack: Row[Any]) -> None:
    live = await updates.live_deployment(tx, stack.id)
    if live is not None:
        raise Conflict(
            detail=f"Deployment {live.version} ({live.id}) of the stack is under way. "
            "Cancel it, or wait for its end."
        )


@verb
async def delete(world: World, principal: Principal, name: StackName, *, force: bool) -> None:
    """Delete a stack with its history, deployments and settings.

    Raises StackNotEmpty when it has resources, unless forced. A stack's own deployment may ask
    for it while it runs: the stack goes when the deployment has ended.
    """
    await state_lock.make_ready(world, principal, name)
    async with world.database.transaction() as tx:
        stack = await access.stack(tx, principal, name)
        await queue.lock_organizations(tx, [stack.organization_id])
        await update_lease.require_live(tx, principal, world.now())
        stack = await access.stack(tx, principal, name, lock=True)
        await state_lock.require_free(tx, stack)
        if stack.resource_count > 0 and not force:
            raise StackNotEmpty()
        if principal.deployment_id is not None:
            await _mark(world, tx, stack)
            return
        await _require_no_deployment(tx, stack)
        await _delete(world, tx, stack)


async def _mark(world: World, tx: Transaction, stack: Row[Any]) -> None:
    if stack.resource_count > 0:
        raise Conflict(detail="A deployment cannot delete its own stack while it has resources.")
    await outbox.add(tx, outbox.DELETE_STACK, [stack.id], world.now())


async def _delete(world: World, tx: Transaction, stack: Row[Any]) -> None:
    keys = {*await updates.document_keys(tx, stack.id), stack.checkpoint_key} - {None}
    logs = [
        log_prefix(row.organization_id, row.stack_id, row.id)
        for row in await stacks.deployment_logs(tx, stack.id)
    ]
    await outbox.add(tx, outbox.DELETE_OBJECT, sorted(keys), world.now())
    await outbox.add(tx, outbox.DELETE_LOG, logs, world.now())
    await stacks.remove(tx, stack.id)
    await projects.remove_if_empty(tx, stack.organization_id, stack.project)
    await queue.refresh_organizations(tx, [stack.organization_id])


@verb
async def delete_marked(world: World) -> int:
    """Delete stacks whose own deployments asked for it, once those have ended; for a loop."""
    async with world.database.snapshot() as tx:
        marked = await outbox.subjects(tx, outbox.DELETE_STACK, BATCH)
    for stack_id in marked:
        await _delete_marked(world, stack_id)
    return len(marked)


async def _delete_marked(world: World, stack_id: str) -> None:
    """A stack that has got resources since it was marked is left alone."""
    async with world.database.transaction() as tx:
        stack = await stacks.by_id(tx, stack_id)
        if stack is not None:
            await queue.lock_organizations(tx, [stack.organization_id])
            stack = await stacks.by_id(tx, stack_id, lock=True)
        if stack is not None:
            if await updates.live_deployment(tx, stack_id) is not None:
                return
            # With the stack goes what GitHub is still to be told of its end.
            if await pulls.is_to_be_told(tx, stack_id, world.now() - TELLING_MS_MAX):
                return
            if stack.current_update_id is None and stack.resource_count == 0:
                await _delete(world, tx, stack)
        await outbox.done(tx, outbox.DELETE_STACK, [stack_id])
