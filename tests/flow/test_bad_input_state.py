"""Bad input of engines and of `pulumi stack import`: leases, checkpoints, journals, secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain import checkpoint, journal
from control_plane.domain.checkpoint import Home
from control_plane.services.world import World
from tests.flow.test_bad_input_access import refused
from tests.support.app import client
from tests.support.state import Stack, Update, document, entry, new_stack, resource
from tests.support.world import make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = make_world(tmp_path)
    yield made
    await made.database.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as logged_in:
        yield logged_in


LEASED = {
    "renew_lease": ("POST", {"duration": 300}),
    "events": ("POST", {"sequence": 0, "stdoutEvent": {"message": "a"}}),
    "events/batch": ("POST", {"events": []}),
    "journalentries": ("PATCH", {"entries": []}),
    "checkpoint": ("PATCH", {"isInvalid": False, **document()}),
    "checkpointverbatim": ("PATCH", {"untypedDeployment": document(), "sequenceNumber": 1}),
    "checkpointdelta": ("PATCH", {"checkpointHash": "", "sequenceNumber": 1}),
    "complete": ("POST", {"status": "failed"}),
}


async def said(update: Update, call: str, **changes: Any) -> httpx.Response:
    verb, body = LEASED[call]
    return await update.call(verb, call, {**body, **changes})


@pytest.mark.parametrize("journal_version", [0, 1])
async def test_a_lease_that_is_over_opens_nothing(
    http: httpx.AsyncClient, journal_version: int
) -> None:
    """Renewing is answered by 403, the one code that makes an engine give up."""
    stack = await new_stack(http)
    cancelled = await stack.start(journal=journal_version)
    assert (await stack.post(f"/update/{cancelled.id}/cancel")).status_code == 204
    ended = await stack.start(journal=journal_version)
    assert (await ended.complete()).status_code == 204
    running = await stack.start(journal=journal_version)
    before = await stack.export()
    for update in (cancelled, ended):
        for call in LEASED:
            refused(await said(update, call), 403, call)
        refused(await said(update, "checkpoint", isInvalid=True), 403, "an invalid checkpoint")
    assert (await ended.complete()).status_code == 204
    assert await stack.export() == before
    assert (await running.renew()).status_code == 200


async def test_a_lease_opens_no_other_update(http: httpx.AsyncClient) -> None:
    stack, other = await new_stack(http), await new_stack(http, "other")
    update, elsewhere = await stack.start(), await other.start()
    for call in LEASED:
        update.token, right = elsewhere.token, update.token
        refused(await said(update, call), 403, call)
        update.token = right
    refused(await said(update, "checkpoint", isInvalid=True), 400, "a journal is kept")
    strayed = Update(http, f"{other.path}/update/{update.id}", update.id, update.token, 1, 0, 1)
    for call in LEASED:
        refused(await said(strayed, call), 404, call)
    assert (await update.renew()).status_code == 200
    assert (await elsewhere.renew()).status_code == 200


async def test_a_preview_changes_no_state(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    await stack.run("a")
    before = await stack.export()
    preview = await stack.start("preview", dry_run=True)
    for call in ("journalentries", "checkpoint", "checkpointverbatim", "checkpointdelta"):
        refused(await said(preview, call), 403, call)
    assert await stack.export() == before
    assert (await preview.renew()).status_code == 200


async def test_an_update_is_ended_once_and_by_a_word_that_is_known(
    http: httpx.AsyncClient,
) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    for word in ("running", "not started", "SUCCEEDED", "", "x" * 10_000):
        refused(await update.complete(word), 400, word)
    assert (await update.complete("failed")).status_code == 204
    assert (await update.complete("failed")).status_code == 204
    refused(await update.complete("succeeded"), 403, "another word")
    [info] = (await stack.get("/updates"))["updates"]
    assert info["result"] == "failed"


# Checkpoints.


async def test_bad_deltas_and_old_numbers_leave_the_state_alone(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update = await stack.start(journal=0)

    async def verbatim(what: Any, number: Any) -> httpx.Response:
        body = {"untypedDeployment": what, "sequenceNumber": number}
        return await update.call("PATCH", "checkpointverbatim", body)

    async def delta(start: int, end: int, hash_: str, number: Any = 3) -> httpx.Response:
        span = {"start": {"offset": start}, "end": {"offset": end}}
        edits = [{"Span": span, "NewText": "x"}]
        body = {"checkpointHash": hash_, "sequenceNumber": number, "deploymentDelta": edits}
        return await update.call("PATCH", "checkpointdelta", body)

    refused(await delta(0, 0, "", 1), 409, "a delta of nothing")
    assert (await verbatim(document(resource("a")), 1)).status_code == 204
    assert (await verbatim(document(resource("a"), resource("b")), 2)).status_code == 204
    kept = await stack.export()
    for start, end in ((0, 1), (-1, 0), (5, 2), (0, 10**9), (2**80, 2**81), (0, -1)):
        for digest in ("0" * 64, "", "no hash", "\u00e9" * 64):
            answer = await delta(start, end, digest)
            refused(answer, 409, (start, end, digest))
    refused(await verbatim(document(), 2), 409, "other contents under the same number")
    assert (await verbatim(document(), 1)).status_code == 204, "an old one, come late"
    for number in (0, -1, 2**31, 2**63, 2**70):
        refused(await verbatim(document(), number), 400, number)
        refused(await delta(0, 0, "0" * 64, number), 400, number)
    assert await stack.export() == kept
    assert (await update.complete()).status_code == 204


UNREADABLE: dict[str, Any] = {
    "no version": {"deployment": {}},
    "version 0": {"version": 0, "deployment": {}},
    "version 5": {"version": 5, "deployment": {}},
    "no deployment": {"version": 3},
    "a list": {"version": 3, "deployment": []},
    "no URN": {"version": 3, "deployment": {"resources": [{"type": "a:b:C"}]}},
    "no type": {"version": 3, "deployment": {"resources": [{"urn": "urn:pulumi:a::b::c::d"}]}},
    "a resource that is null": {"version": 3, "deployment": {"resources": [None]}},
    "an operation on nothing": {
        "version": 3,
        "deployment": {"pending_operations": [{"type": "creating", "resource": None}]},
    },
    "an operation without a type": {
        "version": 3,
        "deployment": {"pending_operations": [{"resource": resource("a")}]},
    },
}


async def test_a_state_that_no_engine_could_read_is_refused(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    await stack.run("a")
    update = await stack.start(journal=0)
    kept = await stack.export()
    for what, state in UNREADABLE.items():
        refused(await stack.import_(state), 400, what)
        body = {"untypedDeployment": state, "sequenceNumber": 1}
        refused(await update.call("PATCH", "checkpointverbatim", body), 400, what)
        refused(await update.call("PATCH", "checkpoint", state), 400, what)
        made = await Stack(http, stack.name._replace(stack="new")).make(state=state)
        refused(made, 400, what)
    assert await stack.export() == kept


# Journals.


ENTRIES: dict[str, dict[str, Any]] = {
    "an unknown kind": entry(90, 10),
    "a negative kind": entry(90, -1),
    "another version": {**entry(90, 0), "version": 2},
    "a negative number": entry(-1, 0),
    "a number beyond the database's": entry(2**31, 0),
    "a number beyond all": entry(2**64, 0),
    "no number": {"kind": 0, "version": 1},
    "a state that is none": entry(90, 1, 90, state={"urn": 1}),
    "an operation that is none": entry(90, 0, 90, operation={"type": "creating"}),
    "a write of nothing": entry(90, 5),
    "a write of null": entry(90, 5, newSnapshot=None),
    "no secrets provider": entry(90, 6),
    "an extension without a name": entry(90, 8, extension={"name": "a"}),
    "an extension that is none": entry(90, 8, extensionRef="a"),
    "snippets that are none": entry(90, 9, snippets={"a": 1}),
}


async def test_an_entry_that_could_not_be_replayed_is_refused(http: httpx.AsyncClient) -> None:
    """With all of its batch: what an engine sends together is kept together."""
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")
    for what, bad in ENTRIES.items():
        good = entry(80, 1, 80, state=resource("b"))
        refused(await update.journal(good, bad), 400, what)
    assert await stack.resources() == ["a"]
    assert (await update.complete()).status_code == 204
    assert await stack.resources() == ["a"]


REFERRING = (
    "removeOld",
    "removeNew",
    "deleteOld",
    "deleteNew",
    "pendingReplacementOld",
    "pendingReplacementNew",
)


async def test_references_to_nothing_are_passed_over(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    await stack.run("a")
    update = await stack.start()
    await update.create("b")
    for at, number in enumerate((-1, 7, 10**6, 2**40, 2**70), 20):
        wanted = dict.fromkeys(REFERRING, number)
        for kind in (1, 3, 4):
            sequence = at * 10 + kind
            answer = await update.journal({**entry(sequence, kind, sequence), **wanted})
            assert answer.status_code == 204, (kind, number, answer.text)
    assert sorted(await stack.resources()) == ["a", "b"]
    assert (await update.complete()).status_code == 204
    assert sorted(await stack.resources()) == ["a", "b"]


async def test_holes_and_repetitions_in_a_journal_do_no_harm(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    update = await stack.start()
    later = [entry(n, 1, n, state=resource(f"r{n}")) for n in (9, 4, 7)]
    for _ in range(2):
        assert (await update.journal(*later)).status_code == 204
    other = entry(4, 1, 4, state=resource("other"))
    assert (await update.journal(other)).status_code == 204
    assert (await update.complete()).status_code == 204
    assert await stack.resources() == ["r4", "r7", "r9"]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
KNOWN = {"state", "operation", "extension", "snippets", "newSnapshot", "secretsProvider"}


@given(
    st.lists(st.tuples(st.integers(0, 9), st.dictionaries(st.sampled_from(sorted(KNOWN)), JSON)))
)
def test_a_journal_that_was_taken_can_always_be_replayed(wanted: Any) -> None:
    """Whatever was let in: a state that could not be built would hold its stack for ever."""
    taken = []
    for number, (kind, values) in enumerate(wanted, 1):
        text = json.dumps({**entry(number, kind, number), "extensionRef": "e", **values}).encode()
        try:
            journal.read(text)
        except journal.InvalidEntry:
            continue
        taken.append(text)
    manifest = journal.Manifest("2026-01-02T03:04:05Z", "")
    replayed = journal.replay(checkpoint.EMPTY, taken, manifest)
    assert checkpoint.check(replayed.document) == replayed.resources
    json.loads(checkpoint.at_home(replayed.document, Home("http://a", "b", "c", "d")))


# What is not known is kept.


@given(st.dictionaries(TEXTS, JSON), st.dictionaries(TEXTS, JSON))
def test_unknown_fields_of_a_state_stay(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    known = {f.encode_name for f in _fields(checkpoint._Document)} | {"deployment"}
    outer = {k: v for k, v in outer.items() if k not in known}
    names = {f.encode_name for f in _fields(checkpoint._Deployment)} | {"manifest"}
    inner = {k: v for k, v in inner.items() if k not in names}
    provider = {"type": "service", "state": {"url": "http://old"}}
    state = document(resource("a", unknown=inner), secrets_providers=provider, **inner)
    text = json.dumps({**state, **outer}).encode()
    checkpoint.check(text)
    shown = json.loads(checkpoint.at_home(text, Home("http://new", "o", "p", "s")))
    assert {k: shown[k] for k in outer} == outer
    assert {k: shown["deployment"][k] for k in inner} == inner
    assert shown["deployment"]["resources"][0]["unknown"] == inner


def _fields(shape: Any) -> Any:
    return msgspec.structs.fields(shape)


async def test_unknown_fields_come_back_from_every_way_in(http: httpx.AsyncClient) -> None:
    odd = {"future": {"a": [1, None, "\u0000\u2028\U0001f600"]}, "": 1.5, "big": 2**62}
    state = document(resource("a", **odd), **odd)
    stack = await new_stack(http)
    assert (await stack.import_({**state, **odd})).status_code == 200
    exported = await stack.export()
    assert exported == {**state, **odd}
    update = await stack.start(journal=0)
    body = {"untypedDeployment": {**state, **odd}, "sequenceNumber": 1}
    assert (await update.call("PATCH", "checkpointverbatim", body)).status_code == 204
    assert await stack.export() == exported
    assert (await update.checkpoint(state)).status_code == 204
    assert await stack.export() == state
    assert (await update.complete()).status_code == 204
    journaled = await stack.start()
    grown = resource("b", **odd)
    assert (await journaled.journal(entry(1, 1, 1, state=grown))).status_code == 204
    assert (await journaled.complete()).status_code == 204
    final = (await stack.export())["deployment"]
    assert final["resources"] == [grown, resource("a", **odd)]
    assert {key: final[key] for key in odd} == odd


async def test_of_a_key_given_twice_the_last_counts_everywhere(http: httpx.AsyncClient) -> None:
    stack = await new_stack(http)
    one, two = json.dumps(document(resource("a"))), json.dumps(document()["deployment"])
    text = one[:-1] + f', "deployment": {two}}}'
    answer = await http.post(f"{stack.path}/import", content=text)
    assert answer.status_code == 200
    assert await stack.resources() == []
    assert (await http.delete(stack.path)).status_code == 204, "it has no resources"


# Secrets.


async def test_ciphertexts_that_are_none_are_refused_and_not_repeated(
    http: httpx.AsyncClient,
) -> None:
    stack, other = await new_stack(http), await new_stack(http, "other")
    foreign = (await other.post("/encrypt", {"plaintext": "YQ=="})).json()["ciphertext"]
    own = (await stack.post("/encrypt", {"plaintext": "YQ=="})).json()["ciphertext"]
    damaged = base64.b64encode(base64.b64decode(own)[:-1] + b"x").decode()
    bad = ["", "AA", "A===", "*" * 40, own[:-4], damaged, foreign, "AQ==", own + "\n", own + "é"]
    for text in [*bad, base64.b64encode(b"\x02" + base64.b64decode(own)[1:]).decode()]:
        for call, body in (
            ("decrypt", {"ciphertext": text}),
            ("batch-decrypt", {"ciphertexts": [own, text]}),
        ):
            answer = await stack.post(f"/{call}", body)
            refused(answer, 400, (call, text))
            assert not text or text.strip() not in answer.text
    for text in ("A", "A===", "*", "\u00e9", "YQ"):
        refused(await stack.post("/encrypt", {"plaintext": text}), 400, text)
        refused(await stack.post("/batch-encrypt", {"plaintexts": [text]}), 400, text)


async def test_poison_in_what_an_engine_sends_holds_no_stack(http: httpx.AsyncClient) -> None:
    """Bytes that are no text would be found when the journal is replayed: too late."""
    stack = await new_stack(http)
    update = await stack.start()
    await update.create("a")
    headers = {"Authorization": f"update-token {update.token}"}
    bad = json.dumps({"entries": [entry(9, 1, 9, state=resource("b", odd="@@"))]}).encode()
    for call, body in (
        ("journalentries", bad.replace(b"@@", b"\xff")),
        ("journalentries", bad.replace(b"odd", b"\xff")),
        ("events", b'{"sequence": 0, "\xff": 1, "stdoutEvent": {}}'),
    ):
        verb = LEASED[call][0]
        answer = await http.request(verb, f"{update.path}/{call}", content=body, headers=headers)
        refused(answer, 400, body)
    assert (await update.complete()).status_code == 204
    assert await stack.resources() == ["a"]
    assert (await stack.get(f"/update/{update.id}/events"))["events"] == []
    await stack.run("c")
