"""What an update's events tell people, in the shapes that the real engine sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.diagnostics import Step, account
from control_plane.domain.property_values import Change
from control_plane.domain.update_config import entries
from control_plane.services.state_views_cache import ROWS_MAX, View, Views
from ui.timeline import WIDTH, bars

ROOT = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"


def event(kind: str, op: str, name: str, at: int = 0, **metadata: Any) -> bytes:
    kind_of_urn = {"urn": f"urn:pulumi:dev::shop::t:i:T::{name}", "type": "t:i:T"}
    body = {"metadata": {"op": op, **kind_of_urn, **metadata}}
    return json.dumps({"sequence": 0, "timestamp": at, kind: body}).encode()


def state(**inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": {}}


def test_a_replacement_is_one_thing() -> None:
    sides = {"old": state(v="1"), "new": state(v="2"), "keys": ["v"]}
    told = account(
        [
            event("resourcePreEvent", "create-replacement", "a", 10, **sides),
            event("resOutputsEvent", "create-replacement", "a", 12, **sides),
            event("resourcePreEvent", "replace", "a", 12, **sides),
            event("resOutputsEvent", "replace", "a", 12, **sides),
            event("resourcePreEvent", "delete-replaced", "a", 13, old=state(v="1")),
            event("resOutputsEvent", "delete-replaced", "a", 15, old=state(v="1")),
        ]
    )
    (step,) = told.steps
    assert (step.operation, step.resource, step.replacing) == ("replace", "a", ("v",))
    assert step.changes == (Change(path="v", old="1", new="2"),)
    assert step.seconds == 5


def test_a_refresh_tells_only_what_it_found_changed() -> None:
    old = {"inputs": {"n": 1}, "outputs": {"size": 1}}
    new = {"inputs": {"n": 1}, "outputs": {"size": 2}}
    told = account(
        [
            event("resourcePreEvent", "refresh", "drifted", 1, old=old, new=old),
            event("resourcePreEvent", "refresh", "as-it-was", 1, old=old, new=old),
            event("resOutputsEvent", "update", "drifted", 3, old=old, new=new),
            event("resOutputsEvent", "same", "as-it-was", 3, old=old, new=old),
        ]
    )
    (step,) = told.steps
    assert (step.operation, step.resource) == ("update", "drifted")
    assert step.changes == (Change(path="size", old="1", new="2"),)
    assert step.seconds == 2


def test_the_stacks_outputs_are_told() -> None:
    sides = {"old": {"outputs": {"count": 1}}, "new": {"outputs": {"count": 2}}}
    root = {"urn": ROOT, "type": "pulumi:pulumi:Stack", **sides}
    told = account([event("resOutputsEvent", "same", "-", **root)])
    assert told.outputs == (Change(path="count", old="1", new="2"),)
    assert told.steps == []


def test_what_failed_is_marked_and_its_words_come_first() -> None:
    def said(severity: str, urn: str) -> bytes:
        body = {"message": severity, "severity": severity, "urn": urn}
        return json.dumps({"sequence": 0, "diagnosticEvent": body}).encode()

    told = account(
        [
            event("resourcePreEvent", "create", "a", 1, new=state()),
            said("info", "u::fine"),
            said("error", "u::a"),
            event("resOpFailedEvent", "create", "a", 2, new=state()),
        ]
    )
    assert told.steps[0].failed
    assert [resource for resource, _ in told.by_resource()] == ["a", "fine"]


@pytest.mark.parametrize("inputs", [[], "x", {"a": 10**30}])
def test_misshapen_properties_are_passed_over(inputs: Any) -> None:
    new = {"inputs": inputs, "outputs": None}
    assert len(account([event("resourcePreEvent", "create", "a", new=new)]).steps) == 1


steps = st.builds(
    lambda began, seconds: Step(
        operation="update", resource="r", type="t", began=began, ended=began + seconds
    ),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)


@given(st.lists(steps, max_size=20))
def test_every_bar_lies_in_the_drawing_and_is_seen(found: list[Step]) -> None:
    for bar in bars(found):
        assert bar.length > 0
        assert 0 <= bar.start <= bar.start + bar.length <= WIDTH


def test_configuration_is_masked_until_it_is_opened() -> None:
    config = {
        "p:plain": {"string": "x", "secret": False, "object": False},
        "p:hush": {"string": "sealed-1", "secret": True, "object": False},
        "p:tree": {
            "string": '{"a":[{"secure":"sealed-2"},1],"b":{"secure":{"no":"secret"}}}',
            "secret": True,
            "object": True,
        },
        "p:broken": {"string": "{sealed-3", "secret": True, "object": True},
        "p:wrong": "no object",
    }
    found = {each.name: each for each in entries(json.dumps(config).encode())}
    assert set(found) == {"p:plain", "p:hush", "p:tree", "p:broken"}
    assert "sealed" not in "".join(each.shown for each in found.values())
    assert list(found["p:tree"].ciphertexts()) == ["sealed-2"]
    opened = found["p:tree"].opened(lambda text: f"<{text}>")
    assert json.loads(opened) == {"a": ["<sealed-2>", 1], "b": {"secure": {"no": "secret"}}}
    assert found["p:hush"].opened(lambda text: f"<{text}>") == "<sealed-1>"
    for nothing in (b"[]", b"{", b"null"):
        assert entries(nothing) == []


def test_few_views_are_kept() -> None:
    views = Views()

    def view(rows: int) -> View:
        return View(rows=[None] * rows, outputs={}, output_bytes=2, secrets_by="")  # type: ignore[list-item]

    for name in ("a", "b", "c"):
        views.put(name, view(ROWS_MAX // 3))
        assert views.get("a") is not None
    views.put("d", view(ROWS_MAX // 3))
    assert views.get("b") is None, "the longest unused goes"
    assert views.get("a") is not None
    views.put("huge", view(ROWS_MAX + 1))
    assert views.get("huge") is None
