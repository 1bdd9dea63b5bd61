"""A stack's pages in a real browser: settings with a secret, a deployment with options by the real
CLI, a secret revealed; and nothing that strangers name does anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import look_at, signed_in
from tests.support.programs import git, repository
from tests.support.slipway import Slipway, Stack

SECRET = "hunter2-of-the-browser"
HOSTILE = "<img src=x onerror=alert(1)>"
BRANCH = "x<b>y"
PROGRAM = f"""
import os, pulumi

class Thing(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Thing", name)
        self.register_outputs({{"name": name}})

for name in ("one", {HOSTILE!r}):
    Thing(name)
pulumi.export("password", pulumi.Output.secret(os.environ["PASSWORD"]))
pulumi.export("<b>name</b>", "<script>alert(4)</script>")
pulumi.export("once", os.environ.get("ONCE", "not given"))
pulumi.export("readme", "# Read <script>alert(5)</script> [me](javascript:alert(6))")
"""


@pytest.fixture
def page(browser: Browser, slipway: Slipway) -> Iterator[Page]:
    """Fails at its end when a script of a stranger has run, or was kept from it by the policy."""
    with signed_in(browser, slipway) as made:
        yield made


def resource_names(stack: Stack) -> list[str]:
    exported = stack.http.get(f"{stack.path}/export").json()
    found = exported["deployment"].get("resources") or []
    return [each["urn"].rpartition("::")[2] for each in found]


def save(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")


def ends(page: Page) -> None:
    expect(page.locator("#state .headline")).to_contain_text("Succeeded", timeout=90_000)


def test_from_settings_to_a_revealed_secret(page: Page, slipway: Slipway, tmp_path: Path) -> None:
    source = repository(tmp_path / "paged", "paged", PROGRAM)
    git(source, "checkout", "--quiet", "-b", BRANCH)
    git(source, "commit", "--quiet", "--allow-empty", "-m", f"{HOSTILE} a commit")
    stack = slipway.stack("paged")
    home = f"/{stack.organization}/{stack.project}/{stack.name}"

    # Settings, with a secret that is kept while another field is changed.
    page.goto(f"{home}/settings")
    page.get_by_label("Git repository").fill(str(source))
    page.get_by_label("Branch", exact=True).first.fill("main")
    page.get_by_label("Do not install dependencies").check()
    row = page.locator("#variables .row").first
    row.get_by_label("Name").fill("PASSWORD")
    row.get_by_label("Value").fill(SECRET)
    row.get_by_label("Secret").check()
    save(page)
    assert SECRET not in page.content()
    page.locator("#variables").get_by_role("button", name="One more").click()
    added = page.locator("#variables .row").last
    added.get_by_label("Name").fill("MORE")
    added.get_by_label("Value").fill(HOSTILE)
    save(page)

    # A deployment of its own: another branch, one resource, a message, a variable.
    page.goto(home)
    page.get_by_text("Options for this deployment").click()
    page.get_by_label("Branch").fill(BRANCH)
    page.get_by_label("Message").fill(f"{HOSTILE} a message")
    urn = "urn:pulumi:dev::paged::test:index:Thing::one"
    page.locator("#targets").fill(urn)
    page.locator("form.deploy").first.get_by_label("Refresh first").check()
    row = page.locator("form.deploy .row").first
    row.get_by_label("Name").fill("ONCE")
    row.get_by_label("Value").fill(HOSTILE)
    page.get_by_role("button", name="Update").dblclick()
    page.wait_for_url("**/deployments/1")
    ends(page)
    assert "one" in resource_names(stack)
    assert HOSTILE not in resource_names(stack), "only what was asked for"
    page.goto(home)
    assert page.locator("a", has_text="#2").count() == 0, "a double click is one deployment"
    updates = page.locator("section", has=page.locator("#updates"))
    expect(updates).to_contain_text(f"{HOSTILE} a message")

    # The next one is without any of it.
    page.get_by_role("button", name="Update").click()
    page.wait_for_url("**/deployments/2")
    ends(page)
    assert HOSTILE in resource_names(stack)

    page.goto(home)
    outputs = page.locator("section", has=page.locator("#outputs"))
    expect(outputs).to_contain_text("not given")
    expect(outputs).to_contain_text("<script>alert(4)</script>")
    expect(page.locator(".prose h3")).to_have_text(
        "Read <script>alert(5)</script> [me](javascript:alert(6))"
    )
    assert SECRET not in page.content()
    page.get_by_role("button", name="Reveal password").click()
    expect(outputs).to_contain_text(SECRET)
    look_at(page, "stack-revealed")
    page.get_by_role("link", name="Hide password").click()
    expect(page.get_by_role("button", name="Reveal password")).to_be_visible()
    assert SECRET not in page.content()

    hostile = urn.removesuffix("one") + HOSTILE
    for name, path in {
        "resource": f"{home}/resource?urn={quote(hostile)}",
        "resources-found": f"{home}/resources?q=thing",
        "activity": f"{home}/activity",
        "update-with-differences": f"{home}/updates/1",
        "config": f"{home}/config",
        "stack-deployments": f"{home}/deployments",
        "stack-settings": f"{home}/settings/general",
    }.items():
        page.goto(path)
        assert SECRET not in page.content()
        assert page.locator("main img, main script").count() == 0
        look_at(page, name)


def test_a_stack_is_destroyed_and_deleted_without_a_script(
    browser: Browser, slipway: Slipway, tmp_path: Path
) -> None:
    source = repository(tmp_path / "ended", "ended", "import pulumi\npulumi.export('a', 1)\n")
    stack = slipway.stack("ended")
    stack.deploy(source)
    home = f"/{stack.organization}/{stack.project}/{stack.name}"
    with signed_in(browser, slipway, java_script_enabled=False) as page:
        page.goto(f"{home}/settings")
        page.get_by_label("Git repository").fill(str(source))
        page.get_by_label("Do not install dependencies").check()
        save(page)
        page.goto(home)
        page.get_by_text("Destroy", exact=True).first.click()
        page.locator("#confirmed").fill("wrong")
        page.locator("#confirmed").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("type its name: dev")
        page.locator("#confirmed").fill("dev")
        page.get_by_role("button", name="Destroy").click()
        page.wait_for_url("**/deployments/2")
        listed = stack.http.get(f"{stack.path}/deployments").json()["deployments"]
        stack.wait(next(each["id"] for each in listed if each["version"] == 2))
        page.goto(f"{home}/settings/general")
        page.locator("#confirmed").fill("dev")
        page.get_by_role("button", name="Delete the stack").click()
        page.wait_for_url("**/-/stacks**")
    assert stack.http.get(stack.path).status_code == 404
