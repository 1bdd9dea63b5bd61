"""Logs over HTTP: followed as the CLI does, read by lines of a step, and byte for byte (I5)."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.api.deployment_logs import byte_range
from control_plane.services import deployment_logs
from control_plane.services.expiry import delete_old_logs
from runner_actors.contract import segment_key
from tests.support.deployments import Desk, Runner, make_desk


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(deployment_logs, "HOLD_SECONDS", 0.01)
    async with make_desk(tmp_path) as desk:
        yield desk


def words(page: dict[str, Any]) -> list[str]:
    """Headers in brackets, and lines as they are."""
    return [f"[{each['header']}]" if "header" in each else each["line"] for each in page["lines"]]


class Follower:
    """Follows a log as the Pulumi CLI does."""

    def __init__(self, desk: Desk, deployment_id: str) -> None:
        self.desk = desk
        self.path = f"/{deployment_id}/logs"
        self.token: str | None = None

    async def next(self) -> list[str]:
        query = {"continuationToken": self.token} if self.token else {}
        page = await self.desk.get(self.path, **query)
        self.token = page.get("nextToken")
        return words(page)

    async def rest(self) -> list[str]:
        """Everything until the end; never the same question twice in vain."""
        found = await self.next()
        while self.token is not None:
            more = await self.next()
            assert more or self.token is None
            found += more
        return found


def segments_in(desk: Desk) -> list[Path]:
    return list(Path(desk.farm.world.config.log_store).rglob("*.log"))


async def raw(desk: Desk, deployment_id: str, **headers: str) -> Any:
    return await desk.http.get(f"{desk.url}/{deployment_id}/log", headers=headers)


async def test_a_whole_deployment_as_the_cli_follows_it(desk: Desk) -> None:
    created = await desk.create()
    follower = Follower(desk, created["id"])
    assert await follower.next() == []
    runner = Runner(desk.farm, await desk.farm.grant())
    assert await follower.next() == []
    await runner.step("Get source")
    await runner.write(b"Cloning\nReceiving 10%\rRece")
    assert await follower.next() == ["[Get source]", "Cloning\n"]
    token = follower.token
    assert await follower.next() == []
    assert follower.token == token
    await runner.write(b"iving 100%\ndone")
    assert await follower.next() == ["Receiving 10%\rReceiving 100%\n"]
    await runner.end_step()
    await runner.step("pulumi update")
    await runner.write(b"Updating (dev)\n")
    assert await follower.next() == ["done"]
    assert await follower.next() == []
    await runner.engine_update("preview", dry_run=True)
    assert await follower.next() == []
    await runner.engine_update()
    assert await follower.next() == ["[pulumi update]", "Updating (dev)\n"]
    (update,) = await desk.get(f"/{created['id']}/updates")
    assert update["info"]["kind"] == "update"
    await runner.write(b"no break at the end")
    await runner.end_step()
    await runner.end_log()
    await runner.conclude()
    assert await follower.next() == ["no break at the end"]
    assert follower.token is None


async def test_a_preview_needs_only_its_preview(desk: Desk) -> None:
    runner = await desk.run("preview")
    follower = Follower(desk, runner.grant.deployment_id)
    await runner.step("pulumi preview")
    assert await follower.next() == []
    await runner.engine_update("preview", dry_run=True)
    assert await follower.next() == ["[pulumi preview]"]


async def test_an_operation_that_never_got_to_an_update_shows_its_log(desk: Desk) -> None:
    runner = await desk.run()
    follower = Follower(desk, runner.grant.deployment_id)
    await runner.step("pulumi update")
    await runner.write(b"error: no Pulumi.yaml\n")
    assert await follower.next() == []
    await runner.end_step(succeeded=False)
    await runner.end_log()
    await runner.conclude(False)
    lines = await follower.rest()
    assert "[pulumi update]" not in lines
    assert lines[0].startswith("[pulumi update")
    assert lines[1:] == ["error: no Pulumi.yaml\n"]


@pytest.mark.parametrize("operation", ["detect-drift", "remediate-drift"])
async def test_drift_never_announces_what_the_cli_cannot_show(desk: Desk, operation: str) -> None:
    runner = await desk.run(operation)
    await runner.step(f"pulumi {operation}")
    await runner.write(b"x\n")
    await runner.end_log()
    await runner.conclude()
    lines = await Follower(desk, runner.grant.deployment_id).rest()
    assert f"[pulumi {operation}]" not in lines
    assert lines[1:] == ["x\n"]


async def test_lines_have_times_and_kinds(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"a\nb\n", marks=[(0, 1_700_000_000_000), (2, 1_700_000_001_500)])
    page = await desk.get(f"/{runner.grant.deployment_id}/logs")
    assert page["__type"] == "DeploymentLogs"
    assert page["lines"][1] == {"timestamp": "2023-11-14T22:13:20.000Z", "line": "a\n"}
    assert page["lines"][2] == {"timestamp": "2023-11-14T22:13:21.500Z", "line": "b\n"}
    steps = await desk.get(f"/{runner.grant.deployment_id}/logs", job=0, step=0)
    assert steps["__type"] == "DeploymentLogsStep"
    assert steps["name"] == "Get source"
    assert steps["lines"] == page["lines"][1:]


async def test_a_held_answer_comes_with_the_news(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment_logs, "HOLD_SECONDS", 60)
    runner = await desk.run()
    await runner.step("Get source")
    follower = Follower(desk, runner.grant.deployment_id)
    assert await follower.next() == ["[Get source]"]
    waiting = asyncio.create_task(follower.next())
    await runner.write(b"ne")
    assert not waiting.done()
    await runner.write(b"ws\n")
    assert await waiting == ["news\n"]


async def test_other_tokens_are_refused(desk: Desk) -> None:
    runner = await desk.run()
    path = f"/{runner.grant.deployment_id}/logs"
    for token in ("x", "../..", "MS4y"):
        answer = await desk.get(path, 400, continuationToken=token)
        assert "continuationToken" in answer["message"]
    page = await desk.get(path)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", page["nextToken"])


async def test_a_lost_attempts_log_is_forgotten_and_followed_anew(desk: Desk) -> None:
    runner = await desk.run()
    follower = Follower(desk, runner.grant.deployment_id)
    await runner.step("Get source")
    await runner.write(b"first attempt\nmore\n" * 10)
    assert len(await follower.next()) == 21
    await desk.farm.release(runner.grant)
    assert await follower.next() == []
    again = Runner(desk.farm, await desk.farm.grant())
    assert again.grant.deployment_id == runner.grant.deployment_id
    await again.step("Get source")
    await again.write(b"second attempt\n")
    await again.end_log()
    await again.conclude()
    assert await follower.rest() == ["[Get source]", "second attempt\n"]
    assert (await raw(desk, again.grant.deployment_id)).content == b"second attempt\n"


async def test_a_range_of_a_lost_attempts_log_is_not_spliced_with_the_next(desk: Desk) -> None:
    runner = await desk.run()
    deployment_id = runner.grant.deployment_id
    await runner.step("Get source")
    await runner.write(b"first")
    first = await raw(desk, deployment_id)
    etag = first.headers["etag"]
    assert etag == f'"{deployment_id}.{runner.grant.generation}"'
    await runner.write(b" attempt")
    rest = await raw(desk, deployment_id, Range="bytes=5-", **{"If-Range": etag})
    assert (rest.status_code, rest.content) == (206, b" attempt")
    assert rest.headers["etag"] == etag
    await desk.farm.release(runner.grant)
    again = Runner(desk.farm, await desk.farm.grant())
    await again.step("Get source")
    await again.write(b"second attempt")
    whole = await raw(desk, deployment_id, Range="bytes=5-", **{"If-Range": etag})
    assert (whole.status_code, whole.content) == (200, b"second attempt")
    assert whole.headers["etag"] != etag
    beyond = await raw(desk, deployment_id, Range="bytes=99-", **{"If-Range": etag})
    assert (beyond.status_code, beyond.content) == (200, b"second attempt")
    plain = await raw(desk, deployment_id, Range="bytes=7-")
    assert (plain.status_code, plain.content) == (206, b"attempt")


async def test_why_there_is_no_log_or_no_end_of_it(desk: Desk) -> None:
    runner = await desk.run()
    waiting = await desk.create()
    await desk.send("POST", f"/{waiting['id']}/cancel")
    assert await Follower(desk, waiting["id"]).rest() == [
        "[Skipped: cancelled by ada before it began]"
    ]
    await runner.step("pulumi update")
    await runner.engine_update()
    await runner.write(b"half a li")
    await desk.farm.engine_started(runner.grant.deployment_id)
    await desk.farm.release(runner.grant)
    lines = await Follower(desk, runner.grant.deployment_id).rest()
    assert lines[:2] == ["[pulumi update]", "half a li"]
    assert "without its end" in lines[2]
    assert "lost" in lines[2]
    answer = await raw(desk, runner.grant.deployment_id)
    assert answer.content == b"half a li"
    assert answer.headers["x-slipway-log-complete"] == "false"


async def test_steps_by_line_numbers(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"zero\n")
    await runner.step("Pre-run command 1")
    for part in (b"l0\nl1\nl", b"2", b"", b"\nl3\nl4\n", b"l5\ntail"):
        await runner.write(part)
    await runner.step("Other")
    path = f"/{runner.grant.deployment_id}/logs"

    async def lines(**query: int) -> tuple[list[str], int | None]:
        page = await desk.get(path, **query)
        return words(page), page.get("nextOffset")

    assert await lines(step=0) == (["zero\n"], None)
    everything = ["l0\n", "l1\n", "l2\n", "l3\n", "l4\n", "l5\n", "tail"]
    assert await lines(job=0, step=1) == (everything, None)
    for offset in range(9):
        for count in (1, 2, 7, 499):
            found, following = await lines(step=1, offset=offset, count=count)
            assert found == everything[offset : offset + count]
            assert following == (offset + count if offset + count < 7 else None)
    assert await lines(step=2) == ([], 0)
    await runner.write(b"begun")
    assert await lines(step=2) == ([], 0)
    await runner.end_log()
    await runner.conclude()
    assert await lines(step=2) == (["begun"], None)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"step": 0, "count": 0}, "count"),
        ({"step": 0, "count": 500}, "count"),
        ({"step": 0, "offset": -1}, "offset"),
        ({"step": 9}, "step 9"),
        ({"step": -1}, "step must be"),
        ({"job": 1, "step": 0}, "job 1"),
        ({"job": 0}, "step is missing"),
        ({"step": "x"}, "step"),
    ],
)
async def test_a_wrong_parameter_is_named(desk: Desk, query: dict[str, Any], said: str) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    answer = await desk.get(f"/{runner.grant.deployment_id}/logs", 400, **query)
    assert said in answer["message"]


async def test_bytes_by_range(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    for part in (b"\x00\xff01", b"", b"234\n", b"56789"):
        await runner.write(part)
    whole = runner.written
    answer = await raw(desk, runner.grant.deployment_id)
    assert (answer.status_code, answer.content) == (200, whole)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-length"] == str(len(whole))
    assert answer.headers["x-slipway-log-complete"] == "false"
    assert runner.grant.deployment_id in answer.headers["etag"]
    for start in range(len(whole)):
        answer = await raw(desk, runner.grant.deployment_id, Range=f"bytes={start}-")
        assert answer.content == whole[start:]
        assert answer.status_code == (206 if start else 200)
    part = await raw(desk, runner.grant.deployment_id, Range="bytes=3-5")
    assert (part.content, part.headers["content-range"]) == (whole[3:6], "bytes 3-5/13")
    last = await raw(desk, runner.grant.deployment_id, Range="bytes=-4")
    assert last.content == whole[-4:]
    none = await raw(desk, runner.grant.deployment_id, Range=f"bytes={len(whole)}-")
    assert (none.status_code, none.headers["content-range"]) == (416, "bytes */13")
    assert none.headers["x-slipway-log-complete"] == "false"
    odd = await raw(desk, runner.grant.deployment_id, Range="lines=1-2")
    assert (odd.status_code, odd.content) == (200, whole)
    await runner.end_log()
    await runner.conclude()
    done = await raw(desk, runner.grant.deployment_id)
    assert (done.content, done.headers["x-slipway-log-complete"]) == (whole, "true")


@settings(deadline=None)
@given(first=st.integers(0, 30), last=st.integers(0, 30) | st.none(), length=st.integers(0, 20))
def test_a_range_is_a_part_of_the_log(first: int, last: int | None, length: int) -> None:
    found = byte_range(f"bytes={first}-{'' if last is None else last}", length)
    if last is not None and last < first:
        assert found == (0, length)
    elif first >= length:
        assert found is None
    else:
        assert found == (first, length if last is None else min(last + 1, length))


async def test_an_empty_log_is_empty(desk: Desk) -> None:
    created = await desk.create()
    answer = await raw(desk, created["id"])
    assert (answer.status_code, answer.content) == (200, b"")


async def test_after_its_time_a_log_is_gone_and_says_so(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"old\n")
    await runner.end_log()
    await runner.conclude()
    desk.farm.clock.advance(91 * 86400)
    assert await delete_old_logs(desk.farm.world) == 1
    assert segments_in(desk) == []
    (line,) = await Follower(desk, runner.grant.deployment_id).rest()
    assert "90 days" in line
    answer = await raw(desk, runner.grant.deployment_id)
    assert (answer.status_code, answer.json()["code"]) == (410, 410)
    assert "90 days" in answer.json()["message"]
    steps = await desk.get(f"/{runner.grant.deployment_id}/logs", step=0)
    assert (steps["lines"], "nextOffset" in steps) == ([], False)


async def test_a_segment_that_the_log_store_lost_is_never_left_out_silently(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("Get source")
    await runner.write(b"one\n")
    await runner.write(b"two\n")
    (Path(desk.farm.world.config.log_store) / segment_key(runner.grant.log_prefix, 1)).unlink()
    for path in ("logs", "logs?step=0"):
        answer = await desk.http.get(f"{desk.url}/{runner.grant.deployment_id}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, 503)
        assert "part 1" in answer.json()["message"]
    answer = await raw(desk, runner.grant.deployment_id, Range="bytes=0-3")
    assert answer.content == b"one\n"


log_bytes = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b"\n", b"\r\n", "é日\U0001f600".encode()])),
    max_size=20,
).map(b"".join)
segmented = st.lists(st.lists(log_bytes, max_size=4), min_size=1, max_size=3)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs=st.lists(segmented, min_size=3, max_size=3))
def test_any_log_is_read_as_it_was_written(logs: list[list[list[bytes]]]) -> None:
    """I5: whatever is written, in whatever segments: the same bytes, and lines that hold them."""
    directory = Path(tempfile.mkdtemp())
    try:
        asyncio.run(_write_and_read(directory, logs))
    finally:
        shutil.rmtree(directory)


async def _write_and_read(directory: Path, logs: list[list[list[bytes]]]) -> None:
    async with make_desk(directory) as desk:
        for steps in logs:
            runner = await desk.run()
            for number, segments in enumerate(steps):
                await runner.step(f"step {number}")
                for body in segments:
                    await runner.write(body)
            await runner.end_log()
            await runner.conclude()
            deployment_id = runner.grant.deployment_id
            answer = await raw(desk, deployment_id)
            assert answer.content == runner.written == b"".join(map(b"".join, steps))
            assert answer.headers["x-slipway-log-complete"] == "true"
            middle = len(runner.written) // 2
            rest = await raw(desk, deployment_id, Range=f"bytes={middle}-")
            assert rest.status_code == 416 or rest.content == runner.written[middle:]
            lines = await Follower(desk, deployment_id).rest()
            assert lines == _lines_of(steps)


def _lines_of(steps: list[list[bytes]]) -> list[str]:
    lines = []
    for number, segments in enumerate(steps):
        lines.append(f"[step {number}]")
        parts = b"".join(segments).split(b"\n")
        kept = [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
        lines += [part.decode("utf-8", "replace") for part in kept]
    return lines


async def test_a_large_log_is_read_in_little_memory(desk: Desk) -> None:
    runner = await desk.run()
    await runner.step("flood")
    body = (b"x" * 99 + b"\n") * 10_000
    for _ in range(40):
        await runner.write(body)
    deployment_id = runner.grant.deployment_id
    tracemalloc.start()
    size = 0
    log = await deployment_logs.describe(
        desk.farm.world, desk.farm.principal("ada"), desk.stack, deployment_id
    )
    async for chunk in deployment_logs.read(desk.farm.world, log, 0, log.length):
        size += len(chunk)
    page = await desk.get(f"/{deployment_id}/logs", step=0, offset=399_990, count=20)
    assert len(page["lines"]) == 10
    follower = Follower(desk, deployment_id)
    assert len(await follower.next()) == 1000
    assert len(await follower.next()) == 1000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == len(body) * 40 == 40_000_000
    assert peak < 8_000_000
