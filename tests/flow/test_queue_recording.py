"""Recording: numbered events, each once, and what they make of a deployment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.errors import BadRequest, LeaseEnded
from control_plane.services import cancellation
from runner_actors.contract import (
    AnyEvent,
    Concluded,
    LogEnded,
    LogSegment,
    SourceResolved,
    StepEnded,
    StepStarted,
)
from tests.support.queue import Farm, make_farm


def segment(number: int, index: int, offset: int, length: int, step: int = 0) -> LogSegment:
    return LogSegment(
        number=number,
        at_ms=0,
        segment=index,
        step=step,
        offset=offset,
        length=length,
        line_breaks=1,
        marks=[(0, 5)],
    )


def a_whole_deployment(at_ms: int) -> list[AnyEvent]:
    return [
        StepStarted(number=1, at_ms=at_ms, step=0, name="Get source"),
        SourceResolved(number=2, at_ms=at_ms, commit="c0ffee", message="Fix", author="Ada"),
        segment(3, 0, 0, 10),
        StepEnded(number=4, at_ms=at_ms, step=0, succeeded=True),
        StepStarted(number=5, at_ms=at_ms, step=1, name="pulumi update"),
        segment(6, 1, 10, 20, step=1),
        StepEnded(number=7, at_ms=at_ms, step=1, succeeded=False, message="exit status 255"),
        LogEnded(number=8, at_ms=at_ms, length=30, segments=2),
        Concluded(number=9, at_ms=at_ms, succeeded=False, reason="cli_exit", exit_code=255),
    ]


async def picture(farm: Farm, deployment_id: str) -> dict[str, Any]:
    row = (await farm.row(deployment_id))._asdict()
    for changing in ("modified_at", "ended_at", "started_at"):
        row[changing] = row[changing] is not None
    return row | {
        "steps": await farm.ask("SELECT * FROM deployment_steps ORDER BY step"),
        "segments": await farm.ask("SELECT * FROM log_segments ORDER BY segment"),
    }


async def test_a_whole_deployment(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        farm.clock.advance(1)
        state = await farm.say(grant, *a_whole_deployment(farm.clock()))
        assert state.acknowledged == 9
        row = await farm.row(submitted.id)
        assert (row.status, row.reason, row.exit_code) == ("failed", "cli_exit", 255)
        assert (row.source_commit, row.source_author) == ("c0ffee", "Ada")
        assert (row.log_length, row.log_complete) == (30, True)
        assert (row.accepted_at, row.started_at) == (farm.clock() - 1000, farm.clock())
        assert await farm.ask("SELECT step, name, status, message FROM deployment_steps") == [
            (0, "Get source", "succeeded", ""),
            (1, "pulumi update", "failed", "exit status 255"),
        ]
        assert await farm.ask("SELECT object_key FROM log_segments ORDER BY segment") == [
            (f"{grant.log_prefix}/00000000.log",),
            (f"{grant.log_prefix}/00000001.log",),
        ]


async def test_the_first_step_makes_it_running(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        assert (await farm.start(grant)).acknowledged == 1
        assert await farm.how(submitted.id) == ("running", None)


@given(data=st.data())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_however_batches_are_cut_and_repeated_the_record_is_the_same(tmp_path_factory, data):
    pieces = data.draw(
        st.lists(st.tuples(st.integers(0, 8), st.integers(1, 9)), max_size=8), label="batches"
    )

    async def scenario() -> None:
        async with make_farm(tmp_path_factory.mktemp("farm")) as farm:
            stack, other = await farm.add_stack("shop", "web"), await farm.add_stack("shop", "db")
            submitted, twin = await farm.submit(stack), await farm.submit(other)
            grant, twin_grant = await farm.grant(), await farm.grant()
            events = a_whole_deployment(farm.clock())
            await farm.say(twin_grant, *events)
            recorded = 0
            for begin, length in pieces:
                if recorded == 9:
                    break
                state = await farm.say(grant, *events[begin : begin + length])
                recorded = max(recorded, begin + length) if begin <= recorded else recorded
                recorded = min(recorded, 9)
                assert state.acknowledged == recorded
            if recorded < 9:
                await farm.say(grant, *events[recorded:])
            ours, theirs = await picture(farm, submitted.id), await picture(farm, twin.id)
            for each in ("status", "reason", "log_length", "log_complete", "last_event"):
                assert ours[each] == theirs[each]
            for table, prefix in (("deployment_steps", 1), ("log_segments", 1)):
                rows = await farm.ask(
                    f"SELECT * FROM {table} WHERE deployment_id = :id", id=ours["id"]
                )
                twins = await farm.ask(
                    f"SELECT * FROM {table} WHERE deployment_id = :id", id=theirs["id"]
                )
                keyless = [tuple(v for v in row if "logs/" not in str(v))[prefix:] for row in rows]
                assert keyless == [
                    tuple(v for v in row if "logs/" not in str(v))[prefix:] for row in twins
                ]

    asyncio.run(scenario())


async def test_a_gap_is_not_recorded_and_the_answer_tells(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        events = a_whole_deployment(farm.clock())
        assert (await farm.say(grant, events[0], events[2])).acknowledged == 1
        assert (await farm.say(grant, events[8])).acknowledged == 1
        assert await farm.how(submitted.id) == ("running", None)


async def test_after_the_end_nothing_is_recorded(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        events = a_whole_deployment(farm.clock())
        late = StepStarted(number=10, at_ms=0, step=2, name="late")
        assert (await farm.say(grant, *events, late)).acknowledged == 9
        before = await picture(farm, submitted.id)
        with pytest.raises(LeaseEnded):
            await farm.say(grant, *events, late)
        assert await picture(farm, submitted.id) == before


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (segment(2, 1, 0, 5), "does not follow"),
        (segment(2, 0, 3, 5), "does not follow"),
        (segment(2, 0, 0, -5), "does not follow"),
        (StepStarted(number=2, at_ms=0, step=-1, name="x"), "step -1"),
    ],
)
async def test_I5_what_cannot_be_true_is_refused_whole(tmp_path, bad, text):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        before = await picture(farm, submitted.id)
        first = StepStarted(number=1, at_ms=0, step=0, name="Get source")
        with pytest.raises(BadRequest, match=text):
            await farm.say(grant, first, bad)
        assert await picture(farm, submitted.id) == before


async def test_I5_an_end_marker_that_says_something_else_leaves_the_log_cut(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        await farm.say(
            grant, segment(1, 0, 0, 10), LogEnded(number=2, at_ms=0, length=11, segments=1)
        )
        assert not (await farm.row(submitted.id)).log_complete


async def test_a_runners_clock_does_not_reach_beyond_ours(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        farm.clock.advance(2)
        future = StepStarted(number=1, at_ms=farm.clock() + 10**9, step=0, name="x")
        past = StepStarted(number=2, at_ms=5, step=1, name="y")
        await farm.say(grant, future, past)
        row = await farm.row(submitted.id)
        assert row.started_at == farm.clock()
        assert await farm.ask("SELECT started_at FROM deployment_steps ORDER BY step") == [
            (farm.clock(),),
            (row.accepted_at,),
        ]


async def test_events_renew_the_lease_and_bring_the_cancel(tmp_path):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        farm.clock.advance(29)
        await farm.start(grant)
        await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id)
        farm.clock.advance(29)
        state = await farm.say(grant, SourceResolved(number=2, at_ms=0, commit="c0ffee"))
        assert (state.cancel, state.cancelled_by) == ("graceful", "ada")


@pytest.mark.parametrize(
    ("cancelled", "succeeded", "reason", "end"),
    [
        (False, True, "", ("succeeded", "completed")),
        (False, False, "source_error", ("failed", "source_error")),
        (False, False, "something new", ("failed", "internal")),
        (True, False, "cancelled", ("failed", "cancelled")),
        (True, False, "cli_exit", ("failed", "cancelled")),
        (True, True, "", ("succeeded", "completed")),
    ],
)
async def test_how_and_why_it_ends(tmp_path, cancelled, succeeded, reason, end):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        if cancelled:
            await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id)
        await farm.conclude(grant, succeeded, reason)
        assert await farm.how(submitted.id) == end


@pytest.mark.parametrize(
    ("engine", "cancelled", "end", "marked"),
    [
        (False, False, ("not-started", None), False),
        (True, False, ("failed", "runner_lost"), True),
        (False, True, ("failed", "cancelled"), False),
        (True, True, ("failed", "cancelled"), True),
    ],
)
async def test_I4_a_runner_that_was_lost_says_so_and_is_judged_like_one_that_is_silent(
    tmp_path, engine, cancelled, end, marked
):
    async with make_farm(tmp_path) as farm:
        stack = await farm.add_stack("shop", "web")
        submitted = await farm.submit(stack)
        grant = await farm.grant()
        await farm.start(grant)
        if engine:
            await farm.engine_started(submitted.id)
        if cancelled:
            await cancellation.cancel(farm.world, farm.principal(), stack, submitted.id)
        state = await farm.conclude(grant, succeeded=False, reason="runner_lost", number=2)
        assert state.acknowledged == 2
        assert await farm.how(submitted.id) == end
        mark = farm.clock() if marked else None
        assert await farm.ask("SELECT needs_recovery_since FROM stacks") == [(mark,)]
        with pytest.raises(LeaseEnded):
            await farm.renew(grant)


async def test_I4_a_deployment_that_its_lost_runner_concluded_runs_again_from_the_start(tmp_path):
    async with make_farm(tmp_path) as farm:
        submitted = await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        await farm.say(
            grant,
            StepStarted(number=1, at_ms=0, step=0, name="Get source"),
            segment(2, 0, 0, 10),
            Concluded(number=3, at_ms=0, succeeded=False, reason="runner_lost"),
        )
        row = await farm.row(submitted.id)
        assert (row.status, row.last_event, row.log_length) == ("not-started", 0, 0)
        again = await farm.grant()
        assert (again.deployment_id, again.generation) == (submitted.id, 2)
        await farm.say(again, *a_whole_deployment(farm.clock()))
        assert await farm.how(submitted.id) == ("failed", "cli_exit")


async def test_steps_that_were_going_on_end_with_their_deployment(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        await farm.start(grant)
        await farm.conclude(grant, succeeded=False, number=2)
        assert await farm.ask("SELECT status, ended_at FROM deployment_steps") == [
            ("failed", farm.clock())
        ]


async def test_too_large_a_batch_is_refused(tmp_path):
    async with make_farm(tmp_path) as farm:
        await farm.submit(await farm.add_stack("shop", "web"))
        grant = await farm.grant()
        events = [SourceResolved(number=n, at_ms=0, commit="") for n in range(1, 1002)]
        with pytest.raises(BadRequest, match="at most 1000"):
            await farm.say(grant, *events)
