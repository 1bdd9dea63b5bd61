"""State documents: `{"version", "features"?, "deployment"}`, as the engine writes and reads them.

A document is kept and answered as bytes: keys that this module does not know, and every resource,
stay as they came. What is big is not parsed further than a question needs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from control_plane.domain import pieces, urns

VERSIONS = range(1, 5)
"""Schema versions that today's engines read."""

EMPTY = (
    b'{"version":3,"deployment":{"manifest":'
    b'{"time":"0001-01-01T00:00:00Z","magic":"","version":""}}}'
)
"""What the export of a stack that never had a state answers."""

SERVICE = "service"
"""The type of secrets provider that this server is."""


class InvalidState(ValueError):
    """A document that no engine could read; the text says why."""


class Resource(urns.References, kw_only=True):
    """What of a resource must be as expected, so that nothing later stumbles over it."""

    type: str


class Operation(msgspec.Struct):
    """A pending operation."""

    resource: msgspec.Raw
    type: str


class SecretsProvider(msgspec.Struct):
    """Who encrypts the state's secrets."""

    type: str
    state: msgspec.Raw = msgspec.Raw()


class Snippet(msgspec.Struct):
    """A program kept in the state, and the URNs that it refers to."""

    references: dict[str, str] | None = None


class _Operation(msgspec.Struct):
    resource: Resource
    type: str


class _Deployment(msgspec.Struct):
    resources: list[Resource] | None = None
    pending_operations: list[_Operation] | None = None
    secrets_providers: SecretsProvider | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    snippets: list[Snippet] | None = None
    extensions: dict[str, msgspec.Raw] | None = None


class _Document(msgspec.Struct):
    version: int = 0
    features: list[str] | None = None
    deployment: _Deployment | msgspec.UnsetType | None = msgspec.UNSET


class _Outer(msgspec.Struct):
    version: int = 0
    features: list[str] | None = None
    deployment: msgspec.Raw = msgspec.Raw()


_read_document = msgspec.json.Decoder(_Document).decode
_read_deployment = msgspec.json.Decoder(_Deployment).decode
_read_resource = msgspec.json.Decoder(Resource).decode
_read_operation = msgspec.json.Decoder(_Operation).decode
_read_provider = msgspec.json.Decoder(SecretsProvider).decode
_read_snippets = msgspec.json.Decoder(list[Snippet] | None).decode
_read_outer = msgspec.json.Decoder(_Outer).decode


def is_null(raw: msgspec.Raw) -> bool:
    """Whether a value is absent or null."""
    return bytes(memoryview(raw)[:4]) in (b"", b"null")


def check(document: bytes) -> int:
    """How many resources a document holds; raises InvalidState when an engine could not read it."""
    found = _decoded(_read_document, document)
    if found.version not in VERSIONS:
        raise InvalidState(f"version {found.version} of a deployment is not among 1 to 4")
    if found.deployment is msgspec.UNSET:
        raise InvalidState("'deployment' is missing")
    return len((found.deployment and found.deployment.resources) or ())


def check_deployment(deployment: msgspec.Raw) -> None:
    """Raise InvalidState unless this is a document's inner part."""
    _decoded(_read_deployment, deployment)


def check_resource(resource: msgspec.Raw) -> None:
    """Raise InvalidState unless this is a resource's state."""
    _decoded(_read_resource, resource)


def check_operation(operation: msgspec.Raw) -> None:
    """Raise InvalidState unless this is a pending operation."""
    _decoded(_read_operation, operation)


def check_provider(provider: msgspec.Raw) -> None:
    """Raise InvalidState unless this names a secrets provider."""
    _decoded(_read_provider, provider)


def check_snippets(snippets: msgspec.Raw) -> None:
    """Raise InvalidState unless these are snippets."""
    _decoded(_read_snippets, snippets)


def _decoded(read: Any, value: Any) -> Any:
    try:
        return read(value)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidState(str(error)) from None


def document_of(version: int, features: Sequence[str] | None, deployment: msgspec.Raw) -> bytes:
    """A document from its three parts."""
    outer: dict[str, Any] = {"version": version}
    if features:
        outer["features"] = list(features)
    return msgspec.json.encode({**outer, "deployment": deployment})


def split(document: bytes) -> tuple[int, list[str], msgspec.Raw]:
    """A document's version, features and inner part."""
    outer = _read_outer(document)
    return outer.version, outer.features or [], outer.deployment


class Home(NamedTuple):
    """Where clients find this server's secrets provider for a stack."""

    url: str
    organization: str
    project: str
    stack: str

    def state(self) -> dict[str, str]:
        """The home in the words of `secrets_providers.state`."""
        return {
            "url": self.url,
            "owner": self.organization,
            "project": self.project,
            "stack": self.stack,
        }


class _Outputs(msgspec.Struct):
    type: str
    outputs: msgspec.Raw = msgspec.Raw()


class _WithOutputs(msgspec.Struct):
    resources: list[_Outputs] | None = None
    secrets_providers: msgspec.Raw = msgspec.Raw()


_read_outputs = msgspec.json.Decoder(_WithOutputs).decode


def outputs(document: bytes) -> tuple[msgspec.Raw, msgspec.Raw | None]:
    """What the program exports, and the secrets provider; of a document that `check` has passed."""
    _, _, deployment = split(document)
    found = _WithOutputs() if is_null(deployment) else _read_outputs(deployment)
    roots = [each for each in found.resources or () if each.type == urns.ROOT_STACK_TYPE]
    values = roots[0].outputs if roots else msgspec.Raw()
    provider = found.secrets_providers
    return (
        msgspec.Raw(b"{}") if is_null(values) else values,
        None if is_null(provider) else provider,
    )


def provider_of(provider: msgspec.Raw | None) -> str:
    """The kind of a secrets provider as `outputs` gives it, such as `service`; empty for none."""
    return "" if provider is None else _read_provider(provider).type


def at_home(document: bytes, home: Home) -> bytes:
    """The document with its service secrets provider at this address.

    The CLI looks for its credentials under exactly the `url` it finds there, so it must be the
    address that the caller uses, whatever the writer of the state used.
    """
    _, _, deployment = split(document)
    if is_null(deployment):
        return document
    fields: dict[str, Any] = dict(urns.read_fields(deployment))
    provider = fields.get("secrets_providers")
    if provider is None or is_null(provider):
        return document
    moved = _provider_at(provider, home)
    if moved is None:
        return document
    return _with_deployment(document, {**fields, "secrets_providers": moved})


def _provider_at(provider: msgspec.Raw, home: Home) -> dict[str, Any] | None:
    fields: dict[str, Any] = dict(urns.read_fields(provider))
    if _read_provider(provider).type != SERVICE:
        return None
    state = msgspec.json.decode(fields.get("state", b"{}"))
    if not isinstance(state, dict):
        state = {}
    wanted = {**state, **home.state()}
    return None if wanted == state else {**fields, "state": wanted}


def _with_deployment(document: bytes, deployment: dict[str, Any]) -> bytes:
    """The document with another inner part, other keys as they stand."""
    outer: dict[str, Any] = dict(urns.read_fields(document))
    inner = pieces.of_object(deployment)
    return b"".join(pieces.of_object({**outer, "deployment": inner}))


def renamed(document: bytes, renaming: urns.Renaming) -> bytes:
    """The document of a stack under its new names."""
    _, _, deployment = split(document)
    if is_null(deployment):
        return document
    fields: dict[str, Any] = dict(urns.read_fields(deployment))
    for key, rename in (("resources", urns.renamed), ("pending_operations", _renamed_operation)):
        values = msgspec.json.decode(fields.get(key, b"null"), type=list[msgspec.Raw] | None)
        if values:
            fields[key] = [rename(value, renaming) for value in values]
    if "snippets" in fields:
        fields["snippets"] = rewrite_snippets(fields["snippets"], renaming)
    return _with_deployment(document, fields)


def _renamed_operation(operation: msgspec.Raw, renaming: urns.Renaming) -> msgspec.Raw:
    resource = urns.read_fields(operation)["resource"]
    return urns.with_keys(operation, {"resource": urns.renamed(resource, renaming)})


def rewrite_snippets(snippets: msgspec.Raw, rewrite: urns.Rewrite) -> list[dict[str, Any]] | None:
    """Snippets (PCL programs kept in the state) with the URNs that they refer to rewritten."""
    found = msgspec.json.decode(snippets, type=list[dict[str, Any]] | None)
    for snippet in found or ():
        if snippet.get("references"):
            snippet["references"] = {k: rewrite(v) for k, v in snippet["references"].items()}
    return found


_ciphertext = re.compile(
    rb'"4dabf18193072939515e22adb298388d"\s*:\s*"1b47061264138c4ac30d75fd1eb44270"\s*,\s*'
    rb'"ciphertext"\s*:\s*"([^"]*)"'
)


def ciphertexts(document: bytes) -> Iterator[str]:
    """The encrypted values of a document whose secrets provider is a service; else nothing."""
    _, _, deployment = split(document)
    fields = {} if is_null(deployment) else urns.read_fields(deployment)
    provider = fields.get("secrets_providers", msgspec.Raw())
    if not is_null(provider) and _read_provider(provider).type == SERVICE:
        for match in _ciphertext.finditer(document):
            yield match[1].decode(errors="replace")


class Span(NamedTuple):
    """One edit of a delta: these bytes of the base, replaced by the text."""

    start: int
    end: int
    text: bytes


def apply_delta(base: bytes, edits: Sequence[Span], sha256: str) -> bytes:
    """The base with ascending, separate edits applied; raises InvalidState if the hash differs."""
    pieces: list[bytes | memoryview] = []
    view = memoryview(base)
    position = 0
    for edit in edits:
        if not position <= edit.start <= edit.end <= len(base):
            raise InvalidState("the delta's edits overlap, descend, or leave the base")
        pieces += (view[position : edit.start], edit.text)
        position = edit.end
    document = b"".join([*pieces, view[position:]])
    if hashlib.sha256(document).hexdigest() != sha256.lower():
        raise InvalidState("the result of the delta does not have the checkpoint's hash")
    return document
