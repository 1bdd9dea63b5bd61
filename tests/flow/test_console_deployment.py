"""A deployment's page: what it did so far, its failure in clear, how to stop it; the comparison."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from control_plane.domain.engine_events import interest_of
from control_plane.services.world import World
from control_plane.store import journal
from tests.flow.test_console import SAME, browser, form_of
from tests.support.app import TOKEN
from tests.support.deployments import Desk, Runner, make_desk
from tests.support.queue import SOURCE
from tests.support.server import serving
from tests.unit.test_progress import began, done, failed, said

PAGES = "/ada/shop/dev/deployments"
PAGE = f"{PAGES}/1"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


@pytest.fixture
def world(desk: Desk) -> World:
    return desk.farm.world


async def report(desk: Desk, update_id: str, *events: bytes, start: int = 0) -> None:
    """What the state backend keeps of an engine's events. Whoever looks next looks at them."""
    kept = [(number, body, interest_of(body)) for number, body in enumerate(events, start)]
    async with desk.farm.world.database.transaction() as tx:
        await journal.add_events(tx, update_id, kept)
    desk.farm.world.progress.of(update_id).read_at = float("-inf")


async def text_of(world: World, address: str = PAGE, status: int = 200) -> str:
    async with browser(world) as http:
        answer = await http.get(address)
    assert answer.status_code == status
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", answer.text)))


async def running(desk: Desk) -> tuple[Runner, str]:
    runner = await desk.run()
    await runner.step("pulumi update")
    await runner.source("c" * 40)
    return runner, await runner.engine_update()


async def test_resources_are_counted_while_they_change(desk: Desk, world: World) -> None:
    _, update = await running(desk)
    await report(desk, update, began("create", "a<b>"), began("same", "b"), began("update", "c"))
    assert "under way 3" in await text_of(world)
    ends = [done("create", "a<b>"), done("same", "b"), failed("update", "c"), said("no quota")]
    await report(desk, update, *ends, start=3)
    text = await text_of(world)
    assert "create 1 unchanged 1 1 failed" in text
    assert "a<b>" in text
    async with browser(world) as http:
        page = (await http.get(PAGE)).text
    assert 'href="/ada/shop/dev/updates/1"' in page
    assert "<b>" not in page


async def test_events_after_a_gap_wait_for_what_is_missing(desk: Desk, world: World) -> None:
    _, update = await running(desk)
    await report(desk, update, done("create", "late"), start=1)
    assert "create" not in await text_of(world)
    await report(desk, update, done("create", "first"))
    assert "create 2" in await text_of(world)


async def test_a_failure_says_what_went_wrong_first_and_what_to_do(
    desk: Desk, world: World
) -> None:
    runner, update = await running(desk)
    await report(desk, update, said("<{%fg 1%}>no quota<{%reset%}>"), said("and more"))
    await runner.end_log()
    await runner.conclude(False, exit_code=255, message="pulumi up ended with exit code 255")
    text = await text_of(world)
    assert "thing no quota pulumi up ended with exit code 255 Read the error here" in text
    assert "and more" not in text


async def test_facts_of_a_deployment(desk: Desk, world: World) -> None:
    variables = {"REGION": "eu-west", "PASSWORD": {"secret": "hunter2"}}
    await desk.create("preview", operationContext={"environmentVariables": variables})
    text = await text_of(world)
    assert "by ada, through the REST API" in text
    assert "Branch main" in text
    assert "PASSWORD, secret REGION" in text, "by name alone"
    assert "eu-west" not in text
    assert "hunter2" not in text
    assert "as a new deployment, with the same settings from main, as it is then." in text


async def test_it_is_stopped_in_two_stages_and_the_second_is_confirmed(
    desk: Desk, world: World
) -> None:
    await running(desk)
    async with browser(world) as http:
        form = await form_of(http, PAGE)
        assert "Pulumi finishes what it is doing" in await text_of(world)
        await http.post(f"{PAGE}/cancel", data=form | {"mode": "graceful"})
        asked = await text_of(world)
        assert "Asked to stop by ada" in asked
        assert "Stop gracefully" not in asked
        assert "I want it killed" in asked
        refused = await http.post(f"{PAGE}/cancel", data=form | {"mode": "now"})
        assert refused.status_code == 400
        assert "confirm" in refused.text
        assert (await desk.get("/version/1"))["cancelRequested"]["mode"] == "graceful"
        await http.post(f"{PAGE}/cancel", data=form | {"mode": "now", "sure": "on"})
    killed = await text_of(world)
    assert "Being killed, as ada asked." in killed
    assert "I want it killed" not in killed
    assert (await desk.get("/version/1"))["cancelRequested"]["mode"] == "now"


async def test_the_changing_part_is_nobodys_own(desk: Desk, world: World) -> None:
    """It is drawn once for all who look: a form's token in it would be somebody else's."""
    runner, _ = await running(desk)
    await runner.end_log()
    await runner.conclude()
    async with browser(world) as http:
        form = await form_of(http, PAGE)
        stream = (await http.get(f"{PAGE}/live")).text
    (state,) = re.findall(r"event: state\s+data: (.*)", stream)
    assert "Succeeded" in json.loads(state)
    assert form["form_token"] not in stream
    assert "form_token" not in json.loads(state)


async def test_two_deployments_are_compared(desk: Desk, world: World) -> None:
    variables = {"REGION": "eu-west", "KEPT": "1"}
    for seconds, more in ((60, {}), (150, {"environmentVariables": variables})):
        runner = await desk.run(operationContext=more)
        await runner.step("pulumi update")
        await runner.source("abc" + str(seconds))
        update = await runner.engine_update()
        changes = json.dumps({"create": seconds, "same": 3})
        change = "UPDATE updates SET resource_changes = :changes WHERE id = :id"
        await desk.farm.sql(change, changes=changes, id=update)
        desk.farm.clock.advance(seconds)
        await desk.farm.sql("UPDATE deployments SET lease_expires_at = lease_expires_at + 999999")
        await runner.end_step()
        await runner.conclude()
    text = await text_of(world, f"{PAGES}/2/compare")
    assert "#2 compared with #1" in text
    assert "pulumi update 1 min 00 s 2 min 30 s 1 min 30 s longer" in text
    assert "create 60 150" in text
    assert "unchanged 3 3" in text
    assert "Variable KEPT not set set" in text
    assert "eu-west" not in text
    assert "abc60" in text
    assert "abc150" in text
    back = await text_of(world, f"{PAGES}/1/compare?with=2")
    assert "1 min 30 s shorter" in back
    assert "Compare with #1" in await text_of(world, f"{PAGES}/2")
    assert "Compare with" not in await text_of(world)
    await text_of(world, f"{PAGES}/1/compare", 404)
    await text_of(world, f"{PAGES}/2/compare?with=9", 404)
    await text_of(world, f"{PAGES}/2/compare?with=x", 400)
    await text_of(world, f"{PAGES}/2/compare?with={2**70}", 400)


async def test_a_first_deployment_is_compared_with_nothing(desk: Desk, world: World) -> None:
    await desk.send("POST", "", SOURCE | {"operation": "update"}, 202)
    assert "Compare" not in await text_of(world)


def states(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """The events of a stream that say something: (name, what)."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: ") and name != "beat":
            yield name, json.loads(line.removeprefix("data: "))


def test_an_open_queue_page_is_told_what_changes_until_its_session_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as server, httpx.Client(base_url=server.url, headers=SAME) as http:
        http.post("/sign-in", data={"token": TOKEN})
        page = http.get("/ada/-/queue").text
        (token,) = set(re.findall(r'name="form_token" value="([^"]*)"', page))
        form = {"form_token": token}
        with http.stream("GET", "/ada/-/queue/live") as stream:
            told = states(stream.iter_lines())
            assert "Paused" not in next(told)[1]
            http.post("/ada/-/queue/pause", data=form | {"note": "<b>moving</b>"})
            name, state = next(told)
            assert name == "state"
            assert "&lt;b&gt;moving&lt;/b&gt;" in state
            assert token not in state
            http.post("/sign-out", data=form)
            with httpx.Client(base_url=server.url) as api:
                api.headers["Authorization"] = f"token {TOKEN}"
                api.post("/api/orgs/ada/deployments/resume")
            assert [name for name, _ in told] == ["gone"]
