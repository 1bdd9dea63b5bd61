"""What a browser must fetch for a page that it has never seen, and how it is sent."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.domain import diagnostics
from control_plane.services import update_events
from tests.flow.test_console import SAME, browser, form_of
from tests.support.deployments import STACK, Desk, make_desk
from tests.support.furnished import furnish, principal
from tests.support.page_files import fetched_by
from tests.support.state import Stack, document, resource
from ui.compression import packed
from ui.pages import STATIC

PAGE_BYTES_MAX = 60_000
SCRIPT_BYTES_MAX = 15_000
HEAD_BYTES = 200
"""Of a request's answer besides its fields: generously, its first line and the framing."""
WAITING = 210
RESOURCES = 600
STACK_PAGE = f"/{STACK}"
PAGES = [
    "/sign-in",
    "/ada",
    "/ada/-/stacks",
    "/ada/-/queue",
    "/ada/-/settings",
    "/ada/-/settings/integrations",
    "/ada/-/settings/integrations/deliveries",
    "/-/tokens",
    STACK_PAGE,
    f"{STACK_PAGE}/resources",
    f"{STACK_PAGE}/updates",
    f"{STACK_PAGE}/updates/2",
    f"{STACK_PAGE}/settings",
    f"{STACK_PAGE}/deployments/1",
    f"{STACK_PAGE}/deployments/3",
    f"{STACK_PAGE}/deployments/4",
    "/ada/nothing/here",
]
TAKING = ("gzip", "br, gzip;q=0.5", "GZIP")
REFUSING = ("", "identity", "gzip;q=0", "gzip; q=0.0", "br")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


async def crowd(desk: Desk) -> None:
    """Something of everything, and as much of it as one page shows."""
    await furnish(desk, lambda place: f"the {place} of somebody")
    things = [resource(f"thing-{number}", id=f"i-{number:017x}") for number in range(RESOURCES)]
    answer = await Stack(desk.http, STACK).import_(document(*things))
    assert answer.status_code == 200
    for number in range(WAITING):
        await desk.create("update" if number % 3 else "preview")


class Visit:
    """A first visit: everything is fetched, each file once; and what that weighs."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.scripts = 0
        self.all = 0
        self._seen: set[str] = set()

    async def open(self, address: str) -> None:
        """Fetch an address, and what it leads to."""
        address = str(httpx.URL(address))
        if address in self._seen:
            return
        self._seen.add(address)
        answer = await self._http.get(address, headers={"Accept": "text/html"})
        assert answer.status_code in (200, 404), address
        size = answer.num_bytes_downloaded
        self.all += size + HEAD_BYTES + sum(map(len, map(b"".join, answer.headers.raw)))
        kind = answer.headers["content-type"]
        if kind.startswith("text/javascript"):
            self.scripts += size
        for each in fetched_by(kind, answer.text):
            await self.open(answer.url.join(each).raw_path.decode())


async def test_a_first_visit_weighs_little(desk: Desk) -> None:
    """Whatever the page: all of its files, and none of another server's."""
    await crowd(desk)
    weights = {}
    async with browser(desk.farm.world) as http:
        for address in PAGES:
            visit = Visit(http)
            await visit.open(address)
            weights[address] = (visit.all, visit.scripts)
    assert {k: all_ for k, (all_, _) in weights.items() if all_ > PAGE_BYTES_MAX} == {}
    assert {k: script for k, (_, script) in weights.items() if script > SCRIPT_BYTES_MAX} == {}
    assert all(script > 0 for _, script in weights.values()), "the script was not even looked for"


def test_all_scripts_together_weigh_little() -> None:
    """Each is sent compressed, and no page has one that is not among them."""
    files = [gzip.compress(path.read_bytes(), 9) for path in STATIC.glob("*.js")]
    assert files
    assert sum(map(len, files)) <= SCRIPT_BYTES_MAX


async def test_a_second_visit_fetches_the_page_alone(desk: Desk) -> None:
    """Its files are kept for ever, and are the same however they were sent."""
    async with browser(desk.farm.world) as http:
        page = await http.get("/ada")
        files = fetched_by("text/html", page.text)
        assert len(files) >= 3
        for address in files:
            plain = await http.get(address, headers={"Accept-Encoding": "identity"})
            small = await http.get(address, headers={"Accept-Encoding": "gzip"})
            assert small.headers["content-encoding"] == "gzip"
            assert plain.content == small.content
            assert "immutable" in small.headers["cache-control"]
            assert "accept-encoding" in small.headers["vary"].lower()
        assert page.headers["cache-control"] == "no-store", "a page shows what is true now"


async def test_pages_are_compressed_for_who_takes_them_so(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        places = [("/ada", accepts) for accepts in TAKING]
        places += [("/ada/-/queue", "gzip"), (f"{STACK_PAGE}/resources", "gzip")]
        for address, accepts in places:
            answer = await http.get(address, headers={"Accept-Encoding": accepts})
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "Accept-Encoding"
            assert int(answer.headers["content-length"]) == answer.num_bytes_downloaded
            assert answer.num_bytes_downloaded < len(answer.content) / 2
            assert answer.text.rstrip().endswith("</html>")


async def test_who_takes_no_gzip_gets_none(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        file = fetched_by("text/html", (await http.get("/ada")).text)[0]
        for address, accepts in itertools.product(("/ada", file), REFUSING):
            answer = await http.get(address, headers={"Accept-Encoding": accepts})
            assert "content-encoding" not in answer.headers
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert "accept-encoding" in answer.headers["vary"].lower(), "for caches in between"


async def test_a_page_says_nothing_by_its_length(desk: Desk) -> None:
    """BREACH: the token of the forms never repeats, and the length wavers by more than a guess."""
    async with browser(desk.farm.world) as http:
        tokens, lengths, bodies = set(), set(), set()
        for _ in range(20):
            answer = await http.get("/ada", headers={"Accept-Encoding": "gzip"})
            found = re.findall(r'name="form_token" value="([^"]+)"', answer.text)
            tokens |= set(found)
            lengths.add(answer.num_bytes_downloaded)
            bodies.add(re.sub(r'value="[^"]+"', "", answer.text))
        assert len(tokens) == 20
        assert max(lengths) - min(lengths) >= 20
        for token in list(tokens)[:3]:
            answer = await http.post("/sign-out", data={"form_token": f"{token[:-4]}AAAA"})
            assert answer.status_code == 403
        answer = await http.post("/sign-out", data={"form_token": tokens.pop()})
        assert answer.status_code == 303, "each of them is good"


async def test_what_is_shown_once_is_not_compressed(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        form = await form_of(http, "/-/tokens")
        answer = await http.post("/-/tokens", data=form | {"name": "ci"})
        assert "pul-" in answer.text
        assert "content-encoding" not in answer.headers


async def test_a_stream_leaves_at_once(desk: Desk) -> None:
    """Events are not held back to be compressed, however many come."""
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"line\n" * 1000)
    await runner.end_log()
    await runner.conclude()
    async with browser(desk.farm.world) as http:
        live = f"{STACK_PAGE}/deployments/1/live"
        headers = SAME | {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
        answer = await http.get(live, headers=headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        assert "event: end" in answer.text


async def test_an_error_is_told_however_much_else_there_is(desk: Desk) -> None:
    """An account of an update costs the same for any stack; what went wrong comes last in it."""
    stack = Stack(desk.http, STACK)
    update = await stack.start()
    urn = "urn:pulumi:dev::shop::t:index:T::thing"
    same = {"metadata": {"op": "same", "urn": urn, "type": "t:index:T"}}
    chatter = diagnostics.SHOWN_MESSAGES_MAX + 100
    said = [
        {"diagnosticEvent": {"message": f"line {n}", "severity": "info"}} for n in range(chatter)
    ]
    wrong = [{"diagnosticEvent": {"message": "the bucket is full", "severity": "error"}}]
    events = [{"resourcePreEvent": same}] * chatter + said + wrong
    numbered = [{"sequence": n, "timestamp": 1, **each} for n, each in enumerate(events)]
    assert (await update.events(*numbered)).status_code < 300
    assert (await update.complete("failed")).status_code == 204
    ada = await principal(desk)
    found = await update_events.account(desk.farm.world, ada, STACK, update.id)
    assert "the bucket is full" in [each.text for each in found.messages]
    assert found.steps == []
    assert found.more


def test_the_padding_is_part_of_the_format() -> None:
    """A name in the file's head: every reader of gzip passes over it."""
    sizes = set()
    for _ in range(50):
        made = packed(b"page " * 500)
        assert gzip.decompress(made) == b"page " * 500
        sizes.add(len(made))
    assert len(sizes) > 10
