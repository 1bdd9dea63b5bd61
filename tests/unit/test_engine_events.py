"""Engine events: what is read of them, and what readers get."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from control_plane.domain import engine_events
from control_plane.domain.engine_events import Interest, interest_of


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_a_reader_never_goes_past_a_gap(numbers: set[int], start: int) -> None:
    events = [(number, str(number).encode()) for number in sorted(numbers) if number >= start]
    found = [int(body) for body in engine_events.gapless(events, start)]
    assert found == list(range(start, start + len(found)))
    assert start + len(found) not in numbers


def test_a_summary_is_seen_in_its_event() -> None:
    body = {"resourceChanges": {"create": 2}, "result": "succeeded"}
    event = engine_events.read(Raw(json.dumps({"sequence": 7, "summaryEvent": body}).encode()))
    assert event.sequence == 7
    assert event.summary is not None
    assert event.summary.resource_changes == {"create": 2}


def test_the_closing_events_say_how_it_ended() -> None:
    first, second = map(
        json.loads,
        engine_events.closing(5, at=1700000000, seconds=9, preview=True, cancelled=False),
    )
    assert (first["sequence"], second["sequence"]) == (5, 6)
    summary = second["summaryEvent"]
    assert (summary["result"], summary["isPreview"], summary["durationSeconds"]) == (
        "failed",
        True,
        9,
    )


@pytest.mark.parametrize(
    ("kind", "op", "type_", "interest"),
    [
        ("resourcePreEvent", "update", "t:i:T", Interest.DONE),
        ("resourcePreEvent", "same", "t:i:T", None),
        ("resourcePreEvent", "refresh", "t:i:T", None),
        ("resOutputsEvent", "same", "t:i:T", None),
        ("resOutputsEvent", "update", "t:i:T", Interest.DONE),
        ("resOutputsEvent", "same", "pulumi:pulumi:Stack", Interest.DONE),
        ("resOpFailedEvent", "update", "t:i:T", Interest.WRONG),
    ],
)
def test_of_what_interest_a_step_is(
    kind: str, op: str, type_: str, interest: Interest | None
) -> None:
    body = {"sequence": 1, kind: {"metadata": {"op": op, "type": type_}}}
    assert interest_of(json.dumps(body).encode()) is interest
