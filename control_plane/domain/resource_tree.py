"""The resources of a state as people look at them: a tree by their parents, and what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from control_plane.domain import checkpoint, property_values

DEPTH_MAX = 50
"""How deep a tree is drawn; what lies deeper stands as if it lay there."""


MARKS = ("pending", "to be deleted", "external", "protected", "tainted", "to be replaced")
"""What can be special about a resource."""


class Resource(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """What is shown of a resource; its inputs and outputs are not even parsed.

    The garbage collector need not look at the many of them: they hold text alone.
    """

    urn: str
    type: str
    id: str = ""
    parent: str | None = None
    provider: str = ""
    custom: bool = False
    delete: bool = False
    external: bool = False
    protect: bool = False
    taint: bool = False
    pending_replacement: bool = False
    pending: str = ""
    """What was being done to it when its engine was lost, such as `creating`."""

    @property
    def name(self) -> str:
        """The name that the program gave it."""
        return self.urn.rpartition("::")[2]

    @property
    def package(self) -> str:
        """The provider's package and name, such as `aws::default_6_0_2`; empty for none."""
        urn = self.provider.rpartition("::")[0]
        kind = urn.split("::")[2].removeprefix("pulumi:providers:") if urn.count("::") >= 3 else ""
        return f"{kind}::{urn.rpartition('::')[2]}" if kind else ""

    @property
    def marks(self) -> list[str]:
        """What is special about it, in words."""
        told = {
            f"pending: {self.pending}": bool(self.pending),
            "to be deleted": self.delete,
            "external": self.external,
            "protected": self.protect,
            "tainted": self.taint,
            "to be replaced": self.pending_replacement,
        }
        return [word for word, holds in told.items() if holds]


class Row(NamedTuple):
    """A resource in its tree's order, and how deep it lies."""

    resource: Resource
    depth: int


class _Operation(msgspec.Struct):
    resource: Resource
    type: str = ""


class _Deployment(msgspec.Struct):
    resources: list[Resource] | None = None
    pending_operations: list[_Operation] | None = None


class _Whole(msgspec.Struct):
    resources: list[msgspec.Raw] | None = None


_read = msgspec.json.Decoder(_Deployment).decode
_read_whole = msgspec.json.Decoder(_Whole).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def resources_of(document: bytes) -> list[Resource]:
    """The resources of a document that `checkpoint.check` has passed, in its order.

    What an engine had begun and not ended comes last, or is noted where the resource stands.
    """
    _, _, deployment = checkpoint.split(document)
    if checkpoint.is_null(deployment):
        return []
    found = _read(deployment)
    resources = list(found.resources or ())
    pending = {each.resource.urn: each for each in found.pending_operations or ()}
    for place, each in enumerate(resources):
        begun = pending.pop(each.urn, None) if pending else None
        if begun is not None:
            resources[place] = msgspec.structs.replace(each, pending=begun.type)
    return resources + [
        msgspec.structs.replace(each.resource, pending=each.type) for each in pending.values()
    ]


class Whole(NamedTuple):
    """All that a state says of one resource, and which resources depend on it."""

    properties: dict[str, Any]
    used_by: Sequence[str]


def whole(document: bytes, urn: str) -> Whole | None:
    """The resource of that URN; of several, while it is replaced, the one that stays."""
    _, _, deployment = checkpoint.split(document)
    if checkpoint.is_null(deployment):
        return None
    mentioned = msgspec.json.encode(urn)
    # Only what names the URN at all is parsed: a state may be large.
    found = [
        {key: property_values.read(each) for key, each in _read_fields(raw).items()}
        for raw in _read_whole(deployment).resources or ()
        if mentioned in bytes(raw)
    ]
    own = sorted(
        (each for each in found if each["urn"] == urn), key=lambda each: bool(each.get("delete"))
    )
    if not own:
        return None
    return Whole(own[0], [each["urn"] for each in found if urn in _needed_by(each)])


def _needed_by(resource: dict[str, Any]) -> set[str]:
    by_property = (resource.get("propertyDependencies") or {}).values()
    return {*(resource.get("dependencies") or ()), *(u for urns in by_property for u in urns or ())}


def tree(resources: Sequence[Resource]) -> list[Row]:
    """Each resource once, below its parent; one whose parent is not there stands at the top."""
    known = {each.urn for each in resources}
    children: defaultdict[str, list[Resource]] = defaultdict(list)
    for each in resources:
        parent = each.parent if each.parent in known and each.parent != each.urn else ""
        children[parent or ""].append(each)
    rows = list(_below("", children))
    drawn = {id(row.resource) for row in rows}
    # Parents in a circle are reached from nowhere; nothing may be left out.
    return rows + [Row(each, 0) for each in resources if id(each) not in drawn]


def _below(root: str, children: dict[str, list[Resource]]) -> Iterator[Row]:
    waiting = [(each, 0) for each in reversed(children.pop(root, []))]
    while waiting:
        resource, depth = waiting.pop()
        yield Row(resource, min(depth, DEPTH_MAX))
        # A URN may stand twice, while it is replaced: its children are drawn once.
        below = children.pop(resource.urn, [])
        waiting += [(each, depth + 1) for each in reversed(below)]


def matching(resources: Iterable[Resource], words: str, mark: str = "") -> list[Row]:
    """Those in whose name, type, id or marks all words stand, without their tree.

    `mark` keeps only what is marked so: one of `MARKS`.
    """
    wanted = words.lower().split()
    return [
        Row(each, 0)
        for each in resources
        if (not mark or any(each_mark.startswith(mark) for each_mark in each.marks))
        and all(word in f"{each.name} {each.type} {each.id}".lower() for word in wanted)
    ]
