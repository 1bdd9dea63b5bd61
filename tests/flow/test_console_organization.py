"""An organization in the console: its home with search, its stacks, and its settings."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services import identity, organization_settings
from control_plane.services.world import World
from tests.flow.test_console import browser, form_of
from tests.support.app import ADMIN, client
from tests.support.deployments import Desk, make_desk
from tests.support.queue import SOURCE

SETTINGS = "/ada/-/settings"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


@pytest.fixture
def world(desk: Desk) -> World:
    return desk.farm.world


async def shown(http: httpx.AsyncClient, **chosen: Any) -> set[str]:
    """Which deployments the home page lists, as `stack#version`."""
    answer = await http.get("/ada", params=chosen)
    assert answer.status_code == 200, answer.text
    listed = answer.text.partition("<h2>Deployments</h2>")[2]
    return {
        f"{stack}#{version}"
        for stack, version in re.findall(r'href="/ada/\w+/([\w%.-]+)/deployments/(\d+)"', listed)
    }


async def test_deployments_are_found_by_words_and_filters(desk: Desk, world: World) -> None:
    """Everything that is chosen is in the address, and all of it holds at once."""
    await desk.add_stack("billing", "prod_1")
    runner = await desk.run("update")
    await runner.step("Get source")
    await runner.source("ab" * 20)
    await runner.conclude()
    await desk.create("preview")
    await identity.create_user(world, "grace")
    await identity.add_member(world, "ada", "grace", "member")
    made = await identity.create_token(world, "grace", "t")
    async with client(world, None) as grace:
        desk.farm.clock.advance(3 * 86_400)
        answer = await grace.post(
            "/api/stacks/ada/billing/prod_1/deployments",
            json=SOURCE | {"operation": "destroy"},
            headers={"Authorization": f"token {made.value}"},
        )
        assert answer.status_code == 202, answer.text
    everything = {"dev#1", "dev#2", "prod_1#1"}
    today = datetime.fromtimestamp(desk.farm.clock() / 1000, UTC).date().isoformat()
    async with browser(world) as http:
        for chosen, expected in (
            ({}, everything),
            ({"q": "SHOP"}, {"dev#1", "dev#2"}),
            ({"q": "shop/dev"}, {"dev#1", "dev#2"}),
            ({"q": "prod_"}, {"prod_1#1"}),
            ({"q": "pro%1"}, set()),
            ({"q": "abab"}, {"dev#1"}),
            ({"q": "baba"}, set()),
            ({"q": "why"}, {"dev#1"}),
            ({"q": "grace"}, {"prod_1#1"}),
            ({"q": "#2"}, {"dev#2"}),
            ({"q": "shop WHY abab"}, {"dev#1"}),
            ({"q": "shop grace"}, set()),
            ({"q": "' OR 1=1 --"}, set()),
            ({"q": "\\"}, set()),
            ({"status": "succeeded"}, {"dev#1"}),
            ({"operation": "destroy"}, {"prod_1#1"}),
            ({"trigger": "api"}, everything),
            ({"trigger": "push"}, set()),
            ({"project": "billing"}, {"prod_1#1"}),
            ({"project": "bill"}, set()),
            ({"who": "grace"}, {"prod_1#1"}),
            ({"who": "ada", "status": "not-started"}, {"dev#2"}),
            ({"from": today}, {"prod_1#1"}),
            ({"to": today}, everything),
            ({"from": "2020-01-01", "to": "2020-01-02"}, set()),
            ({"q": "prod", "who": "grace", "operation": "destroy", "from": today}, {"prod_1#1"}),
        ):
            assert await shown(http, **chosen) == expected, chosen
        for wrong in (
            {"from": "yesterday"},
            {"to": "9999-99-99"},
            {"status": "done"},
            {"trigger": "wind"},
            {"page": "0"},
            {"q": "x" * 201},
        ):
            assert (await http.get("/ada", params=wrong)).status_code == 400, wrong
        kept = (await http.get("/ada", params={"q": '"><b>', "who": "grace"})).text
        assert 'value="&#34;&gt;&lt;b&gt;"' in kept
        assert '<details class="more" open>' in kept
        assert "No deployment is like this" in kept


async def test_pages_keep_what_was_chosen(desk: Desk, world: World) -> None:
    for _ in range(30):
        await desk.create("preview")
    async with browser(world) as http:
        first = await http.get("/ada", params={"q": "shop", "operation": "preview"})
        assert "30 found" in first.text
        (older,) = re.findall(r'href="(\?[^"]+)" rel="next"', first.text)
        query = dict(re.findall(r"(\w+)=([^&;]*)", older))
        assert query == {"q": "shop", "operation": "preview", "page": "2"}
        assert await shown(http, q="shop", operation="preview", page=2) == {
            f"dev#{number}" for number in range(1, 6)
        }
        for past in ("/ada", "/ada/-/stacks"):
            text = (await http.get(past, params={"page": 900})).text
            assert "There are not so many pages" in text


async def test_what_runs_now_is_drawn_and_stays_fresh(desk: Desk, world: World) -> None:
    async with browser(world) as http:
        assert "Nothing runs and nothing waits" in (await http.get("/ada/-/now")).text
        await desk.run()
        for _ in range(7):
            await desk.create("preview")
        for address in ("/ada", "/ada/-/now"):
            text = (await http.get(address)).text
            assert ">1 of 10</strong> running" in text
            assert text.count('class="full"') == 1
            assert "7 waiting" in text
            assert "All 7 that wait" in text
            assert "deployment #1" in text, "and why the first of them waits"
        assert "<html" not in (await http.get("/ada/-/now")).text


async def test_the_first_use_says_what_to_do_with_this_servers_address(world: World) -> None:
    await identity.create_organization(world, "empty", ADMIN)
    async with browser(world) as http:
        for address in ("/empty", "/empty/-/stacks"):
            text = (await http.get(address)).text
            assert "pulumi login http://127.0.0.1:8080" in text
            assert "export PULUMI_CONSOLE_DOMAIN=127.0.0.1:8080" in text
            assert "--stack empty/shop/dev" in text
            assert "Status" not in text
        assert "Your first stack" not in (await http.get("/ada")).text


async def test_stacks_are_found_sorted_and_marked(desk: Desk, world: World) -> None:
    for number in range(150):
        await desk.add_stack(f"p{number % 3}", f"s{number:03}")
    await desk.run()
    await desk.create("preview")
    await desk.farm.sql(
        "UPDATE stacks SET resource_count = 7, last_update_at = 5, paused_at = 1,"
        " paused_by = 'ada', pause_note = '<i>freeze</i>' WHERE name = 's042'"
    )

    def names(text: str) -> list[str]:
        return re.findall(r'<td><a href="/ada/(\w+/\w+)">', text)

    async with browser(world) as http:
        page = "/ada/-/stacks"
        first = (await http.get(page)).text
        assert names(first)[:2] == ["p0/s000", "p0/s003"]
        assert re.findall(r'scope="rowgroup" colspan="4"><a[^>]*>(\w+)<', first) == ["p0", "p1"]
        assert "1 to 100 of 151" in first
        last = (await http.get(page, params={"page": 2})).text
        assert names(last)[-1] == "shop/dev"
        assert 'deployments/1"><span class="status accepted">Update #1<' in last
        assert "1 waiting" in last
        for chosen, expected in (
            ({"q": "S042"}, ["p0/s042"]),
            ({"q": "p1 s00"}, ["p1/s001", "p1/s004", "p1/s007"]),
            ({"q": "s_42"}, []),
            ({"project": "shop"}, ["shop/dev"]),
            ({"state": "running"}, ["shop/dev"]),
            ({"state": "waiting"}, ["shop/dev"]),
            ({"state": "paused"}, ["p0/s042"]),
            ({"state": "failed"}, []),
            ({"state": "paused", "q": "s043"}, []),
        ):
            assert names((await http.get(page, params=chosen)).text) == expected, chosen
        for sort in ("updated", "resources"):
            assert names((await http.get(page, params={"sort": sort})).text)[0] == "p0/s042"
        assert "&lt;i&gt;freeze" in (await http.get(page, params={"q": "s042"})).text
        assert "No stack is like this" in (await http.get(page, params={"q": "nope"})).text
        for wrong in ({"sort": "age"}, {"state": "odd"}, {"page": "0"}):
            assert (await http.get(page, params=wrong)).status_code == 400


async def save(http: httpx.AsyncClient, path: str = "", **fields: str) -> httpx.Response:
    token = (await form_of(http, "/-/tokens"))["form_token"]
    return await http.post(f"{SETTINGS}{path}", data={"form_token": token, **fields})


async def test_the_limit_is_changed_in_bounds_and_what_waits_begins(
    desk: Desk, world: World
) -> None:
    await desk.farm.sql("UPDATE organizations SET deployment_limit = 1 WHERE login = 'ada'")
    other = await desk.add_stack("shop", "other")
    await desk.run()
    await desk.http.post(f"/api/stacks/{other}/deployments", json=SOURCE | {"operation": "preview"})
    assert await desk.farm.grant_all() == []
    async with browser(world) as http:
        for wrong in ("0", "-1", "1001", "x", "1.5", "", "9" * 30, "٣"):
            answer = await save(http, name="Ada's", limit=wrong)
            assert answer.status_code == 400, wrong
            assert 'role="alert"' in answer.text
            assert f'value="{wrong}"' in answer.text, "what was typed is not lost"
            assert "Ada&#39;s" in answer.text
        assert (await save(http, name="", limit="3")).status_code == 400
        assert (await save(http, name="x" * 101, limit="3")).status_code == 400
        answer = await save(http, name="Ada <b>", limit="2")
        assert answer.headers["location"] == f"{SETTINGS}?saved=1"
        text = (await http.get(answer.headers["location"])).text
        assert "Saved." in text
        assert 'value="Ada &lt;b&gt;"' in text
    assert len(await desk.farm.grant_all()) == 1


async def test_only_a_servers_administrator_gives_more_than_the_server_does(
    desk: Desk, world: World
) -> None:
    async with browser(world) as http:
        assert (await save(http, name="ada", limit="1000")).status_code == 303
    await desk.farm.sql("UPDATE users SET site_admin = false")
    world.token_cache.clear()
    async with browser(world) as http:
        assert (await save(http, name="ada", limit="1001")).status_code == 400
        assert (await save(http, name="ada", limit="5")).status_code == 303
        refused = await save(http, name="ada", limit="11")
        assert refused.status_code == 400
        assert "between 1 and 10. A server" in refused.text


async def test_members_come_change_and_go_but_the_last_administrator(world: World) -> None:
    for login in ("grace", "alan"):
        await identity.create_user(world, login)
    await identity.create_organization(world, "crew", ADMIN)
    made = await identity.create_token(world, "grace", "t")

    async with browser(world) as http, browser(world, signed_in=False) as grace:
        await grace.post("/sign-in", data={"token": made.value})

        async def do(of: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
            token = (await form_of(of, "/-/tokens"))["form_token"]
            address = f"/crew/-/settings/members{path}"
            return await of.post(address, data={"form_token": token, **fields})

        async def roles() -> dict[str, str]:
            text = (await http.get("/crew/-/settings/members")).text
            found = re.findall(r"<td>(\w+).*?</td>\s*<td>(\w+)</td>", text)
            return dict(found)

        assert (await grace.get("/crew")).status_code == 404
        assert (await do(http, "", login="nobody", role="member")).status_code == 404
        assert (await do(http, "", login="grace", role="queen")).status_code == 400
        assert (await do(http, "", login="grace", role="member")).status_code == 303
        again = await do(http, "", login="grace", role="admin")
        assert again.status_code == 409
        assert 'value="grace"' in again.text
        assert await roles() == {"ada": "Administrator", "grace": "Member"}
        assert (await grace.get("/crew")).status_code == 200

        page = (await grace.get("/crew/-/settings/members")).text
        assert "Only an administrator of crew adds members" in page
        assert "/ada/remove" not in page
        for path in ("/grace/role", "/ada/role", "/ada/remove", ""):
            answer = await do(grace, path, role="admin", login="alan")
            assert answer.status_code == 403, path

        for path, fields in (("/ada/role", {"role": "member"}), ("/ada/remove", {})):
            answer = await do(http, path, **fields)
            assert answer.status_code == 409
            assert "last administrator" in answer.text
        assert (await do(http, "/grace/role", role="admin")).status_code == 303
        assert (await do(grace, "/ada/role", role="member")).status_code == 303
        assert await roles() == {"ada": "Member", "grace": "Administrator"}
        assert (await do(http, "/grace/role", role="member")).status_code == 403
        left = await do(http, "/ada/remove")
        assert left.headers["location"] == "/"
        assert (await http.get("/crew")).status_code == 404
        assert (await do(grace, "/ada/remove")).status_code == 404


async def test_the_owner_of_a_personal_organization_stays(world: World) -> None:
    await identity.create_user(world, "grace")
    async with browser(world) as http:
        await save(http, "/members", login="grace", role="admin")
        for path, fields in (("role", {"role": "member"}), ("remove", {})):
            answer = await save(http, f"/members/ada/{path}", **fields)
            assert answer.status_code == 409
            assert "own organization" in answer.text
        assert "the owner stays" in (await http.get(f"{SETTINGS}/members")).text


async def test_a_new_user_is_invited_by_a_link_that_works_once(desk: Desk, world: World) -> None:
    async with browser(world) as http:
        made = await save(http, "/members", login="grace", role="member", new="on")
        assert made.status_code == 200
        (link,) = re.findall(r"http://127.0.0.1:8080(/sign-in/sll-[0-9a-f]+)", made.text)
        assert link not in (await http.get(f"{SETTINGS}/members")).text
        taken = await save(http, "/members", login="grace", role="member", new="on")
        assert taken.status_code == 400, "never a link that signs in as somebody who exists"
        assert "sll-" not in taken.text
        desk.farm.clock.advance(organization_settings.INVITATION_MS / 1000 - 1)
        async with browser(world, signed_in=False) as grace:
            assert (await grace.post(link)).status_code == 303
            assert (await grace.get("/ada")).status_code == 200
            assert (await grace.get("/grace")).status_code == 200
            assert (await grace.post(link)).status_code == 410
    await desk.farm.sql("UPDATE users SET site_admin = false")
    world.token_cache.clear()
    async with browser(world) as http:
        refused = await save(http, "/members", login="eve", role="member", new="on")
        assert refused.status_code == 403


async def test_pools_are_made_with_a_token_shown_once_and_deleted_when_unused(
    desk: Desk, world: World
) -> None:
    async with browser(world) as http:
        listed = (await http.get(f"{SETTINGS}/pools")).text
        assert "for all organizations" in listed
        assert "Make a pool" in listed
        for wrong in ("", "no/name", "x" * 64):
            assert (await save(http, "/pools", name=wrong)).status_code == 400
        made = await save(http, "/pools", name="metal", description="<b>big</b>")
        (token,) = set(re.findall(r"slp-[0-9a-f]{48}", made.text))
        assert "&lt;b&gt;big" in made.text
        assert "slipway gateway" in made.text
        assert (await save(http, "/pools", name="metal")).status_code == 409
        listed = (await http.get(f"{SETTINGS}/pools")).text
        assert token not in listed
        assert "has never been online" in listed
        (rotate,) = re.findall(r'action="/ada/-/settings(/pools/[^"]+/rotate)"', listed)
        pool = await identity.authenticate_pool(world, token)
        assert pool.name == "metal"
        rotated = await save(http, rotate)
        (other,) = set(re.findall(r"slp-[0-9a-f]{48}", rotated.text))
        assert (await identity.authenticate_pool(world, other)).id == pool.id
        with pytest.raises(identity.NotLoggedIn):
            await identity.authenticate_pool(world, token)

        settings = SOURCE | {"agentPoolID": pool.id}
        await desk.farm.sql(
            "UPDATE pools SET public_key = (SELECT public_key FROM pools WHERE is_default)"
            " WHERE id = :id",
            id=pool.id,
        )
        await desk.create(agentPoolID=pool.id)
        delete = rotate.replace("/rotate", "/delete")
        busy = await save(http, delete)
        assert busy.status_code == 409
        assert "1 deployments run or wait" in busy.text
        await desk.farm.sql("UPDATE deployments SET status = 'skipped'")
        await desk.send("PUT", "/settings", settings)
        named = await save(http, delete)
        assert named.status_code == 409
        assert "settings of 1 stacks" in named.text
        await desk.send("PUT", "/settings", SOURCE)
        assert (await save(http, delete)).status_code == 303
        with pytest.raises(identity.NotLoggedIn):
            await identity.authenticate_pool(world, other)
        hosted = desk.farm.pool.id
        assert (await save(http, f"/pools/{hosted}/delete")).status_code == 404
        assert (await save(http, f"/pools/{hosted}/rotate")).status_code == 404


async def test_members_see_settings_and_change_nothing(world: World) -> None:
    await identity.create_user(world, "grace")
    await identity.add_member(world, "ada", "grace", "member")
    made = await identity.create_token(world, "grace", "t")
    async with browser(world, signed_in=False) as http:
        await http.post("/sign-in", data={"token": made.value})
        for path in ("", "/pools", "/integrations"):
            page = await http.get(f"{SETTINGS}{path}")
            assert page.status_code == 200
            assert "Only an administrator of ada" in page.text
        for path, fields in (("", {"name": "x", "limit": "3"}), ("/pools", {"name": "p"})):
            answer = await save(http, path, **fields)
            assert answer.status_code == 403
        assert "This server has none yet" in page.text
        made_one = await http.get("/-/organizations")
        assert "Only an administrator of this server" in made_one.text
        form = await form_of(http, "/-/tokens")
        refused = await http.post("/-/organizations", data=form | {"login": "mine"})
        assert refused.status_code == 403


async def test_a_servers_administrator_makes_organizations(world: World) -> None:
    async with browser(world) as http:
        form = await form_of(http, "/-/organizations")
        for wrong, why in (
            ("ada", "taken"),
            ("api", "addresses here begin so"),
            ("-", "addresses here begin so"),
            ("a b", "cannot name an organization"),
        ):
            answer = await http.post("/-/organizations", data=form | {"login": wrong})
            assert answer.status_code == 400
            assert why in answer.text
            assert f'value="{wrong}"' in answer.text
        answer = await http.post("/-/organizations", data=form | {"login": "crew"})
        assert answer.headers["location"] == "/crew"
        assert (await http.get("/crew")).status_code == 200
        assert 'href="/crew"' in (await http.get("/ada")).text
