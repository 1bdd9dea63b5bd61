"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.support.axe import grave_problems
from tests.support.slipway import TOKEN, Slipway

ARTIFACTS = Path(__file__).resolve().parent.parent.parent / "artifacts" / "console"
PATIENCE_MS = 60_000
PHONE: ViewportSize = {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "chromium is missing; make test says how to get it"
    with sync_playwright() as playwright:
        # Chromium refuses to sandbox itself for root, whom containers run as.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def signed_in(browser: Browser, slipway: Slipway, **options: Any) -> Iterator[Page]:
    """A page of somebody who has signed in; fails if anything goes wrong in its scripts."""
    with signed_in_at(browser, slipway.url, TOKEN, **options) as page:
        yield page


@contextmanager
def signed_in_at(browser: Browser, url: str, token: str, **options: Any) -> Iterator[Page]:
    """The same on any server whose token is given."""
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"a dialog: {dialog.message}"))
    page.on("console", lambda line: errors.append(line.text) if _is_violation(line.text) else None)
    page.goto("/sign-in")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/ada")
    yield page
    context.close()
    assert errors == []


def _is_violation(text: str) -> bool:
    return "Content Security Policy" in text


def look_at(page: Page, name: str) -> None:
    """Keep how a page looks, light and dark, wide and on a telephone; all can read and use it."""
    problems: list[str] = []
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=ARTIFACTS / f"{name}-{scheme}.png", full_page=True)
        problems += grave_problems(page)
    page.set_viewport_size(PHONE)
    page.screenshot(path=ARTIFACTS / f"{name}-phone.png", full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > PHONE["width"]:
        problems.append(f"{page.url}: {wide} px wide on a telephone")
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    assert not problems, "\n".join(problems)
