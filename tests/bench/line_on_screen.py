"""(l) From a program's print to the line in an open page, beside a plain reader of the events."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page

from tests.bench.report import Section, p50, quantile, say
from tests.bench.servers import create_stack, slipway, source
from tests.bench.wire import Wire, now_ms
from tests.support.browser import chromium, signed_in
from tests.support.programs import repository
from tests.support.slipway import TOKEN, Slipway
from tests.support.waiting import wait_for

LINES = int(os.environ.get("BENCH_SCREEN_LINES", "150"))
LIMIT_MS = 500
MARK = re.compile(r"mark (\d+) at (\d+)")
PROGRAM = """
import pulumi, random, time
chance = random.Random(1)
time.sleep(2)
for number in range(LINES):
    print(f"mark {number} at {time.time_ns() // 1_000_000}", flush=True)
    # Alone, in pairs, in bursts: between a silence and a flood.
    time.sleep(chance.choice([0.002, 0.05, 0.1, 0.3, 0.6]))
pulumi.export("answer", 42)
"""
OBSERVE = """
window.seen = {};
new MutationObserver((changes) => {
  const now = performance.timeOrigin + performance.now();
  for (const change of changes) for (const node of change.addedNodes) {
    for (const [, number, at] of (node.textContent ?? "").matchAll(/mark (\\d+) at (\\d+)/g)) {
      window.seen[number] ??= now - Number(at);
    }
  }
}).observe(document.querySelector("[data-lines]"), { childList: true, subtree: true });
"""


def measure(root: Path) -> Section:
    """One deployment whose program says when it printed; a page and a plain reader watch."""
    section = Section(
        "l",
        f"print -> on the screen, {LINES} lines; yardstick: a plain reader of the same events",
    )
    program = repository(root / "program", "bench", PROGRAM.replace("LINES", str(LINES)))
    with slipway(root / "data") as server:
        with Wire(server.port, TOKEN) as wire:
            stack = create_stack(wire, "bench", "dev")
        say(f"(l) a program that prints {LINES} lines, and a browser that shows them")
        # One reader at a time: two cores are for the program, and for what is measured.
        events = _by_events(server, stack, program)
        screen = _on_screen(server, stack, program)
    p95 = quantile(screen, 0.95)
    section.know("line on screen, p50", p50(screen), "ms", p50(events))
    section.at_most("line on screen, p95", p95, "ms", LIMIT_MS, yardstick=quantile(events, 0.95))
    section.know("line on screen, slowest", max(screen), "ms", max(events))
    section.samples = {"screen": screen, "events": events}
    return section


def _submit(server: Slipway, stack: str, program: Path) -> str:
    """The path of the deployment's page."""
    body = source(program, options={"skipInstallDependencies": True})
    with Wire(server.port, TOKEN) as wire:
        answer = wire.ask("POST", f"{stack}/deployments", body)
    return f"{stack.removeprefix('/api/stacks')}/deployments/{answer['version']}"


def _on_screen(server: Slipway, stack: str, program: Path) -> list[float]:
    with chromium() as browser, signed_in(browser, server) as page:
        page.goto(_submit(server, stack, program))
        page.evaluate(OBSERVE)
        wait_for(lambda: len(_seen(page)) == LINES, "all lines are on the screen", 300)
        return list(_seen(page).values())


def _seen(page: Page) -> dict[str, float]:
    found: dict[str, float] = page.evaluate("window.seen")
    return found


def _by_events(server: Slipway, stack: str, program: Path) -> list[float]:
    seen: dict[str, float] = {}
    with httpx.Client(base_url=server.url, timeout=300, headers=_same_origin()) as http:
        http.post("/sign-in", data={"token": TOKEN})
        path = _submit(server, stack, program)
        reading = threading.Thread(target=_read, args=(http, path, seen))
        reading.start()
        reading.join()
    if len(seen) != LINES:
        raise RuntimeError(f"{len(seen)} of {LINES} lines came")
    return list(seen.values())


def _read(http: httpx.Client, path: str, seen: dict[str, float]) -> None:
    with http.stream("GET", f"{path}/live") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: [["):
                _note(json.loads(line[6:]), seen)


def _note(texts: list[Any], seen: dict[str, float]) -> None:
    now = now_ms()
    for _, text in texts:
        for number, at in MARK.findall(text):
            seen.setdefault(number, now - int(at))


def _same_origin() -> dict[str, str]:
    return {"Sec-Fetch-Site": "same-origin"}
