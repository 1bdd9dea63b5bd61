"""Attacks on the console where a browser has its say: scripts that run, frames, foreign forms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.app import TOKEN
from tests.support.browser import signed_in_at
from tests.support.console_routes import console_addresses
from tests.support.furnished import PROBE, Furnished, attack, serving_furnished

EVIL = "http://evil.test/"
DEPLOY = "/ada/shop/dev/deployments"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with serving_furnished(tmp_path_factory.mktemp("attacked"), attack) as made:
        yield made


@pytest.fixture
def page(browser: Browser, server: Furnished) -> Iterator[Page]:
    """It fails by itself when a dialog opens, or when the policy had to stop something."""
    with signed_in_at(browser, server.url, TOKEN) as made:
        yield made


def test_nothing_that_users_or_programs_say_runs(page: Page, server: Furnished) -> None:
    for address in console_addresses(server.app, version="2", **server.places):
        parts = ("{name}", "{link}", "/sign-in", "/user/", "/dev/", "/live", "/events")
        if address.method != "GET" or any(part in address.route for part in parts):
            continue
        kind = page.request.head(address.path).headers.get("content-type", "")
        if "html" not in kind:
            continue
        page.goto(address.path)
        assert page.locator(f"{PROBE}, img:not([src^='/static/']), [onerror]").count() == 0
    page.goto(f"{DEPLOY}/2")
    log = page.locator("[data-lines]")
    expect(log).to_contain_text(f"<{PROBE} id=log")
    expect(log).to_contain_text(f"<{PROBE} id=hyperlink")
    assert log.locator(f"{PROBE}, img, script, a[href^='javascript']").count() == 0
    expect(page).not_to_have_title(f"title {PROBE}")


def test_no_other_site_frames_a_page_or_sends_a_form(page: Page, server: Furnished) -> None:
    """The victim is signed in, and opens the attacker's page."""
    page.goto(DEPLOY)
    before = page.locator("main table tbody tr").count()
    form = "".join(
        f'<input name="{name}" value="{value}">'
        for name, value in (("operation", "update"), ("form_token", "guess"), ("once", "1"))
    )
    evil = f"""<!doctype html><iframe src="{server.url}/ada/shop/dev"></iframe>
        <form method="post" action="{server.url}{DEPLOY}">{form}<button>A prize</button></form>"""
    page.route(EVIL, lambda route: route.fulfill(body=evil, content_type="text/html"))
    page.goto(EVIL)
    (frame,) = page.main_frame.child_frames
    assert frame.url.startswith("chrome-error:"), "the browser was forbidden to show it"
    with page.expect_response(lambda each: each.request.method == "POST") as sent:
        page.get_by_role("button", name="A prize").click()
    assert sent.value.status == 403
    page.goto(DEPLOY)
    assert page.locator("main table tbody tr").count() == before
