"""Which slot a stack gets: the second referee of "ten per organization" (I2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner_actors.places import Wanted
from runner_actors.slots import Open, Remove, Replace, Reuse, Seat, SlotBook, Wait


def wanted(stack: str = "dev", organization: str = "acme", limit: int = 3) -> Wanted:
    return Wanted(organization=organization, project="web", stack=stack, slot_limit=limit)


def book(*seats: Seat) -> SlotBook:
    made = SlotBook()
    for seat in seats:
        made.add(seat)
    return made


def seat(slot: int, stack: str, state: str = "busy", since: float = 0.0, **facts: str) -> Seat:
    organization = facts.pop("organization", "acme")
    path = f"{organization}/web/{stack}"
    return Seat(organization, slot, path, state, since, **facts)  # type: ignore[arg-type]


def test_a_stack_gets_the_lowest_slot_that_nobody_has() -> None:
    assert book().choose(wanted()) == Open(0)
    assert book(seat(0, "a"), seat(2, "c")).choose(wanted("b")) == Open(1)


def test_another_organizations_slots_do_not_count() -> None:
    others = [seat(k, f"s{k}", organization="other") for k in range(3)]
    assert book(*others).choose(wanted()) == Open(0)


def test_a_stack_takes_its_own_idle_seat() -> None:
    own = seat(1, "dev", "idle")
    assert book(seat(0, "a"), own).choose(wanted("dev")) == Reuse(own)


def test_with_all_slots_taken_the_least_recently_used_idle_stack_goes() -> None:
    old, young = seat(0, "a", "idle", 1.0), seat(1, "b", "idle", 2.0)
    assert book(young, old, seat(2, "c")).choose(wanted("d")) == Replace(old)


def test_with_all_slots_busy_a_stack_waits() -> None:
    busy = [seat(k, f"s{k}") for k in range(3)]
    choice = book(*busy).choose(wanted("more"))
    assert isinstance(choice, Wait)
    assert choice.blocking is None


def test_a_stack_waits_for_its_own_previous_deployment() -> None:
    own = seat(0, "dev")
    choice = book(own).choose(wanted("dev"))
    assert isinstance(choice, Wait)
    assert choice.blocking is own


def test_after_a_lowered_limit_the_seats_beyond_it_are_not_used() -> None:
    beyond = seat(2, "dev", "idle")
    assert book(beyond).choose(wanted("dev", limit=2)) == Remove(beyond)
    assert book(beyond).choose(wanted("b", limit=2)) == Open(0)
    busy_beyond = book(seat(2, "a"), seat(0, "b", "idle"))
    assert isinstance(busy_beyond.choose(wanted("c", limit=1)), Wait)


def test_idle_seats_are_overdue_by_time_and_by_number_on_a_node() -> None:
    seats = [seat(k, f"s{k}", "idle", float(k), node="n") for k in range(3)]
    elsewhere = seat(3, "s3", "idle", 3.0, node="m")
    full = book(*seats, elsewhere, seat(4, "s4"))
    assert full.overdue(3.0, idle_seconds=10, idle_max=2) == [seats[0]]
    assert full.overdue(11.0, idle_seconds=10, idle_max=9) == [seats[1], seats[0]]


STACKS = st.integers(0, 7)


@given(
    limit=st.integers(1, 4),
    moves=st.lists(st.one_of(STACKS, STACKS.map(lambda k: -1 - k)), max_size=60),
)
def test_no_sequence_gives_more_slots_than_the_limit(limit: int, moves: list[int]) -> None:
    slots, clock = SlotBook(), 0.0
    for move in moves:
        clock += 1.0
        if move >= 0:
            _take(slots, wanted(f"s{move}", limit=limit), clock)
        else:
            _finish(slots, f"acme/web/s{-1 - move}", clock)
        busy = [s for s in slots if s.state == "busy"]
        assert len(busy) <= limit
        assert all(s.slot < limit for s in slots)
        assert len({s.stack_path for s in slots}) == len(list(slots))


def _take(slots: SlotBook, stack: Wanted, now: float) -> None:
    match slots.choose(stack):
        case Reuse(own):
            own.state = "busy"
        case Open(slot):
            slots.add(Seat(stack.organization, slot, stack.stack_path, since=now))
        case Replace(idle):
            slots.remove(idle)
            slots.add(Seat(stack.organization, idle.slot, stack.stack_path, since=now))


def _finish(slots: SlotBook, stack_path: str, now: float) -> None:
    own = slots.of_stack(stack_path)
    if own and own.state == "busy":
        own.state, own.since = "idle", now
