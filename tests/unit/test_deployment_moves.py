"""The state machine's table, and that the documents tell the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.deployment import (
    ENDED,
    LIVE,
    MOVES,
    IllegalMove,
    Status,
    after_lost_runner,
    move,
    sources_of,
)

ROOT = Path(__file__).resolve().parent.parent.parent


def test_ended_is_for_ever() -> None:
    assert all(MOVES[status] == () for status in ENDED)


@given(st.sampled_from(Status), st.sampled_from(Status))
def test_move_is_the_table(current: Status, wanted: Status) -> None:
    assert (current in sources_of(wanted)) == (wanted in MOVES[current])
    if wanted in MOVES[current]:
        assert move(current, wanted) is wanted
    else:
        with pytest.raises(IllegalMove):
            move(current, wanted)


@given(st.booleans(), st.integers(0, 9), st.integers(1, 9))
def test_a_lost_runner_never_touches_infrastructure_twice(
    started: bool, attempt: int, most: int
) -> None:
    after = after_lost_runner(engine_started=started, attempt=attempt, attempts_max=most)
    assert after is (Status.FAILED if started or attempt >= most else Status.NOT_STARTED)
    assert all(after in MOVES[status] for status in LIVE)


def test_the_document_draws_this_table() -> None:
    lines = [
        f"{status:<12} -> {' | '.join(targets)}" for status, targets in MOVES.items() if targets
    ]
    assert "\n".join(lines) in (ROOT / "ARCHITECTURE.md").read_text()
