"""Settings > Deploy in the console: saved, refused, and never showing a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.test_console import browser, form_of
from tests.support.deployments import Desk, make_desk

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
    await desk.get("/settings", 404)
