"""Bad parameters: of queries and names, of tags, and of settings and requests to deploy."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from control_plane.domain import settings_schema
from control_plane.domain.settings_schema import SETTINGS, Fields, Secret, Variables
from tests.flow.test_bad_input_access import refused
from tests.support.bad_input import (
    PERSON,
    ROWS,
    Row,
    S,
    Stand,
    make_stand,
    one_per_handler,
)
from tests.support.queue import SOURCE
from tests.support.wrong_bodies import WRONG


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with make_stand(tmp_path) as made:
        yield made


def row_of(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


# Queries.

_NO_NUMBERS = ("x", "1.5", "", "0x1", "\u0661x")
_BAD_NUMBERS = ("x", "1.5", "", "0x1", "9" * 30, "-" + "9" * 30, "9" * 5000, "\u0661x")
QUERIES: dict[str, dict[str, tuple[str, ...]]] = {
    f"GET {S}/deployments": {
        "page": (*_BAD_NUMBERS, "0", "-1", "1000001"),
        "pageSize": (*_BAD_NUMBERS, "0", "-1", "101"),
        "asc": ("maybe", "", "2"),
        "sort": ("id; DROP TABLE stacks", "x" * 5000),
        "status": ("cancelled", "not-started,running;"),
        "operation": ("rename", "update,'"),
    },
    "GET /api/orgs/{organization:str}/deployments": {
        "page": (*_BAD_NUMBERS, "0", "-1"),
        "pageSize": (*_BAD_NUMBERS, "0", "-1", "101"),
        "sort": ("nothing",),
    },
    "GET /api/orgs/{organization:str}/deployments/queue": {
        "pageSize": (*_BAD_NUMBERS, "0", "-1", "501"),
    },
    f"GET {S}/updates": {"page": (*_BAD_NUMBERS, "-1"), "pageSize": (*_NO_NUMBERS, "-1")},
    f"GET {S}/updates/latest/previews": {
        "page": (*_BAD_NUMBERS, "-1"),
        "pageSize": (*_NO_NUMBERS, "-1"),
        "asc": ("maybe",),
    },
    "GET /api/user/stacks": {
        "maxResults": _NO_NUMBERS,
        "continuationToken": ("x", "e30", "WzFd", "WyJhIiwiYiJd", "\u00e9", "=" * 9, "A" * 5000),
    },
    f"GET {S}/update/{{update_id:str}}/events": {
        "continuationToken": ("x", "e30", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk", "%FF", "A" * 5000),
    },
    f"GET {S}/deployments/{{deployment_id:str}}/logs": {
        "continuationToken": ("x", "1.2", "AAAA", "\u00e9", "A" * 5000),
        "job": (*_BAD_NUMBERS, "1", "-1", "0"),
        "step": (*_BAD_NUMBERS, "-1", "999"),
        "offset": _NO_NUMBERS,
        "count": _NO_NUMBERS,
        "step=0&offset": ("-1", "2147483648"),
        "step=0&count": ("0", "-1", "500"),
    },
    f"DELETE {S}": {"force": ("maybe", ""), "forceDestroy": ("2",)},
    f"POST {S}/deployments/{{deployment_id:str}}/cancel": {"mode": ("", "gently", "NOW")},
}
_EMPTY_IS_NONE = {"continuationToken", "force", "asc"}
"""Parameters that clients send empty."""


async def test_bad_queries_are_refused_by_name(stand: Stand) -> None:
    before = await stand.everything()
    for name, parameters in QUERIES.items():
        row = row_of(name)
        for parameter, values in parameters.items():
            for value in values:
                path = f"{stand.path(row)}?{parameter}={value.replace('#', '%23')}"
                answer = await stand.call(row, path=path)
                refused(answer, 400, (name, parameter, value[:40]))
                named = parameter.rpartition("&")[2]
                message = answer.json()["message"]
                assert named in message or named == "job", (name, parameter, value, message)
                assert len(message) < 1000, (name, parameter, value[:40])
    assert await stand.everything() == before


async def test_unknown_and_repeated_parameters_are_no_matter(stand: Stand) -> None:
    for row in (row for row in one_per_handler() if row.verb == "GET" and row.caller == PERSON):
        plain = await stand.call(row)
        refused(await stand.call(row, path=f"{stand.path(row)}?a=%00"), 400, row.name)
        for query in ("unknown=1&unknown=2&%FF=%ED%A0%80&&&==&%", "a" * 5000):
            answer = await stand.call(row, path=f"{stand.path(row)}?{query}")
            assert answer.status_code == plain.status_code, (row.name, query, answer.text)


# Names.

ILLEGAL = (
    "a b",
    "%20",
    "a%00b",
    "a%0Ab",
    "%2e%2e",
    "%2e",
    "a%5Cb",
    "%C3%A9",
    "%F0%9F%98%80",
    "%ED%A0%80",
    "%FF",
    "a:b",
    "a@b",
    "~",
    "*",
    "%27%20OR%201=1--",
    "%3Cscript%3E",
    "x" * 101,
    "x" * 5000,
)


async def test_illegal_names_are_of_nothing(stand: Stand) -> None:
    """404 to read, and 400 to make."""
    before = await stand.everything()
    turn = 0
    for row in (row for row in one_per_handler() if row.caller == PERSON):
        for variable in ("organization", "project", "stack", "update_id", "deployment_id", "tag"):
            if f"{{{variable}:" not in row.path:
                continue
            # Each row meets some of the names, and each name some of the rows.
            turn += 1
            for name in ILLEGAL[turn % 6 :: 6]:
                answer = await stand.call(row, path=stand.path(row, **{variable: name}))
                expected = (404,)
                if variable == "tag" and row.verb == "PATCH" and "%00" not in name:
                    expected = (400, 404)  # Tags may have other names.
                makes = row.verb == "POST" and not row.is_under_stack
                if variable == "project" and makes and "%00" not in name:
                    expected = (400,)
                assert answer.status_code in expected, (row.name, variable, name, answer.text)
                refused(answer, answer.status_code, (row.name, variable, name))
                assert len(answer.content) < 1000, (row.name, variable, name)
    assert await stand.everything() == before


async def test_nothing_is_made_under_an_illegal_name(stand: Stand) -> None:
    before = await stand.everything()
    create, rename = row_of(f"POST {S.rpartition('/')[0]}"), row_of(f"POST {S}/rename")
    texts = ["", "a b", "a\x00b", "a\n", "..", ".", "a/b", "\u00e9", "x" * 101, "x" * 100_000, " a"]
    for text in texts:
        answer = await stand.call(create, content=json.dumps({"stackName": text}).encode())
        refused(answer, 400, text[:20])
        assert "stack" in answer.json()["message"]
        assert len(answer.content) < 1000
        for field in ("newName", "newProject"):
            answer = await stand.call(rename, content=json.dumps({field: text}).encode())
            refused(answer, 400, (field, text[:20]))
            assert len(answer.content) < 1000
    assert await stand.everything() == before


async def test_every_legal_name_can_be_used(stand: Stand) -> None:
    create, delete = row_of(f"POST {S.rpartition('/')[0]}"), row_of(f"DELETE {S}")
    letters = "abcXYZ019-_."
    for name in ("a", letters, "-", "_", "...", ".a", "-rf", "--help", "x" * 100, "0"):
        place = {"project": name, "stack": name}
        body = json.dumps({"stackName": name}).encode()
        made = await stand.call(create, path=stand.path(create, **place), content=body)
        assert made.status_code == 200, (name, made.text)
        gone = await stand.call(delete, path=stand.path(delete, **place))
        assert gone.status_code == 204, (name, gone.text)


TAGS: dict[str, dict[str, Any]] = {
    "no name": {"": "a"},
    "a space": {"a b": "a"},
    "a long name": {"x" * 41: "a"},
    "a letter of another kind": {"\u00e9": "a"},
    "a line break": {"a\n": "a"},
    "NUL in a name": {"a\x00": "a"},
    "a long value": {"a": "x" * 257},
    "another project": {"pulumi:project": "other"},
    "a number": {"a": 1},
    "null": {"a": None},
    "too many": {f"t{n}": "v" for n in range(2000)},
}


async def test_tags_that_are_not_allowed_change_nothing(stand: Stand) -> None:
    before = await stand.everything()
    create = row_of(f"POST {S.rpartition('/')[0]}")
    start = row_of(f"POST {S}/update/{{update_id:str}}")
    for what, tags in TAGS.items():
        replaced = await stand.call(row_of(f"PATCH {S}/tags"), content=json.dumps(tags).encode())
        refused(replaced, 400, what)
        new = {"stackName": "new", "tags": tags}
        if what != "another project":  # That one is made right, as the CLI's own is.
            made = await stand.call(create, content=json.dumps(new).encode())
            refused(made, 400, what)
            started = await stand.call(start, content=json.dumps({"tags": tags}).encode())
            refused(started, 400, what)
        if len(tags) == 1:
            [(name, value)] = tags.items()
            one = json.dumps({"name": name, "value": value}).encode()
            refused(await stand.call(row_of(f"POST {S}/tags"), content=one), 400, what)
    assert await stand.everything() == before


# Deployments and their settings.


def _places(rule: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field that settings may have, with its rule."""
    for key, inner in rule.known.items():
        yield (*place, key), inner
        if isinstance(inner, Fields):
            yield from _places(inner, (*place, key))
        if isinstance(inner, Variables):
            yield (*place, key, "NAME"), inner.each("NAME")


_RIGHT = {
    settings_schema.Text: {"a text"},
    settings_schema.Address: {"a text"},
    settings_schema.Flag: {"true"},
    settings_schema.Number: {"a number"},
    settings_schema.Texts: set[str](),
    Secret: {"a text", "an object"},
    Variables: set[str](),
    Fields: {"an object"},
}


def _nested(place: tuple[str, ...], value: Any) -> Any:
    for key in reversed(place):
        value = {key: value}
    return value


async def test_a_setting_of_a_wrong_type_is_refused_by_its_path(stand: Stand) -> None:
    before = await stand.everything()
    deploy, patch, put = (
        row_of(f"POST {S}/deployments"),
        row_of(f"POST {S}/deployments/settings"),
        row_of(f"PUT {S}/deployments/settings"),
    )
    for place, rule in _places(SETTINGS):
        right = _RIGHT.get(type(rule), set()) | {"null"}
        if isinstance(rule, Fields) and rule.only_text:
            right = right | {"a text"}
        if place == ("operationContext", "operation"):
            continue  # Read before, and refused in its own words.
        for kind in WRONG.keys() - right:
            if isinstance(rule, Variables) and kind == "an object":
                continue
            body = _nested(place, WRONG[kind])
            for row in (deploy, patch, put):
                extra = {"operation": "update"} if row is deploy else {}
                content = json.dumps({**body, **extra}).encode()
                answer = await stand.call(row, content=content)
                refused(answer, 400, (row.name, place, kind))
                assert place[-1] in answer.json()["message"], (place, kind, answer.text)
    assert await stand.everything() == before


SOURCES: dict[str, dict[str, Any]] = {
    "an option": {"repoUrl": "--upload-pack=touch /tmp/x"},
    "a transport": {"repoUrl": "ext::sh -c touch% /tmp/x"},
    "another transport": {"repoUrl": "fd::1"},
    "a file": {"repoUrl": "file:///etc/passwd"},
    "a path": {"repoUrl": "/etc"},
    "a relative path": {"repoUrl": "../.."},
    "git's own protocol": {"repoUrl": "git://git.test/x"},
    "FTP": {"repoUrl": "ftp://git.test/x"},
    "a space first": {"repoUrl": " https://git.test/x"},
    "no host": {"repoUrl": "https:///x"},
    "an option for a host": {"repoUrl": "ssh://-oProxyCommand=touch/x"},
    "an option for an SSH host": {"repoUrl": "-oProxyCommand=x@git.test:x"},
    "a line break": {"repoUrl": "https://git.test/x\n--upload-pack=x"},
    "a password": {"repoUrl": "https://me:secret@git.test/x"},
    "an option for a branch": {"branch": "--upload-pack=x"},
    "a range of branches": {"branch": "a..b"},
    "a refspec": {"branch": "a:b"},
    "a line break in a branch": {"branch": "a\nb"},
    "an option for a commit": {"branch": "", "commit": "--help"},
    "a commit that is none": {"branch": "", "commit": "HEAD~1; id"},
    "an option for a tag": {"branch": "", "tag": "-d"},
    "a directory above": {"repoDir": "../.."},
    "a directory above, within": {"repoDir": "a/../../b"},
    "NUL in a directory": {"repoDir": "a\x00b"},
    "a commit that is no number": {"branch": "main", "commit": "0" * 39 + "g"},
}


async def test_a_source_that_no_runner_should_see_is_refused(stand: Stand) -> None:
    before = await stand.everything()
    good = SOURCE["sourceContext"]["git"]
    deploy = row_of(f"POST {S}/deployments")
    for what, git in SOURCES.items():
        body = {"operation": "update", "sourceContext": {"git": {**good, **git}}}
        for inherit in (True, False):
            content = json.dumps({**body, "inheritSettings": inherit}).encode()
            answer = await stand.call(deploy, content=content)
            refused(answer, 400, (what, answer.text))
            assert "secret" not in answer.text
    assert await stand.everything() == before


REQUESTS: dict[str, dict[str, Any]] = {
    "no operation": {},
    "null": {"operation": None},
    "an unknown operation": {"operation": "rename"},
    "an operation in capitals": {"operation": "UPDATE"},
    "a long operation": {"operation": "x" * 100_000},
    "an operation that is none": {"operation": ["update"]},
    "another operation": {"operation": {"update": 1}},
    "two operations": {"operation": "update", "operationContext": {"operation": "destroy"}},
    "one in the wrong place": {"operationContext": {"operation": "update"}},
    "inheriting perhaps": {"operation": "update", "inheritSettings": "yes"},
    "no such pool": {"operation": "update", "agentPoolID": "00000000-0000-0000-0000-000000000000"},
    "a variable without a name": {"environmentVariables": {"": "x"}},
    "a variable with an equals sign": {"environmentVariables": {"A=B": "x"}},
    "a variable with NUL": {"environmentVariables": {"A\x00": "x"}},
    "a variable of NUL": {"environmentVariables": {"A": "\x00"}},
    "a variable with a long name": {"environmentVariables": {"A" * 257: "x"}},
    "too many variables": {"environmentVariables": {f"V{n}": "x" for n in range(501)}},
    "a secret that is none": {"environmentVariables": {"A": {"secret": 1}}},
    "a ciphertext that is none": {"environmentVariables": {"A": {"ciphertext": "x"}}},
    "a number for a variable": {"environmentVariables": {"A": 1}},
    "a command that is none": {"preRunCommands": ["ls", 1]},
    "a command with NUL": {"preRunCommands": ["a\x00b"]},
    "a secret in no place of one": {"operation": "update", "future": {"secret": "x"}},
}


async def test_requests_to_deploy_that_make_no_sense_are_refused(stand: Stand) -> None:
    before = await stand.everything()
    for what, request in REQUESTS.items():
        body = dict(request)
        if "environmentVariables" in body or "preRunCommands" in body:
            body = {"operation": "update", "operationContext": body}
        content = json.dumps({**SOURCE, **body}).encode()
        for name in (f"POST {S}/deployments", f"POST {S}/deployments/settings"):
            if name.endswith("settings") and "operationContext" not in body:
                continue  # Settings have no operation.
            if name.endswith("settings") and "operation" in body["operationContext"]:
                continue
            answer = await stand.call(row_of(name), content=content)
            refused(answer, 400, (name, what))
            assert len(answer.content) < 1000, what
    assert await stand.everything() == before


@pytest.mark.parametrize("depth", [33, 300, 700, 950, 5000])
async def test_settings_may_not_be_deep(stand: Stand, depth: int) -> None:
    before = await stand.everything()
    for inner in ('{"a":%s}', "[%s]"):
        left, right = inner.split("%s")
        text = f'{{"operation":"update","future":{left * depth}1{right * depth}}}'
        for name in ("POST {}/deployments", "POST {}/deployments/settings"):
            answer = await stand.call(row_of(name.format(S)), content=text.encode())
            refused(answer, 400, (name, inner))
    assert await stand.everything() == before


async def test_settings_are_bounded(stand: Stand) -> None:
    before = await stand.everything()
    big = {"operationContext": {"environmentVariables": {"A": "x" * 300_000}}}
    bigger = {"operation": "update", **big, "tag": "x" * 1024 * 1024}
    put, deploy = row_of(f"PUT {S}/deployments/settings"), row_of(f"POST {S}/deployments")
    refused(await stand.call(put, content=json.dumps(big).encode()), 413, "settings")
    refused(await stand.call(deploy, content=json.dumps(bigger).encode()), 413, "a request")
    assert await stand.everything() == before


async def test_a_value_sealed_for_another_use_is_taken_and_garbage_is_not(stand: Stand) -> None:
    encrypt = row_of(f"POST {S}/deployments/settings/encrypt")
    for value in (1, None, [], True, {"secret": 1}, {"secret": "a\x00"}, "a\x00"):
        answer = await stand.call(encrypt, content=json.dumps(value).encode())
        refused(answer, 400, value)
    short = base64.b64encode(b"x" * 47).decode()
    for text in ("x", "", short, "é" * 100, "A" * 63):
        body = {"operationContext": {"environmentVariables": {"A": {"ciphertext": text}}}}
        if text:
            put = row_of(f"PUT {S}/deployments/settings")
            refused(await stand.call(put, content=msgspec.json.encode(body)), 400, text)


async def test_tokens_are_asked_for_in_sensible_words(stand: Stand) -> None:
    before = await stand.everything()
    row = row_of("POST /api/user/tokens")
    for body in (
        {"description": "x" * 201},
        {"description": "a\x00"},
        {"expires": -1},
        {"expires": 1},
        {"expires": 2**62},
        {"expires": 2**80},
    ):
        refused(await stand.call(row, content=json.dumps(body).encode()), 400, body)
    assert await stand.everything() == before
