"""(n) The server's time of every page of the console, on the database of a busy company."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import re
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urljoin

from litestar import Litestar

from control_plane.app import create_app
from tests.bench import crowd
from tests.bench.crowd import DELIVERIES, Crowd
from tests.bench.report import Section, p50, quantile, say
from tests.bench.servers import Served, close_after, open_prepared, serve
from tests.support.console_routes import console_addresses
from tests.support.furnished_github import DELIVERY, INSTALLATION
from tests.support.page_files import fetched_by
from tests.support.slipway import free_port

ROUNDS = 60
"""Each page once a round, in turn: what disturbs the machine disturbs all alike."""
WARM_UP = 2
MILLISECONDS_MAX = 60
KILOBYTES_MAX = 60
SCRIPT_KILOBYTES_MAX = 15
ABSENT = "999999"
NO_PAGES = re.compile(
    r"^/$|^/(static|sign-in|user|cli-login|welcome|dev)/?|/(live|log|events|of/[^/]+)$"
    r"|^/settings/integrations/github/|^/-/github/"
)
"""Streams, downloads, the way to GitHub and back, what only leads on to a page, and what is before
signing in."""
TRIVIAL = "sign in"
TIMEOUT_SECONDS = 60


def measure(root: Path) -> Section:
    """p95 of each, and of that the processor's time: what else the machine does adds to the first,
    not to the second. The yardsticks are a page without a query, and SQL without a page."""
    section = Section(
        "n",
        f"the console's pages: {crowd.DEPLOYMENTS:,} deployments, {crowd.STACKS:,} stacks, "
        f"{crowd.RESOURCES:,} resources; yardstick: the sign-in page",
    )
    port = free_port()
    world = open_prepared(root / "data", port)
    found = asyncio.run(close_after(world, crowd.fill(world)))
    pages = addresses(found)
    _require_all(create_app(world, loops=False), pages)
    with serve(root / "data", port) as served:
        browser = Browser(port, found.cookie)
        say(f"(n) {ROUNDS} rounds of {len(pages)} pages")
        for name, samples in _sample(served, browser, pages).items():
            section.samples[name] = samples.milliseconds
            section.samples[f"{name}, processor"] = samples.processor
        _tell(section, pages)
        section.know("the process's peak memory", served.peak_mib, "MiB")
        _weigh(section, browser, pages)
        browser.close()
    sql = _raw_sql(root / "data" / "slipway.db", found)
    section.know("the SQL of 25 recent deployments alone", p50(sql), "ms")
    section.samples["sql"] = sql
    return section


def _tell(section: Section, pages: Mapping[str, str]) -> None:
    trivial = quantile(section.samples[TRIVIAL], 0.95)
    for name in pages:
        taken = section.samples[name]
        section.at_most(name, quantile(taken, 0.95), "ms", MILLISECONDS_MAX, yardstick=trivial)
        processor = p50(section.samples[f"{name}, processor"])
        section.know(f"  p50; processor {processor:.1f} ms", p50(taken), "ms")


def addresses(found: Crowd) -> dict[str, str]:
    """Every kind of page, by what the report calls it."""
    home = f"/{found.organization}"
    return {
        TRIVIAL: "/sign-in",
        **_of_organization(home),
        **_of_stack(found),
        "tokens": "/-/tokens",
        "sessions": "/-/sessions",
        "new organization": "/-/organizations",
        "what is not there": f"{home}/service-000/stage-0/deployments/{ABSENT}",
    }


def _require_all(app: Litestar, pages: Mapping[str, str]) -> None:
    """Raise RuntimeError for a page of the console that nobody has thought of here."""
    paths = [address.partition("?")[0] for address in pages.values()]
    for route in {each.route for each in console_addresses(app) if each.method == "GET"}:
        form = re.compile(re.sub(r"\{\w+\}", "[^/]+", route))
        if not NO_PAGES.search(route) and not any(map(form.fullmatch, paths)):
            raise RuntimeError(f"{route} is not measured")


def _of_organization(home: str) -> dict[str, str]:
    integrations = f"{home}/-/settings/integrations"
    rare = "trigger=push&project=service-007&who=dev&from=2026-01-01"
    return {
        "home": home,
        "home, failed": f"{home}?status=failed",
        "home, waiting": f"{home}?status=not-started",
        "home, destroys (none)": f"{home}?operation=destroy",
        "home, refreshes that failed": f"{home}?status=failed&operation=refresh",
        "home, what pushes triggered": f"{home}?trigger=push",
        "home, of a project": f"{home}?project=service-250",
        "home, rare filters": f"{home}?{rare}",
        "home, search: a common word": f"{home}?q=bucket",
        "home, search: a rare word": f"{home}?q=nowhere",
        "home, search: three words": f"{home}?q=service-1+node+retry",
        "home, search: a commit": f"{home}?q=abcdef1",
        "home, page 100": f"{home}?page=100",
        "home, the last page": f"{home}?page=3900",
        "home, failed, page 100": f"{home}?status=failed&page=100",
        "home, its live part": f"{home}/-/now",
        "stacks": f"{home}/-/stacks",
        "stacks, by update": f"{home}/-/stacks?sort=updated",
        "stacks, the last page": f"{home}/-/stacks?page=49",
        "stacks, search": f"{home}/-/stacks?q=service-25",
        "stacks of a project": f"{home}/-/stacks?project=service-250",
        "queue, 400 waiting": f"{home}/-/queue",
        "organization's settings": f"{home}/-/settings",
        "members": f"{home}/-/settings/members",
        "pools": f"{home}/-/settings/pools",
        "integrations": integrations,
        "deliveries": f"{integrations}/deliveries",
        "deliveries, the last page": f"{integrations}/deliveries?page={DELIVERIES // 25}",
        "delivery": f"{integrations}/deliveries/{DELIVERY}",
        "uninstall": f"{integrations}/github/{INSTALLATION}/uninstall",
    }


def _of_stack(found: Crowd) -> dict[str, str]:
    hot, quiet = (f"/{'/'.join(name)}" for name in (found.hot, found.quiet))
    live, queued = (
        f"/{'/'.join(name)}/deployments/{version}" for name, version in (found.live, found.queued)
    )
    return {
        "stack": hot,
        "stack that is quiet": quiet,
        "stack's deployments": f"{hot}/deployments",
        "stack's deployments, the last page": f"{hot}/deployments?page=30",
        "stack's deployments, search": f"{hot}/deployments?q=nowhere",
        "resources": f"{hot}/resources",
        "resources, search": f"{hot}/resources?q=web-99",
        "resources, the last page": f"{hot}/resources?page=20",
        "resource": f"{hot}/resource?urn={quote(found.resource)}",
        "updates": f"{hot}/updates",
        "activity": f"{hot}/activity",
        "activity, the last page": f"{hot}/activity?page=50",
        "update with 20,000 events": f"{hot}/updates/{found.update_version}",
        "preview": f"{hot}/previews/{found.preview_id}",
        "configuration": f"{hot}/config",
        "Settings > Deploy": f"{hot}/settings",
        "Settings > General": f"{hot}/settings/general",
        "deployment with a long log": f"{hot}/deployments/{found.hot_version}",
        "deployment compared": f"{hot}/deployments/{found.hot_version}/compare",
        "deployment that runs": live,
        "deployment that waits": queued,
    }


@dataclass(frozen=True)
class Got:
    """What came, how long it took, and how many bytes it was on the way."""

    milliseconds: float
    size: int
    kind: str
    body: bytes


class Browser:
    """One connection that is kept open, as a browser's."""

    def __init__(self, port: int, cookie: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._headers = {
            "Cookie": f"slipway_session={cookie}",
            "Accept": "text/html",
            "Accept-Encoding": "gzip",
        }

    def get(self, address: str) -> Got:
        """A page or a file of one; raises RuntimeError when the answer is a bad one."""
        began = time.perf_counter()
        self._connection.request("GET", address, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        milliseconds = (time.perf_counter() - began) * 1000
        if answer.status != (404 if address.endswith(ABSENT) else 200):
            raise RuntimeError(f"{address} answered {answer.status}")
        head = sum(len(name) + len(value) + len(": \r\n") for name, value in answer.getheaders())
        plain = gzip.decompress(body) if answer.getheader("Content-Encoding") == "gzip" else body
        kind = answer.getheader("Content-Type") or ""
        return Got(milliseconds, len(body) + head, kind, plain)

    def visit(self, address: str) -> dict[str, Got]:
        """A page with all its files, none of which has been seen before."""
        seen: dict[str, Got] = {}
        waiting = [address]
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            got = seen[at] = self.get(at)
            text = got.body.decode(errors="replace")
            waiting += [urljoin(at, each) for each in fetched_by(got.kind, text)]
        return seen

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Samples:
    """Milliseconds of a page's answers, and of those the server's processors'."""

    milliseconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def _sample(served: Served, browser: Browser, pages: Mapping[str, str]) -> dict[str, Samples]:
    samples = {name: Samples() for name in pages}
    for number in range(WARM_UP + ROUNDS):
        for name, address in pages.items():
            before = served.cpu_ms
            got = browser.get(address)
            spent = served.cpu_ms - before
            if number >= WARM_UP:
                samples[name].milliseconds.append(got.milliseconds)
                samples[name].processor.append(spent)
    return samples


def _weigh(section: Section, browser: Browser, pages: Mapping[str, str]) -> None:
    """A first visit of each: bytes are the same on every machine."""
    visits = {name: browser.visit(address) for name, address in pages.items()}
    weights = {name: sum(got.size for got in seen.values()) for name, seen in visits.items()}
    heaviest = max(weights, key=lambda name: weights[name])
    section.at_most(f"first visit: {heaviest}", weights[heaviest] / 1000, "kB", KILOBYTES_MAX)
    files = {address: got for seen in visits.values() for address, got in seen.items()}
    scripts = sum(got.size for got in files.values() if got.kind.startswith("text/javascript"))
    section.at_most("all scripts", scripts / 1000, "kB", SCRIPT_KILOBYTES_MAX)


def _raw_sql(file: Path, found: Crowd) -> list[float]:
    """The least that the home could ask: its newest deployments with their stacks' names."""
    query = (
        "SELECT d.id, d.version, d.status, d.started_at, s.project, s.name FROM deployments d "
        "JOIN stacks s ON s.id = d.stack_id JOIN organizations o ON o.id = d.organization_id "
        "WHERE o.login = ? ORDER BY d.position DESC LIMIT 25"
    )
    taken = []
    connection = sqlite3.connect(file)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        rows = connection.execute(query, (found.organization,)).fetchall()
        taken.append((time.perf_counter() - began) * 1000)
        assert len(rows) == 25
    connection.close()
    return taken
