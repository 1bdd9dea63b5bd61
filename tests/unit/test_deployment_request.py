"""A request to deploy: which operation, and what an unfilled field means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.deployment import Operation
from control_plane.domain.deployment_request import one_run_patch, read, read_first_form
from control_plane.domain.deployment_settings import merge
from control_plane.errors import BadRequest


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("nested", [None, "", "same"])
def test_every_operation_is_taken(operation: Operation, nested: str | None) -> None:
    context = {} if nested is None else {"operation": operation if nested == "same" else nested}
    found = read({"operation": str(operation), "operationContext": context})
    assert found == (operation, True, {})
    first = read_first_form({"operationContext": {"operation": str(operation)}})
    assert first == (operation, False, {})


@pytest.mark.parametrize("inherit", [(None, True), (True, True), (False, False)])
def test_inheriting_is_the_default(inherit: tuple[bool | None, bool]) -> None:
    given, wanted = inherit
    assert read({"operation": "update", "inheritSettings": given}).inherit_settings is wanted


@pytest.mark.parametrize("wrong", [1, "true", [], {}])
def test_another_inherit_settings_is_refused(wrong: Any) -> None:
    with pytest.raises(BadRequest, match="inheritSettings"):
        read({"operation": "update", "inheritSettings": wrong})


@pytest.mark.parametrize("wrong", ["Update", "up", " update", 1, True, ["update"], {"a": 1}])
def test_another_operation_is_refused_with_the_words_there_are(wrong: Any) -> None:
    for reader in (read, read_first_form):
        with pytest.raises(BadRequest) as caught:
            reader({"operation": wrong})
        for word in Operation:
            assert str(word) in caught.value.message


empty = st.recursive(
    st.sampled_from(["", [], {}]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["executorContext", "x", "sourceContext"]), empty))
def test_what_is_empty_changes_nothing(request: dict[str, Any]) -> None:
    assert one_run_patch(request) == {}


def test_an_empty_variable_or_secret_is_a_value() -> None:
    context = {"environmentVariables": {"A": "", "B": {}}, "preRunCommands": []}
    patch = one_run_patch({"operationContext": context})
    assert patch == {"operationContext": {"environmentVariables": {"A": "", "B": {}}}}
    assert merge(None, patch) == {
        "operationContext": {"environmentVariables": {"A": "", "B": {"secret": ""}}}
    }


def test_null_removes_but_for_the_pool() -> None:
    patch = one_run_patch({"agentPoolID": None, "cacheOptions": None})
    assert patch == {"cacheOptions": None}


def test_the_request_itself_is_left_as_it_was() -> None:
    request = {
        "operation": "update",
        "operationContext": {"operation": "", "options": {"a": False}},
    }
    before = {"operation": "update", "operationContext": {"operation": "", "options": {"a": False}}}
    one_run_patch(request, from_cli=True)
    assert request == before
