"""Replaying the engine's journal.

`engine_journals.jsonl` holds random journals with what the engine's own replayer (pulumi 3.259)
makes of them: {base, entries, version, features, deployment}; empty values are left out there.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain import checkpoint, journal
from control_plane.domain.journal import Manifest
from control_plane.domain.urns import Renaming
from tests.support.state import document, entry, resource

MANIFEST = Manifest("2026-01-02T03:04:05Z", "v3.259.0")
ENGINES_OWN = (Path(__file__).parent / "engine_journals.jsonl").read_text().splitlines()


def replayed(base: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    raw = [json.dumps(each).encode() for each in entries]
    for each in raw:
        journal.read(each)
    return dict(json.loads(journal.replay(json.dumps(base).encode(), raw, MANIFEST).document))


def resources(base: dict[str, Any], *entries: dict[str, Any]) -> list[dict[str, Any]]:
    return list(replayed(base, *entries)["deployment"].get("resources", []))


def names(base: dict[str, Any], *entries: dict[str, Any]) -> list[str]:
    return [each["urn"].rpartition("::")[2] for each in resources(base, *entries)]


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: without_empty(each)
            for key, each in value.items()
            if each not in (None, "", [], {}, False)
        }
    return [without_empty(each) for each in value] if isinstance(value, list) else value


def by_text(operations: list[Any]) -> list[str]:
    """The engine writes pending operations in random order."""
    return sorted(json.dumps(without_empty(each), sort_keys=True) for each in operations)


@pytest.mark.parametrize("line", ENGINES_OWN, ids=range(len(ENGINES_OWN)))
def test_the_engine_itself_comes_to_the_same_state(line: str) -> None:
    case = json.loads(line)
    got = replayed({"version": 3, "deployment": case["base"]}, *case["entries"])
    wanted, found = case["deployment"], without_empty(got["deployment"])
    del found["manifest"]
    pending = "pending_operations"
    assert by_text(found.pop(pending, [])) == by_text(wanted.pop(pending, []))
    assert found == wanted
    assert (got["version"], got.get("features", [])) == (case["version"], case["features"])


def test_without_entries_the_base_stays() -> None:
    base = document(resource("a"), resource("b"), secrets_providers={"type": "passphrase"})
    got = replayed(base)
    assert got["deployment"]["resources"] == base["deployment"]["resources"]
    assert got["deployment"]["secrets_providers"] == {"type": "passphrase"}
    assert got["deployment"]["manifest"] == {
        "time": "2026-01-02T03:04:05Z",
        "magic": "ab35920a3077459b09dd1a3f7ddc28df4e3efc81b3240013bb6906688abc684d",
        "version": "v3.259.0",
    }


def test_an_unknown_cli_version_has_no_magic() -> None:
    document_ = journal.replay(checkpoint.EMPTY, [], Manifest("2026-01-02T03:04:05Z", "")).document
    assert json.loads(document_)["deployment"]["manifest"]["magic"] == ""


def test_new_resources_come_before_those_of_the_base_that_stay() -> None:
    base = document(resource("a"), resource("b"))
    assert names(base, entry(1, 1, 1, state=resource("c")), entry(2, 1, 2, removeOld=0)) == [
        "c",
        "b",
    ]


def test_a_resource_of_this_update_can_be_removed_again() -> None:
    first = entry(1, 1, 1, state=resource("a"))
    second = entry(2, 1, 2, state=resource("b"))
    assert names(document(), first, second, entry(3, 1, 3, removeNew=1)) == ["b"]


def test_removing_what_an_operation_did_not_add_removes_nothing() -> None:
    added = entry(1, 1, 1, state=resource("a"))
    assert names(document(), added, entry(2, 1, 2, removeNew=99)) == ["a"]
    assert resources(document(), added, entry(2, 1, 2, deleteNew=99)) == [resource("a")]


def test_marks_are_set_on_old_and_new() -> None:
    base = document(resource("a"), resource("b"))
    found = resources(
        base,
        entry(1, 1, 1, state=resource("c")),
        entry(2, 1, 2, deleteOld=0, pendingReplacementOld=1),
        entry(3, 1, 3, deleteNew=1, pendingReplacementNew=1),
    )
    marks = {each["id"]: (each.get("delete"), each.get("pendingReplacement")) for each in found}
    assert marks == {"a": (True, None), "b": (None, True), "c": (True, True)}


def test_what_has_begun_and_not_ended_is_pending_in_order() -> None:
    begun = [
        entry(n, 0, n, operation={"resource": resource(f"r{n}"), "type": "creating"})
        for n in (1, 2, 3, 4)
    ]
    ended = [entry(5, 1, 2, state=resource("r2")), entry(6, 2, 3)]
    got = replayed(document(), *begun, *ended)["deployment"]
    pending = [each["resource"]["id"] for each in got["pending_operations"]]
    assert pending == ["r1", "r4"]


def test_pending_creations_of_the_base_stay_and_other_operations_do_not() -> None:
    operations = [
        {"resource": resource(kind), "type": kind} for kind in ("creating", "updating", "deleting")
    ]
    got = replayed(document(pending_operations=operations))
    assert got["deployment"]["pending_operations"] == operations[:1]


def test_after_a_refresh_nothing_refers_to_what_is_gone() -> None:
    gone = resource("gone")["urn"]
    kept = resource("kept")["urn"]
    child = resource(
        "child",
        parent=gone,
        dependencies=[gone, kept],
        propertyDependencies={"a": [gone], "b": [kept, gone]},
        deletedWith=gone,
        replaceWith=[gone],
    )
    base = document(resource("gone"), resource("kept"), child)
    found = resources(base, entry(1, 3, 1, removeOld=0))
    assert found[1] == resource("child", dependencies=[kept], propertyDependencies={"b": [kept]})


def test_a_rebuilt_base_has_new_places() -> None:
    base = document(resource("a"), resource("b"), resource("c"))
    assert names(
        base,
        entry(1, 3, 1, removeOld=0),
        entry(2, 7),
        entry(3, 1, 2, removeOld=0),
    ) == ["c"]


def test_a_write_replaces_the_base() -> None:
    snapshot = document(resource("n"))["deployment"]
    assert names(document(resource("a")), entry(1, 5, newSnapshot=snapshot)) == ["n"]


def test_the_secrets_provider_is_the_engines() -> None:
    provider = {"type": "service", "state": {"url": "http://x"}}
    got = replayed(document(), entry(1, 6, secretsProvider=provider))
    assert got["deployment"]["secrets_providers"] == provider


def test_aliases_become_the_present_urn_everywhere() -> None:
    old, new = resource("old")["urn"], resource("new")["urn"]
    renamed = resource("new", aliases=[old])
    dependent = resource("b", dependencies=[old], provider=f"{old}::id")
    found = resources(document(dependent), entry(1, 1, 1, state=renamed))
    assert found == [resource("new"), resource("b", dependencies=[new], provider=f"{new}::id")]


def test_a_child_of_an_aliased_parent_is_renamed_with_it() -> None:
    old = "urn:pulumi:dev::shop::test:index:Old::p"
    new = "urn:pulumi:dev::shop::test:index:New::p"
    child = {
        "urn": "urn:pulumi:dev::shop::test:index:Old$test:index:Thing::c",
        "type": "test:index:Thing",
        "parent": old,
    }
    parent = {"urn": new, "type": "test:index:New", "aliases": [old]}
    found = resources(document(child), entry(1, 1, 1, state=parent))
    assert found[1]["urn"] == "urn:pulumi:dev::shop::test:index:New$test:index:Thing::c"
    assert found[1]["parent"] == new


def test_two_resources_of_one_alias_do_not_cost_the_state() -> None:
    old = resource("old")["urn"]
    first, second = resource("a", aliases=[old]), resource("b", aliases=[old])
    found = resources(document(), entry(1, 1, 1, state=first), entry(2, 1, 2, state=second))
    assert found == [first, second]


def test_features_are_named_in_version_4_only() -> None:
    plain = replayed(document(resource("a")))
    assert plain["version"] == 3
    assert "features" not in plain
    tainted = replayed(document(resource("a", taint=True)))
    assert (tainted["version"], tainted["features"]) == (4, ["taint"])
    inherited = document(resource("a")) | {"version": 4, "features": ["byteString", "taint"]}
    assert replayed(inherited)["features"] == ["byteString"], "what cannot be seen is kept"


def test_a_name_in_a_users_properties_is_no_feature() -> None:
    nested = resource("a", inputs={"taint": True, "viewOf": "x"}, taint=False)
    assert replayed(document(nested))["version"] == 3


def test_an_integrity_error_of_a_former_state_is_dropped() -> None:
    metadata = {"integrity_error": {"error": "bad"}, "kept": 1}
    got = replayed(document(resource("a"), metadata=metadata))
    assert got["deployment"]["metadata"] == {"kept": 1}


def test_untouched_resources_stay_byte_for_byte() -> None:
    raw = '{"urn":"u" , "type":"t","n":1.50e3,"future":{"b":1,"a":2},"text":"\\u003c"}'
    base = f'{{"version":3,"deployment":{{"resources":[{raw}],"future":[1.0]}}}}'
    state = json.dumps(entry(1, 1, 1)).replace("}", f',"state":{raw}}}')
    got = journal.replay(base.encode(), [state.encode()], MANIFEST).document
    assert got.count(raw.encode()) == 2
    assert b'"future":[1.0]' in got


@given(st.integers(0, 40), st.data())
def test_every_prefix_of_a_journal_is_a_readable_state(length: int, data: st.DataObject) -> None:
    line = json.loads(data.draw(st.sampled_from(ENGINES_OWN)))
    base = {"version": 3, "deployment": line["base"]}
    got = replayed(base, *line["entries"][:length])
    assert checkpoint.check(json.dumps(got).encode()) == len(got["deployment"].get("resources", []))


@given(st.sampled_from(ENGINES_OWN))
def test_replay_is_pure(line: str) -> None:
    case = json.loads(line)
    base = {"version": 3, "deployment": case["base"]}
    assert replayed(base, *case["entries"]) == replayed(base, *case["entries"])


def test_ten_thousand_resources_are_replayed_in_time() -> None:
    def thing(number: int) -> dict[str, Any]:
        before = [resource(f"r{number - 1}")["urn"]] if number else []
        return resource(
            f"r{number}", inputs={"blob": "x" * 1000}, outputs={"n": number}, dependencies=before
        )

    count = 10_000
    base = json.dumps(document(*map(thing, range(count)))).encode()
    entries = [
        json.dumps(entry(n + 1, 1, n + 1, state=thing(n), removeOld=n, isRefresh=True)).encode()
        for n in range(count)
    ]
    started = time.process_time()
    got = journal.replay(base, entries, MANIFEST)
    assert time.process_time() - started < 1.5
    assert got.resources == count


WRONG = st.sampled_from(
    ["null", "1", '"x"', "true", "[]", "{}", "[1]", '{"a": 1}', '[["x"]]', '{"a": [1]}']
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a document."""
    if not isinstance(value, dict | list):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


@given(st.data(), WRONG, WRONG)
def test_what_passes_the_checks_never_stops_a_replay(
    data: st.DataObject, first: str, second: str
) -> None:
    """Else a stack whose update has ended could never be used again."""
    case = json.loads(data.draw(st.sampled_from(ENGINES_OWN)))
    body: Any = {"base": {"version": 3, "deployment": case["base"]}, "entries": case["entries"]}
    for wrong in (first, second):
        *path, last = data.draw(st.sampled_from([each for each in places(body) if len(each) > 1]))
        at = body
        for key in path:
            at = at[key]
        at[last] = json.loads(wrong)
    base = json.dumps(body["base"]).encode()
    refresh = json.dumps(entry(999, 1, 999, isRefresh=True)).encode()
    raw = [json.dumps(each).encode() for each in body["entries"]]
    try:
        checkpoint.check(base)
        for each in raw:
            journal.read(each)
    except (checkpoint.InvalidState, journal.InvalidEntry):
        return
    got = journal.replay(base, [*raw, refresh], MANIFEST)
    assert checkpoint.check(got.document) == got.resources
    home = checkpoint.Home("http://x", "ada", "shop", "dev")
    checkpoint.at_home(got.document, home)
    list(checkpoint.ciphertexts(got.document))
    checkpoint.check(checkpoint.renamed(got.document, Renaming("dev", "p", "prod", "q")))


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deep_nesting_is_no_accident(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    body = (
        f'{{"version":3,"deployment":{{"resources":[{{"urn":"u","type":"t","inputs":{deep}}}]}}}}'
    )
    try:
        checkpoint.check(body.encode())
    except checkpoint.InvalidState:
        return
    assert journal.replay(body.encode(), [], MANIFEST).resources == 1
