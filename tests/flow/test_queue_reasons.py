"""Why a deployment waits: every reason, as the API, the deployment's page and the queue tell it."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api.deployment_wire import rfc3339
from control_plane.domain.names import StackName
from control_plane.services import leases
from control_plane.services.readiness import POOL_SILENCE_MS
from runner_actors.contract import Hold
from tests.flow.test_console import browser, form_of
from tests.support.deployments import Desk, Runner, make_desk
from tests.support.queue import SOURCE

MINUTE = 60_000
QUEUE = "/ada/-/queue"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        await made.send("PUT", "/settings", SOURCE)
        assert not (await made.farm.poll()).grants, "the gateway is there and has nothing to do"
        yield made


class Told:
    """What one is told of a waiting deployment: as JSON, on its page, and in the queue."""

    def __init__(self, shown: dict[str, Any], page: str, queue: str) -> None:
        self.queue: dict[str, Any] = shown["queue"]
        self.page = page
        self.line = queue

    def everywhere(self, words: str) -> bool:
        """Whether the words are on both pages."""
        return words in self.page and words in self.line

    @property
    def reason(self) -> str:
        return str(self.queue["reason"])


async def told(desk: Desk, stack: StackName, version: int) -> Told:
    """All that is told of a deployment; it is the same in the queue's JSON."""
    path = "/".join(stack)
    shown = await api(desk, f"/api/stacks/{path}/deployments/version/{version}")
    listed = await api(desk, "/api/orgs/ada/deployments/queue")
    (same,) = [
        each
        for each in listed["live"] + listed["queued"]
        if (each["projectName"], each["stackName"], each["version"])
        == (stack.project, stack.stack, version)
    ]
    assert same["queue"] == shown["queue"]
    async with browser(desk.farm.world) as http:
        page = await text_of(http, f"/{path}/deployments/{version}")
        queue = await text_of(http, QUEUE)
    found = Told(shown, page, queue)
    assert found.everywhere(found.queue["sentence"])
    if "todo" in found.queue:
        assert found.queue["todo"] in found.page
    return found


async def api(desk: Desk, address: str) -> Any:
    answer = await desk.http.get(address)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def text_of(http: httpx.AsyncClient, address: str) -> str:
    """A page's text, with the addresses of its links."""
    answer = await http.get(address)
    assert answer.status_code == 200
    text = re.sub(r'<a [^>]*href="([^"]*)"[^>]*>', r"[\1]", answer.text)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text)))


async def success(desk: Desk, minutes: int) -> None:
    """A deployment of the stack that took so long."""
    runner = await desk.run()
    await runner.step("pulumi update")
    await passes(desk, minutes)
    await runner.conclude()


async def passes(desk: Desk, minutes: int) -> None:
    """Time passes; the runner renews its lease and the gateway polls."""
    desk.farm.clock.advance(minutes * 60)
    await desk.farm.sql(
        "UPDATE deployments SET lease_expires_at = :until WHERE lease_expires_at > 0",
        until=desk.farm.clock() + MINUTE,
    )
    await desk.farm.sql("UPDATE pools SET last_seen_at = :now", now=desk.farm.clock())


async def begun(desk: Desk) -> Runner:
    runner = await desk.run()
    await runner.step("pulumi update")
    return runner


async def limit(desk: Desk, number: int) -> None:
    await desk.farm.sql(
        "UPDATE organizations SET deployment_limit = :n WHERE login = 'ada'", n=number
    )


async def test_next(desk: Desk) -> None:
    await desk.create()
    found = await told(desk, desk.stack, 1)
    assert found.reason == "next"
    assert found.queue["blocker"] is None
    assert found.queue["expectedStart"] == rfc3339(desk.farm.clock())
    assert found.queue["expectedStartBasis"] == "nothing_ahead"
    assert "any moment" in found.page


async def test_stack_busy_is_linked_and_told_from_its_history(desk: Desk) -> None:
    for minutes in (3, 4, 30):
        await success(desk, minutes)
    began = desk.farm.clock()
    await begun(desk)
    await passes(desk, 1)
    await desk.create()
    found = await told(desk, desk.stack, 5)
    assert found.reason == "stack_busy"
    assert found.queue["sentence"] == "Waits for deployment #4 of this stack to end."
    assert found.queue["blocker"]["version"] == 4
    assert found.everywhere("[/ada/shop/dev/deployments/4]Show #4")
    assert found.queue["since"] == rfc3339(began)
    assert found.queue["expectedStart"] == rfc3339(began + 4 * MINUTE)
    assert found.queue["expectedStartBasis"] == "history"
    assert found.everywhere("in about 3 min")
    assert found.everywhere("usually takes 4 min (from 3 successes)")
    assert (await desk.get("/version/4"))["expectedEnd"] == rfc3339(began + 4 * MINUTE)
    await passes(desk, 10)
    late = await told(desk, desk.stack, 5)
    assert late.queue["expectedStartBasis"] == "overdue"
    assert late.everywhere("Any moment: update #4 of shop/dev runs longer than usual (4 min).")


async def test_stack_busy_without_history_foretells_nothing(desk: Desk) -> None:
    await begun(desk)
    await desk.create()
    found = await told(desk, desk.stack, 2)
    assert "expectedStart" not in found.queue
    assert found.queue["expectedStartBasis"] == "no_history"
    assert found.everywhere("Unknown: update #1 of shop/dev has no earlier success to go by.")


async def test_queued_behind_others_of_its_stack(desk: Desk) -> None:
    for _ in range(3):
        await desk.create()
    found = await told(desk, desk.stack, 3)
    assert found.reason == "stack_queue"
    assert found.queue["sentence"] == "Waits for 2 deployments of this stack, queued before it."
    assert (found.queue["position"], found.queue["organizationPosition"]) == (3, 3)
    assert found.queue["blocker"]["version"] == 2
    assert found.everywhere("[/ada/shop/dev/deployments/2]Show #2")
    assert "3 of its stack, 3 of ada" in found.page


async def test_an_organization_at_its_limit(desk: Desk) -> None:
    await success(desk, 6)
    began = desk.farm.clock()
    await begun(desk)
    await limit(desk, 1)
    other = await desk.add_stack("shop", "other")
    await desk.farm.submit(other)
    found = await told(desk, other, 1)
    assert found.reason == "organization_limit"
    assert found.queue["blocker"] == {"kind": "limit", "live": 1, "limit": 1}
    assert f"[{QUEUE}]Show the queue" in found.page
    assert found.queue["expectedStart"] == rfc3339(began + 6 * MINUTE)
    assert found.everywhere("Update #2 of shop/dev usually takes 6 min (from its last success).")
    assert "1 of 1 running, 1 waiting" in found.line


async def test_a_paused_stack_and_organization(desk: Desk) -> None:
    note = "the <b>database</b> moves."
    async with browser(desk.farm.world) as http:
        form = await form_of(http, "/ada/shop/dev")
        answer = await http.post("/ada/shop/dev/pause", data=form | {"note": note})
        assert answer.headers["location"] == "/ada/shop/dev"
        assert "&lt;b&gt;database" in (await http.get("/ada/shop/dev")).text
        await desk.create()
        paused = await told(desk, desk.stack, 1)
        assert paused.reason == "stack_paused"
        assert (
            paused.queue["sentence"] == f"Waits for the stack to be resumed (paused by ada): {note}"
        )
        assert paused.queue["blocker"] == {"kind": "stack-paused", "by": "ada", "note": note}
        assert paused.queue["since"] == rfc3339(desk.farm.clock())
        assert paused.queue["expectedStartBasis"] == "held"
        assert paused.everywhere("[/ada/shop/dev]Show the stack")
        assert "Paused stacks" in paused.line
        queue = await form_of(http, QUEUE)
        await http.post(f"{QUEUE}/pause", data=queue | {"note": "a holiday"})
        found = await told(desk, desk.stack, 1)
        assert found.reason == "organization_paused"
        assert found.everywhere("Waits for ada to be resumed (paused by ada): a holiday.")
        await http.post(f"{QUEUE}/resume", data=queue)
        back = await http.post("/ada/shop/dev/resume", data=queue | {"onward": QUEUE})
        assert back.headers["location"] == QUEUE
        away = await http.post("/ada/shop/dev/resume", data=queue | {"onward": "//evil.test"})
        assert away.headers["location"] == "/"
    assert (await told(desk, desk.stack, 1)).reason == "next"


async def test_a_grant_waits_for_a_node(desk: Desk) -> None:
    runner = await desk.run()
    accepted = desk.farm.clock()
    desk.farm.clock.advance(5)
    hold = Hold(generation=runner.grant.generation, waiting_for="Waiting for a free machine.")
    await leases.hold(desk.farm.world, desk.farm.pool, runner.grant.deployment_id, hold)
    found = await told(desk, desk.stack, 1)
    assert found.reason == "waiting_for_node"
    assert found.queue["sentence"] == "Waiting for a free machine."
    assert found.queue["position"] == 0
    assert found.queue["since"] == rfc3339(accepted)
    assert found.queue["expectedStartBasis"] == "node"


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ("UPDATE pools SET last_seen_at = NULL", "pool_offline", "has never been online"),
        ("UPDATE pools SET ready = false", "pool_not_ready", "its gateway cannot reach Ray"),
        ("DELETE FROM pools", "no_pool", "it has been removed"),
    ],
)
async def test_a_pool_that_takes_nothing(desk: Desk, change: str, reason: str, words: str) -> None:
    await desk.create()
    await desk.farm.sql(change)
    found = await told(desk, desk.stack, 1)
    assert found.reason == reason
    assert found.everywhere(words)
    assert found.everywhere(found.queue["todo"])
    assert found.queue["expectedStartBasis"] == "held"


async def test_a_silent_pool_says_since_when(desk: Desk) -> None:
    await desk.create()
    seen = desk.farm.clock()
    await desk.farm.sql("UPDATE pools SET last_seen_at = :now", now=seen)
    desk.farm.clock.advance(POOL_SILENCE_MS / 1000 + 1)
    found = await told(desk, desk.stack, 1)
    assert found.reason == "pool_offline"
    assert found.queue["since"] == rfc3339(seen)
    assert found.everywhere("Last heard of")
    assert found.everywhere("[/ada/-/settings/pools]Show the pools")


async def test_the_queue_says_how_long_what_runs_will_take(desk: Desk) -> None:
    await success(desk, 3)
    await begun(desk)
    await passes(desk, 1)
    async with browser(desk.farm.world) as http:
        text = await text_of(http, QUEUE)
    assert "1 min 00 s in about 2 min" in text
