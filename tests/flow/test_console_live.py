"""An open deployment's page: its log byte for byte, from any place on, and its state."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.names import StackName
from control_plane.services import deployment_tail, identity, sessions
from control_plane.services.deployment_queries import Shown
from control_plane.services.deployment_tail import Pass
from control_plane.services.expiry import delete_old_logs
from control_plane.services.sessions import Viewer
from runner_actors.contract import segment_key
from tests.flow.test_console import browser
from tests.support.app import TOKEN
from tests.support.deployments import STACK, Desk, Runner, make_desk
from tests.support.waiting import eventually
from ui.live import follow

PAGE = "/ada/shop/dev/deployments/1"
READERS = 200
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


async def events(desk: Desk, last: str = "") -> list[tuple[str, str, Any]]:
    """All events of the page's stream: (name, id, data)."""
    headers = {"Last-Event-ID": last} if last else {}
    async with browser(desk.farm.world) as http:
        answer = await http.get(f"{PAGE}/live", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [event_of(block) for block in answer.text.split("\n\n") if block]


def event_of(block: str) -> tuple[str, str, Any]:
    fields = dict(line.split(": ", 1) for line in block.strip().split("\n"))
    return fields["event"], fields.get("id", ""), json.loads(fields["data"])


def text_of(found: list[tuple[str, str, Any]]) -> str:
    return "".join(text for _, text in texts_of(found))


def texts_of(found: list[tuple[str, str, Any]]) -> list[tuple[int | None, str]]:
    """The log's texts, each with when it was written."""
    return [(at, text) for name, _, data in found if name == "log" for at, text in data]


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


class Reader:
    """An open page, without HTTP."""

    def __init__(self, desk: Desk, viewer: Viewer, deployment_id: str, last: str = "") -> None:
        self.seen: list[tuple[str, str, Any]] = []
        stream = follow(desk.farm.world, viewer, STACK, deployment_id, last, self._draw)
        self.reading = asyncio.create_task(self._read(stream))

    async def _draw(self, shown: Shown) -> str:
        return f"it is {shown.row.status}"

    async def _read(self, stream: AsyncIterator[bytes]) -> None:
        async for event in stream:
            self.seen.append(event_of(event.decode()))

    @property
    def text(self) -> str:
        return text_of(self.seen)


async def signed_in(desk: Desk, token: str = TOKEN) -> Viewer:
    opened = await sessions.sign_in(desk.farm.world, token)
    return await sessions.viewer(desk.farm.world, opened.cookie)


class Counted:
    """A log store that counts what it is asked for."""

    def __init__(self, logs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[str] = []
        self._read = logs.read
        monkeypatch.setattr(logs, "read", self.read, raising=False)

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.keys.append(key)
        found: bytes = await self._read(key, start, length)
        return found


async def test_many_readers_cost_one_read_of_each_segment(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = desk.farm.world
    counted = Counted(world.logs, monkeypatch)
    looks = 0
    look = deployment_tail.deployment_queries.in_full

    async def counting(*arguments: Any) -> Shown:
        nonlocal looks
        looks += 1
        return await look(*arguments)

    monkeypatch.setattr(deployment_tail.deployment_queries, "in_full", counting)
    runner = await desk.run()
    await runner.step("pulumi update")
    await runner.write(b"before anybody looked\n" * 5000)
    viewer = await signed_in(desk)
    readers = [Reader(desk, viewer, runner.grant.deployment_id) for _ in range(READERS)]
    for number in range(10):
        await runner.write(f"line {number} \N{SHIP}\n".encode())
    await runner.end_log()
    await runner.conclude()
    await asyncio.wait_for(asyncio.gather(*(each.reading for each in readers)), 60)
    for each in readers:
        assert each.text.encode() == runner.written
        assert each.seen[-1][0] == "end"
    assert sorted(counted.keys) == sorted(set(counted.keys)), "each once"
    assert len(counted.keys) == 11
    assert looks < 30
    assert not world.shared_reads.readers


async def test_a_line_has_the_time_at_which_it_was_written(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("pulumi update")
    await runner.write(b"a\nb\nc\n", marks=[(0, 1000), (2, 2000), (4, 3000)])
    await runner.write(b"d\xe2", marks=[(0, 4000)])
    await runner.write(b"\x82\xac\ne\n", marks=[(0, 5000), (3, 6000)])
    await runner.end_log()
    await runner.conclude()
    expected = [
        *[(1000, "a\n"), (2000, "b\n"), (3000, "c\n"), (4000, "d")],
        *[(5000, "\u20ac\n"), (6000, "e\n")],
    ]
    found = await events(desk)
    assert [tuple(each) for each in texts_of(found)] == expected
    (attempt,) = {place.partition(".")[0] for name, place, _ in found if name == "begin"}
    assert [tuple(each) for each in texts_of(await events(desk, f"{attempt}.4"))] == expected[2:]


PIECES = [b"a", b"\n", "é".encode(), b"\xe2\x82", b"\xac", b"\xff", b"\x1b[1m"]
SEGMENTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), max_size=5)


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(SEGMENTS, st.booleans(), st.integers(0, 40)), min_size=12, max_size=20))
def test_any_bytes_in_any_segments_arrive_from_any_place(
    logs: list[tuple[list[bytes], bool, int]],
) -> None:
    """Also when the end of the log is missing, and what there is of it ends amid a character."""

    async def run(directory: Path) -> None:
        async with make_desk(directory) as desk:
            viewer = await signed_in(desk)
            for each in logs:
                await check_any_log(desk, viewer, *each)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


async def check_any_log(
    desk: Desk, viewer: Viewer, segments: list[bytes], is_lost: bool, place: int
) -> None:
    runner = await desk.run()
    await runner.step("pulumi update")
    for body in segments:
        await runner.write(body)
    if not is_lost:
        await runner.end_log()
    await runner.conclude()
    grant, whole = runner.grant, runner.written
    at = min(place, len(whole))
    for last, expected in (("", whole), (f"{grant.generation}.{at}", whole[at:])):
        reader = Reader(desk, viewer, grant.deployment_id, last)
        await asyncio.wait_for(reader.reading, 20)
        assert reader.text == expected.decode(errors="replace")
        assert reader.seen[-1][0] == "end"


async def test_who_may_no_longer_look_is_told_nothing_more(desk: Desk) -> None:
    world = desk.farm.world
    runner = await desk.run()
    await runner.step("pulumi update")
    await runner.write(b"seen\n")
    other = await identity.create_token(world, STACK.organization, "other")
    viewers = [await signed_in(desk), await signed_in(desk, other.value)]
    stays, leaves = [Reader(desk, each, runner.grant.deployment_id) for each in viewers]
    await eventually(lambda: stays.text == leaves.text == "seen\n", "both read")
    await sessions.sign_out(world, viewers[1])
    await runner.write(b"unseen\n")
    await eventually(lambda: stays.text == "seen\nunseen\n", "who stays reads on")
    await asyncio.wait_for(leaves.reading, 20)
    assert leaves.text == "seen\n"
    assert leaves.seen[-1][0] == "gone"
    stays.reading.cancel()


async def test_leave_to_look_is_asked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have ended a session: no word of it comes here."""
    runner = await desk.run()
    asked: list[StackName] = []

    async def require(_world: Any, _cookie: str, name: StackName, _id: str) -> None:
        asked.append(name)

    monkeypatch.setattr(deployment_tail, "require", require)
    leave = Pass(desk.farm.world, await signed_in(desk), STACK, runner.grant.deployment_id)
    for _ in range(3):
        await leave.check()
    assert len(asked) == 1
    desk.farm.world.token_cache.clear()
    await leave.check()
    assert len(asked) == 2
    monkeypatch.setattr(deployment_tail, "CHECK_SECONDS", -1.0)
    desk.farm.world.token_cache.clear()
    for _ in range(3):
        await leave.check()
    assert len(asked) == 5


async def test_a_deployment_that_begins_anew_begins_its_log_anew(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"first attempt\n")
    reader = Reader(desk, await signed_in(desk), runner.grant.deployment_id)
    await eventually(lambda: reader.text == "first attempt\n", "it is read")
    await desk.farm.release(runner.grant)
    again = Runner(desk.farm, await desk.farm.grant())
    await again.step("Get source")
    await again.write(b"second\n")
    await again.end_log()
    await again.conclude()
    await asyncio.wait_for(reader.reading, 20)
    begun = [index for index, (name, _, _) in enumerate(reader.seen) if name == "begin"]
    assert text_of(reader.seen[begun[-1] :]) == "second\n"


async def test_a_segment_that_is_gone_is_said_to_be(desk: Desk) -> None:
    runner = await ended(desk, b"one\n", b"two\n")
    key = segment_key(runner.grant.log_prefix, 1)
    (Path(desk.farm.world.config.log_store) / key).unlink()
    found = await events(desk)
    assert text_of(found) == "one\n"
    name, _, why = found[-1]
    assert name == "gone"
    assert "part 1" in why


async def test_the_log_as_a_file(desk: Desk) -> None:
    runner = await ended(desk, HOSTILE.encode(), b"\x1b]0;title", b"\x07 second\n")
    async with browser(desk.farm.world) as http:
        plain = await http.get(f"{PAGE}/log")
        coloured = await http.get(f"{PAGE}/log?colours=1")
        missing = await http.get(f"{PAGE.replace('/1', '/2')}/log")
    assert coloured.content == runner.written
    expected = HOSTILE.replace("\x1b[31m", "").replace("\x1b[0m", "") + " second\n"
    assert plain.content == expected.encode()
    assert 'filename="shop-dev-1.log"' in plain.headers["content-disposition"]
    assert 'filename="shop-dev-1-colours.log"' in coloured.headers["content-disposition"]
    for answer in (plain, coloured):
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert missing.status_code == 404


async def test_the_page_of_a_deployment_outlives_its_log(desk: Desk) -> None:
    await ended(desk, b"old\n")
    desk.farm.clock.advance(91 * 86400)
    assert await delete_old_logs(desk.farm.world) == 1
    async with browser(desk.farm.world) as http:
        answer = await http.get(PAGE)
    assert answer.status_code == 200
    assert "90 days" in answer.text
    found = await events(desk)
    assert text_of(found) == ""
    assert found[-1][0] == "end"
