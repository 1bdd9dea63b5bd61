"""Attacks on the console over HTTP: each of its routes, as the application lists them, is tried."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.app import create_app
from control_plane.services import identity, sessions
from control_plane.services.world import World
from tests.flow.test_console import SAME, browser, form_of
from tests.support.app import ADMIN, TOKEN
from tests.support.console_routes import Address, console_addresses
from tests.support.deployments import Desk, make_desk
from tests.support.furnished import PROBE, attack, furnish
from tests.support.server import serving
from tests.support.world import make_world
from ui.sign_in import own_address

OPEN = {
    "/sign-in",
    "/sign-in/{link}",
    "/sign-in/github",
    "/welcome/cli",
    "/static/{version}/{name}",
    "/dev/gallery",
}
"""What somebody who has not signed in is answered; all else leads to the sign-in first."""
MOVED = {"/user/settings/tokens", "/sign-in/github/callback"}
"""Addresses that Pulumi Cloud has, or GitHub knows; they lead on to pages that ask who it is."""
ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
ASKED = {"urn": "x", "cliSessionPort": "1", "cliSessionNonce": "n"}
"""Without these some pages would not even look whose they are."""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


def addresses(world: World, method: str) -> list[Address]:
    found = list(console_addresses(create_app(world, loops=False)))
    return [each for each in found if each.method == method]


async def contents(desk: Desk) -> dict[str, object]:
    """All that the database holds, but for who has looked at it when."""
    tables = await desk.farm.ask("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = {str(name) for (name,) in tables} - {"sessions"}
    return {
        name: sorted(map(repr, await desk.farm.ask(f'SELECT * FROM "{name}"'))) for name in names
    }


class Page(HTMLParser):
    """A page as a browser would take it apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        is_script = tag == "script" and not (values.get("src") or "").startswith("/static/")
        leads = [values.get(name) or "" for name in ("href", "src", "action", "formaction")]
        is_bad_address = any(
            re.match(r"(?i)\s*(javascript|data|vbscript):", lead) for lead in leads
        )
        handlers = [name for name in values if name.startswith("on") or name == "style"]
        if PROBE in tag or is_script or is_bad_address or handlers or tag in ("style", "iframe"):
            self.wrong.append(f"<{tag} {values}>")
        self.text += " ".join(value or "" for value in values.values()) + " "

    def handle_data(self, data: str) -> None:
        self.text += data


def wrong_in(text: str) -> list[str]:
    return Page(text).wrong


async def test_no_form_is_taken_from_elsewhere_or_of_another_session(desk: Desk) -> None:
    """Each POST of the console, whichever there are: refused, and nothing has been changed."""
    await furnish(desk, lambda place: place)
    world = desk.farm.world
    async with browser(world) as http, browser(world) as other:
        own = (await form_of(http, "/ada"))["form_token"]
        others = (await form_of(other, "/ada"))["form_token"]
        assert own != others
        before = await contents(desk)
        tried = addresses(world, "POST")
        assert len(tried) > 9
        for address in tried:
            sent = {"form_token": own, "operation": "update", "note": "n", "name": "n"}
            for headers in (
                ELSEWHERE,
                {"Sec-Fetch-Site": "same-site"},
                {"Sec-Fetch-Site": "none"},
                {"Sec-Fetch-Site": "x", "Origin": "null"},
            ):
                answer = await http.post(address.path, data=sent, headers=headers)
                assert answer.status_code == 403, (address, headers)
                assert "set-cookie" not in answer.headers
            bare = http.build_request("POST", address.path, data=sent)
            del bare.headers["Sec-Fetch-Site"]
            assert (await http.send(bare)).status_code == 403, (address, "says not where from")
            if address.route in OPEN:
                continue
            for token in (None, "", others, own[:-9], "x" + own[1:], "é"):
                sent = {"operation": "update"} | ({} if token is None else {"form_token": token})
                answer = await http.post(address.path, data=sent)
                assert answer.status_code == 403, (address, token)
                assert "another session" in answer.text
            by_get = await http.get(address.path, params={"form_token": own, "name": "n"})
            assert by_get.status_code in (200, 400, 404, 405), address
        assert await contents(desk) == before


async def test_nobody_is_answered_before_signing_in(desk: Desk) -> None:
    world = desk.farm.world
    async with browser(world, signed_in=False) as http:
        for method in ("GET", "POST"):
            for address in addresses(world, method):
                answer = await http.request(method, address.path)
                if address.route in OPEN:
                    assert answer.status_code in (200, 401, 404, 410), address
                    continue
                assert answer.status_code in (303, 400), address
                if answer.status_code == 303 and address.route not in MOVED:
                    assert answer.headers["location"].startswith("/sign-in"), address


async def test_a_stranger_finds_nothing_of_another_organization(desk: Desk) -> None:
    """Neither by looking nor by sending forms; and as if it did not exist."""
    await furnish(desk, lambda place: f"private-{place}")
    world = desk.farm.world
    await identity.create_user(world, "eve")
    made = await identity.create_token(world, "eve", "t")
    async with browser(world, signed_in=False) as http:
        await http.post("/sign-in", data={"token": made.value})
        form = await form_of(http, "/eve")
        before = await contents(desk)
        app = create_app(world, loops=False)
        twins = {each[:2]: each for each in console_addresses(app, organization="nobody")}
        for address in console_addresses(app):
            if "{organization}" not in address.route:
                continue
            twin = twins[address.method, address.route]
            sent = form | {"operation": "update", "mode": "graceful", "confirmed": "dev"}
            is_form = address.method == "POST"
            given: dict[str, Any] = {"data": sent} if is_form else {"params": ASKED}
            answer = await http.request(address.method, address.path, **given)
            absent = await http.request(twin.method, twin.path, **given)
            assert answer.status_code in (403, 404), (address, answer.text[:500])
            assert absent.status_code == answer.status_code, (twin, absent.text[:500])
            assert "private-" not in answer.text, address
            texts = [
                re.sub(r'form_token" value="[^"]*"', "", each.text) for each in (answer, absent)
            ]
            assert texts[0].replace("ada", "X") == texts[1].replace("nobody", "X"), address
        assert await contents(desk) == before


async def test_every_answer_forbids_frames_and_whatever_is_not_the_consoles_own(
    desk: Desk,
) -> None:
    world = desk.farm.world
    async with browser(world) as http:
        http.headers["Accept"] = "text/html"
        for address in addresses(world, "GET"):
            if address.path.endswith(("/live", "/events")):
                continue
            answers = [await http.get(address.path)]
            answers.append(await http.get(address.path + "?page=x&limit=x"))
            answers.append(await http.post(address.path))
            answers.append(await http.get(address.path + "/of/nothing/at/all/of/it"))
            for answer in answers:
                kind = answer.headers.get("content-type", "")
                if kind.startswith("application/json"):
                    continue
                assert answer.headers.get("x-content-type-options") == "nosniff", answer.url
                if "html" not in kind:
                    continue
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy, answer.url
                assert "frame-ancestors 'none'" in policy, answer.url
                assert "base-uri 'none'" in policy, answer.url
                assert "unsafe" not in policy, answer.url
                assert "*" not in policy.replace("http://localhost:*", ""), answer.url
                assert answer.headers["referrer-policy"] == "same-origin", answer.url
                assert answer.headers["cache-control"] == "no-store", answer.url
                assert wrong_in(answer.text) == [], answer.url


SHOWN = {
    "account",
    "app",
    "app-owner",
    "branch",
    "command",
    "commit",
    "diagnostic",
    "judged",
    "outcome",
    "pull-author",
    "pull-request",
    "repository",
    "summary",
    "verdict",
    "ending",
    "log",
    "pause",
    "person",
    "resource",
    "resource-id",
    "stack-pause",
    "step",
    "step-message",
    "token",
    "update-message",
    "variable",
    "words",
}
"""Whose words the pages show for certain; the others are shown on some, or on none."""


async def test_no_words_of_users_or_programs_become_part_of_a_page(desk: Desk) -> None:
    """Cross-site scripting: by names, commits, outputs, settings, logs, notes, searches."""
    await furnish(desk, attack)
    project = await desk.add_stack(attack("project"), attack("stack"))
    world = desk.farm.world
    seen: set[str] = set()
    async with browser(world) as http:
        app = create_app(world, loops=False)
        for version in ("1", "2", "4"):
            for address in console_addresses(app, version=version):
                if address.method != "GET" or address.path.endswith(("/live", "/events")):
                    continue
                for query in ("", *REFLECTED):
                    answer = await http.get(address.path + query)
                    assert answer.status_code < 500, (address, query)
                    if "html" not in answer.headers.get("content-type", ""):
                        continue
                    page = Page(answer.text)
                    assert page.wrong == [], (address, query)
                    seen |= set(re.findall(rf"<{PROBE} id=([a-z-]+)", page.text))
        found = await http.get(f"/ada/{project.project}/{project.stack}")
        assert wrong_in(found.text) == []
        for part in ("state", "changes"):
            stream = await http.get("/ada/shop/dev/deployments/2/live")
            for data in re.findall(rf"event: {part}\r?\ndata: (.*)\r?\n", stream.text):
                assert wrong_in(json.loads(data)) == [], data
    assert SHOWN - seen == set()


QUOTED = quote(attack("words"))
REFLECTED = [
    "?" + "&".join(f"{name}={QUOTED}" for name in names)
    for names in (("q", "words", "project", "tag", "who", "next"), ("status", "sort"), ("page",))
]


async def test_a_download_is_named_by_this_server_alone(desk: Desk) -> None:
    """Its header takes no line break and no second name, whatever the stack is called."""
    await furnish(desk, attack)
    world = desk.farm.world
    stack = await desk.add_stack('a";filename="b', "c\r\nSet-Cookie: d=e")
    places = {"project": stack.project, "stack": stack.stack}
    async with browser(world) as http:
        app = create_app(world, loops=False)
        for chosen in ({}, places):
            for address in console_addresses(app, **chosen):
                if address.method != "GET" or address.path.endswith(("/live", "/events")):
                    continue
                answer = await http.get(quote(address.path))
                given = answer.headers.get_list("set-cookie")
                is_way = address.route == "/sign-in/github"
                assert len(given) == is_way, (address, "says which browser goes to GitHub")
                named = answer.headers.get("content-disposition")
                if named is not None:
                    assert re.fullmatch(r'attachment; filename="[\w.-]+"', named), named
                    assert "html" not in answer.headers["content-type"], address


@given(
    st.text(alphabet="/\\:.@?#%[\t\r\n \x00xé\u202e", max_size=12),
    st.sampled_from(["", "evil.test"]),
)
def test_an_address_to_go_on_to_is_this_servers(start: str, host: str) -> None:
    """As a browser reads it: without tabs and line breaks, a backslash being a slash."""
    kept = own_address(start + host)
    assert not re.search(r"[\x00-\x20\x7f]", kept), "nor does it end its header"
    as_read = re.sub(r"[\t\r\n]", "", kept.strip("".join(map(chr, range(33))))).replace("\\", "/")
    assert as_read.startswith("/")
    assert not as_read.startswith("//")


def test_an_address_to_go_on_to_adds_no_header(tmp_path: Path) -> None:
    """As the server itself writes it on the wire."""
    with serving(tmp_path) as server, httpx.Client(base_url=server.url, headers=SAME) as http:
        for onward in ("/x\r\nSet-Cookie: a=b", "/x\nX-Evil: 1", "/x\ty", "/é\r\n\r\n<b>"):
            answer = http.post("/sign-in", data={"token": TOKEN, "next": onward})
            assert answer.status_code == 303
            assert answer.headers["location"] == "/"
            assert "x-evil" not in answer.headers
            assert len(answer.headers.get_list("set-cookie")) == 1
        answer = http.post("/sign-in", data={"token": TOKEN, "next": "/ada?q=é"})
        assert answer.headers["location"] == "/ada?q=%C3%A9"


async def test_a_session_that_was_there_before_signing_in_is_not_taken_over(desk: Desk) -> None:
    """Session fixation: neither an invented cookie nor the attacker's own becomes somebody's."""
    world = desk.farm.world
    await identity.create_user(world, "eve")
    made = await identity.create_token(world, "eve", "t")
    async with browser(world, signed_in=False) as eve, browser(world, signed_in=False) as victim:
        await eve.post("/sign-in", data={"token": made.value})
        planted = eve.cookies["slipway_session"]
        for cookie in (planted, "sls-" + "0" * 48 + ".x"):
            victim.cookies.clear()
            victim.cookies.set("slipway_session", cookie)
            answer = await victim.post("/sign-in", data={"token": TOKEN})
            given = re.search(r"slipway_session=([^;]+)", answer.headers["set-cookie"])
            assert given is not None
            assert given[1].strip('"') != cookie
            assert (await eve.get("/ada")).status_code == 404, "eve's session is still eve's"


@pytest.mark.parametrize(("url", "secure"), [("https://a.test", True), ("http://a.test", False)])
async def test_the_flags_of_the_cookie(tmp_path: Path, url: str, secure: bool) -> None:
    world = make_world(tmp_path, config={"server": {"public_url": url}})
    await identity.bootstrap(world, ADMIN, TOKEN)
    link = await sessions.make_link(world, ADMIN)
    async with browser(world, signed_in=False) as http:
        answers = [await http.post("/sign-in", data={"token": TOKEN})]
        answers.append(await http.post(f"/sign-in/{link}"))
        for answer in answers:
            flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
            assert {"httponly", "samesite=lax", "path=/"} <= flags
            assert ("secure" in flags) is secure
            assert not any(flag.startswith("domain") for flag in flags)
    await world.database.close()


async def test_signing_in_by_force_from_another_site_fails(desk: Desk) -> None:
    """Login CSRF: a victim who works in the attacker's account would tell them secrets."""
    world = desk.farm.world
    link = await sessions.make_link(world, ADMIN)
    async with browser(world, signed_in=False) as http:
        for path, data in (("/sign-in", {"token": TOKEN}), (f"/sign-in/{link}", {})):
            answer = await http.post(path, data=data, headers=ELSEWHERE)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers
        assert (await http.post(f"/sign-in/{link}")).status_code == 303, "nor was it used up"


async def test_the_cli_s_token_goes_to_no_page_without_a_click(desk: Desk) -> None:
    """`/cli-login` hands nothing over by GET, and nowhere but to this machine."""
    async with browser(desk.farm.world) as http:
        before = await contents(desk)
        ask = {"cliSessionPort": "1@evil.test:80", "cliSessionNonce": attack("nonce")}
        for port in ("80", "1@evil.test", "80#@evil.test", "-1", "0x50"):
            answer = await http.get("/cli-login", params=ask | {"cliSessionPort": port})
            assert answer.status_code in (200, 400)
            assert wrong_in(answer.text) == []
        assert await contents(desk) == before
        form = await form_of(http, "/ada") | {"nonce": "n\r\nX-Evil: 1", "port": "80"}
        location = (await http.post("/cli-login", data=form)).headers["location"]
        assert urlsplit(location).netloc == "localhost:80"
        assert parse_qs(urlsplit(location).query)["nonce"] == ["n\r\nX-Evil: 1"]
