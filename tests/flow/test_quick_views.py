"""What the console shows of a state is what the state is, however much of it was read before."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain import resource_tree
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.services import identity, resources, state, state_views
from control_plane.services.world import World
from tests.support.app import TOKEN, client
from tests.support.state import Stack, Update, document, new_stack, resource
from tests.support.world import make_world, run

NAMES = ("a", "b", "c", "d")
ABSENT = "urn:pulumi:dev::shop::test:index:Thing::nowhere"
names = st.sets(st.sampled_from(NAMES))
moves = st.lists(
    st.tuples(st.just("import"), names)
    | st.tuples(st.just("update"), names)
    | st.tuples(st.just("begin"), names)
    | st.tuples(st.just("end"), st.just(set())),
    max_size=6,
)


@settings(max_examples=8)
@given(moves)
def test_what_is_kept_of_a_state_is_never_old(made: list[tuple[str, set[str]]]) -> None:
    """Also while an update is changing it, whose journal is read anew each time."""
    with tempfile.TemporaryDirectory() as directory:
        run(_walk(Path(directory), made))


async def _walk(directory: Path, made: list[tuple[str, set[str]]]) -> None:
    world = make_world(directory)
    async with client(world) as http:
        stack = await new_stack(http)
        principal = await identity.authenticate(world, TOKEN)
        running: Update | None = None
        await _compare(world, principal, stack.name)
        for move, wanted in made:
            running = await _move(stack, move, wanted, running)
            # Twice: read, and kept.
            await _compare(world, principal, stack.name)
            await _compare(world, principal, stack.name)
        if running is not None:
            await running.complete()
            await _compare(world, principal, stack.name)
    await world.database.close()


async def _move(stack: Stack, move: str, wanted: set[str], running: Update | None) -> Update | None:
    if move == "end" or running is not None:
        if running is not None:
            await running.complete()
        return None
    if move == "import":
        answer = await stack.import_(document(*(resource(name) for name in sorted(wanted))))
        assert answer.status_code == 200, answer.text
    elif move == "update":
        await stack.run(*sorted(wanted))
    elif move == "begin":
        running = await stack.start()
        for name in sorted(wanted):
            await running.create(name)
    return running


async def _compare(world: World, principal: Principal, name: StackName) -> None:
    """With the document that any client gets."""
    exported = await state.export(world, principal, name, "http://slipway.test")
    known = resource_tree.resources_of(exported)
    listed = await resources.listing(world, principal, name, "", 0, 100)
    assert list(listed.rows) == resource_tree.tree(known)
    assert (listed.found, listed.total) == (len(known), len(known))
    found = await resources.listing(world, principal, name, "a", 0, 100)
    assert list(found.rows) == resource_tree.matching(known, "a")
    for urn in [*(each.urn for each in known), ABSENT]:
        whole = resource_tree.whole(exported, urn)
        assert await state_views.resource(world, principal, name, urn) == whole
