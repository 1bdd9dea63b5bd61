"""State over HTTP: journal, checkpoints in three forms, export and import."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from control_plane.services import state
from control_plane.services.world import World
from control_plane.store.tables import journal_entries
from tests.support.app import client
from tests.support.state import (
    Stack,
    Update,
    document,
    entry,
    kept_objects,
    new_stack,
    packed,
    resource,
)
from tests.support.world import make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path, config={"server": {"body_bytes_max": 1_000_000}})
    yield made
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as http:
        yield http


@pytest.fixture
async def stack(http: httpx.AsyncClient) -> Stack:
    return await new_stack(http)


async def verbatim(update: Update, raw: str, number: int) -> httpx.Response:
    """As the CLI does it: the text of the document spliced into the request."""
    body = f'{{"version":3,"untypedDeployment":{raw},"sequenceNumber":{number}}}'
    return await update.http.patch(
        f"{update.path}/checkpointverbatim",
        content=gzip.compress(body.encode()),
        headers={"Content-Encoding": "gzip", "Authorization": f"update-token {update.token}"},
    )


async def delta(
    update: Update, edits: list[tuple[int, int, str]], result: str, number: int
) -> httpx.Response:
    spans = [
        {"Span": {"uri": "", "start": _at(start), "end": _at(end)}, "NewText": text}
        for start, end, text in edits
    ]
    body = {
        "version": 3,
        "checkpointHash": hashlib.sha256(result.encode()).hexdigest(),
        "sequenceNumber": number,
        "deploymentDelta": spans,
    }
    return await update.call("PATCH", "checkpointdelta", body)


def _at(offset: int) -> dict[str, int]:
    return {"line": 1, "column": 1, "offset": offset}


async def test_the_journal_is_the_state_when_the_update_completes(stack: Stack) -> None:
    update = await stack.run("a", "b")
    exported = await stack.export()
    assert exported["version"] == 3
    resources = exported["deployment"]["resources"]
    assert resources == [resource("a"), resource("b")]
    [shown] = (await stack.get("/updates"))["updates"]
    assert shown["resourceCount"] == 2
    assert (await update.journal(entry(99, 0, 99))).status_code == 403


async def test_the_state_shows_what_a_running_update_has_done(stack: Stack) -> None:
    await stack.run("a")
    update = await stack.start()
    base = await stack.export()
    await update.create("b")
    now = await stack.export()
    assert [each["id"] for each in now["deployment"]["resources"]] == ["b", "a"]
    assert await stack.export(1) == base
    assert [each["id"] for each in (await stack.export(2))["deployment"]["resources"]] == ["b", "a"]
    await update.complete()


async def test_entries_that_come_twice_or_out_of_order_count_once(stack: Stack) -> None:
    update = await stack.start()
    second = entry(2, 1, 2, state=resource("b"))
    first = entry(1, 1, 1, state=resource("a"))
    for batch in ([second], [first, second], [first]):
        assert (await update.journal(*batch)).status_code == 204
    await update.complete()
    assert await stack.resources() == ["a", "b"]


async def test_an_update_that_did_nothing_leaves_what_it_found(stack: Stack) -> None:
    await stack.run("a")
    await stack.run()
    assert await stack.resources() == ["a"]
    update = await stack.start(journal=0)
    await update.complete("failed")
    assert await stack.resources() == ["a"]
    assert await stack.resources(3) == ["a"]


async def test_the_journal_is_gone_once_it_is_a_document(stack: Stack, world: World) -> None:
    await stack.run("a", "b", "c")
    async with world.database.snapshot() as tx:
        assert await tx.scalar(select(func.count()).select_from(journal_entries)) == 0


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (entry(1, 10, 1), "kind"),
        (entry(1, 1, 1) | {"version": 2}, "version 2"),
        (entry(1, 1, 1, state={"urn": "x"}), "type"),
        (entry(1, 1, 1, state={"urn": 1, "type": "t"}), "urn"),
        (entry(1, 1, 1, state=resource("a", dependencies=[1])), "dependencies"),
        (entry(1, 0, 1, operation={"type": "creating"}), "resource"),
        (entry(1, 5, 1, newSnapshot={"resources": [1]}), "resources"),
        (entry(1, 6, 1), ""),
        ({"kind": 1}, "sequenceID"),
        (entry(1, 1, 1, removeOld="0"), "removeOld"),
    ],
)
async def test_an_entry_that_could_not_be_replayed_is_refused_with_its_batch(
    stack: Stack, broken: dict[str, Any], why: str
) -> None:
    update = await stack.start()
    answer = await update.journal(entry(7, 1, 7, state=resource("a")), broken)
    assert answer.status_code == 400
    assert why in answer.json()["message"]
    await update.complete()
    assert await stack.resources() == []


async def test_checkpoints_replace_the_state_and_the_last_one_stays(
    stack: Stack, world: World
) -> None:
    update = await stack.start(journal=0)
    for names in ("a", "ab", "abc"):
        saved = await update.checkpoint(document(*map(resource, names)))
        assert saved.status_code == 204
        assert await stack.resources() == list(names)
    again = await update.checkpoint(document(*map(resource, "abc")))
    assert again.status_code == 204
    assert (await update.call("PATCH", "checkpoint", {"isInvalid": True})).status_code == 204
    await update.complete()
    assert await stack.resources() == ["a", "b", "c"]
    await state.sweep(world)
    assert len(kept_objects(world)) == 1
    assert await stack.resources(1) == ["a", "b", "c"]


async def test_a_checkpoint_keeps_features_and_unknown_keys(stack: Stack) -> None:
    update = await stack.start(journal=0)
    body = document(resource("a", futureKey={"x": 1.0}), futurePart=[1])
    body |= {"version": 4, "features": ["taint", "from-the-future"]}
    await update.checkpoint(body)
    await update.complete()
    assert await stack.export() == body


@pytest.mark.parametrize(
    "body",
    [
        {"version": 3},
        {"version": 0, "deployment": {}},
        {"version": 5, "deployment": {}},
        {"version": 3, "deployment": []},
        {"version": "3", "deployment": {}},
        {"version": 3, "deployment": {"resources": [{"urn": "x"}]}},
    ],
)
async def test_a_checkpoint_that_no_engine_could_read_is_refused(
    stack: Stack, body: dict[str, Any]
) -> None:
    update = await stack.start(journal=0)
    assert (await update.checkpoint(body)).status_code == 400
    assert await stack.resources() == []
    assert (await stack.import_(body)).status_code in (400, 409)


async def test_journal_and_checkpoints_do_not_mix(stack: Stack) -> None:
    journaled = await stack.start(journal=1)
    assert (await journaled.checkpoint(document())).status_code == 400
    await journaled.complete()
    plain = await stack.start(journal=0)
    assert plain.journal_version == 0
    assert (await plain.journal(entry(1, 0, 1))).status_code == 400


async def test_a_delta_gives_exactly_the_bytes_that_were_hashed(stack: Stack) -> None:
    update = await stack.start(journal=0)
    first = json.dumps(document(resource("a", outputs={"text": "\u003ctag\u003e é"})), indent=1)
    assert (await verbatim(update, first, 1)).status_code == 204
    place = len(first[: first.index('"id"')].encode())
    second = first.replace('"id"', '"external": true, "id"')
    edit = (place, place, '"external": true, ')
    assert (await delta(update, [edit], second, 2)).status_code == 204
    assert (await stack.http.get(f"{stack.path}/export")).text == second
    assert (await delta(update, [edit], second, 2)).status_code == 204, "repeated"
    assert (await verbatim(update, first, 1)).status_code == 204, "an old repetition"
    assert (await stack.http.get(f"{stack.path}/export")).text == second
    await update.complete()
    assert (await stack.http.get(f"{stack.path}/export/1")).text == second


async def test_a_delta_that_does_not_fit_is_refused_and_the_whole_is_taken(stack: Stack) -> None:
    update = await stack.start(journal=0)
    whole = json.dumps(document(resource("a")))
    early = await delta(update, [], whole, 1)
    assert early.status_code == 409
    await verbatim(update, whole, 1)
    for edits in ([(0, 5, "x")], [(9, 3, "")], [(0, 10**9, "")], [(5, 6, ""), (2, 3, "")]):
        answer = await delta(update, edits, whole + " ", 2)
        assert answer.status_code == 409, edits
    other = json.dumps(document(resource("b")))
    assert (await verbatim(update, other, 1)).status_code == 409, "an old number, other contents"
    assert (await verbatim(update, other, 0)).status_code == 400
    assert (await verbatim(update, other, 2)).status_code == 204
    assert await stack.resources() == ["b"]


async def test_import_replaces_the_state_and_is_an_update(stack: Stack) -> None:
    await stack.run("a")
    answer = await stack.import_(document(resource("b"), resource("c")))
    assert answer.status_code == 200
    update_id = answer.json()["updateId"]
    assert await stack.get(f"/update/{update_id}", continuationToken="") == {
        "status": "succeeded",
        "events": [],
    }
    assert await stack.resources() == ["b", "c"]
    assert await stack.resources(1) == ["a"]
    newest = (await stack.get("/updates"))["updates"][0]
    assert (newest["kind"], newest["version"], newest["resourceCount"]) == ("import", 2, 2)


async def test_what_was_imported_is_exported_byte_for_byte(stack: Stack) -> None:
    text = json.dumps(document(resource("a", outputs={"n": 1.50, "big": 2**70})), indent=2)
    text = text.replace("1.5", "1.50")
    answer = await stack.http.post(f"{stack.path}/import", content=text.encode())
    assert answer.status_code == 200
    assert (await stack.http.get(f"{stack.path}/export")).text == text


async def test_an_empty_state_is_imported(stack: Stack) -> None:
    await stack.run("a")
    assert (await stack.import_({"version": 3, "deployment": None})).status_code == 200
    assert (await stack.export())["deployment"] is None
    assert (await stack.http.delete(stack.path)).status_code == 204


async def test_secrets_of_another_stack_are_not_imported(
    http: httpx.AsyncClient, stack: Stack, world: World
) -> None:
    other = await new_stack(http, "other")
    answer = await other.post("/encrypt", {"plaintext": "aHVzaA=="})
    secret = {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "ciphertext": answer.json()["ciphertext"],
    }
    providers = {"type": "service", "state": {"url": "http://x", "stack": "other"}}
    body = document(resource("a", outputs={"s": secret}), secrets_providers=providers)
    refused = await stack.import_(body)
    assert refused.status_code == 400
    assert "--show-secrets" in refused.json()["message"]
    assert kept_objects(world) == []
    assert (await other.import_(body)).status_code == 200
    body["deployment"]["secrets_providers"] = {"type": "passphrase", "state": {}}
    assert (await stack.import_(body)).status_code == 200, "another provider's secret"


async def test_the_export_names_the_address_that_the_caller_uses(stack: Stack) -> None:
    home = {"url": "http://old:1", "owner": "x", "project": "y", "stack": "z", "insecure": True}
    providers = {"type": "service", "state": home}
    await stack.import_(document(resource("a"), secrets_providers=providers))

    async def seen(host: str) -> Any:
        answer = await stack.http.get(f"{stack.path}/export", headers={"Host": host})
        return answer.json()["deployment"]["secrets_providers"]["state"]

    expected = {"owner": "ada", "project": "shop", "stack": "dev", "insecure": True}
    assert await seen("slipway.test") == {"url": "http://slipway.test", **expected}
    assert await seen("10.0.0.7:8443") == {"url": "http://10.0.0.7:8443", **expected}


async def test_behind_a_proxy_the_configured_address_is_named(tmp_path: Path) -> None:
    public = {"server": {"public_url": "https://slipway.example/"}}
    world = make_world(tmp_path, config=public)
    async with client(world) as http:
        stack = await new_stack(http)
        providers = {"type": "service", "state": {"url": "http://old"}}
        await stack.import_(document(secrets_providers=providers))
        answer = await http.get(f"{stack.path}/export", headers={"Host": "slipway.example"})
        state_seen = answer.json()["deployment"]["secrets_providers"]["state"]
        assert state_seen["url"] == "https://slipway.example"
    await world.database.close()


async def test_unknown_versions_are_not_there(stack: Stack) -> None:
    await stack.run("a")
    for version in ("2", "0", "-1"):
        answer = await stack.http.get(f"{stack.path}/export/{version}")
        assert answer.status_code == 404, version
        assert answer.json()["code"] == 404


async def test_damaged_and_oversized_bodies_change_nothing(stack: Stack) -> None:
    update = await stack.start()
    whole = packed({"entries": [entry(1, 1, 1, state=resource("a"))]})
    headers = {**whole["headers"], "Authorization": f"update-token {update.token}"}
    bomb = gzip.compress(b"x" * 2_000_000)
    for content, status in (
        (whole["content"][:-9], 400),
        (b"no gzip", 400),
        (bomb, 413),
        (gzip.compress(b'{"entries":'), 400),
        (gzip.compress(b'{"entries":{}}'), 400),
        (gzip.compress(b"{}"), 400),
    ):
        url = f"{update.path}/journalentries"
        answer = await stack.http.patch(url, content=content, headers=headers)
        assert answer.status_code == status
        assert answer.json()["code"] == status
    await update.complete()
    assert await stack.resources() == []


async def test_numbers_and_texts_that_cannot_be_kept_are_refused(stack: Stack) -> None:
    update = await stack.start(journal=0)
    for number in (0, 2**31, 10**20):
        answer = await verbatim(update, json.dumps(document()), number)
        assert answer.status_code == 400, answer.text
        body = {"checkpointHash": "x", "sequenceNumber": number, "deploymentDelta": []}
        answer = await update.call("PATCH", "checkpointdelta", body)
        assert answer.status_code == 400, answer.text
        assert "sequenceNumber" in answer.json()["message"]
    broken = json.dumps(document(resource("@"))).encode().replace(b"@", b"\xff")
    answer = await stack.http.post(f"{stack.path}/import", content=broken)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
