"""History and engine events over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.services import history, updates
from control_plane.services.world import World
from control_plane.store import updates as store
from tests.support.app import client
from tests.support.queue import make_farm
from tests.support.state import Stack, Update, new_stack, resource, with_token
from tests.support.world import FakeClock, make_world


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    made = make_world(tmp_path, now=clock)
    yield made
    await made.database.close()


@pytest.fixture
async def stack(world: World) -> AsyncIterator[Stack]:
    async with client(world) as http:
        yield await new_stack(http)


def output(sequence: int, text: str = "hi") -> dict[str, Any]:
    return {
        "sequence": sequence,
        "timestamp": 1700000000,
        "stdoutEvent": {"message": text, "color": "raw"},
    }


def summary(sequence: int, result: str = "succeeded", **changes: int) -> dict[str, Any]:
    body = {
        "maybeCorrupt": False,
        "durationSeconds": 3,
        "resourceChanges": changes,
        "PolicyPacks": {},
        "isPreview": False,
        "result": result,
    }
    return {"sequence": sequence, "timestamp": 1700000003, "summaryEvent": body}


async def read(stack: Stack, update: Update, token: str | None = None, **query: Any) -> Any:
    if token is not None:
        query["continuationToken"] = token
    return await stack.get(f"/update/{update.id}/events", **query)


def numbers(page: dict[str, Any]) -> list[int]:
    return [event["sequence"] for event in page["events"]]


async def test_history_has_everything_that_the_cli_shows(stack: Stack, clock: FakeClock) -> None:
    metadata = {"message": "Ship it", "environment": {"git.head": "abc", "exec.kind": "cli"}}
    config = {"shop:key": {"string": "v", "secret": False, "object": False}}
    update = await stack.start(metadata=metadata, config=config)
    started = clock() // 1000
    await update.create("a")
    await update.events(output(0), summary(1, create=2, same=1))
    clock.advance(9)
    await update.complete()

    found = await stack.get("/updates", page=1, pageSize=10)

    assert found == {
        "updates": [
            {
                "kind": "update",
                "startTime": started,
                "message": "Ship it",
                "environment": metadata["environment"],
                "config": config,
                "result": "succeeded",
                "endTime": started + 9,
                "version": 1,
                "deployment": None,
                "resourceChanges": {"create": 2, "same": 1},
                "resourceCount": 1,
            }
        ],
        "itemsPerPage": 10,
        "total": 1,
    }
    latest = await stack.get("/updates/latest")
    assert latest["info"] == found["updates"][0]
    assert (latest["updateID"], latest["version"], latest["latestVersion"]) == (update.id, 1, 1)
    assert latest["requestedBy"] == {"name": "ada", "githubLogin": "ada", "avatarUrl": ""}
    assert await stack.get("/updates/1") == latest
    assert await stack.get("/updates/1/summary") == {
        "result": "succeeded",
        "startTime": started,
        "endTime": started + 9,
        "resourceCount": 1,
    }
    [rich] = (await stack.get("/updates", **{"output-type": "service"}))["updates"]
    assert rich == latest


async def test_history_is_paged_newest_first(stack: Stack) -> None:
    for _ in range(5):
        await stack.run()

    async def page(**query: int) -> list[int]:
        return [each["version"] for each in (await stack.get("/updates", **query))["updates"]]

    assert await page(page=1, pageSize=2) == [5, 4]
    assert await page(page=3, pageSize=2) == [1]
    assert await page(page=9, pageSize=2) == []
    assert await page() == await page(page=0, pageSize=0) == [5, 4, 3, 2, 1]
    for bad in ({"page": "x"}, {"pageSize": -1}, {"page": -1}):
        answer = await stack.http.get(f"{stack.path}/updates", params=bad)  # type: ignore[arg-type]
        assert answer.status_code == 400
        assert answer.json()["code"] == 400


async def test_a_stack_without_updates_has_no_latest(stack: Stack) -> None:
    answer = await stack.http.get(f"{stack.path}/updates/latest")
    assert (answer.status_code, answer.json()["code"]) == (404, 404)
    assert (await stack.http.get(f"{stack.path}/updates/1")).status_code == 404
    assert (await stack.get("/updates"))["updates"] == []
    assert (await stack.get("/updates/latest/previews"))["updates"] == []


async def test_previews_are_kept_beside_the_history(stack: Stack, clock: FakeClock) -> None:
    first = await stack.start(dry_run=True)
    await first.complete()
    clock.advance(1)
    await stack.run()
    clock.advance(1)
    second = await stack.start(dry_run=True)
    await second.complete("failed")

    async def previews(of: str, **query: Any) -> list[str]:
        found = await stack.get(f"/updates/{of}/previews", **query)
        return [each["updateID"] for each in found["updates"]]

    assert await previews("latest") == [second.id, first.id]
    assert await previews("latest", asc="true", pageSize=1, page=1) == [first.id]
    assert await previews("1") == [first.id]
    shown = await stack.get(f"/previews/{second.id}")
    assert (shown["info"]["kind"], shown["info"]["result"]) == ("preview", "failed")
    assert (await stack.get(f"/previews/{second.id}/summary"))["result"] == "failed"
    assert (await stack.http.get(f"{stack.path}/previews/nothing")).status_code == 404


async def test_events_are_read_in_order_until_the_update_is_over(stack: Stack) -> None:
    update = await stack.start()
    empty = await read(stack, update)
    assert empty["events"] == []
    token = empty["continuationToken"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert (await read(stack, update, token))["continuationToken"] == token, "nothing new"

    await update.events(output(0), output(1))
    first = await read(stack, update, token)
    assert numbers(first) == [0, 1]
    await update.events(output(2), summary(3, create=1))
    second = await read(stack, update, first["continuationToken"])
    assert numbers(second) == [2, 3]
    assert second["continuationToken"] is not None, "it runs still"
    await update.complete()
    last = await read(stack, update, second["continuationToken"])
    assert last == {"events": [], "continuationToken": None}
    assert numbers(await read(stack, update)) == [0, 1, 2, 3]


async def test_a_batch_that_overtakes_another_waits_for_it(stack: Stack) -> None:
    update = await stack.start()
    await update.events(output(2), output(3))
    page = await read(stack, update)
    assert page["events"] == []
    await update.events(output(0), output(1))
    await update.events(output(0, "repeated"), output(2, "repeated"))
    page = await read(stack, update, page["continuationToken"])
    assert numbers(page) == [0, 1, 2, 3]
    assert {event["stdoutEvent"]["message"] for event in page["events"]} == {"hi"}
    await update.events(output(9))
    await update.complete()
    page = await read(stack, update, page["continuationToken"])
    assert numbers(page) == [9], "what never came is not waited for any more"


async def test_many_events_come_in_several_pages(stack: Stack) -> None:
    update = await stack.start()
    for start in range(0, 1200, 50):
        await update.events(*(output(number) for number in range(start, start + 50)))
    await update.complete()
    found: list[int] = []
    token = None
    pages = 0
    while True:
        page = await read(stack, update, token)
        found += numbers(page)
        token = page["continuationToken"]
        pages += 1
        if token is None:
            break
    assert found == list(range(1200))
    assert pages == 3


async def test_only_events_that_clients_know_are_answered(stack: Stack) -> None:
    update = await stack.start()
    future = {"sequence": 1, "timestamp": 1, "futureEvent": {}}
    exact = output(0) | {"stdoutEvent": {"message": "é", "color": "raw", "futureKey": None}}
    await update.events(exact, future, summary(2))
    assert (await read(stack, update))["events"] == [exact, summary(2)]


async def test_events_are_filtered_by_kind_and_resource(stack: Stack) -> None:
    update = await stack.start()
    urn = resource("a")["urn"]
    before = {"sequence": 0, "timestamp": 1, "resourcePreEvent": {"metadata": {"urn": urn}}}
    told = {"sequence": 1, "timestamp": 1, "diagnosticEvent": {"urn": urn, "message": "m"}}
    await update.events(before, told, output(2))
    assert numbers(await read(stack, update, type="resourcePreEvent")) == [0]
    assert numbers(await read(stack, update, type=["resourcePreEvent", "stdout"])) == [0, 2]
    assert numbers(await read(stack, update, urn=urn)) == [0, 1]
    assert numbers(await read(stack, update, urn="other")) == []


@pytest.mark.parametrize("token", ["%%%", "LTE", "eyJ9", "WzFd"])
async def test_a_token_of_no_reading_is_refused(stack: Stack, token: str) -> None:
    update = await stack.start()
    answer = await stack.http.get(f"{update.path}/events", params={"continuationToken": token})
    assert answer.status_code == 400
    assert "continuationToken" in answer.json()["message"]


@pytest.mark.parametrize(
    "event", [{}, {"sequence": -1}, {"sequence": "1"}, {"sequence": 2**60}, "text", None]
)
async def test_what_is_no_event_is_refused_with_its_batch(stack: Stack, event: Any) -> None:
    update = await stack.start()
    answer = await update.events(output(0), event)
    assert answer.status_code == 400
    await update.complete()
    assert numbers(await read(stack, update)) == []


async def test_an_engine_that_died_without_a_summary_has_failed_for_its_readers(
    stack: Stack, world: World, clock: FakeClock
) -> None:
    update = await stack.start()
    await update.events(output(0))
    page = await read(stack, update)
    clock.advance(300)
    await updates.expire(world)
    last = await read(stack, update, page["continuationToken"])
    assert last["continuationToken"] is None
    error, end = last["events"]
    assert "ended without a report" in error["errorEvent"]["error"]
    assert end["summaryEvent"]["result"] == "failed"
    assert (error["sequence"], end["sequence"]) == (1, 2)
    assert numbers(await read(stack, update)) == [0, 1, 2]


async def test_a_cancelled_update_is_cancelled_for_its_readers(stack: Stack) -> None:
    update = await stack.start()
    await stack.post(f"/update/{update.id}/cancel")
    events = (await read(stack, update))["events"]
    assert events[-1]["summaryEvent"]["result"] == "canceled"


async def test_an_engine_that_reported_is_taken_at_its_word(stack: Stack) -> None:
    update = await stack.start()
    await update.events(summary(0, "failed", create=1))
    await update.complete("failed")
    assert numbers(await read(stack, update)) == [0]


async def test_a_deployments_updates_are_listed_without_the_preview_phase(
    tmp_path: Path,
) -> None:
    async with make_farm(tmp_path) as farm:
        name = await farm.add_stack("shop", "dev")
        submitted = await farm.submit(name)
        grant = await farm.grant()
        async with with_token(farm.world, farm.unseal(grant, "cli")) as http:
            made = Stack(http, name)
            preview = await made.start(dry_run=True)
            await preview.complete()

            async def listed() -> list[history.Update]:
                async with farm.world.database.snapshot() as tx:
                    rows = await store.of_deployment(tx, submitted.id)
                return [history.update_info(row) for row in rows]

            assert [each.update_id for each in await listed()] == [preview.id]
            update = await made.start()
            await update.complete()
            [only] = await listed()
            assert only.update_id == update.id
            assert only.info.deployment_id == submitted.id


async def test_history_of_another_organization_is_not_there(stack: Stack) -> None:
    for rest in ("/updates", "/updates/latest", "/updates/1", "/update/x/events", "/previews/x"):
        answer = await stack.http.get(f"/api/stacks/eve/shop/dev{rest}")
        assert answer.status_code == 404
        assert answer.json()["code"] == 404


async def test_of_two_updates_each_has_its_own_events(stack: Stack) -> None:
    update = await stack.start()
    await update.events(output(0))
    await update.complete()
    other = await new_stack(stack.http, "other")
    answer = await other.http.get(f"{other.path}/update/{update.id}/events")
    assert answer.status_code == 404


@pytest.mark.parametrize("digits", ["2147483648", "1" + "0" * 20, "-1" + "0" * 20, "9" * 5000])
@pytest.mark.parametrize(
    "path",
    [
        "/export/{}",
        "/updates/{}",
        "/updates/{}/summary",
        "/updates/{}/previews",
        "/updates?page={}&pageSize=1000",
        "/updates/latest/previews?page={}",
        "/updates/1/previews?page={}",
    ],
)
async def test_a_number_that_no_database_holds_is_refused(
    stack: Stack, path: str, digits: str
) -> None:
    answer = await stack.http.get(stack.path + path.format(digits))
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["code"] == answer.status_code


async def test_a_page_size_that_no_database_holds_means_the_largest(stack: Stack) -> None:
    assert (await stack.get("/updates", page=1, pageSize=10**20))["total"] == 0
