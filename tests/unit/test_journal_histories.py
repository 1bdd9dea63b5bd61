"""Random engine histories: the journal comes to what checkpoints would have saved, at any cut."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain import journal
from control_plane.domain.journal import Manifest
from tests.support.engine import Engine, engines
from tests.support.state import document

MANIFEST = Manifest("2026-01-02T03:04:05Z", "v3.259.0")


def base_of(engine: Engine) -> bytes:
    before = document(*engine.base, pending_operations=engine.left_pending)
    return json.dumps(before).encode()


def replayed(engine: Engine, cut: int) -> dict[str, Any]:
    entries = [json.dumps(step.entry).encode() for step in engine.steps[:cut]]
    for raw in entries:
        journal.read(raw)
    got = journal.replay(base_of(engine), entries, MANIFEST)
    deployment = json.loads(got.document)["deployment"]
    assert got.resources == len(deployment.get("resources", []))
    return {key: deployment.get(key, []) for key in ("resources", "pending_operations")}


@settings(deadline=None, max_examples=150)
@given(engines())
def test_wherever_a_journal_is_cut_it_is_what_a_checkpoint_would_be(engine: Engine) -> None:
    for cut, step in enumerate(engine.steps, start=1):
        assert replayed(engine, cut) == step.deployment


@settings(deadline=None, max_examples=50)
@given(engines(), st.data())
def test_a_journal_goes_on_from_what_it_had_come_to(engine: Engine, data: st.DataObject) -> None:
    """As if the update had ended there and another begun: what is only marked stays so."""
    cut = data.draw(st.integers(1, len(engine.steps)))
    before = replayed(engine, cut)
    again = Engine(before["resources"], before["pending_operations"])
    creating = [each for each in before["pending_operations"] if each["type"] == "creating"]
    assert replayed(again, 1) == {**before, "pending_operations": creating}
