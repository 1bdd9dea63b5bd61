"""How the console looks, in a real browser: every component, and every page with hard words on it.

Pictures of all of them are kept in `artifacts/console`, for somebody to look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from control_plane.domain.deployment import Reason, Status
from tests.support.app import TOKEN
from tests.support.browser import look_at, signed_in_at
from tests.support.console_routes import console_addresses
from tests.support.furnished import Furnished, serving_furnished
from ui.words import status_word

NO_PAGES = {
    "/",
    "/static/{version}/{name}",
    "/user/settings/tokens",
    "/settings/integrations/github/new",
    "/settings/integrations/github/created",
    "/sign-in/github",
    "/sign-in/github/callback",
    "/-/github/linked",
    "/{organization}/-/now",
    "/{organization}/{project}/{stack}/deployments/of/{deployment_id}",
}
"""What leads to another page or back from GitHub; files; a part of a page."""
QUERIES = {
    "/cli-login": "?cliSessionPort=1234&cliSessionNonce=n",
    "/{organization}/{project}/{stack}/resource": "?urn={urn}",
}
PLACES = {"version": "2"}
"""A deployment that failed, and an update that did."""


def hard(place: str) -> str:
    """Words in many scripts, and one that is longer than a telephone is wide."""
    return f"{place} of Größe 漢字 עברית 🚢 {'x' * 100}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with serving_furnished(tmp_path_factory.mktemp("furnished"), hard) as made:
        yield made


@pytest.fixture
def page(browser: Browser, server: Furnished) -> Iterator[Page]:
    with signed_in_at(browser, server.url, TOKEN) as made:
        yield made


def test_every_state_of_every_component(browser: Browser, server: Furnished) -> None:
    """For nobody in particular: the gallery wants no session."""
    context = browser.new_context(base_url=server.url)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text))
    page.goto("/dev/gallery")
    for status in Status:
        expect(page.locator(f"#tables .status.{status.value}").first).to_have_text(
            status_word(status)
        )
    for reason in Reason:
        expect(page.locator("#states h3", has_text=reason.value).first).to_be_attached()
    assert page.locator("script:not([src])").count() == 0
    look_at(page, "gallery")
    assert errors == []
    context.close()


def test_every_page_can_be_read_and_used(page: Page, server: Furnished) -> None:
    """Each that the application has; a new one is looked at without being named here."""
    problems = []
    for address in console_addresses(server.app, **PLACES, **server.places):
        if address.method != "GET" or address.route in NO_PAGES or _is_stream(address.path):
            continue
        query = QUERIES.get(address.route, "").format(urn=quote(server.places["urn"]))
        kind = page.request.head(address.path + query).headers.get("content-type", "")
        if "html" not in kind:
            continue
        answer = page.goto(address.path + query)
        assert answer is not None
        if answer.status != 200 and "{link}" not in address.route:
            problems.append(f"{address}: {answer.status}; what stands for its parameters?")
        try:
            look_at(page, re.sub(r"\W+", "-", address.route).strip("-") or "home")
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, "\n".join(problems)


def _is_stream(path: str) -> bool:
    return path.endswith(("/live", "/events"))


def test_menus_and_search_by_the_keyboard(page: Page) -> None:
    page.goto("/ada/shop/dev/config")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("/")
    expect(page.locator(":focus")).to_have_attribute("type", "search")
    page.keyboard.type("stack-7")
    page.keyboard.press("Enter")
    page.wait_for_url("**/-/stacks?q=stack-7")
    expect(page.get_by_role("link", name="stack-7")).to_be_visible()
    expect(page.get_by_role("link", name="stack-6")).to_have_count(0)
    menu = page.locator("details[data-menu]")
    menu.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(menu).to_have_attribute("open", "")
    expect(menu.locator("[aria-current]")).to_have_text("ada")
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    expect(menu.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/contoso")
