"""What people are told of an update is the same when only the events of interest are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain import diagnostics
from control_plane.domain.engine_events import KINDS, Interest, interest_of

names = st.sampled_from(["a", "b", "c"])
metadata: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["same", "create", "update", "delete", "replace", "read"]),
        "urn": names.map(lambda name: f"urn:pulumi:dev::shop::t:index:T::{name}"),
        "type": st.just("t:index:T"),
        "detailedDiff": st.none() | st.dictionaries(names, st.just({}), max_size=2),
    }
)
of_resource = st.fixed_dictionaries({"metadata": metadata})
diagnostic = st.fixed_dictionaries(
    {
        "message": names,
        "severity": st.sampled_from(["info", "info#err", "warning", "error", "debug"]),
        "ephemeral": st.booleans(),
        "urn": names,
    }
)
payloads = {
    "resourcePreEvent": of_resource,
    "resOutputsEvent": of_resource,
    "resOpFailedEvent": of_resource,
    "diagnosticEvent": diagnostic,
    "errorEvent": st.fixed_dictionaries({"error": names}),
}
anything = st.none() | st.integers() | names | st.lists(names, max_size=2)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(KINDS))
    shaped = payloads.get(kind, st.just({}))
    body: dict[str, Any] = {"sequence": 1, kind: draw(shaped | anything)}
    return json.dumps(body).encode()


@given(st.lists(events(), max_size=20))
def test_what_is_passed_over_tells_nothing(written: list[bytes]) -> None:
    told = [event for event in written if interest_of(event) is not None]
    assert diagnostics.account(told) == diagnostics.account(written)


@pytest.mark.parametrize(
    ("event", "interest"),
    [
        ({"resourcePreEvent": {"metadata": {"op": "same"}}}, None),
        ({"resOutputsEvent": {"metadata": {"op": "same"}}}, None),
        ({"resourcePreEvent": {"metadata": {"op": "create"}}}, Interest.DONE),
        ({"resOutputsEvent": {"metadata": {"op": "create"}}}, Interest.DONE),
        ({"diagnosticEvent": {"severity": "info", "ephemeral": True}}, None),
        ({"diagnosticEvent": {"severity": "info"}}, Interest.SAID),
        ({"stdoutEvent": {"message": "x"}}, Interest.SAID),
        ({"diagnosticEvent": {"severity": "error"}}, Interest.WRONG),
        ({"resOpFailedEvent": {"metadata": {"op": "create"}}}, Interest.WRONG),
        ({"summaryEvent": {"resourceChanges": {}}}, Interest.WRONG),
        ({"summaryEvent": None, "preludeEvent": {"config": {}}}, None),
        ({"diagnosticEvent": 7}, None),
        ([], None),
    ],
)
def test_of_what_interest_an_event_is(event: Any, interest: Interest | None) -> None:
    assert interest_of(json.dumps(event).encode()) is interest
