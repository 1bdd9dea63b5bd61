"""What an update did, from its engine events: those of a real engine, and any others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.github import resource_changes
from control_plane.domain.github.resource_changes import (
    CHANGES_MAX,
    SECRET,
    SIGNATURE,
    Change,
    Property,
    read,
)

RECORDED = Path(__file__).with_name("engine_steps.jsonl")
"""The `resourcePreEvent`s of Pulumi 3.259 creating, updating and destroying a small stack.

One of its resources is replaced by the update; both have secrets.
"""


def recorded(of: str) -> list[bytes]:
    lines = RECORDED.read_bytes().splitlines()
    return [line for line in lines if json.loads(line)["of"] == of]


def shown(changes: resource_changes.Changes) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        each.name: (each.operation, {p.path: (p.before, p.after) for p in each.properties})
        for each in changes.each
    }


def test_what_a_real_engine_creates() -> None:
    assert shown(read(recorded("create"))) == {
        "g-dev": ("create", {}),
        "s": (
            "create",
            {
                "a": ("", "1"),
                "k": ("", '"same"'),
                "list": ("", "[1,2]"),
                "pw": ("", '"[secret]"'),
                "x.y": ("", '{"z":1}'),
            },
        ),
        "t": ("create", {"a": ("", "1"), "deep": ("", '{"pw":"[secret]"}'), "k": ("", '"k1"')}),
    }


def test_what_a_real_engine_updates_and_replaces() -> None:
    assert shown(read(recorded("update"))) == {
        "t": ("replace", {"a": ("1", "2"), "k": ('"k1"', '"k2"')}),
        "s": (
            "update",
            {
                "a": ("1", "2"),
                "list[1]": ("2", "3"),
                "list[2]": ("", "4"),
                "x.y.z": ("1", "2"),
            },
        ),
    }


def test_what_a_real_engine_destroys() -> None:
    found = shown(read(recorded("destroy")))
    assert found == {name: ("delete", {}) for name in ("t", "s", "g-dev")}


def step(op: str = "update", kind: str = "resourcePreEvent", **metadata: Any) -> bytes:
    told = {"op": op, "urn": "urn:pulumi:d::p::a:b:C::name", "type": "a:b:C"} | metadata
    return json.dumps({"sequence": 1, kind: {"metadata": told}}).encode()


def test_a_detailed_difference_is_looked_up_by_its_paths() -> None:
    event = step(
        old={
            "inputs": {"tags": {"a.b": 1}, "gone": 1},
            "outputs": {"arn": "old", "list": [{"x": 1}]},
        },
        new={"inputs": {"tags": {"a.b": 2}, "arn": "new", "list": [{"x": 2}]}},
        detailedDiff={
            'tags["a.b"]': {"diffKind": "update", "inputDiff": True},
            "arn": {"diffKind": "update-replace"},
            "list[0].x": {"diffKind": "update"},
            "gone": {"diffKind": "delete", "inputDiff": True},
            "nowhere[7].x": {"diffKind": "add"},
        },
    )
    assert shown(read([event]))["name"][1] == {
        "arn": ('"old"', '"new"'),
        "gone": ("1", ""),
        "list[0].x": ("1", "2"),
        "nowhere[7].x": ("", ""),
        'tags["a.b"]': ("1", "2"),
    }


@pytest.mark.parametrize("path", ["pw", "pw.inner", "pw[0]", "deep.pw.inner"])
@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": "hidden"},
        {SIGNATURE: "a kind to come", "inner": "hidden"},
    ],
)
def test_a_path_into_a_secret_shows_nothing_of_it(path: str, secret: Any) -> None:
    inputs = {"pw": secret, "deep": {"pw": secret}}
    event = step(
        old={"inputs": inputs, "outputs": inputs},
        new={"inputs": inputs},
        detailedDiff={path: {"diffKind": "update"}},
    )
    assert read([event]).each[0].properties == (
        Property(path=path, before=f'"{SECRET}"', after=f'"{SECRET}"'),
    )


def test_a_failed_step_is_marked_also_when_it_was_only_a_part() -> None:
    events = [step("create-replacement"), step("create-replacement", "resOpFailedEvent")]
    assert read(events).each == (
        Change(operation="replace", type="a:b:C", name="name", failed=True),
    )
    assert read([step("same")]).each == ()
    assert read([step("read", "resOpFailedEvent")]).each[0].failed


def test_so_many_are_kept_and_the_others_counted() -> None:
    events = [step("create", urn=f"u::n{n}") for n in range(CHANGES_MAX + 7)] * 2
    changes = read(events)
    assert len(changes.each) == CHANGES_MAX
    assert changes.left_out == 7


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab.", max_size=2), inner, max_size=3)
        | inner.map(lambda value: {SIGNATURE: "1b47", "plaintext": ["hidden", value]})
    ),
    max_leaves=10,
)
states = st.none() | st.fixed_dictionaries(
    {}, optional={"inputs": st.dictionaries(st.text("ab", max_size=2), json_values)}
)


@given(
    st.sampled_from(["create", "update", "replace", "delete"]),
    states,
    states,
    st.none() | st.lists(st.text('ab.[]01"', max_size=6), max_size=3),
    st.booleans(),
)
def test_no_secret_is_shown_wherever_it_lies(
    op: str, old: Any, new: Any, paths: list[str] | None, detailed: bool
) -> None:
    detail = {path: {"diffKind": "update", "inputDiff": True} for path in paths or ()}
    event = step(op, old=old, new=new, diffs=paths, detailedDiff=detail if detailed else None)
    changes = read([event])
    assert len(changes.each) == 1
    assert "hidden" not in repr(changes)


@given(st.lists(json_values | st.fixed_dictionaries({"metadata": json_values})))
def test_misshapen_events_are_passed_over(events: list[Any]) -> None:
    encoded = [json.dumps({"resourcePreEvent": each}).encode() for each in events]
    read([*encoded, b"resourcePreEvent", b'{"resourcePreEvent": ' + b"[" * 100_000])
