"""URNs, and the places in a resource's state that hold them.

A URN is `urn:pulumi:<stack>::<project>::[<parent type>$]<type>::<name>`. A resource's JSON stays
byte for byte as the engine wrote it; only keys whose URNs change are written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

ROOT_STACK_TYPE = "pulumi:pulumi:Stack"

PREFIX = "urn:pulumi:"

Rewrite = Callable[[str], str]
"""From a URN to what stands in its place."""


class Urn(NamedTuple):
    """The parts of a URN."""

    stack: str
    project: str
    qualified_type: str
    name: str

    def __str__(self) -> str:
        """The URN as text."""
        return PREFIX + "::".join(self)

    @property
    def type(self) -> str:
        """The resource's own type, without its parents'."""
        return self.qualified_type.rpartition("$")[2]


def parse(text: str) -> Urn | None:
    """The parts of a URN; None when the text is none."""
    parts = text.removeprefix(PREFIX).split("::", 3)
    return Urn(*parts) if text.startswith(PREFIX) and len(parts) == 4 else None


def is_root_stack(text: str) -> bool:
    """Whether this is the URN of a stack itself."""
    urn = parse(text)
    return urn is not None and urn.qualified_type == ROOT_STACK_TYPE


def under_parent(urn: str, parent: str) -> str:
    """The URN that a resource has when its parent, not the stack itself, has that URN."""
    own, above = parse(urn), parse(parent)
    if own is None or above is None:
        return urn
    return str(own._replace(qualified_type=f"{above.qualified_type}${own.type}"))


@dataclass(frozen=True)
class Renaming:
    """Gives URNs of one stack the names of another; URNs of other stacks stay as they are."""

    old_stack: str
    old_project: str
    new_stack: str
    new_project: str

    def __call__(self, text: str) -> str:
        """The URN under the new names."""
        urn = parse(text)
        if urn is None or (urn.stack, urn.project) != (self.old_stack, self.old_project):
            return text
        name = urn.name
        if urn.qualified_type == ROOT_STACK_TYPE:
            name = f"{self.new_project}-{self.new_stack}"
        return str(Urn(self.new_stack, self.new_project, urn.qualified_type, name))


class References(msgspec.Struct, rename="camel"):
    """The keys of a resource's state that hold URNs. A client may write null for any of them."""

    urn: str
    parent: str | None = None
    provider: str | None = None
    dependencies: list[str] | None = None
    property_dependencies: dict[str, list[str] | None] | None = None
    deleted_with: str | None = None
    replace_with: list[str] | None = None
    view_of: str | None = None
    aliases: list[str] | None = None


read_references = msgspec.json.Decoder(References).decode
read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""A JSON object's values as they stand; in the order of its keys."""


def with_keys(resource: msgspec.Raw, changes: dict[str, Any]) -> msgspec.Raw:
    """The JSON object with some keys set; a key whose new value is empty is left out."""
    if not changes:
        return resource
    fields: dict[str, Any] = dict(read_fields(resource))
    for key, value in changes.items():
        if value:
            fields[key] = value
        else:
            fields.pop(key, None)
    return msgspec.Raw(msgspec.json.encode(fields))


def rewritten(resource: msgspec.Raw, rewrite: Rewrite, **also: Any) -> msgspec.Raw:
    """The resource with every URN that it refers to rewritten; `also` are further keys to set."""
    now = read_references(resource)
    wanted: dict[str, Any] = {
        "urn": rewrite(now.urn),
        "parent": now.parent and rewrite(now.parent),
        "provider": now.provider and _provider(now.provider, rewrite),
        "dependencies": now.dependencies and [rewrite(urn) for urn in now.dependencies],
        "propertyDependencies": now.property_dependencies
        and {
            key: [rewrite(urn) for urn in urns or ()]
            for key, urns in now.property_dependencies.items()
        },
        "deletedWith": now.deleted_with and rewrite(now.deleted_with),
        "viewOf": now.view_of and rewrite(now.view_of),
    }
    before = msgspec.structs.asdict(now)
    changes = {key: value for key, value in wanted.items() if value != before[_ATTRIBUTES[key]]}
    return with_keys(resource, {**changes, **also})


_ATTRIBUTES = {field.encode_name: field.name for field in msgspec.structs.fields(References)}


def _provider(reference: str, rewrite: Rewrite) -> str:
    """A provider reference is `<urn>::<id>`; a URN's name may hold `::` itself, an id never."""
    urn, separator, provider_id = reference.rpartition("::")
    return f"{rewrite(urn)}{separator}{provider_id}"


_RESOURCE_REFERENCE = b"5cf8f73096256a8f31e491e813e4eb8e"
_reference_urn = re.compile(
    rb'("4dabf18193072939515e22adb298388d"\s*:\s*"%s"[^{}]*?"urn"\s*:\s*")([^"\\]*)(")'
    % _RESOURCE_REFERENCE
)


def renamed(resource: msgspec.Raw, renaming: Renaming) -> msgspec.Raw:
    """The resource under its stack's new names, with the references in its properties too."""
    now = read_references(resource)
    also = {
        key: [renaming(urn) for urn in urns]
        for key, urns in (("replaceWith", now.replace_with), ("aliases", now.aliases))
        if urns
    }
    moved = rewritten(resource, renaming, **also)
    if _RESOURCE_REFERENCE not in bytes(moved):
        return moved

    def swap(match: re.Match[bytes]) -> bytes:
        return match[1] + renaming(match[2].decode()).encode() + match[3]

    return msgspec.Raw(_reference_urn.sub(swap, bytes(moved)))
