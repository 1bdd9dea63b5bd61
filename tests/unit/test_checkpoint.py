"""State documents: checked, moved, renamed, changed by deltas."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain import checkpoint, urns
from control_plane.domain.checkpoint import Home, InvalidState, Span
from control_plane.domain.urns import Renaming
from tests.support.state import document, resource

HOME = Home("https://slipway.example", "ada", "shop", "dev")


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("body", "resources"),
    [
        (document(), 0),
        (document(resource("a"), resource("b")), 2),
        ({"version": 1, "deployment": {}}, 0),
        ({"version": 4, "features": ["x"], "deployment": {"resources": None}}, 0),
        ({"version": 3, "deployment": None}, 0),
    ],
)
def test_what_an_engine_can_read_is_counted(body: Any, resources: int) -> None:
    assert checkpoint.check(encoded(body)) == resources
    assert checkpoint.check(checkpoint.EMPTY) == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"version": 3}, "'deployment' is missing"),
        ({"deployment": {}}, "version 0"),
        ({"version": 5, "deployment": {}}, "version 5"),
        ({"version": "3", "deployment": {}}, "version"),
        ({"version": 3, "deployment": {"resources": {}}}, "resources"),
        ({"version": 3, "deployment": {"resources": [{"urn": "u"}]}}, "type"),
        ({"version": 3, "deployment": {"pending_operations": [{}]}}, "pending_operations"),
        ([], "object"),
    ],
)
def test_what_no_engine_can_read_is_named(body: Any, why: str) -> None:
    with pytest.raises(InvalidState, match=why):
        checkpoint.check(encoded(body))


def test_only_the_home_of_the_service_changes() -> None:
    other = {"type": "passphrase", "state": {"salt": "x"}}
    untouched = encoded(document(resource("a"), secrets_providers=other))
    assert checkpoint.at_home(untouched, HOME) is untouched
    assert checkpoint.at_home(checkpoint.EMPTY, HOME) is checkpoint.EMPTY
    state = {"url": "http://old", "owner": "a", "project": "b", "stack": "c", "new": 1}
    body = document(resource("a"), secrets_providers={"type": "service", "state": state, "x": 2})
    moved = checkpoint.at_home(encoded(body), HOME)
    expected = state | {"url": HOME.url, "owner": "ada", "project": "shop", "stack": "dev"}
    body["deployment"]["secrets_providers"]["state"] = expected
    assert json.loads(moved) == body
    assert checkpoint.at_home(moved, HOME) is moved


def test_a_service_without_state_gets_one() -> None:
    body = document(secrets_providers={"type": "service"})
    moved = json.loads(checkpoint.at_home(encoded(body), HOME))
    assert moved["deployment"]["secrets_providers"]["state"] == HOME.state()


@given(st.binary(max_size=60), st.data())
def test_a_delta_gives_what_its_edits_say(base: bytes, data: st.DataObject) -> None:
    places = sorted(
        data.draw(st.lists(st.integers(0, len(base)), max_size=8).filter(lambda x: len(x) % 2 == 0))
    )
    texts = data.draw(st.lists(st.binary(max_size=5), min_size=4, max_size=4))
    edits = [
        Span(start, end, text)
        for start, end, text in zip(places[::2], places[1::2], texts, strict=False)
    ]
    wanted = base
    for edit in reversed(edits):
        wanted = wanted[: edit.start] + edit.text + wanted[edit.end :]
    digest = hashlib.sha256(wanted).hexdigest()
    assert checkpoint.apply_delta(base, edits, digest) == wanted
    assert checkpoint.apply_delta(base, edits, digest.upper()) == wanted
    with pytest.raises(InvalidState):
        checkpoint.apply_delta(base, edits, hashlib.sha256(wanted + b"!").hexdigest())


@pytest.mark.parametrize("span", [(3, 2), (-1, 0), (0, 11), (11, 12)])
def test_an_edit_outside_the_base_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(InvalidState, match="edits"):
        checkpoint.apply_delta(b"0123456789", [Span(*span, b"")], "")


def test_ciphertexts_of_the_service_are_found_wherever_they_are() -> None:
    def secret(text: str) -> dict[str, str]:
        return {
            "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
            "ciphertext": text,
        }

    a = resource("a", inputs={"x": [secret("AA==")], "ciphertext": "no secret"})
    pending = [{"resource": resource("b", outputs={"y": secret("BB==")}), "type": "creating"}]
    body = document(a, pending_operations=pending, secrets_providers={"type": "service"})
    assert list(checkpoint.ciphertexts(encoded(body))) == ["AA==", "BB=="]
    assert list(checkpoint.ciphertexts(json.dumps(body, separators=(",", ":")).encode())) == [
        "AA==",
        "BB==",
    ]
    body["deployment"]["secrets_providers"] = {"type": "passphrase"}
    assert list(checkpoint.ciphertexts(encoded(body))) == []
    assert list(checkpoint.ciphertexts(encoded({"version": 3, "deployment": None}))) == []


RENAMING = Renaming("dev", "shop", "prod", "store")
names = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=8)


@given(names, names, names, st.text(max_size=8))
def test_a_urn_is_its_parts(stack: str, project: str, kind: str, name: str) -> None:
    text = f"urn:pulumi:{stack}::{project}::{kind}::{name}"
    urn = urns.parse(text)
    assert urn == (stack, project, kind, name)
    assert str(urn) == text


@pytest.mark.parametrize("text", ["", "urn:pulumi:", "urn:pulumi:a::b::c", "a::b::c::d"])
def test_what_is_no_urn_is_left_alone(text: str) -> None:
    assert urns.parse(text) is None
    assert RENAMING(text) == text


def test_only_urns_of_the_stack_are_renamed() -> None:
    kept = "urn:pulumi:dev::other::t:i:T::x"
    assert RENAMING(kept) == kept
    assert RENAMING("urn:pulumi:dev::shop::t:i:P$t:i:T::a::b") == (
        "urn:pulumi:prod::store::t:i:P$t:i:T::a::b"
    )
    root = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
    assert RENAMING(root) == "urn:pulumi:prod::store::pulumi:pulumi:Stack::store-prod"


def test_a_renamed_document_is_renamed_back() -> None:
    root = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
    a = resource("a", parent=root, provider="urn:pulumi:dev::shop::pulumi:providers:t::d::id-1")
    b = resource(
        "b",
        dependencies=[a["urn"]],
        propertyDependencies={"x": [a["urn"]], "y": []},
        deletedWith=a["urn"],
        replaceWith=[a["urn"]],
        viewOf=a["urn"],
        aliases=[a["urn"]],
        outputs={"n": 1.50},
    )
    body = document(
        {"urn": root, "type": "pulumi:pulumi:Stack"},
        a,
        b,
        pending_operations=[{"resource": a, "type": "creating", "future": 1}],
        snippets=[{"uuid": "1", "references": {"r": a["urn"]}}],
    )
    moved = checkpoint.renamed(encoded(body), RENAMING)
    assert b"urn:pulumi:dev" not in moved
    back = checkpoint.renamed(moved, Renaming("prod", "store", "dev", "shop"))
    assert json.loads(back) == body


def test_nothing_is_renamed_in_an_empty_document() -> None:
    body = encoded({"version": 3, "deployment": None})
    assert checkpoint.renamed(body, RENAMING) == body
