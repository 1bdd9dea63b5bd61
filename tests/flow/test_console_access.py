"""Signing in and out of the console, one's sessions; and addresses that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.app import create_app
from control_plane.services import identity, sessions
from control_plane.services.world import World
from tests.flow.test_console import SAME, browser, form_of
from tests.support.app import ADMIN, TOKEN
from tests.support.deployments import Desk, make_desk

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


@pytest.fixture
def world(desk: Desk) -> World:
    return desk.farm.world


async def test_signing_in_again_ends_the_session_before(world: World) -> None:
    """Else each sign-in would leave one behind that nobody can see any more."""
    link = await sessions.make_link(world, ADMIN)
    async with browser(world) as http, browser(world, signed_in=False) as copy:
        for address in ("/sign-in", f"/sign-in/{link}"):
            copy.cookies.set("slipway_session", http.cookies["slipway_session"])
            assert (await copy.get("/ada")).status_code == 200
            await http.post(address, data={"token": TOKEN})
            assert (await copy.get("/ada")).status_code == 303
            copy.cookies.clear()
        assert (await http.get("/ada")).status_code == 200


async def test_sessions_are_listed_and_ended_one_or_all(world: World) -> None:
    async with browser(world) as http, browser(world) as other, browser(world) as third:
        text = (await http.get("/-/sessions")).text
        assert text.count("this browser") == 1
        ends = re.findall(r'action="(/-/sessions/[^"]+/end)"', text)
        assert len(ends) == 3
        assert "14 days" in text
        row = text[: text.index("this browser")].rindex("<tr>")
        this = re.findall(r'action="(/-/sessions/[^"]+/end)"', text[row:])[0]
        form = await form_of(http, "/-/sessions")
        gone = next(each for each in ends if each != this)
        assert (await http.post(gone, data=form)).status_code == 303
        assert (await http.post(gone, data=form)).status_code == 404
        alive = [(await each.get("/ada")).status_code for each in (other, third)]
        assert sorted(alive) == [200, 303]
        assert (await http.get("/ada")).status_code == 200
        answer = await http.post("/-/sessions/end", data=form)
        assert answer.headers["location"] == "/sign-in"
        for each in (http, other, third):
            assert (await each.get("/ada")).status_code == 303


async def test_nobody_ends_anothers_session(world: World) -> None:
    await identity.create_user(world, "grace")
    made = await identity.create_token(world, "grace", "console")
    async with browser(world) as ada, browser(world, signed_in=False) as grace:
        await grace.post("/sign-in", data={"token": made.value})
        text = (await ada.get("/-/sessions")).text
        (end,) = re.findall(r'action="(/-/sessions/[^"]+/end)"', text)
        form = await form_of(grace, "/-/sessions")
        assert (await grace.post(end, data=form)).status_code == 404
        assert (await ada.get("/ada")).status_code == 200


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "Paste an access token"),
        ("pul-" + "0" * 48, "no access token of this server"),
        ("slp-" + "0" * 48, "of another kind"),
    ],
)
async def test_the_sign_in_page_says_what_is_wrong(world: World, token: str, why: str) -> None:
    async with browser(world, signed_in=False) as http:
        answer = await http.post("/sign-in", data={"token": token, "next": "/ada/-/queue"})
        assert why in answer.text
        assert 'value="/ada/-/queue"' in answer.text, "and where one was going is not lost"
        assert not token or token not in answer.text


async def test_where_the_cli_leads_there_is_a_page(world: World) -> None:
    async with browser(world, signed_in=False) as http:
        for _ in range(2):
            answer = await http.get("/welcome/cli")
            assert answer.status_code == 200
            assert "The CLI is logged in" in answer.text
            await http.post("/sign-in", data={"token": TOKEN})
        tokens = await http.get("/user/settings/tokens")
        assert tokens.headers["location"] == "/-/tokens"


@pytest.mark.parametrize(
    "address",
    ["/a/b/c/d/e/f", "/ada/-/nothing", "/ada/shop/dev/nothing/at/all", "/-/nothing", "/x/y"],
)
async def test_an_unknown_address_is_a_page_in_a_browser(world: World, address: str) -> None:
    async with browser(world) as http:
        answer = await http.get(address, headers=HTML)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "Nothing is served at this address" in answer.text
        assert 'href="/' in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        plain = await http.get(address, headers={"Accept": "application/json"})
        assert plain.status_code == 404
        assert plain.json()["code"] == 404


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
async def test_the_apis_addresses_answer_json_to_everybody(world: World, accept: str) -> None:
    async with browser(world) as http:
        for method, address, status in (
            ("GET", "/api/nothing", 404),
            ("GET", "/api/user", 401),
            ("DELETE", "/api/user", 405),
            ("GET", "/api/stacks/ada/no/no", 401),
        ):
            answer = await http.request(method, address, headers={"Accept": accept})
            assert answer.status_code == status
            assert answer.json()["code"] == status
            assert answer.json()["message"]


async def test_a_wrong_method_names_the_right_ones(world: World) -> None:
    async with browser(world) as http:
        for address, allowed in (("/ada", "GET"), ("/ada/-/stacks", "GET"), ("/sign-out", "POST")):
            method = "DELETE" if allowed == "GET" else "GET"
            answer = await http.request(method, address, headers=HTML)
            assert answer.status_code == 405
            assert allowed in answer.headers["allow"].split(", ")
            assert f"does not answer {method}" in answer.text
            assert "<h1>Method Not Allowed</h1>" in answer.text
            plain = await http.request(method, address, headers={"Accept": "*/*"})
            assert plain.json()["code"] == 405


async def test_pages_answer_head_and_a_slash_at_the_end(world: World) -> None:
    async with browser(world) as http:
        for address in ("/ada", "/ada/-/stacks", "/-/tokens", "/ada/shop/dev", "/ada/x/y"):
            got = await http.get(address, headers=HTML)
            head = await http.head(address, headers=HTML)
            assert head.status_code == got.status_code
            assert head.headers["content-type"] == got.headers["content-type"]
            assert head.content == b""
            slash = await http.get(f"{address}/", headers=HTML)
            assert slash.status_code == got.status_code


async def test_a_page_that_fails_says_so_as_a_page(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret of the server's insides")

    monkeypatch.setattr(identity, "list_tokens", broken)
    async with browser(world) as http:
        answer = await http.get("/-/tokens", headers=HTML)
    assert answer.status_code == 500
    assert answer.headers["x-pulumi-request-id"] in answer.text
    assert "insides" not in answer.text


async def test_a_server_without_users_says_how_it_is_set_up(tmp_path: Path) -> None:
    async with make_desk(tmp_path) as desk:
        async with browser(desk.farm.world, signed_in=False) as http:
            assert "Nobody is here yet" not in (await http.get("/sign-in")).text
            await desk.farm.sql("DELETE FROM users")
            assert "Nobody is here yet" in (await http.get("/sign-in")).text


async def test_a_client_that_is_no_browser_may_send_no_header_at_all(world: World) -> None:
    transport = httpx.ASGITransport(create_app(world, loops=False), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://slipway.test") as http:
        del http.headers["Accept"]
        assert (await http.get("/a/b/c/d/e/f")).json()["code"] == 404
        assert (await http.post("/sign-in", data={"token": TOKEN})).status_code == 403
        answer = await http.post("/sign-in", data={"token": TOKEN}, headers=SAME)
        assert answer.status_code == 303
