"""What Pulumi Cloud has and Slipway has not: 501 that names it, once the caller is known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control_plane.services import identity
from tests.support.app import client
from tests.support.state import new_stack
from tests.support.world import make_world

S = "/api/stacks/ada/shop/dev"
EVE = "pul-" + "e" * 48

KNOWN = {
    f"{S}/deployments/schedules": "Schedules",
    f"{S}/deployments/schedules/1/history": "Schedules",
    f"{S}/deployments/ttl/schedules": "Schedules",
    f"{S}/drift/status": "Drift runs",
    f"{S}/hooks": "Webhooks",
    f"{S}/hooks/a/deliveries": "Webhooks",
    f"{S}/policygroups": "Policy groups",
    "/api/orgs/ada/hooks": "Webhooks",
    "/api/orgs/ada/auditlogs/v2": "Audit logs",
    "/api/orgs/ada/oidc/issuers": "OIDC issuers",
    "/api/orgs/ada/policypacks": "Policy packs and groups",
    "/api/orgs/ada/teams": "Teams",
    "/api/orgs/ada/roles": "Roles",
    "/api/orgs/ada/agent-pools": "Agent pools over REST",
    "/api/orgs/ada/members/bob": "Changes of members over REST",
    "/api/orgs/ada/templates/sources": "Template sources",
    "/api/orgs/ada/search/resourcesv2": "Resource searches",
    "/api/orgs/ada/deployments/summary": "Usage summaries",
    "/api/esc/environments": "ESC environments",
    "/api/esc/environments/ada": "ESC environments",
    "/api/esc/environments/ada/p/e/open": "ESC environments",
    "/api/preview/environments/ada/e": "ESC environments",
    "/api/preview/insights/ada/accounts": "Insights",
    "/api/console/orgs/ada/integrations/github": "VCS integrations",
    "/api/openapi/pulumi-spec.json": "Published API schemas",
}


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    world = make_world(tmp_path)
    async with client(world) as made:
        await new_stack(made)
        await identity.bootstrap(world, "eve", EVE)
        yield made
    await world.database.close()


async def test_the_answer_names_the_feature(http: httpx.AsyncClient) -> None:
    for path, feature in KNOWN.items():
        told = {"code": 501, "message": f"Not Implemented: {feature} are not part of Slipway yet."}
        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = await http.request(verb, path, json={})
            assert answer.json() == told, (verb, path)
            # A CLI repeats a read that fails with 5xx for seven seconds.
            assert answer.status_code == (400 if verb == "GET" else 501), (verb, path)
            assert answer.headers["content-type"] == "application/json"


async def test_others_are_told_no_more_than_elsewhere(http: httpx.AsyncClient) -> None:
    for path in KNOWN:
        nobody = await http.get(path, headers={"Authorization": ""})
        assert (nobody.status_code, nobody.json()["code"]) == (401, 401), path
        foreign = await http.get(path, headers={"Authorization": f"token {EVE}"})
        status = 404 if "/ada" in path else 400
        assert foreign.status_code == status, path
        if status == 404:
            for verb in ("POST", "DELETE"):
                theirs = await http.request(verb, path, headers={"Authorization": f"token {EVE}"})
                assert theirs.status_code == 404, (verb, path)


async def test_some_ask_without_a_token_of_a_persons(http: httpx.AsyncClient) -> None:
    for verb, path in (("POST", "/api/oauth/token"), ("GET", "/api/deployments/poll")):
        answer = await http.request(verb, path, headers={"Authorization": ""}, data={"a": "b"})
        assert answer.json()["code"] == 501
        assert answer.status_code == (400 if verb == "GET" else 501)


async def test_what_nobody_knows_stays_unknown(http: httpx.AsyncClient) -> None:
    for path in ("/api/nothing", f"{S}/nothing", "/api/orgs/ada/nothing", "/api/esc", "/api/x/y"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, 404), path


async def test_wrong_verbs_beside_it_are_still_wrong(http: httpx.AsyncClient) -> None:
    for verb, path in (
        ("PUT", f"{S}/export"),
        ("PUT", f"{S}/deployments/cache"),
        ("POST", "/api/orgs/ada/templates"),
    ):
        answer = await http.request(verb, path, json={})
        assert (answer.status_code, answer.json()["code"]) == (405, 405), path
        assert answer.headers["allow"]
