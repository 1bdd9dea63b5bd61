"""An open deployment's page: its log byte for byte, from any place on, and its state."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flow.test_console import browser
from tests.support.deployments import Desk, Runner, make_desk

PAGE = "/ada/shop/dev/deployments/1"
HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m & é 漢字 🚢\r\n"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with make_desk(tmp_path) as made:
        yield made


async def ended(desk: Desk, *bodies: bytes) -> Runner:
    """A deployment that has written these segments and ended."""
    runner = await desk.run()
    await runner.step("pulumi update")
    for body in bodies:
        await runner.write(body)
    await runner.end_log()
    await runner.conclude()
    return runner


async def events(desk: Desk, last: str = "") -> list[tuple[str, str, object]]:
    """All events of the page's stream: (name, id, data)."""
    headers = {"Last-Event-ID": last} if last else {}
    async with browser(desk.farm.world) as http:
        answer = await http.get(f"{PAGE}/live", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


def text_of(found: list[tuple[str, str, object]]) -> str:
    return "".join(str(data) for name, _, data in found if name == "log")


async def test_the_whole_log_arrives_and_the_stream_ends(desk: Desk) -> None:
    runner = await ended(desk, HOSTILE.encode(), b"second\n")
    found = await events(desk)
    assert text_of(found).encode() == bytes(runner.written)
    assert found[0][0] == "begin"
    assert found[-1][0] == "end"
    (state,) = [str(data) for name, _, data in found if name == "state"]
    assert "Succeeded" in state


async def test_a_reader_goes_on_from_any_place(desk: Desk) -> None:
    """Also in the middle of a character, which a cut connection never leaves behind."""
    body = HOSTILE.encode() * 3
    runner = await ended(desk, body[:50], body[50:])
    for _, place, _ in [each for each in await events(desk) if each[0] == "log"]:
        offset = int(place.partition(".")[2])
        assert text_of(await events(desk, place)).encode() == bytes(runner.written)[offset:]


@pytest.mark.parametrize("last", ["", "x", "1.-1", "9.5", "1.999999", "1", "٣.٣", "1." + "9" * 99])
async def test_a_place_that_is_none_begins_anew(desk: Desk, last: str) -> None:
    runner = await ended(desk, HOSTILE.encode())
    sent = last if last.isascii() else ""
    assert text_of(await events(desk, sent)).encode() == bytes(runner.written)


async def test_bytes_that_are_no_text_are_replaced_and_counted(desk: Desk) -> None:
    await ended(desk, b"a\xff\xc3", b"(\xe6\xbc")
    found = await events(desk)
    assert text_of(found) == "a\ufffd\ufffd(\ufffd"
    assert [place for name, place, _ in found if name == "log"][-1] == "1.6"


async def test_a_page_without_a_script_shows_the_log_as_text(desk: Desk) -> None:
    await ended(desk, HOSTILE.encode())
    async with browser(desk.farm.world) as http:
        text = (await http.get(PAGE)).text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert "Succeeded" in text
