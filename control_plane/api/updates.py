"""Updates as the engine makes them.

The CLI calls `S/update/{id}/…` whatever the update's kind is; other clients name the kind.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, patch, post
from litestar.params import QueryParameter
from msgspec import UNSET, Raw, UnsetType

from control_plane.api import body, paging, update_history
from control_plane.api.accept import by_schema
from control_plane.api.stack_path import under_stack
from control_plane.domain import checkpoint, engine_events, update
from control_plane.domain.checkpoint import Span
from control_plane.domain.engine_events import Filter
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import state, update_events, updates
from control_plane.services.history import seconds
from control_plane.services.update_lease import Lease
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]

LEASE_SECONDS_MAX = 300
MESSAGE_CHARACTERS_MAX = 16 * 1024
"""How much of an update's message is kept: each page of a history repeats it."""
NOTHING = Response(b"")
"""An answer without a body, where the published schema has 200 and not 204."""


def _paths(rest: str = "") -> list[str]:
    return [f"/{kind}/{{update_id:str}}{rest}" for kind in update.PATHS]


class Options(msgspec.Struct, rename="camel", kw_only=True):
    """What of the engine's options matters here."""

    dry_run: bool = False


class Metadata(msgspec.Struct, kw_only=True):
    """What an engine says of where an update comes from."""

    message: str | None = None
    environment: dict[str, str] | None = None


class ConfigValue(msgspec.Struct, kw_only=True):
    """A config value; a secret one is a ciphertext."""

    string: str | None = None
    secret: bool = False
    object: bool = False


class CreateUpdate(msgspec.Struct, rename="camel", kw_only=True):
    """An update to make."""

    name: str = ""
    runtime: str = ""
    main: str = ""
    description: str = ""
    options: Options | None = None
    config: dict[str, ConfigValue] | None = None
    metadata: Metadata | None = None


class AiSettings(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What of the vendor's assistants is on: nothing."""

    copilot_is_enabled: bool = False


class UpdateCreated(msgspec.Struct, rename="camel", kw_only=True):
    """A new update, and what the engine must know before it starts it."""

    update_id: str = msgspec.field(name="updateID")
    required_policies: list[Any] = []
    messages: list[Any] = []
    ai_settings: AiSettings = AiSettings()


@post([f"/{kind}" for kind in update.PATHS], status_code=200)
async def create_update(
    request: AnyRequest, world: World, principal: Principal, name: StackName
) -> UpdateCreated:
    """Create an update. Whether it is a preview is told by `options.dryRun`."""
    asked = await body.decode(request, CreateUpdate)
    kind = request.url.path.rstrip("/").rpartition("/")[2]
    metadata = asked.metadata or Metadata()
    new = updates.NewUpdate(
        kind=kind,
        dry_run=(asked.options or Options()).dry_run,
        message=(metadata.message or "").replace("\0", "")[:MESSAGE_CHARACTERS_MAX],
        environment=metadata.environment or {},
        config=Raw(msgspec.json.encode(asked.config or {})),
        program={
            "name": asked.name,
            "runtime": asked.runtime,
            "main": asked.main,
            "description": asked.description,
        },
    )
    return UpdateCreated(update_id=await updates.create(world, principal, name, new))


class StartUpdate(msgspec.Struct, rename="camel", kw_only=True):
    """The start of an update. Tags, when given, replace the stack's."""

    tags: dict[str, str] | None = None
    journal_version: int | None = None


class UpdateStarted(msgspec.Struct, rename="camel", kw_only=True):
    """A running update. `tokenExpiration` is Unix seconds."""

    version: int
    token: str
    token_expiration: int
    journal_version: int


@post(_paths(), status_code=200)
async def start_update(
    request: AnyRequest, world: World, principal: Principal, name: StackName, update_id: str
) -> UpdateStarted:
    """Start an update: from now on it holds a lease and, unless it is a preview, the state."""
    asked = await body.decode(request, StartUpdate)
    started = await updates.start(
        world,
        principal,
        name,
        update_id,
        new_tags=asked.tags,
        journal_version=asked.journal_version or 0,
    )
    return UpdateStarted(
        version=started.version,
        token=started.token,
        token_expiration=seconds(started.expires_at),
        journal_version=started.journal_version,
    )


class UpdateStatus(msgspec.Struct, rename="camel", kw_only=True):
    """Where an update stands; without a token it is over."""

    status: str
    events: list[Any] = []
    continuation_token: str | UnsetType = UNSET


@get(_paths())
async def get_update(
    world: World, principal: Principal, name: StackName, update_id: str
) -> UpdateStatus:
    """Where an update stands."""
    status = await updates.status_of(world, principal, name, update_id)
    token = UNSET if status in update.ENDS else paging.token(0)
    return UpdateStatus(status=str(status), continuation_token=token)


@post(_paths("/cancel"), status_code=204)
async def cancel_update(
    world: World, principal: Principal, name: StackName, update_id: str
) -> None:
    """End an update from outside."""
    await updates.cancel(world, principal, name, update_id)


class Renewal(msgspec.Struct, kw_only=True):
    """For how many seconds more a lease is wanted."""

    duration: int = LEASE_SECONDS_MAX


class Renewed(msgspec.Struct, rename="camel", kw_only=True):
    """A renewed lease; the token stays the same. `tokenExpiration` is Unix seconds."""

    token: str
    token_expiration: int


@post(_paths("/renew_lease"), status_code=200)
async def renew_lease(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> Renewed:
    """Renew an update's lease. 403 is what makes an engine give up."""
    asked = await body.decode(request, Renewal)
    if not 0 <= asked.duration <= LEASE_SECONDS_MAX:
        raise BadRequest(detail=f"'duration' must be 0 to {LEASE_SECONDS_MAX} seconds.")
    until = await updates.renew(world, Lease(name, update_id, update_token))
    return Renewed(token=update_token, token_expiration=seconds(until))


class Completion(msgspec.Struct, kw_only=True):
    """How an update ended."""

    status: str


@post(_paths("/complete"), status_code=204)
async def complete_update(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> None:
    """End an update as its engine says."""
    asked = await body.decode(request, Completion)
    lease = Lease(name, update_id, update_token)
    await updates.complete(world, lease, updates.completion(asked.status))


class Events(msgspec.Struct, kw_only=True):
    """A batch of engine events."""

    events: list[Raw]


@post(_paths("/events/batch"), status_code=200)
async def record_events(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> Response[bytes]:
    """Keep engine events."""
    batch = await body.decode(request, Events)
    await update_events.record(world, Lease(name, update_id, update_token), batch.events)
    return NOTHING


@post(_paths("/events"), status_code=200)
async def record_event(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> Response[bytes]:
    """Keep one engine event."""
    event = await body.decode(request, Raw)
    await update_events.record(world, Lease(name, update_id, update_token), [event])
    return NOTHING


class EventPage(msgspec.Struct, rename="camel", kw_only=True):
    """Some engine events. The update is over and all are read when the token is null; or empty,
    for who goes by the published schema, which has no null there (the CLI would go on at that)."""

    events: list[Raw]
    continuation_token: str | None


@get(_paths("/events"))
async def read_events(
    request: AnyRequest,
    world: World,
    principal: Principal,
    name: StackName,
    update_id: str,
    continuation_token: Annotated[str | None, QueryParameter(name="continuationToken")] = None,
    type_: Annotated[list[str] | None, QueryParameter(name="type")] = None,
    urn: str | None = None,
) -> EventPage:
    """Engine events in order, from a token on."""
    page = await update_events.read(
        world,
        principal,
        name,
        update_id,
        start=_start(continuation_token),
        wanted=Filter(tuple(type_ or ()), urn or ""),
    )
    token = None if page.next is None else paging.token(page.next)
    if by_schema(request):
        shown = [Raw(engine_events.by_schema(event)) for event in page.events]
        return EventPage(events=shown, continuation_token=token or "")
    return EventPage(events=[Raw(event) for event in page.events], continuation_token=token)


def _start(token: str | None) -> int:
    start = paging.place(token, int) if token else 0
    if not 0 <= start < 2**53:
        raise BadRequest(detail="The continuationToken is not valid.")
    return start


class Checkpoint(msgspec.Struct, rename="camel", kw_only=True):
    """A whole state."""

    is_invalid: bool = False
    version: int = 0
    features: list[str] | None = None
    deployment: Raw = Raw()


@patch(_paths("/checkpoint"), status_code=204)
async def save_checkpoint(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> None:
    """Save a whole state. An invalid one, which old engines announce, is not saved."""
    asked = await body.decode(request, Checkpoint)
    if asked.is_invalid:
        await state.pass_over(world, Lease(name, update_id, update_token))
        return
    if not bytes(asked.deployment):
        raise BadRequest(detail="'deployment' is missing.")
    document = checkpoint.document_of(asked.version, asked.features, asked.deployment)
    await state.save_document(world, Lease(name, update_id, update_token), document)


class VerbatimCheckpoint(msgspec.Struct, rename="camel", kw_only=True):
    """A whole state whose bytes later deltas count on."""

    untyped_deployment: Raw
    sequence_number: int


@patch(_paths("/checkpointverbatim"), status_code=204)
async def save_verbatim(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> None:
    """Save a whole state byte for byte."""
    asked = await body.decode(request, VerbatimCheckpoint)
    await state.save_document(
        world,
        Lease(name, update_id, update_token),
        bytes(asked.untyped_deployment),
        _sequence(asked.sequence_number),
    )


class Position(msgspec.Struct, kw_only=True):
    """A place in a document; only the byte offset counts."""

    offset: int


class Range(msgspec.Struct, kw_only=True):
    """A stretch of a document."""

    start: Position
    end: Position


class Edit(msgspec.Struct, kw_only=True):
    """A stretch of the base, and what stands there now."""

    span: Range = msgspec.field(name="Span")
    new_text: str = msgspec.field(name="NewText")


class DeltaCheckpoint(msgspec.Struct, rename="camel", kw_only=True):
    """A state as edits of the one that was saved before in the same update."""

    checkpoint_hash: str
    sequence_number: int
    deployment_delta: list[Edit] | None = None


@patch(_paths("/checkpointdelta"), status_code=204)
async def save_delta(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> None:
    """Save a state as edits of the one before."""
    asked = await body.decode(request, DeltaCheckpoint)
    edits = [
        Span(edit.span.start.offset, edit.span.end.offset, edit.new_text.encode())
        for edit in asked.deployment_delta or ()
    ]
    await state.save_delta(
        world,
        Lease(name, update_id, update_token),
        state.Delta(edits, asked.checkpoint_hash),
        _sequence(asked.sequence_number),
    )


def _sequence(number: int) -> int:
    if number < 1:
        raise BadRequest(detail="'sequenceNumber' counts from 1.")
    return paging.bounded(number, "sequenceNumber")


class JournalEntries(msgspec.Struct, kw_only=True):
    """A batch of journal entries."""

    entries: list[Raw]


@patch(_paths("/journalentries"), status_code=204)
async def append_journal(
    request: AnyRequest, world: World, update_token: str, name: StackName, update_id: str
) -> None:
    """Keep journal entries."""
    batch = await body.decode(request, JournalEntries)
    await state.append_journal(world, Lease(name, update_id, update_token), batch.entries)


ROUTES: list[Any] = [
    under_stack(
        [
            create_update,
            start_update,
            get_update,
            cancel_update,
            renew_lease,
            complete_update,
            record_events,
            record_event,
            read_events,
            save_checkpoint,
            save_verbatim,
            save_delta,
            append_journal,
            *update_history.HANDLERS,
        ]
    )
]
