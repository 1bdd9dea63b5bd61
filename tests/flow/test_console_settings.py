"""Settings > Deploy in the console: saved, refused, and never showing a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services import identity
from tests.flow.test_console import browser, form_of
from tests.support.app import client
from tests.support.deployments import Desk, make_desk
from tests.support.state import Stack, document, resource

PAGE = "/ada/shop/dev/settings"
GIT = "sourceContext.git"
SECRET = "hunter2-and-more"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


async def save(http: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    token = (await form_of(http, PAGE))["form_token"]
    return await http.post(PAGE, data={"form_token": token, **fields})


ROWS = {"variable": ["REGION", "PASSWORD", ""], "value": ["eu", SECRET, ""], "secret": ["1"]}


async def test_settings_are_saved_with_a_secret_that_is_never_shown(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        answer = await save(
            http,
            **{
                f"{GIT}.repoUrl": "https://git.test/a.git",
                f"{GIT}.branch": "main",
                f"{GIT}.gitAuth.accessToken": SECRET,
                "operationContext.preRunCommands": "make a\r\n\r\nmake b\r\n",
                "operationContext.options.skipInstallDependencies": "on",
            },
            **ROWS,
        )
        assert answer.status_code == 303, answer.text
        text = (await http.get(answer.headers["location"])).text
        assert "Saved." in text
        assert "Saved." not in (await http.get(PAGE)).text
        stored = await desk.get("/settings")
        variables = stored["operationContext"]["environmentVariables"]
        assert SECRET not in text
        assert variables["PASSWORD"]["ciphertext"] not in text
        assert 'value="REGION"' in text
        assert variables["REGION"] == "eu"
        assert stored["operationContext"]["preRunCommands"] == ["make a", "make b"]
        assert stored["operationContext"]["options"] == {"skipInstallDependencies": True}
        assert stored["source"] == "console"
        ciphertext = variables["PASSWORD"]["ciphertext"]
        assert desk.unseal(ciphertext, await desk.stack_id(), "env/PASSWORD") == SECRET


async def test_untouched_secrets_stay_and_emptied_rows_go(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        await save(http, **ROWS)
        before = await desk.get("/settings")
        kept = {"variable": ["PASSWORD", ""], "value": ["", "eu"], "secret": ["0"]}
        await save(http, **kept)
    after = await desk.get("/settings")
    variables = before["operationContext"]["environmentVariables"]
    assert after["operationContext"]["environmentVariables"] == {"PASSWORD": variables["PASSWORD"]}


async def test_a_refused_form_comes_back_as_it_was_without_its_secrets(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        wrong = {f"{GIT}.repoUrl": "https://me:secret@git.test/a.git", f"{GIT}.branch": "<b>"}
        answer = await save(http, **wrong, **ROWS)
        assert answer.status_code == 400
        assert "put credentials into gitAuth" in answer.text
        assert 'value="&lt;b&gt;"' in answer.text
        assert 'value="REGION"' in answer.text
        assert SECRET not in answer.text
        field = answer.text.partition('id="sourceContext-git-repoUrl"')[2].partition(">")[0]
        assert 'aria-invalid="true"' in field
        assert 'aria-describedby="sourceContext-git-repoUrl-why' in field
        assert 'class="wrong" id="sourceContext-git-repoUrl-why"' in answer.text
    await desk.get("/settings", 404)


async def test_a_wrong_field_that_is_folded_stands_open(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        answer = await save(http, **{"gitHub.deployPullRequest": "seven"})
        assert answer.status_code == 400
        group = answer.text.partition("<summary>Push to deploy</summary>")
        assert group[0].endswith("<details open>")
        assert 'value="seven"' in group[2]
        assert (await save(http, **{"gitHub.deployPullRequest": "7"})).status_code == 303
    assert (await desk.get("/settings"))["gitHub"] == {"deployPullRequest": 7}


async def test_who_saves_over_anothers_change_is_told(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        await save(http, **{f"{GIT}.branch": "main"})
        form = await form_of(http, PAGE)
        await desk.send("POST", "/settings", {"sourceContext": {"git": {"repoDir": "infra"}}})
        answer = await http.post(PAGE, data=form | {f"{GIT}.branch": "mine"})
        assert answer.status_code == 409
        assert 'value="mine"' in answer.text
        stored = await desk.get("/settings")
        assert stored["sourceContext"]["git"] == {"branch": "main", "repoDir": "infra"}
        again = await form_of(http, PAGE)
        fields = {f"{GIT}.branch": "mine", f"{GIT}.repoDir": "infra"}
        assert (await http.post(PAGE, data=again | fields)).status_code == 303


async def test_all_settings_are_deleted_by_who_means_it(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        await save(http, **{f"{GIT}.branch": "main"})
        form = await form_of(http, PAGE)
        assert (await http.post(f"{PAGE}/delete", data=form)).status_code == 400
        await desk.get("/settings")
        answer = await http.post(f"{PAGE}/delete", data=form | {"confirmed": "on"})
        assert answer.status_code == 303
        await desk.get("/settings", 404)
        assert "Delete these settings" not in (await http.get(PAGE)).text


GENERAL = f"{PAGE}/general"


async def test_tags_are_changed_by_rows(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        form = await form_of(http, GENERAL)
        rows = {"tag": ["team", "<b>", ""], "value": ["a", "x", ""]}
        refused = await http.post(f"{GENERAL}/tags", data=form | rows)
        assert refused.status_code == 400
        assert 'value="&lt;b&gt;"' in refused.text
        rows = {"tag": ["team", "owner", ""], "value": ["a", "<i>ada</i>", ""]}
        assert (await http.post(f"{GENERAL}/tags", data=form | rows)).status_code == 303
        text = (await http.get("/ada/shop/dev")).text
        assert "owner: &lt;i&gt;ada&lt;/i&gt;" in text
        for tags, values in ((["a", "a"], ["1", "2"]), ([""], ["lost"])):
            data = form | {"tag": tags, "value": values}
            assert (await http.post(f"{GENERAL}/tags", data=data)).status_code == 400


async def test_a_stack_is_renamed_and_its_page_follows(desk: Desk) -> None:
    async with browser(desk.farm.world) as http:
        form = await form_of(http, GENERAL)
        wrong = form | {"project": "shop", "stack": "no name"}
        refused = await http.post(f"{GENERAL}/rename", data=wrong)
        assert refused.status_code == 400
        assert 'value="no name"' in refused.text
        answer = await http.post(f"{GENERAL}/rename", data=form | {"project": "", "stack": "live"})
        assert answer.headers["location"] == "/ada/shop/live/settings/general?saved=1"
        assert (await http.get("/ada/shop/live")).status_code == 200
        assert (await http.get("/ada/shop/dev")).status_code == 404


async def test_a_stack_is_deleted_by_who_types_its_name(desk: Desk) -> None:
    async with client(desk.farm.world) as api, browser(desk.farm.world) as http:
        await Stack(api, desk.stack).import_(document(resource("kept")))
        form = await form_of(http, GENERAL)
        for typed in ("", "Dev", "shop"):
            answer = await http.post(f"{GENERAL}/delete", data=form | {"confirmed": typed})
            assert answer.status_code == 400
            assert "type its name: dev" in answer.text
        named = form | {"confirmed": "dev"}
        answer = await http.post(f"{GENERAL}/delete", data=named)
        assert answer.status_code == 400
        assert "still contains resources" in answer.text
        answer = await http.post(f"{GENERAL}/delete", data=named | {"forget": "on"})
        assert answer.headers["location"] == "/ada/-/stacks"
        assert (await http.get("/ada/shop/dev")).status_code == 404


async def test_a_stack_moves_to_another_of_ones_organizations(desk: Desk) -> None:
    world = desk.farm.world
    async with browser(world) as http:
        assert "/transfer" not in (await http.get(GENERAL)).text, "there is none yet"
        await identity.create_user(world, "eve")
        await identity.add_member(world, "eve", "ada", "admin")
        world.token_cache.clear()
        form = await form_of(http, GENERAL)
        assert "<option>eve</option>" in (await http.get(GENERAL)).text
        refused = await http.post(f"{GENERAL}/transfer", data=form | {"to": "nobody"})
        assert refused.status_code == 404
        answer = await http.post(f"{GENERAL}/transfer", data=form | {"to": "eve"})
        assert answer.headers["location"] == "/eve/shop/dev/settings/general?saved=1"
        assert (await http.get("/eve/shop/dev")).status_code == 200
