"""A deployment watched, waited for, stopped, run again and compared, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.test_console_browser import address, deployable
from tests.support.browser import look_at, signed_in
from tests.support.programs import DEAF
from tests.support.slipway import Slipway

GATED = """
import asyncio, os, pulumi

class Thing(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Thing", name)
        self.register_outputs({})

async def opened():
    while not os.path.exists("GATE"):
        await asyncio.sleep(0.05)
    return True

for number in range(6):
    Thing(f"thing-{number}")
pulumi.export("opened", opened())
"""


@pytest.fixture
def page(browser: Browser, slipway: Slipway) -> Iterator[Page]:
    with signed_in(browser, slipway) as made:
        yield made


def headline(page: Page, words: str) -> None:
    expect(page.locator("#state .headline")).to_contain_text(words, timeout=90_000)


def test_a_deployment_is_watched_waited_for_run_again_and_compared(
    page: Page, slipway: Slipway, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stack = deployable(slipway, tmp_path, "watched", GATED.replace("GATE", str(gate)))
    stack.submit(None)
    page.goto(f"{address(stack)}/deployments/1")
    changes = page.locator("[data-part=changes]")
    expect(changes).to_contain_text("thing-5", timeout=90_000)
    expect(changes).to_contain_text(re.compile(r"create \d"))
    expect(page.locator("[data-part=facts]")).to_contain_text("no earlier success to go by")
    look_at(page, "deployment-running")

    stack.submit(None, "preview")
    stack.submit(None)
    page.goto(f"{address(stack)}/deployments/3")
    headline(
        page, "Waits for deployment #1 of this stack to end, and a deployment queued before it."
    )
    expect(page.locator("[data-part=facts]")).to_contain_text("2 of its stack, 2 of ada")
    look_at(page, "deployment-waiting")

    page.goto("/ada/-/queue")
    expect(page.locator("[data-part=waiting] li")).to_have_count(2)
    expect(page.locator("[data-note]")).to_have_text("Live.")
    page.get_by_text("Pause the queue").click()
    page.get_by_label("Why, for the others to read").fill("the database moves")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-part=pause]")).to_contain_text("Paused by ada")
    expect(page.locator("[data-part=waiting]")).to_contain_text(
        "(paused by ada): the database moves."
    )
    look_at(page, "queue-paused")
    slipway.http.post("/api/orgs/ada/deployments/resume")
    expect(page.locator("[data-part=waiting]")).not_to_contain_text("the database moves")
    look_at(page, "queue")
    page.get_by_role("link", name="Show #1").first.click()
    headline(page, "Running")

    page.goto(f"{address(stack)}/deployments/3")
    page.get_by_role("button", name="Cancel").click()
    headline(page, "Cancelled by ada before it began.")
    page.goto(f"{address(stack)}/deployments/2")
    gate.touch()
    headline(page, "Succeeded")

    page.goto(f"{address(stack)}/deployments/1")
    headline(page, "Succeeded")
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url("**/deployments/4")
    headline(page, "Succeeded")
    page.get_by_role("link", name="Compare with #3").click()
    page.get_by_label("Compare with #").fill("1")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("tr", has_text="unchanged")).to_contain_text("7")
    expect(page.locator("tr", has_text="Commit asked for")).to_contain_text("not set")
    look_at(page, "comparison")


def test_it_is_stopped_in_two_stages(
    browser: Browser, page: Page, slipway: Slipway, tmp_path: Path
) -> None:
    """The first stage without a script, while another page of the same deployment looks on."""
    stack = deployable(slipway, tmp_path, "deaf", DEAF)
    created = stack.submit(None)
    stack.wait_for_log(created["id"], "deaf now")
    page.goto(f"{address(stack)}/deployments/1")
    headline(page, "Running")
    with signed_in(browser, slipway, java_script_enabled=False) as plain:
        plain.goto(f"{address(stack)}/deployments/1")
        plain.get_by_role("button", name="Stop gracefully").click()
        headline(plain, "Stopping, as ada asked.")
    expect(page.locator("[data-part=actions]")).to_contain_text("Asked to stop by ada")
    page.get_by_text("Kill now").first.click()
    look_at(page, "deployment-stopping")
    page.get_by_label("I want it killed").check()
    page.get_by_role("button", name="Kill now").click()
    headline(page, "Failed")
    expect(page.locator("[data-part=problem]")).to_contain_text("run Refresh before anything else")
    expect(page.get_by_role("button", name="Kill now")).to_have_count(0)
    look_at(page, "deployment-failed")
