"""The console without a script: signing in, what its pages show, and what its forms take."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from litestar import Litestar

from control_plane.app import create_app
from control_plane.errors import BadRequest
from control_plane.services import identity, sessions
from control_plane.services.world import World
from tests.support.app import ADMIN, TOKEN, client
from tests.support.deployments import Desk, make_desk
from tests.support.world import make_world

SAME = {"Sec-Fetch-Site": "same-origin"}
STACK = "/ada/shop/dev"
INLINE = r'<script(?![^>]* src=)|\son\w+=|\sstyle=|="https?://'


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        settings = {"git": {"repoUrl": "https://git.test/a.git", "branch": "x"}}
        await made.send("PUT", "/settings", {"sourceContext": settings})
        yield made


@pytest.fixture
def world(desk: Desk) -> World:
    return desk.farm.world


@asynccontextmanager
async def browser(world: World, *, signed_in: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client as a browser is: cookies, and the headers that say where a form comes from."""
    transport = httpx.ASGITransport(_app_of(world), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://slipway.test", headers=SAME
    ) as http:
        if signed_in:
            answer = await http.post("/sign-in", data={"token": TOKEN})
            assert answer.status_code == 303
        yield http


_apps: dict[int, tuple[World, Litestar]] = {}


def _app_of(world: World) -> Litestar:
    """The application over a world; all browsers of a test share one, for it takes its time."""
    if id(world) not in _apps:
        _apps.clear()
        _apps[id(world)] = world, create_app(world, loops=False)
    return _apps[id(world)][1]


async def form_of(http: httpx.AsyncClient, address: str) -> dict[str, str]:
    """The hidden fields of the page's forms."""
    text = (await http.get(address)).text
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text)
    return dict(found)


async def test_a_page_leads_over_the_sign_in_and_back(world: World) -> None:
    async with browser(world, signed_in=False) as http:
        answer = await http.get("/ada?status=failed")
        assert answer.status_code == 303
        onward = parse_qs(urlsplit(answer.headers["location"]).query)["next"]
        assert onward == ["/ada?status=failed"]
        answer = await http.post("/sign-in", data={"token": TOKEN, "next": onward[0]})
        assert answer.headers["location"] == onward[0]
        assert (await http.get("/ada")).status_code == 200


async def test_the_cookie_is_for_this_server_alone(world: World) -> None:
    async with browser(world, signed_in=False) as http:
        cookie = (await http.post("/sign-in", data={"token": TOKEN})).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie


@pytest.mark.parametrize("onward", ["//evil.test", "https://evil.test/", "/\\evil.test", "x"])
async def test_signing_in_leads_nowhere_else(world: World, onward: str) -> None:
    async with browser(world, signed_in=False) as http:
        answer = await http.post("/sign-in", data={"token": TOKEN, "next": onward})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("token", ["", "pul-" + "0" * 48, "é", "sld-" + "0" * 48])
async def test_a_wrong_token_signs_nobody_in(world: World, token: str) -> None:
    async with browser(world, signed_in=False) as http:
        answer = await http.post("/sign-in", data={"token": token})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert 'role="alert"' in answer.text


async def test_a_forged_or_given_cookie_is_none(world: World) -> None:
    """Session fixation: only what this server has signed is looked up at all."""
    async with browser(world, signed_in=False) as http:
        for cookie in ("sls-" + "0" * 48, "sls-" + "0" * 48 + ".x", ".", "é"):
            sent = {"Cookie": f"slipway_session={cookie}".encode("latin-1")}
            assert (await http.get("/ada", headers=sent)).status_code == 303


async def test_a_session_ends_by_sign_out_by_time_and_with_its_token(
    desk: Desk, world: World
) -> None:
    async with browser(world) as http:
        form = await form_of(http, "/ada")
        kept = http.cookies["slipway_session"]
        await http.post("/sign-out", data=form)
        answer = await http.get("/ada", headers={"Cookie": f"slipway_session={kept}"})
        assert answer.status_code == 303, "also for who has copied the cookie"
    async with browser(world) as http:
        world.token_cache.clear()
        desk.farm.clock.advance(world.config.server.session_days * 86_400)
        assert (await http.get("/ada")).status_code == 303
    made = await identity.create_token(world, ADMIN, "another")
    async with browser(world, signed_in=False) as http:
        await http.post("/sign-in", data={"token": made.value})
        assert (await http.get("/ada")).status_code == 200
        principal = await identity.authenticate(world, TOKEN)
        await identity.delete_token(world, principal, made.id)
        assert (await http.get("/ada")).status_code == 303


async def test_a_link_signs_in_once(desk: Desk, world: World) -> None:
    link = await sessions.make_link(world, ADMIN)
    async with browser(world, signed_in=False) as http:
        for _ in range(2):
            assert (await http.get(f"/sign-in/{link}")).status_code == 200, "looking is no use"
        assert (await http.post(f"/sign-in/{link}")).status_code == 303
        assert (await http.get("/ada")).status_code == 200
    async with browser(world, signed_in=False) as http:
        assert (await http.post(f"/sign-in/{link}")).status_code == 410
        late = await sessions.make_link(world, ADMIN)
        desk.farm.clock.advance(world.config.server.login_link_minutes * 60)
        assert (await http.post(f"/sign-in/{late}")).status_code == 410


async def test_a_new_server_is_set_up_once(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    first, second = [await sessions.make_link(world, login) for login in ("", "whoever")]
    async with browser(world, signed_in=False) as http:
        assert "administrator" in (await http.get(f"/sign-in/{first}")).text
        refused = await http.post(f"/sign-in/{first}", data={"login": "no/name"})
        assert refused.status_code == 400
        assert "cannot name a user" in refused.text
        assert (await http.post(f"/sign-in/{first}", data={"login": "grace"})).status_code == 303
        assert (await http.get("/grace")).status_code == 200
        assert (await http.post(f"/sign-in/{second}", data={"login": "eve"})).status_code == 410
        with pytest.raises(BadRequest, match="--user"):
            await sessions.make_link(world, "")
    await world.database.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": "http://evil.test"},
    ],
)
async def test_another_sites_form_is_refused(world: World, headers: dict[str, str]) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK)
        answer = await http.post(
            f"{STACK}/deployments", data=form | {"operation": "update"}, headers=headers
        )
        assert answer.status_code == 403
        assert "another site" in answer.text


async def test_a_form_of_another_session_is_refused(world: World) -> None:
    async with browser(world) as http, browser(world) as other:
        form = await form_of(other, STACK) | {"operation": "update"}
        assert (await http.post(f"{STACK}/deployments", data=form)).status_code == 403
        del form["form_token"]
        assert (await http.post(f"{STACK}/deployments", data=form)).status_code == 403


async def test_a_form_sent_twice_is_one_deployment(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK) | {"operation": "update"}
        answers = [await http.post(f"{STACK}/deployments", data=form) for _ in range(3)]
        assert {each.headers["location"] for each in answers} == {f"{STACK}/deployments/1"}
        again = await form_of(http, STACK) | {"operation": "preview"}
        answer = await http.post(f"{STACK}/deployments", data=again)
        assert answer.headers["location"] == f"{STACK}/deployments/2"
        shown = (await http.get(f"{STACK}/deployments/2")).text
        assert "Preview #2" in shown
        assert "Waits for a deployment of this stack" in shown


async def test_destroy_wants_the_stacks_name(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK) | {"operation": "destroy"}
        for confirmed in ("", "web", "DEV"):
            answer = await http.post(f"{STACK}/deployments", data=form | {"confirmed": confirmed})
            assert answer.status_code == 400
            assert "type its name: dev" in answer.text
        answer = await http.post(f"{STACK}/deployments", data=form | {"confirmed": "dev"})
        assert answer.status_code == 303


async def test_one_deployment_of_another_commit(desk: Desk, world: World) -> None:
    commit = "a" * 40
    async with browser(world) as http:
        form = await form_of(http, STACK) | {"operation": "update", "commit": commit}
        both = await http.post(f"{STACK}/deployments", data=form | {"branch": "main"})
        assert both.status_code == 400
        await http.post(f"{STACK}/deployments", data=form)
        found = await desk.get("/version/1")
    git = found["configuration"]["source"]["git"]
    assert git["commit"] == commit
    assert not git.get("branch")
    assert found["trigger"] == "console"


async def test_one_deployment_with_all_its_options(desk: Desk, world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK)
        options = {
            "operation": "preview",
            "branch": "feature/x",
            "message": "<b>why</b>",
            "targets": "urn:pulumi:dev::shop::t:index:T::a",
            "dependents": "on",
            "refresh": "on",
            "variable": ["PLAIN", "HUSHED", ""],
            "value": ["1", "hunter2-once", ""],
            "secret": "1",
        }
        answer = await http.post(f"{STACK}/deployments", data=form | options)
        assert answer.headers["location"] == f"{STACK}/deployments/1"
        text = (await http.get(f"{STACK}/deployments/1")).text
    assert "hunter2-once" not in text
    grant = await desk.farm.grant()
    assert grant.source is not None
    assert grant.source.branch == "feature/x"
    assert grant.message == "<b>why</b>"
    assert grant.targets == ["urn:pulumi:dev::shop::t:index:T::a"]
    assert grant.target_dependents
    assert grant.refresh
    assert grant.environment["PLAIN"].plain == "1"
    sealed = grant.environment["HUSHED"].sealed
    assert sealed is not None
    assert desk.unseal(sealed, grant.stack_id, "env/HUSHED") == "hunter2-once"
    stored = await desk.get("/settings")
    assert "operationContext" not in stored, "the stack's settings stay as they are"


async def test_a_refused_deployment_keeps_what_was_typed(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK) | {"operation": "update", "branch": "<i>", "commit": "a"}
        rows = {"variable": ["A", "S"], "value": ["x", "hunter2"], "secret": "1", "message": "m"}
        answer = await http.post(f"{STACK}/deployments", data=form | rows)
        assert answer.status_code == 400
        assert "not both" in answer.text
        for kept in ('value="&lt;i&gt;"', 'value="A"', 'value="x"', 'value="S"', 'value="m"'):
            assert kept in answer.text
        assert "hunter2" not in answer.text
        assert f'name="once" value="{form["once"]}"' in answer.text
        wrong = {"operation": "drop", "branch": "", "commit": ""}
        assert (await http.post(f"{STACK}/deployments", data=form | wrong)).status_code == 400


async def test_another_button_of_the_same_page_is_another_deployment(world: World) -> None:
    """A browser that goes back shows the page as it was, with the key that was used."""
    async with browser(world) as http:
        form = await form_of(http, STACK)
        for version, operation in enumerate(("update", "preview", "refresh"), 1):
            data = form | {"operation": operation}
            answer = await http.post(f"{STACK}/deployments", data=data)
            assert answer.headers["location"] == f"{STACK}/deployments/{version}"


async def test_a_stacks_deployments_are_filtered(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK)
        for operation in ("update", "preview"):
            await http.post(f"{STACK}/deployments", data=form | {"operation": operation})
        text = (await http.get(f"{STACK}/deployments", params={"operation": "preview"})).text
        assert "Preview #2" in text
        assert "Update #1" not in text
        none = (await http.get(f"{STACK}/deployments", params={"status": "failed"})).text
        assert "No deployment is like that" in none
        for wrong in ({"status": "x"}, {"operation": "x"}, {"page": 0}):
            assert (await http.get(f"{STACK}/deployments", params=wrong)).status_code == 400


async def test_what_waits_is_cancelled(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, STACK) | {"operation": "update"}
        page = (await http.post(f"{STACK}/deployments", data=form)).headers["location"]
        cancel = await form_of(http, page)
        await http.post(f"{page}/cancel", data=cancel | {"mode": "graceful"})
        text = (await http.get(page)).text
    assert "Skipped" in text
    assert "cancel" not in re.findall(r'action="[^"]*/(\w+)"', text)


async def test_a_paused_queue_says_who_and_why(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, "/ada/-/queue")
        note = "<b>the database</b> moves"
        await http.post("/ada/-/queue/pause", data=form | {"note": note})
        deploy = await form_of(http, STACK) | {"operation": "update"}
        await http.post(f"{STACK}/deployments", data=deploy)
        text = (await http.get("/ada/-/queue")).text
        assert "paused by ada" in text
        assert "&lt;b&gt;the database" in text
        assert "<b>the database" not in text
        await http.post("/ada/-/queue/resume", data=form)
        assert "Paused by" not in (await http.get("/ada/-/queue")).text


async def test_what_a_viewer_may_not_see_is_not_there(world: World) -> None:
    await identity.create_user(world, "eve")
    made = await identity.create_token(world, "eve", "t")
    async with browser(world, signed_in=False) as http:
        await http.post("/sign-in", data={"token": made.value})
        missing = await http.get("/ada/web/none")
        for address in (STACK, "/ada", "/ada/-/queue", f"{STACK}/deployments/1"):
            answer = await http.get(address)
            assert (answer.status_code, answer.headers["content-type"]) == (
                404,
                missing.headers["content-type"],
            )


async def test_every_page_forbids_what_is_not_its_own(world: World) -> None:
    async with browser(world) as http:
        for address in ("/ada", "/ada/-/stacks", "/ada/-/queue", STACK, "/sign-in", "/nobody"):
            answer = await http.get(address)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert not re.search(
                r'<script(?![^>]* src=)|\son\w+=|\sstyle=|="https?://', answer.text
            )
            for asset in re.findall(r'(?:href|src)="(/static/[^"]+)"', answer.text):
                found = await http.get(asset)
                assert found.status_code == 200
                assert "immutable" in found.headers["cache-control"]
        assert (await http.get("/static/0/slipway.css")).status_code == 404
        assert (await http.get("/static/x/..%2fpages.py")).status_code == 404


async def test_the_cli_gets_a_token_by_the_browser(world: World) -> None:
    async with browser(world) as http, client(world, None) as api:
        ask = "/cli-login?cliSessionPort=43210&cliSessionNonce=n%26n&cliSessionDescription=laptop"
        form = await form_of(http, ask)
        answer = await http.post("/cli-login", data=form)
        address = urlsplit(answer.headers["location"])
        assert (address.hostname, address.port) == ("localhost", 43210)
        query = parse_qs(address.query)
        # Escaped in the page, so it comes back as it was.
        assert query["nonce"] == ["n&amp;n"] or query["nonce"] == ["n&n"]
        headers = {"Authorization": f"token {query['accessToken'][0]}"}
        assert (await api.get("/api/user", headers=headers)).json()["githubLogin"] == "ada"
        for port in ("", "0", "70000", "80/evil", "٣"):
            refused = await http.post("/cli-login", data=form | {"port": port})
            assert refused.status_code == 400


async def test_a_deployment_is_run_again_with_its_commit(desk: Desk, world: World) -> None:
    runner = await desk.run("preview", operationContext={"environmentVariables": {"A": "1"}})
    await runner.step("Get source")
    await runner.source("c" * 40)
    await runner.conclude()
    async with browser(world) as http:
        page = f"{STACK}/deployments/1"
        form = await form_of(http, page)
        answers = [await http.post(f"{page}/again", data=form) for _ in range(2)]
        assert {each.headers["location"] for each in answers} == {f"{STACK}/deployments/2"}
    found = await desk.get("/version/2")
    assert found["pulumiOperation"] == "preview"
    assert found["configuration"]["source"]["git"]["commit"] == "c" * 40
    assert found["configuration"]["environmentVariables"] == [
        {"name": "A", "value": "1", "secret": False}
    ]


async def test_tokens_are_made_shown_once_and_deleted(world: World) -> None:
    async with browser(world) as http, client(world, None) as api:
        form = await form_of(http, "/-/tokens")
        made = await http.post("/-/tokens", data=form | {"name": "<i>laptop</i>", "days": "2"})
        (value,) = set(re.findall(r"pul-[0-9a-f]{48}", made.text))
        assert "&lt;i&gt;laptop" in made.text
        headers = {"Authorization": f"token {value}"}
        assert (await api.get("/api/user", headers=headers)).status_code == 200
        text = (await http.get("/-/tokens")).text
        assert value not in text
        for days in ("0", "9999", "-1", "x", "1.5"):
            refused = await http.post("/-/tokens", data=form | {"name": "n", "days": days})
            assert refused.status_code == 400, "a token must not last longer than it was asked to"
        row = text[text.index("&lt;i&gt;laptop") :]
        action = re.findall(r'action="(/-/tokens/[^"]+/delete)"', row)[0]
        await http.post(action, data=form)
        assert (await api.get("/api/user", headers=headers)).status_code == 401
