"""Two who change one stack at the same time: one of them wins, and what is left makes sense."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services import state
from control_plane.services.world import World
from tests.support.app import client
from tests.support.state import Stack, document, kept_objects, new_stack, resource
from tests.support.world import make_world

ROUNDS = 5


class Interrupted:
    """An object store; while it stores the first object, something else happens."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def put(self, key: str, body: bytes) -> None:
        await self._objects.put(key, body)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield dataclasses.replace(made, objects=Interrupted(made.objects))
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as logged_in:
        yield logged_in


async def names(http: httpx.AsyncClient) -> list[str]:
    listed = (await http.get("/api/user/stacks")).json()["stacks"]
    return [f"{each['projectName']}/{each['stackName']}" for each in listed]


async def statuses(*calls: Awaitable[httpx.Response]) -> list[int]:
    answers = await asyncio.gather(*calls)
    assert all(answer.status_code < 500 for answer in answers), [each.text for each in answers]
    return [answer.status_code for answer in answers]


def called(stack: Stack, name: str) -> Stack:
    return Stack(stack.http, stack.name._replace(stack=name))


async def is_sound(stack: Stack) -> None:
    """Its state is its own, and the next update goes through."""
    exported = await stack.export()
    for each in exported["deployment"].get("resources", []):
        assert each["urn"].startswith(f"urn:pulumi:{stack.name.stack}::"), each["urn"]
    update = await stack.start()
    assert (await update.complete()).status_code == 204


async def test_of_two_renames_of_one_stack_one_is_done(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    await stack.run("a")
    for n in range(ROUNDS):
        wanted = [f"left{n}", f"right{n}"]
        done = await statuses(*(stack.post("/rename", {"newName": each}) for each in wanted))
        assert sorted(done) in ([200, 404], [200, 409]), done
        winner = wanted[done.index(200)]
        assert await names(http) == [f"shop/{winner}"]
        stack = called(stack, winner)
        await is_sound(stack)


async def test_of_two_stacks_renamed_alike_one_gets_the_name(
    http: httpx.AsyncClient, world: World
) -> None:
    for n in range(ROUNDS):
        one, two = await new_stack(http, f"one{n}"), await new_stack(http, f"two{n}")
        for each in (one, two):
            own = resource("a", urn=f"urn:pulumi:{each.name.stack}::shop::t:i:T::a")
            assert (await each.import_(document(own))).status_code == 200
        same = {"newName": f"same{n}"}
        done = await statuses(one.post("/rename", same), two.post("/rename", same))
        assert sorted(done) == [200, 409]
        left = (one, two)[done.index(409)]
        assert sorted(await names(http)) == sorted([f"shop/same{n}", f"shop/{left.name.stack}"])
        for each in (called(one, f"same{n}"), left):
            await is_sound(each)
            assert (await http.delete(f"{each.path}?force=true")).status_code == 204


async def test_a_name_is_made_or_moved_to_but_not_both(http: httpx.AsyncClient) -> None:
    for n in range(ROUNDS):
        old, new = await new_stack(http, f"old{n}"), f"new{n}"
        made = called(old, new)
        done = await statuses(
            made.make(), old.post("/rename", {"newName": new}), made.make(), made.make()
        )
        assert sorted(done) == [200, 409, 409, 409]
        assert (await names(http)).count(f"shop/{new}") == 1
        await is_sound(made)


async def test_a_stack_is_updated_or_deleted_or_renamed(http: httpx.AsyncClient) -> None:
    for n in range(ROUNDS):
        stack = await new_stack(http, f"s{n}")
        update_id = (await stack.propose()).json()["updateID"]
        start, delete, rename = await statuses(
            stack.post(f"/update/{update_id}", {"journalVersion": 1}),
            http.delete(stack.path),
            stack.post("/rename", {"newName": f"r{n}"}),
        )
        assert sorted([start, delete, rename]).count(200) + (delete == 204) == 1, (
            start,
            delete,
            rename,
        )
        here = await names(http)
        assert (f"shop/s{n}" in here) is (start == 200)
        assert (f"shop/r{n}" in here) is (rename == 200)


async def test_a_running_update_keeps_its_stack(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")
    for call in (
        http.delete(stack.path),
        http.delete(f"{stack.path}?force=true"),
        stack.post("/rename", {"newName": "other"}),
        stack.import_(document()),
    ):
        answer = await call
        assert answer.status_code == 409
        text = answer.json()["message"]
        assert text == "Conflict: Another update is currently in progress."
    assert (await update.complete()).status_code == 204
    assert await stack.resources() == ["a"]


@pytest.mark.parametrize("journal", [0, 1])
async def test_an_update_is_completed_or_cancelled(http: httpx.AsyncClient, journal: int) -> None:
    stack = await new_stack(http)
    for n in range(ROUNDS):
        update = await stack.start(journal=journal)
        if journal:
            await update.create(f"r{n}")
        cancel = stack.post(f"/update/{update.id}/cancel")
        calls = [update.complete(), cancel] if n % 2 else [cancel, update.complete()]
        done = await statuses(*calls)
        complete, cancelled = done if n % 2 else reversed(done)
        assert (complete, cancelled) in ((204, 409), (403, 204))
        status = (await stack.get(f"/update/{update.id}"))["status"]
        assert status == ("succeeded" if complete == 204 else "cancelled")
        kept = await stack.resources()
        assert len(kept) == (n + 1) * journal, "what was saved stays, whoever ended it"
        again = await update.complete()
        assert again.status_code == complete


async def test_a_state_is_not_imported_into_another_stack_of_the_name(
    http: httpx.AsyncClient, world: World
) -> None:
    """The secrets in it were found to be the old stack's, and only that one can read them."""
    stack = await new_stack(http)
    await stack.run("kept")

    async def made_anew() -> None:
        assert (await http.delete(f"{stack.path}?force=true")).status_code == 204
        assert (await stack.make()).status_code == 200

    assert isinstance(world.objects, Interrupted)
    world.objects.meanwhile = made_anew
    answer = await stack.import_(document(resource("a")))
    assert answer.status_code == 409, answer.text
    assert await stack.resources() == []
    await state.sweep(world)
    assert kept_objects(world) == []
    await is_sound(stack)
