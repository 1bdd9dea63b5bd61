"""A stack's pages in the console: its resources, and what each update said and did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.services.world import World
from tests.flow.test_console import browser
from tests.flow.test_state_history import summary
from tests.support.app import client
from tests.support.state import Stack, document, new_stack, resource
from tests.support.world import make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield made
    await made.database.close()


@pytest.fixture
async def stack(world: World) -> AsyncIterator[Stack]:
    async with client(world) as http:
        yield await new_stack(http)


def address(stack: Stack) -> str:
    return stack.path.removeprefix("/api/stacks")


async def test_resources_are_shown_page_by_page_and_found(world: World, stack: Stack) -> None:
    resources = [resource(f"thing-{k}") for k in range(1200)]
    assert (await stack.import_(document(*resources))).status_code == 200
    async with browser(world) as http:
        page = address(stack) + "/resources"
        first = (await http.get(page)).text
        assert "1 to 500 of 1200" in first
        assert ">thing-499" in first
        assert ">thing-500" not in first
        assert "1001 to 1200 of 1200" in (await http.get(page, params={"page": 3})).text
        found = (await http.get(page, params={"q": "thing-77"})).text
        assert "1 to 11 of 11" in found
        assert "None of the 1200" in (await http.get(page, params={"q": "<script>"})).text
        for wrong in ({"page": 0}, {"page": "x"}, {"q": "x" * 300}):
            assert (await http.get(page, params=wrong)).status_code == 400


def said(sequence: int, text: str, severity: str = "error") -> dict[str, Any]:
    event = {"message": text, "color": "raw", "severity": severity, "urn": "a::b::c::thing"}
    return {"sequence": sequence, "timestamp": 1, "diagnosticEvent": event}


def done(sequence: int, operation: str, name: str, kind: str = "resourcePreEvent") -> Any:
    metadata = {
        "op": operation,
        "urn": f"urn:pulumi:dev::shop::t:index:T::{name}",
        "type": "t:index:T",
        "old": None,
        "new": None,
        "detailedDiff": {"tags": {"diffKind": "update", "inputDiff": True}},
    }
    return {"sequence": sequence, "timestamp": 1, kind: {"metadata": metadata}}


async def test_an_update_says_what_was_done_and_what_failed(world: World, stack: Stack) -> None:
    update = await stack.start()
    await update.events(
        done(0, "create", "made"),
        done(1, "same", "untouched"),
        done(2, "update", "broken"),
        done(3, "update", "broken", "resOpFailedEvent"),
        said(4, "<{%fg 1%}>it <b>broke</b><{%reset%}>"),
        {"sequence": 5, "timestamp": 1, "resourcePreEvent": "not an object"},
        summary(6, "failed", create=1),
    )
    await update.complete("failed")
    async with browser(world) as http:
        text = (await http.get(f"{address(stack)}/updates/1")).text
        assert "it &lt;b&gt;broke&lt;/b&gt;" in text
        assert "fg 1" not in text
        assert "<td>made</td>" in text
        assert "untouched" not in text
        assert "tags" in text
        assert text.count(">failed</strong>") == 1
        listed = (await http.get(f"{address(stack)}/updates")).text
        assert f'href="{address(stack)}/updates/1"' in listed
        for missing in ("/updates/2", "/updates/9999999999", f"/previews/{update.id}"):
            assert (await http.get(address(stack) + missing)).status_code == 404
