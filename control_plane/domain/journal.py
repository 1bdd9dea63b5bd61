"""The engine's journal: entries that, replayed over the state at the start of an update, give the
state now.

Entry kinds and replay follow the engine's own replayer (pulumi 3.259, `backend.JournalReplayer`).
Resources are carried as raw JSON; only what an entry changes is parsed. Replay is pure: the same
base, entries and manifest give the same document, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from control_plane.domain import checkpoint, pieces, urns

VERSION = 1
"""The journal version that this server speaks."""

SEQUENCE_MAX = 2**31 - 1
"""How far entries of one update can be counted."""


class Kind(IntEnum):
    """What an entry says."""

    BEGIN = 0
    SUCCESS = 1
    FAILURE = 2
    REFRESH_SUCCESS = 3
    OUTPUTS = 4
    WRITE = 5
    SECRETS_MANAGER = 6
    REBUILT_BASE_STATE = 7
    EXTENSION_PARAMETERIZE = 8
    SNIPPETS = 9


class Entry(msgspec.Struct, rename="camel", kw_only=True):
    """One journal entry. `*_old` are indices in the base, `*_new` operations of earlier entries."""

    kind: Kind
    sequence_id: int = msgspec.field(name="sequenceID")
    operation_id: int = msgspec.field(name="operationID", default=0)
    version: int = VERSION
    remove_old: int | None = None
    remove_new: int | None = None
    pending_replacement_old: int | None = None
    pending_replacement_new: int | None = None
    delete_old: int | None = None
    delete_new: int | None = None
    state: Raw = Raw()
    operation: Raw = Raw()
    is_refresh: bool = False
    secrets_provider: Raw = Raw()
    snippets: Raw = Raw()
    new_snapshot: Raw = Raw()
    extension_ref: str | None = None
    extension: Raw = Raw()
    requires_byte_string: bool = False


class Manifest(NamedTuple):
    """What the new document says of its making."""

    time: str
    """RFC 3339."""
    version: str
    """Of the CLI, as in `v3.259.0`; empty when it is not known."""

    def fields(self) -> dict[str, str]:
        """The manifest as JSON; its `magic` is checked by the engine."""
        magic = hashlib.sha256(self.version.encode()).hexdigest() if self.version else ""
        return {"time": self.time, "magic": magic, "version": self.version}


class InvalidEntry(ValueError):
    """An entry that cannot be replayed; the text says why."""


class AliasConflict(ValueError):
    """Two resources claim the same alias."""


_read_entry = msgspec.json.Decoder(Entry).decode
_read_operation = msgspec.json.Decoder(checkpoint.Operation).decode
_read_list = msgspec.json.Decoder(list[Raw] | None).decode


def read(raw: Raw | bytes) -> Entry:
    """An entry, checked so that replay cannot fail on it later; raises InvalidEntry."""
    try:
        entry = _read_entry(raw)
        _check(entry)
    except (msgspec.MsgspecError, checkpoint.InvalidState, RecursionError) as error:
        raise InvalidEntry(str(error)) from None
    return entry


def _check(entry: Entry) -> None:
    if entry.version != VERSION:
        raise InvalidEntry(f"version {entry.version} of a journal entry is unknown")
    if not 0 <= entry.sequence_id <= SEQUENCE_MAX:
        raise InvalidEntry(f"'sequenceID' must be a number from 1 to {SEQUENCE_MAX}")
    if _given(entry.state):
        checkpoint.check_resource(entry.state)
    if _given(entry.operation):
        checkpoint.check_operation(entry.operation)
    if entry.kind is Kind.WRITE:
        checkpoint.check_deployment(entry.new_snapshot)
    if entry.kind is Kind.SECRETS_MANAGER:
        checkpoint.check_provider(entry.secrets_provider)
    if entry.kind is Kind.SNIPPETS and _given(entry.snippets):
        checkpoint.check_snippets(entry.snippets)
    if entry.kind is Kind.EXTENSION_PARAMETERIZE and not entry.extension_ref:
        raise InvalidEntry("'extensionRef' is missing")
    if entry.kind is Kind.EXTENSION_PARAMETERIZE and not _given(entry.extension):
        raise InvalidEntry("'extension' is missing")


def _given(raw: Raw) -> bool:
    return not checkpoint.is_null(raw)


class Replayed(NamedTuple):
    """What a journal amounts to: a document in pieces, and how many resources it holds."""

    pieces: list[bytes]
    resources: int

    @property
    def document(self) -> bytes:
        """The document as a whole: a copy."""
        return b"".join(self.pieces)


def replay(base: bytes, entries: Iterable[bytes], manifest: Manifest) -> Replayed:
    """The document that the entries make of the base; entries must be in order, without doubles."""
    replayer = Replayer.over(base)
    replayer.add(entries)
    return replayer.document(manifest)


_NULL = Raw(b"null")

FEATURES_VERSION = 4
"""The schema version of documents that name features; those that need none are written as 3."""

PLAIN_VERSION = 3


class _Base:
    """The state that indices refer to."""

    def __init__(self, fields: dict[str, Any], resources: list[Raw], pending: list[Raw]) -> None:
        self.fields = fields
        self.resources = resources
        self.pending = pending

    @classmethod
    def of(cls, deployment: Raw) -> _Base:
        fields: dict[str, Any] = {} if not _given(deployment) else urns.read_fields(deployment)
        fields = dict(fields)
        resources = _read_list(fields.pop("resources", b"null")) or []
        pending = _read_list(fields.pop("pending_operations", b"null")) or []
        return cls(fields, resources, pending)


class Replayer:
    """A replay under way. It keeps of the entries what is still part of the state, no more."""

    def __init__(self, base: _Base, features: Sequence[str]) -> None:
        self.base = base
        self.inherited = [feature for feature in features if feature not in _RECOMPUTED]
        self.has_refresh = False
        self.requires_byte_string = False
        self._forget()

    @classmethod
    def over(cls, base: bytes) -> Replayer:
        """A replay over the document from which the journal's update started."""
        version, features, deployment = checkpoint.split(base)
        return cls(_Base.of(deployment), features if version >= FEATURES_VERSION else [])

    def _forget(self) -> None:
        self.new: list[Raw] = []
        self.index: dict[int, int] = {}
        self.incomplete: dict[int, Raw] = {}
        self.removed_operations: set[int] = set()
        self.deleted: set[int] = set()
        self.replaced: dict[int, Raw] = {}
        self.to_delete: set[int] = set()
        self.to_replace: set[int] = set()
        self.extensions: dict[str, Raw] = {}

    def add(self, entries: Iterable[bytes]) -> None:
        """Replay the next entries."""
        for raw in entries:
            self._add(_read_entry(raw))

    def _add(self, entry: Entry) -> None:
        self.requires_byte_string |= entry.requires_byte_string
        match entry.kind:
            case Kind.BEGIN:
                self.incomplete[entry.operation_id] = entry.operation
            case Kind.SUCCESS:
                self._succeed(entry)
            case Kind.FAILURE:
                self.incomplete.pop(entry.operation_id, None)
            case Kind.REFRESH_SUCCESS:
                self._refresh(entry)
            case Kind.OUTPUTS if _given(entry.state):
                self._replace(entry)
            case Kind.WRITE:
                self.base = _Base.of(entry.new_snapshot)
            case Kind.SECRETS_MANAGER:
                self.base.fields["secrets_providers"] = entry.secrets_provider
            case Kind.REBUILT_BASE_STATE:
                self._rebuild()
            case Kind.EXTENSION_PARAMETERIZE:
                self.extensions[entry.extension_ref or ""] = entry.extension
            case Kind.SNIPPETS:
                self.base.fields["snippets"] = entry.snippets if _given(entry.snippets) else _NULL

    def _succeed(self, entry: Entry) -> None:
        self.incomplete.pop(entry.operation_id, None)
        if _given(entry.state):
            self.index[entry.operation_id] = len(self.new)
            self.new.append(entry.state)
        if entry.remove_old is not None:
            self.deleted.add(entry.remove_old)
        if entry.remove_new is not None:
            self.removed_operations.add(entry.remove_new)
        if entry.delete_old is not None:
            self.to_delete.add(entry.delete_old)
        if entry.pending_replacement_old is not None:
            self.to_replace.add(entry.pending_replacement_old)
        self._mark_new(entry.delete_new, "delete")
        self._mark_new(entry.pending_replacement_new, "pendingReplacement")
        self.has_refresh |= entry.is_refresh

    def _mark_new(self, operation: int | None, key: str) -> None:
        # An operation that added nothing has no place; to take the first instead would be wrong.
        place = None if operation is None else self.index.get(operation)
        if place is not None:
            self.new[place] = urns.with_keys(self.new[place], {key: True})

    def _refresh(self, entry: Entry) -> None:
        self.incomplete.pop(entry.operation_id, None)
        self.has_refresh = True
        if _given(entry.state):
            self._replace(entry)
            return
        if entry.remove_old is not None:
            self.deleted.add(entry.remove_old)
        if entry.remove_new is not None:
            self.removed_operations.add(entry.remove_new)

    def _replace(self, entry: Entry) -> None:
        if entry.remove_old is not None:
            self.replaced[entry.remove_old] = entry.state
        place = None if entry.remove_new is None else self.index.get(entry.remove_new)
        if place is not None:
            self.new[place] = entry.state

    def _rebuild(self) -> None:
        rebuilt, _ = self._assemble()
        self._forget()
        self.base = rebuilt

    def document(self, manifest: Manifest) -> Replayed:
        """What the entries so far amount to."""
        state, features = self._assemble()
        fields: dict[str, Any] = {"manifest": manifest.fields()}
        if "secrets_providers" in state.fields:
            fields["secrets_providers"] = state.fields["secrets_providers"]
        if state.resources:
            fields["resources"] = state.resources
        if state.pending:
            fields["pending_operations"] = state.pending
        rest = {key: value for key, value in state.fields.items() if key != "manifest"}
        version = FEATURES_VERSION if features else PLAIN_VERSION
        outer = {"version": version, **({"features": features} if features else {})}
        inner = pieces.of_object({**fields, **rest})
        written = pieces.of_object({**outer, "deployment": inner})
        return Replayed(list(written), len(state.resources))

    def _assemble(self) -> tuple[_Base, list[str]]:
        """The state now as a base, and the features that it uses, as of before URNs are mended."""
        fields = dict(self.base.fields)
        _drop_integrity_error(fields)
        self._extend(fields)
        resources, pending = self._resources(), self._pending()
        features = self._features(fields, [*resources, *map(_resource_of, pending)])
        if self.has_refresh:
            resources = _without_dangling(resources)
        # The engine would lose its state over this; a state that still has aliases is better.
        with suppress(AliasConflict):
            resources = _normalised(resources, fields)
        return _Base(fields, resources, pending), features

    def _resources(self) -> list[Raw]:
        removed = {self.index[each] for each in self.removed_operations if each in self.index}
        kept = [state for place, state in enumerate(self.new) if place not in removed]
        for place, state in enumerate(self.base.resources):
            if place not in self.deleted:
                kept.append(self._base_resource(place, state))
        return kept

    def _base_resource(self, place: int, state: Raw) -> Raw:
        if place in self.replaced:
            return self.replaced[place]
        marks = {}
        if place in self.to_replace:
            marks["pendingReplacement"] = True
        if place in self.to_delete:
            marks["delete"] = True
        return urns.with_keys(state, marks)

    def _pending(self) -> list[Raw]:
        """What is not known to be done; creations stay until a person has looked after them."""
        begun = [self.incomplete[each] for each in sorted(self.incomplete)]
        return [operation for operation in begun if _given(operation)] + [
            operation
            for operation in self.base.pending
            if _read_operation(operation).type == "creating"
        ]

    def _extend(self, fields: dict[str, Any]) -> None:
        if not self.extensions:
            return
        before = msgspec.json.decode(fields.get("extensions", b"null"), type=dict[str, Raw] | None)
        fields["extensions"] = {**self.extensions, **(before or {})}
        fields["extensions"] = Raw(msgspec.json.encode(fields["extensions"]))

    def _features(self, fields: dict[str, Any], resources: Iterable[Raw]) -> list[str]:
        resources = list(resources)
        features = {name for each in resources for name in _features_of(each)}
        if _read_list(fields.get("snippets", b"null")):
            features.add("snippets-prototype")
        if self.requires_byte_string and resources:
            features.add("byteString")
        return sorted({*features, *self.inherited})


class _Featured(msgspec.Struct, rename="camel"):
    """Keys whose presence is a feature; their types do not matter for that."""

    refresh_before_update: Raw = Raw()
    view_of: Raw = Raw()
    resource_hooks: Raw = Raw()
    taint: Raw = Raw()
    replace_with: Raw = Raw()
    extension_ref: Raw = Raw()
    snippet_id: Raw = msgspec.field(name="snippetID", default=Raw())


_read_featured = msgspec.json.Decoder(_Featured).decode

_FEATURES = (
    "refreshBeforeUpdate",
    "views",
    "hooks",
    "taint",
    "replaceWith",
    "extensionParameterization",
    "snippets-prototype",
)
"""Their features, in the same order."""
_RECOMPUTED = frozenset(_FEATURES)
"""Features that are seen in the resources; others of the base cannot be, and so are kept."""
_EMPTY_VALUES = (b"", b"null", b"false", b'""', b"[]", b"{}")


def _features_of(resource: Raw) -> list[str]:
    values = msgspec.structs.astuple(_read_featured(resource))
    return [
        name
        for name, value in zip(_FEATURES, values, strict=True)
        if bytes(value) not in _EMPTY_VALUES
    ]


def _resource_of(operation: Raw) -> Raw:
    return _read_operation(operation).resource


def _drop_integrity_error(fields: dict[str, Any]) -> None:
    """It told of a former document; whether this one is sound, the engine checks when reading."""
    if "metadata" in fields and _given(fields["metadata"]):
        metadata = dict(urns.read_fields(fields["metadata"]))
        if metadata.pop("integrity_error", None) is not None:
            fields["metadata"] = Raw(msgspec.json.encode(metadata))


def _without_dangling(resources: list[Raw]) -> list[Raw]:
    """Drop references to resources that a refresh found to be gone.

    Dependencies must come before, parents may come anywhere in the list.
    """
    references = [urns.read_references(each) for each in resources]
    listed = {each.urn for each in references}
    seen: set[str] = set()
    mended = []
    for resource, now in zip(resources, references, strict=True):
        mended.append(urns.with_keys(resource, _dangling(now, seen, listed)))
        seen.add(now.urn)
    return mended


def _dangling(now: urns.References, seen: set[str], listed: set[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, before in (("dependencies", now.dependencies), ("replaceWith", now.replace_with)):
        after = [urn for urn in before or () if urn in seen]
        if len(after) != len(before or ()):
            changes[key] = after
    by_property = {
        key: kept
        for key, before in (now.property_dependencies or {}).items()
        if (kept := [urn for urn in before or () if urn in seen])
    }
    if by_property != (now.property_dependencies or {}):
        changes["propertyDependencies"] = by_property
    if now.deleted_with and now.deleted_with not in seen:
        changes["deletedWith"] = None
    if now.parent and now.parent not in listed:
        changes["parent"] = None
    return changes


def _normalised(resources: list[Raw], fields: dict[str, Any]) -> list[Raw]:
    """Put the resources' present URNs in place of the aliases by which older ones call them."""
    references = [urns.read_references(each) for each in resources]
    if not any(each.aliases for each in references):
        return resources
    aliased = _aliased(references)

    def present(urn: str) -> str:
        return aliased.get(urn, urn)

    if "snippets" in fields:
        rewritten = checkpoint.rewrite_snippets(fields["snippets"], present)
        fields["snippets"] = Raw(msgspec.json.encode(rewritten))
    return [
        urns.rewritten(resource, present, **({"aliases": None} if now.aliases else {}))
        for resource, now in zip(resources, references, strict=True)
    ]


def _aliased(references: Sequence[urns.References]) -> dict[str, str]:
    aliased: dict[str, str] = {}
    for each in references:
        for alias in each.aliases or ():
            if aliased.get(alias, each.urn) != each.urn:
                raise AliasConflict(f"'{alias}' is an alias of '{aliased[alias]}' and '{each.urn}'")
            aliased[alias] = each.urn
        parent = aliased.get(each.parent or "")
        if parent is not None and not urns.is_root_stack(parent):
            # A child's URN holds its parents' types.
            aliased[each.urn] = urns.under_parent(each.urn, parent)
    return aliased
