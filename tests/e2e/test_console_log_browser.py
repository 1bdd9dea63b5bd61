"""The log on a deployment's page, in a real browser: read as a terminal would, and never lost."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.log_page import ADDRESS, LogPage, open_log_page
from tests.support.waiting import eventually
from ui.pages import asset

LINES = 200_000
SEED = 20261124
PICTURES = {
    "red \x1b[31mred\x1b[0m\n": ["red red"],
    "10%\r20%\r100%\n": ["100%"],
    "abcdef\rxy\n": ["xycdef"],
    "a long one\r\x1b[Kshort\n": ["short"],
    "ab\b\bc\n": ["cb"],
    "漢字🚢\rx\n": ["x字🚢"],
    "one\r\ntwo": ["one", "two"],
    "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x1b\\!\n": ["link!"],
    "\x1b]0;a title without an end\nnext\n": ["", "next"],
    "bell\x07 nul\x00 del\x7f c1\x9b\n": ["bell nul\u2400 del\u2421 c1\ufffd"],
    "<b>&amp;\n": ["<b>&amp;"],
}
STYLES = {
    "\x1b[1;31mx": "bold sgr-31",
    "\x1b[91;44mx": "sgr-44 sgr-91",
    "\x1b[38;5;196mx": "sgr-31",
    "\x1b[38;2;80;250;80mx": "sgr-92",
    "\x1b[38:2::0:0:170mx": "sgr-34",
    "\x1b[48;5;21mx": "sgr-44",
    "\x1b[4m\x1b[24mx": "",
    "\x1b[7;32mx": "reverse sgr-32",
    "\x1b[1m\x1b[mx": "",
    "\x1b[38;5mx": "",
}
READ = """async ([address, written]) => {
  const { Terminal } = await import(address);
  return written.map((chunks) => {
    const terminal = new Terminal();
    chunks.forEach((each) => terminal.write(each, 5));
    const text = terminal.text();
    return [text, JSON.stringify(terminal.lines), terminal.lines.map((line) => line.text)];
  });
}"""


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[LogPage]:
    async with open_log_page(tmp_path) as opened:
        yield opened


def some_output(chance: random.Random) -> str:
    """What no program would print, but any could."""
    pieces = [
        *["\x1b", "[", "]", "31", "m", "K", "0;", "8;;x", "\x07", "\\", "\n", "\r", "\b", "\t"],
        *["word", "é", "漢", "🚢", " ", "\x1b[32m", "\x1b[0m", "\x1b[K", "\x1b[2K", "\x1b[3D"],
        *["\x1b[C", "\x1b[2G", "\x1b[1K", "\x00", "(", "\x1b[38;5;9m"],
    ]
    return "".join(chance.choices(pieces, k=chance.randint(1, 40)))


def cut(chance: random.Random, text: str) -> list[str]:
    places = sorted(chance.choices(range(len(text) + 1), k=chance.randint(0, 12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


async def test_a_log_is_read_followed_searched_and_linked_to(log: LogPage) -> None:
    page = log.page
    await check_the_terminal(log)
    runner = await log.desk.run()
    await runner.step("pulumi update")
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>\n"
    await runner.write(f"{hostile}\x1b]8;;javascript:alert(3)\x07link\x1b]8;;\x07\n".encode())
    lines = [f"line {number} of many\n" for number in range(3, 1001)]
    began = log.desk.farm.clock()
    await runner.write("".join(lines).encode(), marks=[(0, began), (2000, began + 61_500)])
    await page.goto(ADDRESS)
    await expect(page.locator("#L1000 > span")).to_have_text("line 1000 of many\n")
    await log.has(f"{hostile}link\n{''.join(lines)}")
    assert await page.locator("[data-lines] :is(img, script, [onerror])").count() == 0
    assert await page.locator("[data-lines] .line").count() < 300, "only what is near is drawn"

    # Scrolling up leaves the end, and the button leads back to it.
    pane, follow = page.locator("[data-lines]"), page.locator("[data-follow]")
    await pane.hover()
    await page.mouse.wheel(0, -3000)
    await expect(follow).to_have_attribute("aria-pressed", "false")
    await runner.write(b"news\nmore news\n")
    await expect(follow).to_have_text("Follow · 2 new")
    await follow.click()
    await expect(page.locator("#L1002")).to_be_in_viewport()
    await expect(follow).to_have_text("Follow")

    # The search finds what is not drawn.
    await pane.focus()
    await page.keyboard.press("/")
    await page.keyboard.type("LINE 77")
    await expect(page.locator("[data-count]")).to_have_text("11 matches")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.press("Shift+Enter")
    await expect(page.locator("mark.current")).to_be_in_viewport()
    count = await page.locator("[data-count]").text_content()
    assert re.fullmatch(r"\d+ of 11", count or "")
    await page.keyboard.press("Escape")
    await expect(page.locator("mark")).to_have_count(0)

    # A line's number is its address.
    await page.keyboard.press("/")
    await page.keyboard.type(":500")
    await page.keyboard.press("Enter")
    await expect(page.locator("#L500.picked")).to_be_in_viewport()
    await page.locator("#L502 a").click(modifiers=["Shift"])
    assert page.url.endswith("#L500-L502")
    await page.reload()
    await expect(page.locator(".picked")).to_have_count(3)
    await expect(page.locator("#L501")).to_be_in_viewport()
    await page.locator("[data-times]").click()
    link = page.locator("#L500 a")
    assert await link.get_attribute("data-time") == "1:01.5"
    await link.hover()
    assert await link.get_attribute("title")
    await page.set_viewport_size({"width": 390, "height": 844})
    await expect(page.locator("#L500")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_a_very_long_log_survives_cut_connections(log: LogPage) -> None:
    """Every line once and in order, though the server goes away in the middle, and is late."""
    page = log.page
    runner = await log.desk.run()
    await runner.step("pulumi update")
    lines = [f"\x1b[32m{number:06d}\x1b[0m a line of the count\n" for number in range(LINES)]
    for begin in range(0, LINES, 10_000):
        await runner.write("".join(lines[begin : begin + 10_000]).encode())
    await page.goto(ADDRESS)
    for least in (1, LINES // 3):
        await eventually(lambda least=least: _has_lines(log, least), f"{least} lines are here", 60)
        await log.doors.shut()
        await expect(page.locator("[data-connection]")).to_contain_text("cut")
        await log.doors.open()
    await runner.write(b"the last line")
    await runner.end_log()
    await runner.conclude()
    await page.locator("[data-lines]").scroll_into_view_if_needed()
    await expect(page.locator(f"#L{LINES + 1}")).to_be_in_viewport(timeout=60_000)
    await log.has(re.sub(r"\x1b\[\d*m", "", runner.written.decode()))
    await page.goto("about:blank")
    await page.goto(f"{ADDRESS}#L123456")
    await expect(page.locator("#L123456.picked")).to_be_in_viewport(timeout=60_000)


async def _has_lines(log: LogPage, least: int) -> bool:
    return (await log.text()).count("\n") >= least


async def check_the_terminal(log: LogPage) -> None:
    """Whatever the output, and however it is cut on its way: the same lines, in the same styles."""
    address = asset("log.js")
    found = await log.page.evaluate(READ, [address, [[each] for each in PICTURES]])
    assert [lines for _, _, lines in found] == list(PICTURES.values())
    found = await log.page.evaluate(READ, [address, [[each] for each in STYLES]])
    styles = [re.findall(r'\[0,"([^"]*)"\]', lines) for _, lines, _ in found]
    assert [each[0] if each else "" for each in styles] == list(STYLES.values())
    chance = random.Random(SEED)
    outputs = [some_output(chance) for _ in range(2000)]
    whole = await log.page.evaluate(READ, [address, [[each] for each in outputs]])
    in_parts = await log.page.evaluate(READ, [address, [cut(chance, each) for each in outputs]])
    for output, expected, seen in zip(outputs, whole, in_parts, strict=True):
        assert seen == expected, repr(output)
