"""Why a deployment waits: always one reason, and the one that must go first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.deployment import Status
from control_plane.domain.waiting import Pause, PoolTrouble, Standing, Why, waiting

pauses = st.none() | st.builds(Pause, by=st.sampled_from(["", "ada"]), note=st.text(max_size=3))
standings = st.builds(
    Standing,
    status=st.sampled_from(list(Status)),
    organization=st.just("acme"),
    ahead_in_stack=st.integers(0, 3),
    ahead_in_organization=st.integers(0, 3),
    live_id=st.just("id"),
    live_version=st.none() | st.integers(1, 9),
    live_count=st.integers(0, 11),
    limit=st.integers(0, 10),
    stack_paused=pauses,
    organization_paused=pauses,
    pool=st.just("default"),
    pool_trouble=st.none()
    | st.builds(
        PoolTrouble,
        why=st.sampled_from([Why.POOL_OFFLINE, Why.POOL_NOT_READY, Why.NO_POOL]),
        problem=st.just("its gateway is silent"),
        todo=st.just("Start it."),
    ),
    placement=st.sampled_from(["", "a node", "Waiting for a free machine."]),
)


@settings(deadline=None)
@given(standings)
def test_what_could_begin_at_once_waits_for_nothing_in_particular(standing: Standing) -> None:
    found = waiting(standing)
    if standing.status not in (Status.NOT_STARTED, Status.ACCEPTED):
        assert found is None
        return
    assert found is not None
    assert found.waiting_for
    free = standing.status is Status.NOT_STARTED and not (
        standing.organization_paused
        or standing.stack_paused
        or standing.live_version is not None
        or standing.ahead_in_stack
        or standing.live_count >= standing.limit
        or standing.pool_trouble
    )
    assert (found.blocker is None) == free
    assert (found.why is Why.NEXT) == free
    assert found.sentence.endswith(".") or found.sentence.startswith("Waiting")
    assert not found.sentence.endswith("..")


@settings(deadline=None)
@given(standings, st.builds(Pause, by=st.just("bob"), note=st.just("moving")))
def test_a_paused_organization_is_told_first(standing: Standing, pause: Pause) -> None:
    paused = Standing(
        status=Status.NOT_STARTED,
        organization="acme",
        stack_paused=standing.stack_paused,
        live_version=standing.live_version,
        ahead_in_stack=standing.ahead_in_stack,
        organization_paused=pause,
    )
    found = waiting(paused)
    assert found is not None
    assert found.waiting_for == "acme to be resumed (paused by bob): moving"
    assert found.blocker is not None
    assert (found.blocker.kind, found.blocker.by) == ("organization-paused", "bob")


def test_the_limit_is_told_with_its_figures() -> None:
    found = waiting(
        Standing(status=Status.NOT_STARTED, organization="acme", live_count=10, limit=10)
    )
    assert found is not None
    assert found.waiting_for == ("one of 10 deployments to end: acme may run 10 at a time")
