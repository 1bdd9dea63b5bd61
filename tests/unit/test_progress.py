"""What an engine has done so far, counted from its events."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.progress import FAILED_MAX, LATEST_MAX, Counter, Error


def event(kind: str, operation: str, name: str) -> bytes:
    urn = f"urn:pulumi:dev::shop::t:index:T::{name}"
    metadata = {"op": operation, "urn": urn, "type": "t:index:T", "old": None}
    return json.dumps({"sequence": 1, "timestamp": 1, kind: {"metadata": metadata}}).encode()


def began(operation: str, name: str) -> bytes:
    return event("resourcePreEvent", operation, name)


def done(operation: str, name: str) -> bytes:
    return event("resOutputsEvent", operation, name)


def failed(operation: str, name: str) -> bytes:
    return event("resOpFailedEvent", operation, name)


def said(text: str, severity: str = "error", urn: str = "a::b::c::thing") -> bytes:
    fields: dict[str, Any] = {"message": text, "severity": severity, "urn": urn, "color": "raw"}
    return json.dumps({"sequence": 1, "timestamp": 1, "diagnosticEvent": fields}).encode()


def test_counts_by_operation_with_the_last_and_the_failed() -> None:
    counter = Counter()
    counter.read([began("create", "a"), began("same", "b"), began("update", "c")])
    assert counter.progress().under_way == 3
    counter.read([done("create", "a"), done("same", "b"), b"no event", b'{"resOutputsEvent": 1}'])
    counter.read([failed("update", "c"), said("<{%fg 1%}>it broke<{%reset%}>"), said("and again")])
    found = counter.progress()
    assert found.done == {"create": 1, "same": 1}
    assert found.under_way == 0
    assert [each.resource for each in found.latest] == ["a"]
    assert [(each.operation, each.resource) for each in found.failed] == [("update", "c")]
    assert found.error == Error(text="it broke", resource="thing")


def test_warnings_are_no_errors() -> None:
    counter = Counter()
    counter.read([said("careful", "warning"), said("", "error")])
    assert counter.progress().error is None
    assert not counter.progress().has_begun


@given(st.lists(st.tuples(st.sampled_from(["create", "delete", "same"]), st.booleans())))
def test_everything_is_counted_once_and_little_is_kept(steps: list[tuple[str, bool]]) -> None:
    counter = Counter()
    for number, (operation, succeeds) in enumerate(steps):
        ending = done if succeeds else failed
        counter.read([began(operation, f"r{number}"), ending(operation, f"r{number}")])
    found = counter.progress()
    assert sum(found.done.values()) == sum(succeeds for _, succeeds in steps)
    assert found.failed_count == sum(not succeeds for _, succeeds in steps)
    assert found.under_way == 0
    assert len(found.latest) <= LATEST_MAX
    assert len(found.failed) <= FAILED_MAX
