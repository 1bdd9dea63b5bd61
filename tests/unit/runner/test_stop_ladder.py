"""When a process tree is told to stop, and when it is killed."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM

from hypothesis import given
from hypothesis import strategies as st

from runner_actors.stop_ladder import TERMINATE_SECONDS, Lease, StopLadder


def test_a_graceful_stop_asks_twice_and_then_kills() -> None:
    lease = Lease(until=1000, seconds=30, grace_seconds=10)
    ladder = StopLadder("cancelled", "graceful", 0, 10)
    assert ladder.due(0, lease) == SIGINT
    assert ladder.due(9.9, lease) is None
    assert ladder.due(10, lease) == SIGTERM
    assert ladder.due(10 + TERMINATE_SECONDS, lease) == SIGKILL
    assert ladder.due(20, lease) == SIGKILL, "again and again, until nothing is left"


def test_now_leaves_out_the_grace() -> None:
    lease = Lease(until=1000, seconds=30, grace_seconds=10)
    assert StopLadder("cancelled", "now", 0, 10).due(0, lease) == SIGKILL
    ladder = StopLadder("cancelled", "graceful", 0, 10)
    ladder.due(0, lease)
    ladder.kill_now(1)
    assert ladder.due(1, lease) == SIGKILL


def test_the_end_of_the_lease_cuts_the_grace() -> None:
    lease = Lease(until=30, seconds=30, grace_seconds=600)
    assert lease.stop_at == 20
    ladder = StopLadder("lease_expired", "graceful", 20, 600)
    assert ladder.due(20, lease) == SIGINT
    assert ladder.next_at(lease) == lease.kill_at == 29
    assert ladder.due(29, lease) == SIGKILL


@given(
    st.floats(0.5, 120),
    st.floats(0, 600),
    st.floats(0, 200),
    st.sampled_from(["graceful", "now"]),
    st.lists(st.floats(0, 300), max_size=20),
)
def test_whatever_was_promised_it_kills_before_the_lease_ends(
    seconds: float, grace: float, begun: float, mode: str, looks: list[float]
) -> None:
    lease = Lease(until=seconds, seconds=seconds, grace_seconds=grace)
    assert lease.stop_at <= lease.kill_at < lease.until
    ladder = StopLadder("x", mode, begun, grace)
    for look in sorted(looks):
        due = ladder.due(look, lease)
        if look >= lease.kill_at:
            assert due == SIGKILL
        assert ladder.next_at(lease) <= lease.kill_at or due is SIGKILL
