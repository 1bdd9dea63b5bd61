"""When what waits will probably begin: the queue played forward, honestly."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.expectation import (
    Basis,
    Forecast,
    Item,
    Usual,
    about,
    forecast,
    usual_durations,
)

NOW = 1_000_000_000
MINUTE = 60_000


def item(name: str, stack: str, operation: str = "update", **more: object) -> Item:
    return Item(id=name, stack_id=stack, operation=operation, title=f"{operation} {name}", **more)  # type: ignore[arg-type]


def play(live: list[Item], line: list[Item], limit: int = 10, **usual: int) -> Forecast:
    """`usual`: minutes that an update of a stack takes."""
    known = {(stack, "update"): Usual(minutes * MINUTE, 3) for stack, minutes in usual.items()}
    return forecast(live, line, known, limit=limit, now=NOW)


def starts(found: Forecast) -> dict[str, tuple[float | None, str]]:
    """Minutes from now, and from what one knows."""
    return {
        name: (None if each.at is None else (each.at - NOW) / MINUTE, str(each.basis))
        for name, each in found.starts.items()
    }


def test_one_after_another_in_a_stack() -> None:
    live = [item("a1", "a", began=NOW - MINUTE)]
    found = play(live, [item("a2", "a"), item("a3", "a")], a=3)
    assert starts(found) == {"a2": (2, "history"), "a3": (5, "history")}
    assert found.starts["a2"].sentence == "Update a1 usually takes 3 min (from 3 successes)."


def test_at_the_limit_the_first_that_ends_makes_room() -> None:
    live = [item("a1", "a", began=NOW), item("b1", "b", began=NOW)]
    found = play(live, [item("c1", "c"), item("a2", "a")], limit=2, a=4, b=2, c=1)
    assert starts(found) == {"c1": (2, "history"), "a2": (4, "history")}


def test_without_history_nothing_is_foretold() -> None:
    found = play([item("a1", "a", began=NOW)], [item("a2", "a"), item("b1", "b")])
    assert starts(found) == {"b1": (0, "nothing_ahead"), "a2": (None, "no_history")}
    assert found.starts["a2"].sentence == "Unknown: update a1 has no earlier success to go by."
    assert found.ends["a1"].basis is Basis.NO_HISTORY


def test_another_operation_is_no_history() -> None:
    found = play([item("a1", "a", "destroy", began=NOW)], [item("a2", "a")], a=3)
    assert starts(found) == {"a2": (None, "no_history")}


def test_what_takes_longer_than_usual_may_end_any_moment() -> None:
    found = play([item("a1", "a", began=NOW - 10 * MINUTE)], [item("a2", "a")], a=3)
    assert starts(found) == {"a2": (0, "overdue")}
    assert found.starts["a2"].sentence == "Any moment: update a1 runs longer than usual (3 min)."


def test_what_is_held_holds_what_is_behind_it_and_no_slot() -> None:
    line = [item("a1", "a", held="its stack is paused"), item("a2", "a"), item("b1", "b")]
    found = play([], line, limit=1, a=1, b=1)
    assert starts(found) == {"a1": (None, "held"), "a2": (None, "held"), "b1": (0, "nothing_ahead")}
    assert found.starts["a1"].sentence == "Unknown: its stack is paused."
    assert found.starts["a2"].sentence == "Unknown: update a1 before it is held up."


def test_lengths_are_as_exact_as_one_can_know_them() -> None:
    lengths = (1_000, 44_999, 45_000, 170_000, 89 * MINUTE, 100 * MINUTE, 72 * 60 * MINUTE)
    assert [about(each) for each in lengths] == [
        "less than a minute",
        "less than a minute",
        "1 min",
        "3 min",
        "89 min",
        "2 h",
        "3 days",
    ]


def test_a_median_of_the_newest_successes() -> None:
    old = [("a", "update", 99)] * 10
    found = usual_durations([("a", "update", n) for n in range(1, 10)] + old + [("b", "update", 7)])
    assert found == {("a", "update"): Usual(5, 10), ("b", "update"): Usual(7, 1)}


stack_names = st.sampled_from("abcde")
usuals = st.dictionaries(stack_names, st.integers(0, 9), max_size=5)
lines = st.lists(st.tuples(stack_names, st.booleans()), max_size=12)
lives = st.lists(st.tuples(stack_names, st.integers(0, 5)), unique_by=lambda each: each[0])


@settings(deadline=None)
@given(lives, lines, usuals, st.integers(1, 4))
def test_a_forecast_breaks_no_rule_of_the_queue(
    live: list[tuple[str, int]],
    line: list[tuple[str, bool]],
    usual: dict[str, int],
    limit: int,
) -> None:
    """Each has a start or a reason; no stack twice at a time; never more than the limit."""
    running = [item(f"live{n}", s, began=NOW - m * MINUTE) for n, (s, m) in enumerate(live)]
    waiting = [item(f"w{n}", s, held="paused" if held else "") for n, (s, held) in enumerate(line)]
    found = play(running, waiting, limit, **usual)
    assert set(found.starts) == {each.id for each in waiting}
    spans = [(each.stack_id, NOW, found.ends[each.id].at) for each in running]
    for each in waiting:
        start = found.starts[each.id]
        if start.at is None:
            assert start.sentence.startswith("Unknown")
            continue
        assert start.at >= NOW
        assert not each.held
        minutes = usual.get(each.stack_id)
        end = None if minutes is None else start.at + minutes * MINUTE
        spans.append((each.stack_id, start.at, end))
    for _, at, _ in spans[len(running) :]:
        there = [stack for stack, begin, end in spans if begin <= at and (end is None or at < end)]
        assert len(there) <= max(limit, len(running))
        assert max(Counter(there).values(), default=1) == 1


@settings(deadline=None)
@given(lives, lines, usuals, st.integers(1, 4))
def test_in_a_stack_nobody_overtakes(
    live: list[tuple[str, int]], line: list[tuple[str, bool]], usual: dict[str, int], limit: int
) -> None:
    running = [item(f"live{n}", s, began=NOW - m * MINUTE) for n, (s, m) in enumerate(live)]
    waiting = [item(f"w{n}", s, held="paused" if held else "") for n, (s, held) in enumerate(line)]
    found = play(running, waiting, limit, **usual)
    for stack in "abcde":
        times = [found.starts[each.id].at for each in waiting if each.stack_id == stack]
        known = [at for at in times if at is not None]
        assert known == sorted(known)
        assert times[: len(known)] == known, "who cannot tell holds those behind it"
