"""Who may call what: every route and verb, without credentials, with others', with wrong ones."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.services import identity
from tests.support.bad_input import (
    ACTOR,
    ANYONE,
    LEASE,
    OLD,
    PERSON,
    POOL,
    ROWS,
    S,
    Stand,
    make_stand,
    one_per_handler,
    served,
)
from tests.support.bad_input_github import ASKS_GITHUB
from tests.support.state import new_stack

EVE = "pul-" + "e" * 48


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with make_stand(tmp_path) as made:
        yield made


def refused(answer: httpx.Response, status: int, what: object) -> None:
    """The answer is an error in the one shape."""
    assert answer.status_code == status, f"{what}: {answer.status_code} {answer.text[:300]}"
    assert answer.headers["content-type"].startswith("application/json"), what
    if answer.request.method == "HEAD":
        return
    body = answer.json()
    assert set(body) == {"code", "message"}, what
    assert body["code"] == status, what
    assert body["message"], what


async def test_every_route_and_verb_has_a_row(stand: Stand) -> None:
    known = [(row.verb, row.path) for row in ROWS]
    assert len(known) == len(set(known))
    assert sorted(known) == sorted(served(stand.app))


async def test_right_requests_are_understood(stand: Stand) -> None:
    """Else what follows would refuse wrong ones for another reason."""
    for row in one_per_handler():
        answer = await stand.call(row)
        if row.name.startswith("GET /schema/{path"):
            assert answer.status_code == 404  # The framework's own page, in HTML.
        elif row.path == "/health/ready":
            assert answer.status_code == 503  # No runner is there.
        elif row.path == "/webhooks/github":
            assert answer.status_code == 401  # GitHub has not signed it.
        elif row.path.endswith("/source-token"):
            assert answer.status_code == 404  # The source is none of GitHub's.
        elif row.name in ASKS_GITHUB:
            assert answer.status_code == 503, answer.text
        elif row.verb == "DELETE" and row.path == S:
            assert answer.json()["message"] == "Bad Request: Stack still contains resources."
        elif not answer.is_success:
            refused(answer, 409, row.name)


async def test_without_a_good_token_nothing_is_told_and_nothing_done(stand: Stand) -> None:
    before = await stand.everything()
    for row in (row for row in ROWS if row.caller != ANYONE):
        good = stand.authorization(row)["Authorization"]
        scheme, _, token = good.partition(" ")
        for header in (None, "", scheme, f"{scheme} ", token, f"Basic {token}", f"{scheme}{token}"):
            authorization = {} if header is None else {"Authorization": header}
            answer = await stand.call(row, authorization=authorization)
            refused(answer, 401, (row.name, header))
    assert await stand.everything() == before


async def test_an_unknown_token_is_refused(stand: Stand) -> None:
    before = await stand.everything()
    unknown = ("pul-" + "0" * 48, "sld-" + "0" * 48, "slr-x", "\xe9\xff", "x" * 60_000, "a b")
    for row in one_per_handler():
        scheme = "update-token" if row.caller == LEASE else "token"
        # An actor's and an engine's token are known by what they are used for.
        status = {ANYONE: None, ACTOR: 409, LEASE: 403}.get(row.caller, 401)
        for token in unknown if status else ():
            value = f"{scheme} {token}".encode("latin-1")
            answer = await stand.call(row, authorization={"Authorization": value})
            refused(answer, status, (row.name, token[:20]))
    assert await stand.everything() == before


async def test_a_token_of_another_kind_is_refused(stand: Stand) -> None:
    before = await stand.everything()
    kinds = (PERSON, POOL, ACTOR, LEASE, "machine")
    for row in (row for row in one_per_handler() if row.caller != ANYONE):
        for kind in kinds:
            if kind == row.caller or (row.caller, kind) == (PERSON, "machine"):
                continue
            token = stand.tokens[kind]
            scheme = "update-token" if row.caller == LEASE else "token"
            status = {ACTOR: 409, LEASE: 403}.get(row.caller, 401)
            answer = await stand.call(row, authorization={"Authorization": f"{scheme} {token}"})
            refused(answer, status, (row.name, kind))
        if row.caller == LEASE:
            token = stand.authorization(row)["Authorization"].replace("update-token", "token")
            answer = await stand.call(row, authorization={"Authorization": token})
            refused(answer, 401, row.name)
    assert await stand.everything() == before


async def test_a_deployments_token_does_what_its_engine_needs_and_no_more(stand: Stand) -> None:
    for row in (row for row in one_per_handler() if row.caller == PERSON):
        answer = await stand.call(row, authorization=stand.authorization(row, "machine"))
        if row.machine:
            refused(answer, row.machine, row.name)
        else:
            assert answer.status_code not in (401, 403, 404), (row.name, answer.text)


async def test_a_deployments_token_sees_no_other_stack(stand: Stand) -> None:
    before = await stand.everything()
    rows = [row for row in one_per_handler() if row.caller == PERSON and row.is_under_stack]
    for row in (row for row in rows if not row.referred):
        there = await stand.call(
            row,
            path=stand.path(row, stack="check"),
            authorization=stand.authorization(row, "machine"),
        )
        missing = await stand.call(
            row,
            path=stand.path(row, stack="nowhere"),
            authorization=stand.authorization(row, "machine"),
        )
        refused(there, row.machine or 404, row.name)
        assert told(there, "check") == told(missing, "nowhere"), row.name
    assert await stand.everything() == before


def told(answer: httpx.Response, name: str) -> tuple[int, dict[str, str], str]:
    """The whole answer, but for the name that the caller gave and the length that comes of it."""
    headers = {key: value for key, value in answer.headers.items() if key != "content-length"}
    return answer.status_code, headers, re.sub(rf"\b{re.escape(name)}\b", "…", answer.text)


async def test_what_belongs_to_others_cannot_be_told_from_what_is_missing(stand: Stand) -> None:
    world = stand.desk.farm.world
    await identity.bootstrap(world, "eve", EVE)
    before = await stand.everything()
    eve = {"Authorization": f"token {EVE}"}
    for row in (row for row in one_per_handler() if row.caller == PERSON):
        if "{organization:str}" not in row.path:
            continue
        foreign = await stand.call(row, authorization=eve)
        missing = await stand.call(
            row, path=stand.path(row, organization="nobody"), authorization=eve
        )
        refused(foreign, 404, row.name)
        assert told(foreign, "ada") == told(missing, "nobody"), row.name
    token = next(row for row in ROWS if row.name == "DELETE /api/user/tokens/{token_id:str}")
    foreign = await stand.call(token, authorization=eve)
    missing = await stand.call(token, path=stand.path(token, token_id="none"), authorization=eve)
    refused(foreign, 404, token.name)
    assert told(foreign, stand.values["token_id"]) == told(missing, "none")
    assert await stand.everything() == before


async def test_ids_of_another_stack_are_missing_ones(stand: Stand) -> None:
    """One's own stack, and an update or a deployment of another: of Ada's and of Eve's."""
    world = stand.desk.farm.world
    await identity.bootstrap(world, "eve", EVE)
    eve = {"Authorization": f"token {EVE}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(stand.app), base_url="http://slipway.test", headers=eve
    ) as http:
        own = await new_stack(http, organization="eve")
    before = await stand.everything()
    for row in one_per_handler():
        name = "update_id" if "{update_id:str}" in row.path else "deployment_id"
        if row.caller not in (PERSON, LEASE) or f"{{{name}:str}}" not in row.path:
            continue
        place = row.path.split("/").index(f"{{{name}:str}}")
        foreign_id = stand.path(row).split("/")[place]
        for caller, stack, organization in ((None, "dev", "ada"), (eve, own.name.stack, "eve")):
            if caller and row.caller == LEASE:
                continue
            kwargs = {"authorization": caller} if caller else {}
            own_stack = {"stack": stack, "organization": organization}
            foreign = await stand.call(row, path=stand.path(row, **own_stack), **kwargs)
            path = stand.path(row, **own_stack, **{name: "none"})
            missing = await stand.call(row, path=path, **kwargs)
            assert foreign.status_code == 404, (row.name, foreign.text)
            assert told(foreign, foreign_id) == told(missing, "none"), row.name
    assert await stand.everything() == before


async def test_a_wrong_verb_names_the_right_ones(stand: Stand) -> None:
    before = await stand.everything()
    verbs: dict[str, set[str]] = {}
    for verb, path in served(stand.app):
        verbs.setdefault(path, set()).add(verb)
    for path, right in verbs.items():
        row = next(row for row in ROWS if row.path == path)
        # Outside of the API, HEAD is answered as GET is, without the body.
        heads = {"HEAD"} if "GET" in right and not path.startswith("/api/") else set()
        for verb in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - right - heads:
            answer = await stand.call(row, verb=verb)
            refused(answer, 405, (verb, path))
            assert verb == "HEAD" or verb in answer.json()["message"]
            allowed = set(answer.headers["allow"].split(", "))
            assert allowed == right | {"OPTIONS"}, (verb, path)
        asked = await stand.call(row, verb="OPTIONS", content=b"", authorization={})
        assert asked.status_code == 204, path
        assert "OPTIONS" in asked.headers["allow"], path
    assert await stand.everything() == before


NOWHERE = (
    "/api",
    "/api/",
    "/api/stacks",
    "/api/stacks/ada",
    "/api/stacks/ada/shop/prod/nothing",
    "/api/stacks/ada/shop/prod/update/a/b/c/d",
    "/api/stacks//shop/prod/export/x",
    "/api/v2/user",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/api/stacks/ada/shop/..%2f..%2fprod",
    "/api/user%00",
    "/api/\u00fcser",
    "/api/stacks/ada/shop/prod/export/one",
    "/api/stacks/ada/shop/prod/updates/1.5",
)


async def test_an_unknown_address_is_404_with_a_code(stand: Stand) -> None:
    for path in NOWHERE:
        for verb in ("GET", "POST", "PATCH", "DELETE"):
            if verb != "GET" and path.endswith(("one", "1.5")):
                continue  # Such an address there is, for a number.
            for token in (None, stand.tokens[PERSON]):
                headers = {} if token is None else {"Authorization": f"token {token}"}
                answer = await stand.http.request(verb, path, headers=headers, content=b"{}")
                refused(answer, 404, (verb, path))


async def test_every_update_address_is_the_same_whatever_the_kind(stand: Stand) -> None:
    """`one_per_handler` leaves kinds out; here is why it may."""
    table = {(verb, path) for verb, path in served(stand.app)}
    for verb, path in table:
        if path.startswith(f"{S}/update/") or path == f"{S}/update":
            for kind in ("preview", "refresh", "destroy"):
                assert (verb, path.replace(f"{S}/update", f"{S}/{kind}", 1)) in table
    assert OLD.startswith("/api/preview/")
