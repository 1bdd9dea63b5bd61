"""First users, tokens of each kind, and what a token's use leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.errors import BadRequest, NotLoggedIn
from control_plane.services import identity
from control_plane.services.world import World
from tests.support.world import FakeClock, make_world

TOKEN = "pul-" + "b" * 48


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    made = make_world(tmp_path, now=clock)
    yield made
    await made.database.close()


async def test_a_first_user_and_a_token_once(world: World) -> None:
    token = await identity.bootstrap(world, "ada", None)
    assert token is not None
    assert await identity.bootstrap(world, "ada", None) is None
    principal = await identity.authenticate(world, token)
    assert (principal.user.login, principal.organizations) == ("ada", frozenset({"ada"}))


@pytest.mark.parametrize("prefix", ["slp-", "sld-", "slr-", "slu-"])
async def test_a_token_that_could_never_log_in_is_refused(world: World, prefix: str) -> None:
    with pytest.raises(BadRequest, match="must not begin"):
        await identity.bootstrap(world, "ada", prefix + "c" * 48)


async def test_a_token_has_one_owner(world: World) -> None:
    await identity.bootstrap(world, "ada", TOKEN)
    await identity.bootstrap(world, "ada", TOKEN)
    with pytest.raises(BadRequest, match="'ada'"):
        await identity.bootstrap(world, "bob", TOKEN)


async def test_its_last_use_is_noted_by_the_minute(world: World, clock: FakeClock) -> None:
    await identity.bootstrap(world, "ada", TOKEN)
    ada = await identity.authenticate(world, TOKEN)
    first = clock.now
    for seconds, noted in ((30, first), (61, first + 91_000)):
        clock.advance(seconds)
        world.token_cache.clear()
        await identity.authenticate(world, TOKEN)
        (row,) = await identity.list_tokens(world, ada)
        assert row.last_used_at == noted


async def test_a_revoked_token_is_dead_at_once(world: World) -> None:
    await identity.bootstrap(world, "ada", TOKEN)
    made = await identity.create_token(world, "ada", "laptop")
    ada = await identity.authenticate(world, made.value)
    await identity.delete_token(world, ada, made.id)
    with pytest.raises(NotLoggedIn):
        await identity.authenticate(world, made.value)


async def test_an_expired_token_is_nobody(world: World, clock: FakeClock) -> None:
    await identity.bootstrap(world, "ada", TOKEN)
    made = await identity.create_token(world, "ada", "brief", clock.now + 1000)
    await identity.authenticate(world, made.value)
    clock.advance(2)
    world.token_cache.clear()
    with pytest.raises(NotLoggedIn):
        await identity.authenticate(world, made.value)
