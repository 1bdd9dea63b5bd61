"""GitHub in the console, in a real browser: from no App to pushes that deploy, and away again.

GitHub is the stand-in, with its pages; nothing is deployed, so no Ray is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.app import ADMIN, TOKEN
from tests.support.browser import look_at, signed_in_at
from tests.support.github.state import Repository
from tests.support.github_console import Reachable, reachable
from tests.support.waiting import wait_for

INTEGRATIONS = f"/{ADMIN}/-/settings/integrations"
STACK = f"/{ADMIN}/shop/dev"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Reachable]:
    with reachable(tmp_path) as made:
        made.register_pool()
        api(made, "POST", f"/api/stacks/{ADMIN}/shop", {"stackName": "dev"})
        yield made


@pytest.fixture
def site(place: Reachable) -> Repository:
    """`acme/site` with one commit and one more branch; there is `acme/other`, too."""
    made = place.hub.add_repository(place.account, "site")
    place.hub.add_repository(place.account, "other")
    place.hub.push(made, {"README.md": "one"}, message="The first")
    place.hub.push(made, {"README.md": "two"}, "feature", "On a branch")
    return made


def api(place: Reachable, method: str, path: str, body: Any = None) -> Any:
    answer = httpx.request(
        method,
        f"{place.server.url}{path}",
        json=body,
        headers={"Authorization": f"token {TOKEN}"},
        timeout=60,
    )
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def shown(page: Page, address: str, what: Locator) -> None:
    """Load a page again until it shows something that GitHub has told meanwhile."""

    def there() -> bool:
        page.goto(address)
        return what.count() > 0

    wait_for(there, f"{address} shows {what}", 30)


def test_from_no_app_to_pushes_that_deploy_and_away_again(
    browser: Browser, place: Reachable, site: Repository
) -> None:
    with signed_in_at(browser, place.server.url, TOKEN) as page:
        set_up(page)
        install(page, place)
        follow(page, place)
        push(page, place, site)
        fork(page, place, site)
        deliveries(page, place, site)
        troubles(page, place)
        sign_in(browser, page, place)
        uninstall(page)


def set_up(page: Page) -> None:
    page.goto(f"{STACK}/settings")
    page.get_by_text("Push to deploy").click()
    expect(page.get_by_text("It takes effect once this server has a GitHub App")).to_be_visible()
    page.goto(INTEGRATIONS)
    look_at(page, "github-none")
    page.get_by_role("link", name="Set up the GitHub App").click()
    look_at(page, "github-new")
    page.get_by_label("Name").fill("Our Slipway")
    page.get_by_role("button", name="Change").click()
    page.get_by_role("button", name="Create Our Slipway on GitHub").click()
    page.get_by_role("button", name="Create GitHub App").click()
    page.wait_for_url(f"**{INTEGRATIONS}")
    expect(page.get_by_role("link", name="Our Slipway")).to_be_visible()
    look_at(page, "github-app")


def install(page: Page, place: Reachable) -> None:
    page.get_by_role("button", name="Install the GitHub App").click()
    page.get_by_label("acme", exact=True).check()
    page.get_by_label("Only select").check()
    page.get_by_label("acme/site").check()
    page.get_by_role("button", name="Install").click()
    page.get_by_role("button", name="Authorize Our Slipway").click()
    page.wait_for_url(f"**{INTEGRATIONS}?claimed=acme")
    expect(page.get_by_role("status")).to_have_text("The installation on acme belongs to ada now.")
    expect(page.get_by_role("heading", name="acme")).to_contain_text("Installed")
    expect(page.get_by_text("Selected repositories")).to_be_visible()


def follow(page: Page, place: Reachable) -> None:
    """Repository and branch are chosen from what GitHub shows, also while it does not answer."""
    page.goto(f"{STACK}/settings")
    offered = page.locator("#repositories option")
    expect(offered).to_have_count(1)
    expect(offered).to_have_attribute("value", "acme/site")
    place.hub.hang("matching-refs")
    page.goto(f"{STACK}/settings?repository=acme/site")
    expect(page.get_by_text("GitHub takes its time")).to_be_visible()
    place.hub.fail("matching-refs", status=502, times=5)
    page.goto(f"{STACK}/settings?repository=acme/site")
    expect(page.get_by_text("Until then, type the branch's name.")).to_be_visible()
    place.hub.server.failures.clear()
    page.goto(f"{STACK}/settings?repository=acme/elsewhere")
    expect(page.get_by_text("is not installed on acme/elsewhere")).to_be_visible()
    page.goto(f"{STACK}/settings")
    page.get_by_label("Choose from GitHub").fill("SIT")
    page.get_by_role("button", name="Use this repository").click()
    expect(page.get_by_role("link", name="acme/site")).to_be_visible()
    page.get_by_label("Choose from GitHub").fill("Acme/Site")
    page.get_by_role("button", name="Use this repository").click()
    branches = page.locator("#sourceContext-git-branch-choices option")
    assert [each.get_attribute("value") for each in branches.all()] == ["main", "feature"]
    expect(page.get_by_label("Branch", exact=True)).to_have_value("main")
    expect(page.get_by_text("takes effect")).to_have_count(0)
    group = page.locator("details", has_text="Push to deploy")
    group.get_by_label("Deploy pushed commits").check()
    group.get_by_label("Preview pull requests").check()
    look_at(page, "github-settings")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    stored = api(place, "GET", f"/api/stacks{STACK}/deployments/settings")
    assert stored["gitHub"]["repository"] == "acme/site"
    assert stored["gitHub"]["deployCommits"]


def push(page: Page, place: Reachable, site: Repository) -> None:
    sha = place.hub.push(site, {"README.md": "three"}, message="Make it <b>blue</b>")
    shown(page, f"{STACK}/deployments", page.get_by_role("link", name="Update #1"))
    commit = f"{place.hub.url}/acme/site/commit/{sha}"
    expect(page.get_by_role("link", name=sha[:8])).to_have_attribute("href", commit)
    page.get_by_role("link", name="Update #1").click()
    state = page.locator("#state")
    expect(state.get_by_role("link", name=sha[:12])).to_have_attribute("href", commit)
    expect(state).to_contain_text("Make it <b>blue</b>")
    expect(state.get_by_role("link", name="acme/site")).to_be_visible()


def fork(page: Page, place: Reachable, site: Repository) -> None:
    """A stranger's pull request waits for somebody's yes."""
    stranger = place.hub.add_user("stranger")
    copy = place.hub.fork(site, stranger)
    sha = place.hub.push(copy, {"README.md": "mine"}, "help", "Let me help", sender=stranger)
    place.hub.open_pull(site, "help", head=copy, author=stranger, title="Help")
    approve = page.get_by_role("button", name=f"Approve {sha[:7]}")
    shown(page, INTEGRATIONS, approve)
    pull = f"{place.hub.url}/acme/site/pull/1"
    expect(page.get_by_role("link", name="acme/site#1")).to_have_attribute("href", pull)
    look_at(page, "github-fork")
    approve.click()
    page.wait_for_url(f"**{INTEGRATIONS}")
    expect(approve).to_have_count(0)
    shown(page, f"{STACK}/deployments", page.get_by_role("link", name="Preview #2"))
    expect(page.get_by_role("link", name="#1", exact=True)).to_have_attribute("href", pull)
    look_at(page, "github-deployments")
    page.get_by_role("link", name="Preview #2").click()
    expect(page.get_by_role("link", name="acme/site#1")).to_have_attribute("href", pull)
    expect(page.locator("#state")).to_contain_text("from a fork: without secrets")
    look_at(page, "github-deployment")


def deliveries(page: Page, place: Reachable, site: Repository) -> None:
    place.hub.push(site, {"README.md": "four"}, "feature", "Not here")
    row = page.locator("tr", has_text="feature")
    shown(page, f"{INTEGRATIONS}/deliveries", row.locator(".status:not(.running)"))
    look_at(page, "github-deliveries")
    row.first.get_by_role("link").click()
    verdict = page.locator("tr", has_text="shop/dev")
    expect(verdict).to_contain_text("none")
    expect(verdict).to_contain_text("main")
    look_at(page, "github-delivery")


def troubles(page: Page, place: Reachable) -> None:
    """What is wrong with an installation is said, with the way on."""
    (there,) = place.hub.state.installations.values()
    wanted = dict(there.permissions)
    place.hub.accept_permissions(
        there, {name: access for name, access in wanted.items() if name != "checks"}
    )
    shown(page, INTEGRATIONS, page.get_by_text("Needs more permissions"))
    expect(page.get_by_text("asks for more than acme has accepted")).to_contain_text("checks")
    expect(page.get_by_role("link", name="Accept it on GitHub")).to_be_visible()
    place.hub.accept_permissions(there, wanted)
    place.hub.suspend(there)
    shown(page, INTEGRATIONS, page.locator(".status", has_text="Suspended"))
    look_at(page, "github-suspended")
    place.hub.suspend(there, suspended=False)
    shown(page, INTEGRATIONS, page.locator(".status", has_text="Installed"))
    place.hub.install(there.app, place.owner)
    claim = page.get_by_role("button", name="Claim what I control")
    shown(page, INTEGRATIONS, claim)
    look_at(page, "github-unclaimed")
    claim.click()
    page.wait_for_url(f"**{INTEGRATIONS}?claimed=*")
    expect(page.get_by_role("status")).to_contain_text("octo-ada")
    expect(page.get_by_role("heading", name="octo-ada")).to_be_visible()


def sign_in(browser: Browser, page: Page, place: Reachable) -> None:
    page.goto("/-/tokens")
    page.get_by_role("button", name="Link a GitHub account").click()
    page.wait_for_url("**/-/tokens")
    expect(page.get_by_text("Linked to octo-ada")).to_be_visible()
    look_at(page, "github-linked")
    context = browser.new_context(base_url=place.server.url)
    another = context.new_page()
    another.goto(STACK)
    look_at(another, "github-sign-in")
    another.get_by_role("link", name="Sign in with GitHub").click()
    another.wait_for_url(f"**{STACK}")
    expect(another.get_by_role("heading", name="dev")).to_be_visible()
    context.close()


def uninstall(page: Page) -> None:
    page.goto(INTEGRATIONS)
    card = page.locator(".card", has=page.get_by_role("heading", name="acme"))
    card.get_by_role("link", name="Uninstall").click()
    expect(page.get_by_role("link", name="shop/dev")).to_be_visible()
    look_at(page, "github-uninstall")
    page.get_by_role("button", name="Uninstall").click()
    page.wait_for_url(f"**{INTEGRATIONS}")
    expect(page.get_by_role("heading", name="acme")).to_have_count(0)
    page.goto(f"{STACK}/settings")
    page.locator("summary", has_text="Push to deploy").click()
    expect(page.locator("#gitHub-repository")).to_have_value("")
