"""The console in a real browser, on a real server with real Ray and the real CLI."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import look_at, signed_in
from tests.support.programs import HANGING, OUTPUTS, repository
from tests.support.slipway import TOKEN, Slipway, Stack
from tests.support.waiting import wait_for

HOSTILE = (
    OUTPUTS
    + r"""
print("<img src=x onerror=alert(1)><script>alert(2)</script>", flush=True)
print("\x1b[31mred\x1b[0m \x1b]8;;javascript:alert(3)\x07link\x1b]8;;\x07", flush=True)
pulumi.export("<b>name</b>", "<script>alert(4)</script>")
"""
)

COUNTING = (
    OUTPUTS
    + """
import time
for number in range(400):
    print(f"line {number} of the count", flush=True)
    time.sleep(0.02)
"""
)


@pytest.fixture
def page(browser: Browser, slipway: Slipway) -> Iterator[Page]:
    with signed_in(browser, slipway) as made:
        yield made


def deployable(slipway: Slipway, tmp_path: Path, project: str, program: str) -> Stack:
    """A stack whose settings say where its program is."""
    source = repository(tmp_path / project, project, program)
    stack = slipway.stack(project)
    settings = {
        "sourceContext": {"git": {"repoUrl": str(source), "branch": "main"}},
        "operationContext": {"options": {"skipInstallDependencies": True}},
    }
    answer = slipway.http.put(f"{stack.path}/deployments/settings", json=settings)
    assert answer.status_code == 200, answer.text
    return stack


def address(stack: Stack) -> str:
    return f"/{stack.organization}/{stack.project}/{stack.name}"


def shown_log(page: Page) -> str:
    """All of the log that the page has, drawn or not."""
    return str(page.evaluate("document.querySelector('[data-lines]')?.text?.() ?? ''"))


def stored_log(stack: Stack, version: int) -> str:
    """The stored log, as a terminal's text without its colours."""
    found = stack.http.get(f"{stack.path}/deployments/{version}/log").content.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found)


def test_deploy_by_a_click_and_watch_it(page: Page, slipway: Slipway, tmp_path: Path) -> None:
    stack = deployable(slipway, tmp_path, "clicked", HOSTILE)
    page.goto(address(stack))
    look_at(page, "stack")
    page.get_by_role("button", name="Update").dblclick()
    page.wait_for_url("**/deployments/1")
    expect(page.locator("#state .headline")).to_contain_text("Succeeded", timeout=60_000)
    log = shown_log(page)
    assert "<img src=x onerror=alert(1)>" in log
    assert page.locator("[data-lines] :is(img, script, [onerror], [href^=javascript])").count() == 0
    expect(page.locator(".sgr-31").filter(has_text="red").first).to_be_visible()
    look_at(page, "deployment")
    page.goto(address(stack))
    assert page.locator("a", has_text="#2").count() == 0, "a double click is one deployment"
    page.goto("/ada")
    look_at(page, "organization")


def go_to(page: Page, name: str) -> None:
    """Press Tab until that control has the focus, which shows wherever it is."""
    for _ in range(150):
        page.keyboard.press("Tab")
        text, is_seen = page.evaluate(
            """() => {
                const at = document.activeElement;
                const style = getComputedStyle(at);
                return [at.ariaLabel || at.innerText.trim(), style.outlineStyle !== "none"];
            }"""
        )
        assert is_seen, f"nobody sees that {text!r} has the focus"
        if text == name:
            return
    raise AssertionError(f"{name!r} is out of reach on {page.url}")


def test_deploy_and_stop_by_the_keyboard_alone(
    browser: Browser, slipway: Slipway, tmp_path: Path
) -> None:
    stack = deployable(slipway, tmp_path, "stopped", HANGING)
    context = browser.new_context(base_url=slipway.url)
    page = context.new_page()
    page.goto("/sign-in")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url("**/ada")
    go_to(page, "Stacks")
    page.keyboard.press("Enter")
    page.wait_for_url("**/-/stacks")
    page.keyboard.press("/")
    page.keyboard.type(stack.project)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/-/stacks?q={stack.project}*")
    go_to(page, stack.name)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address(stack)}")
    go_to(page, "Update")
    page.keyboard.press("Enter")
    page.wait_for_url("**/deployments/1")
    expect(page.locator("[data-lines]")).to_contain_text("hanging now", timeout=60_000)
    waiting = stack.submit(None, "preview")
    page.goto(f"{address(stack)}/deployments/{waiting['version']}")
    expect(page.locator("#state")).to_contain_text("deployment #1 of this stack to end")
    go_to(page, "Cancel")
    page.keyboard.press("Enter")
    expect(page.locator("#state .headline")).to_contain_text("Skipped")
    page.goto(f"{address(stack)}/deployments/1")
    go_to(page, "Stop gracefully")
    page.keyboard.press("Enter")
    expect(page.locator("#state .headline")).to_contain_text("Failed", timeout=60_000)
    expect(page.get_by_role("button", name="Kill now")).to_have_count(0)
    context.close()


def test_a_log_goes_on_after_the_server_was_killed(
    page: Page, slipway: Slipway, tmp_path: Path
) -> None:
    stack = deployable(slipway, tmp_path, "counted", COUNTING)
    page.goto(address(stack))
    page.get_by_role("button", name="Update").click()
    wait_for(lambda: "line 20 of" in shown_log(page), "the count has begun", 60)
    (serve,) = slipway.pids(" serve ")
    os.kill(serve, signal.SIGKILL)
    expect(page.locator("#state .headline")).to_contain_text("Succeeded", timeout=90_000)
    stored = stored_log(stack, 1)
    wait_for(lambda: len(shown_log(page)) >= len(stored), "the page has the whole log", 30)
    assert shown_log(page) == stored


def test_without_a_script(browser: Browser, slipway: Slipway, tmp_path: Path) -> None:
    stack = deployable(slipway, tmp_path, "scriptless", OUTPUTS)
    with signed_in(browser, slipway, java_script_enabled=False) as page:
        page.goto(address(stack))
        page.get_by_role("button", name="Preview").click()
        page.wait_for_url("**/deployments/1")

        def ended() -> bool:
            page.reload()
            return "Succeeded" in (page.locator("#state").text_content() or "")

        wait_for(ended, "the deployment has succeeded", 60)
        assert "answer" in (page.locator("pre.lines").first.text_content() or "")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
