"""Resources as a tree: each once, below its parent, whatever the state holds."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.resource_tree import Resource, matching, resources_of, tree


def urn(name: str) -> str:
    return f"urn:pulumi:dev::shop::t:index:T::{name}"


names = st.sampled_from("abcdef")


@given(st.lists(st.tuples(names, names | st.none() | st.just("gone"))))
def test_each_resource_stands_once_and_after_its_parent(
    pairs: list[tuple[str, str | None]],
) -> None:
    resources = [
        Resource(urn=urn(name), type="t:index:T", parent=urn(parent) if parent else None)
        for name, parent in pairs
    ]
    rows = tree(resources)
    assert sorted(id(row.resource) for row in rows) == sorted(map(id, resources))
    for before, row in zip([None, *rows], rows, strict=False):
        assert row.depth <= (before.depth + 1 if before else 0)


def test_what_is_shown_of_a_resource() -> None:
    provider = "urn:pulumi:dev::shop::pulumi:providers:aws::default_6_0_2::04da6b54"
    state = {
        "version": 3,
        "deployment": {
            "resources": [
                {"urn": urn("root"), "type": "pulumi:pulumi:Stack", "custom": False},
                {
                    "urn": urn("bucket"),
                    "type": "aws:s3/bucket:Bucket",
                    "custom": True,
                    "id": "b-1",
                    "parent": urn("root"),
                    "provider": provider,
                    "protect": True,
                    "pendingReplacement": True,
                    "inputs": {"any": ["thing"]},
                },
            ]
        },
    }
    resources = resources_of(json.dumps(state).encode())
    root, bucket = tree(resources)
    assert (root.depth, bucket.depth) == (0, 1)
    assert bucket.resource.package == "aws::default_6_0_2"
    assert bucket.resource.marks == ["protected", "to be replaced"]
    assert [row.resource.name for row in matching(resources, "BUCKET b-1")] == ["bucket"]
    assert matching(resources, "bucket root") == []


def test_a_state_without_resources_has_no_tree() -> None:
    for deployment in (None, {}, {"resources": None}):
        document = json.dumps({"version": 3, "deployment": deployment}).encode()
        assert tree(resources_of(document)) == []


def test_a_tree_of_ten_thousand_in_a_row_is_drawn() -> None:
    chain = [
        Resource(urn=urn(str(k)), type="t", parent=urn(str(k - 1)) if k else None)
        for k in range(10_000)
    ]
    assert [row.resource for row in tree(chain)] == chain
