"""From a server where nobody is yet to a CLI that is logged in, all in a real browser.

The server needs no Ray for it. The CLI opens a browser by `xdg-open`, which here is a script that
tells the test the address.
"""

from __future__ import annotations

import dataclasses
import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from control_plane import toolchain
from control_plane.services import sessions
from control_plane.store.transaction import Database
from tests.support.browser import PATIENCE_MS, chromium, look_at
from tests.support.server import Server, serving
from tests.support.waiting import wait_for
from tests.support.world import run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), empty=True) as made:
        yield made


@pytest.fixture(scope="module")
def setup_path(server: Server) -> str:
    """Where `slipway login-link` would lead to: another process on the same data."""

    async def make() -> str:
        world = dataclasses.replace(
            server.world, database=Database(server.world.config.database_url)
        )
        link = await sessions.make_link(world, "")
        await world.database.close()
        return link

    return f"/sign-in/{run(make())}"


@pytest.fixture(scope="module")
def browser(setup_path: str) -> Iterator[Browser]:
    # Playwright has a loop of its own in this thread; what needs another comes before.
    with chromium() as made:
        yield made


@contextmanager
def visitor(browser: Browser, server: Server) -> Iterator[Page]:
    """Somebody's own browser, without a session; fails if anything goes wrong in its scripts."""
    context = browser.new_context(base_url=server.url)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


class Cli:
    """The real CLI, with a home of its own, on a terminal of its own."""

    def __init__(self, server: Server, home: Path) -> None:
        tools = toolchain.find()
        assert tools is not None, "make setup has not been run"
        opener = home / "bin" / "xdg-open"
        opener.parent.mkdir(parents=True)
        self.opened = home / "opened"
        opener.write_text(f'#!/bin/sh\nprintf %s "$1" > "{self.opened}.new"\n')
        with opener.open("a") as script:
            script.write(f'mv "{self.opened}.new" "{self.opened}"\n')
        opener.chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "CI", "GIT"))}
        self.url = server.url
        self.environment = kept | {
            "PATH": f"{opener.parent}:{tools.bin_dir}:{os.environ['PATH']}",
            "PULUMI_HOME": str(home),
            "PULUMI_CONSOLE_DOMAIN": urlsplit(server.url).netloc,
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }
        self.output = b""
        self.process: subprocess.Popen[bytes] | None = None

    def log_in(self) -> subprocess.Popen[bytes]:
        """Begin `pulumi login`, and press Enter: the browser, please."""
        self.terminal, inside = pty.openpty()
        self.opened.unlink(missing_ok=True)
        self.output = b""
        self.process = subprocess.Popen(
            ["pulumi", "login", self.url],
            env=self.environment,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        threading.Thread(target=self._read, args=(self.terminal,), daemon=True).start()
        wait_for(lambda: b"user/settings/tokens" in self.output, "the CLI asks", 30)

        def opened() -> bool:
            if not self.opened.exists():
                # A prompt that has just been drawn may not listen yet.
                os.write(self.terminal, b"\r")
            return self.opened.exists()

        wait_for(opened, "the CLI has opened a browser", 30)
        return self.process

    def skip_the_offer(self) -> None:
        """Who has no stack yet is asked what they would like to do first."""
        wait_for(lambda: b"Skip for now" in self.output, f"an offer in {self.output!r}", 30)
        os.write(self.terminal, b"skip\r")

    def _read(self, terminal: int) -> None:
        try:
            while read := os.read(terminal, 4096):
                self.output += read
        except OSError:
            pass  # the other end is closed: the CLI has ended
        os.close(terminal)

    def address(self) -> str:
        """What the CLI has opened in the browser."""
        return self.opened.read_text()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> Iterator[Cli]:
    made = Cli(server, tmp_path / "home")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_from_an_empty_server_to_a_cli_that_is_logged_in(
    browser: Browser, server: Server, setup_path: str, cli: Cli
) -> None:
    with visitor(browser, server) as page, visitor(browser, server) as elsewhere:
        page.goto("/")
        expect(page.locator(".notice")).to_contain_text("Nobody is here yet")
        look_at(page, "sign-in")
        page.goto(setup_path)
        page.get_by_label("Your login").fill("no name")
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("alert")).to_contain_text("cannot name a user")
        expect(page.get_by_label("Your login")).to_have_value("no name")
        look_at(page, "setup")
        page.get_by_label("Your login").fill("grace")
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url("**/grace")
        expect(page.get_by_role("heading", name="Your first stack")).to_be_visible()
        look_at(page, "first-use")

        page.get_by_role("link", name="grace", exact=True).last.click()
        page.get_by_label("What it is for").fill("laptop")
        page.get_by_label("Ends after days").fill("7")
        page.get_by_role("button", name="Make a token").click()
        token = page.get_by_label("Access token").text_content() or ""
        assert token.startswith("pul-")
        look_at(page, "token-made")
        page.goto("/-/tokens")
        assert token not in page.content()

        process = cli.log_in()
        elsewhere.goto(cli.address())
        elsewhere.wait_for_url("**/sign-in?next=**")
        elsewhere.get_by_label("Access token").fill("pul-" + "0" * 48)
        elsewhere.get_by_role("button", name="Sign in").click()
        expect(elsewhere.get_by_role("alert")).to_contain_text("no access token of this server")
        elsewhere.get_by_label("Access token").fill(token)
        elsewhere.get_by_role("button", name="Sign in").click()
        expect(elsewhere.get_by_role("heading")).to_have_text("Log the Pulumi CLI in?")
        look_at(elsewhere, "cli-login")
        elsewhere.get_by_role("button", name="Log in").click()
        elsewhere.wait_for_url("**/welcome/cli")
        expect(elsewhere.get_by_role("heading")).to_have_text("The CLI is logged in")
        cli.skip_the_offer()
        assert process.wait(30) == 0, cli.output
        assert f"Logged in to {server.url} as grace".encode() in cli.output
        assert cli.run("whoami").stdout.strip() == "grace"
        assert cli.run("stack", "ls", "--all").returncode == 0

        page.goto("/-/tokens")
        made = page.get_by_role("row").filter(has_text="Generated by pulumi login")
        made.get_by_role("button").click()
        expect(made).to_have_count(0)
        assert cli.run("stack", "ls", "--all").returncode != 0, "its token was deleted"

        authorized = {"Authorization": f"token {token}"}
        with httpx.Client(base_url=server.url, headers=authorized) as http:
            http.post("/api/stacks/grace/shop", json={"stackName": "dev"}).raise_for_status()
            page.goto("/grace")
            expect(page.get_by_text("Nothing runs and nothing waits")).to_be_visible()
            http.post("/api/orgs/grace/deployments/pause", json={}).raise_for_status()
            # An open page follows what happens by itself.
            expect(page.locator("[data-fresh] .status.paused")).to_be_visible()

        page.goto("/-/tokens")
        page.get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("row")).to_have_count(3)
        look_at(page, "sessions")
        page.get_by_role("button", name="Sign out everywhere").click()
        page.wait_for_url("**/sign-in")
        elsewhere.goto("/grace")
        elsewhere.wait_for_url("**/sign-in?next=**")
