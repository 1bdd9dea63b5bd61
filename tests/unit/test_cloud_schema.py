"""The Cloud REST SDK's models, read strictly: what the end-to-end tests' recorder relies on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import cloud_schema

STACK: dict[str, Any] = {
    "id": "1",
    "orgName": "o",
    "projectName": "p",
    "stackName": "s",
    "activeUpdate": "",
    "tags": {"a": "b"},
    "version": 3,
    "currentOperation": {"kind": "update", "author": "ada", "started": 7},
}


TIME = "2026-01-02T03:04:05.678Z"


def wrong(value: Any, kind: str = "AppStack") -> list[str]:
    return list(cloud_schema.differences(value, kind))


def test_a_document_as_the_model_has_it() -> None:
    assert wrong(STACK) == []
    assert cloud_schema.undecodable(STACK, "AppStack") is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": "3"}, ".version: str where a int belongs"),
        ({"version": True}, ".version: bool where a int belongs"),
        ({"version": None}, ".version: null"),
        ({"id": None}, ".id: null"),
        ({"tags": {"a": 1}}, ".tags{}: int where a str belongs"),
        ({"tags": []}, ".tags: list where a dict belongs"),
        ({"colour": "red"}, ".colour: unknown to AppStack"),
        ({"currentOperation": "x"}, ".currentOperation: str where a AppOperationStatus belongs"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change: dict[str, Any], told: str) -> None:
    assert wrong(STACK | change) == [told]


@given(st.sampled_from(["id", "orgName", "projectName", "stackName", "activeUpdate", "version"]))
def test_a_field_that_must_be_there(name: str) -> None:
    assert wrong({key: value for key, value in STACK.items() if key != name}) == [
        f".{name}: missing"
    ]


def test_enums_times_bytes_and_variants() -> None:
    assert wrong("late", "JobStatus") == [": 'late' is none of JobStatus"]
    assert wrong("running", "JobStatus") == []
    assert wrong(TIME, "datetime") == []
    assert wrong("2026-01-02 03:04", "datetime") == [": not a datetime"]
    assert wrong("YQ==", "bytes") == []
    assert wrong("YQ", "bytes") == [": not a bytes"]
    assert wrong([{"lines": []}], "list[DeploymentLogsBase]") == [
        "[].__type: None is no DeploymentLogsBase"
    ]
    step = {"__type": "DeploymentLogsStep", "name": "n", "lines": [{"line": 1, "timestamp": TIME}]}
    assert wrong(step, "DeploymentLogsBase") == [".lines[].line: int where a str belongs"]


def test_operations_are_found_by_their_address() -> None:
    stack = "/api/stacks/o/p/s"
    assert cloud_schema.find("GET", stack).answer == "AppStack"
    assert cloud_schema.find("GET", f"{stack}/updates/latest").answer == "UpdateInfo"
    assert cloud_schema.find("GET", f"{stack}/updates").inside == "updates"
    rich = cloud_schema.find("GET", f"{stack}/updates", "output-type=service")
    assert rich.answer == "GetStackUpdatesResponse"
    assert cloud_schema.find("GET", f"{stack}/deployments/metadata").name.startswith("stack_")
    assert cloud_schema.find("GET", "/api/nothing") is None
