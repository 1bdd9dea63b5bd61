"""The resources of a state as people look at them: a tree by their parents, and what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from control_plane.domain import checkpoint

DEPTH_MAX = 50
"""How deep a tree is drawn; what lies deeper stands as if it lay there."""


class Resource(msgspec.Struct, rename="camel", frozen=True):
    """What is shown of a resource; its inputs and outputs are not even parsed."""

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
            "to be deleted": self.delete,
            "read only": self.external,
            "protected": self.protect,
            "tainted": self.taint,
            "to be replaced": self.pending_replacement,
        }
        return [word for word, holds in told.items() if holds]


class Row(NamedTuple):
    """A resource in its tree's order, and how deep it lies."""

    resource: Resource
    depth: int


class _Deployment(msgspec.Struct):
    resources: list[Resource] | None = None


_read = msgspec.json.Decoder(_Deployment).decode


def resources_of(document: bytes) -> list[Resource]:
    """The resources of a document that `checkpoint.check` has passed, in its order."""
    _, _, deployment = checkpoint.split(document)
    return [] if checkpoint.is_null(deployment) else _read(deployment).resources or []


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


def matching(resources: Sequence[Resource], words: str) -> list[Row]:
    """Those in whose name, type or id all words stand, without their tree."""
    wanted = words.lower().split()
    return [
        Row(each, 0)
        for each in resources
        if all(word in f"{each.name} {each.type} {each.id}".lower() for word in wanted)
    ]
