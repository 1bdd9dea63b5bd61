"""A deployment's page in a real browser, on a server in this process whose log the test writes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from playwright.async_api import Page, async_playwright

from control_plane.app import create_app
from control_plane.services.world import World
from tests.support.app import TOKEN
from tests.support.deployments import STACK, Desk, make_desk
from tests.support.slipway import free_port
from tests.support.waiting import eventually

ADDRESS = f"/{STACK}/deployments/1"


class Doors:
    """The server of a world, which can be shut and opened again at the same address."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.port = free_port()

    async def open(self) -> None:
        config = uvicorn.Config(
            create_app(self._world, loops=False),
            host="127.0.0.1",
            port=self.port,
            http="httptools",
            log_level="warning",
            timeout_graceful_shutdown=0,
        )
        self._server = uvicorn.Server(config)
        # What the test process does with signals is not this server's business.
        self._server.capture_signals = nullcontext  # type: ignore[assignment]
        self._serving = asyncio.create_task(self._server.serve())
        await eventually(lambda: self._server.started, "the server has started")

    async def shut(self) -> None:
        """Every connection is cut in the middle of what it carries."""
        for protocol in list(self._server.server_state.connections):
            protocol.transport.abort()  # type: ignore[union-attr]
        self._server.should_exit = True
        await self._serving


@dataclass
class LogPage:
    """A deployment's page, and the desk behind it."""

    page: Page
    desk: Desk
    doors: Doors
    errors: list[str] = field(default_factory=list)

    async def text(self) -> str:
        """All of the log that the page has, drawn or not."""
        return str(await self.page.evaluate("document.querySelector('[data-lines]').text()"))

    async def has(self, text: str) -> None:
        """Wait until the page has exactly this log."""

        async def same() -> bool:
            return await self.text() == text

        try:
            await eventually(same, "the page has the whole log", 60)
        except AssertionError:
            assert await self.text() == text


@asynccontextmanager
async def open_log_page(tmp_path: Path) -> AsyncIterator[LogPage]:
    """A signed-in browser on an empty page; fails if anything goes wrong in its scripts."""
    path = shutil.which("chromium")
    assert path is not None, "chromium is missing; make test says how to get it"
    async with make_desk(tmp_path) as desk, async_playwright() as playwright:
        doors = Doors(desk.farm.world)
        await doors.open()
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = await browser.new_context(base_url=f"http://127.0.0.1:{doors.port}")
        page = await context.new_page()
        opened = LogPage(page, desk, doors)
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("dialog", lambda dialog: opened.errors.append(f"a dialog: {dialog.message}"))
        page.on("console", lambda line: _note(opened.errors, line.text))
        await page.goto("/sign-in")
        await page.get_by_label("Access token").fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/ada")
        try:
            yield opened
        finally:
            await browser.close()
            await doors.shut()
        assert opened.errors == []


def _note(errors: list[str], text: str) -> None:
    if "Content Security Policy" in text:
        errors.append(text)
