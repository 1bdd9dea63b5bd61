"""What the GitHub adapter says of a GitHub that is down, slow, strict, or somebody else."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

import pytest

from control_plane.adapters.github import RestGitHub
from control_plane.outside import TransactionOpen, transaction_open
from control_plane.services.github.ports import (
    AppKey,
    CheckRun,
    GitHubLimited,
    GitHubMissing,
    GitHubRefused,
    GitHubUnavailable,
)
from tests.contract.conftest import Scene
from tests.support.github import state
from tests.support.waiting import eventually


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_broken_github_is_unavailable_and_not_asked_again(
    scene: Scene, status: int
) -> None:
    scene.hub.fail("GET /app$", status=status, headers={"Retry-After": "7"})
    with pytest.raises(GitHubUnavailable) as caught:
        await scene.adapter.app(scene.key)
    assert caught.value.retry_after_seconds == 7
    assert scene.hub.requests("GET /app$") == 1
    assert (await scene.adapter.app(scene.key)).id == scene.app.id


async def test_a_silent_github_is_unavailable_in_time(scene: Scene) -> None:
    adapter = RestGitHub(scene.hub.url, scene.hub.api_url, 0.3)
    scene.hub.hang("GET /app$")
    began = time.monotonic()
    with pytest.raises(GitHubUnavailable, match=r"in time|ReadTimeout"):
        await adapter.app(scene.key)
    assert time.monotonic() - began < 3


async def test_nobody_at_the_address_is_unavailable(scene: Scene) -> None:
    adapter = RestGitHub("http://127.0.0.1:9", "http://127.0.0.1:9/api/v3", 2)
    with pytest.raises(GitHubUnavailable):
        await adapter.app(scene.key)


async def test_a_limited_credential_is_not_used_before_its_time(scene: Scene) -> None:
    now = [1000.0]
    adapter = RestGitHub(scene.hub.url, scene.hub.api_url, 5, lambda: now[0])
    scene.hub.limit("GET /app$", retry_after=90)
    with pytest.raises(GitHubLimited) as caught:
        await adapter.app(scene.key)
    assert (caught.value.retry_after_seconds, caught.value.secondary) == (90, True)
    now[0] += 89
    with pytest.raises(GitHubLimited):
        await adapter.installations(scene.key)
    assert scene.hub.requests("GET /app") == 1
    assert await adapter.branch_head(scene.place, "main") == scene.first
    now[0] += 2
    assert (await adapter.app(scene.key)).id == scene.app.id


async def test_the_hourly_limit_says_when_it_ends(scene: Scene) -> None:
    ends = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 600)}
    body = b'{"message": "API rate limit exceeded"}'
    scene.hub.fail("GET /app$", status=403, headers=ends, body=body)
    with pytest.raises(GitHubLimited) as caught:
        await scene.adapter.app(scene.key)
    assert 590 < caught.value.retry_after_seconds <= 600
    assert not caught.value.secondary


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (429, {}, b"{}"),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"{}"),
        (403, {}, b'{"message": "You have exceeded a secondary rate limit"}'),
    ],
)
async def test_a_limit_without_a_time_is_a_minute(
    scene: Scene, status: int, headers: dict[str, str], body: bytes
) -> None:
    scene.hub.fail("GET /app$", status=status, headers=headers, body=body)
    with pytest.raises(GitHubLimited) as caught:
        await scene.adapter.app(scene.key)
    assert caught.value.retry_after_seconds == 60


async def test_a_limit_on_minting_a_token_is_a_limit_too(scene: Scene) -> None:
    scene.hub.limit("access_tokens")
    with pytest.raises(GitHubLimited):
        await scene.adapter.branch_head(scene.place, "main")
    with pytest.raises(GitHubLimited):
        await scene.adapter.branch_head(scene.place, "main")
    assert scene.hub.requests("access_tokens") == 1


async def test_what_an_installation_lacks_is_refused(scene: Scene) -> None:
    scene.installation.permissions.pop("checks")
    check = CheckRun(name="slipway", status="queued")
    with pytest.raises(GitHubRefused, match="not accessible") as caught:
        await scene.adapter.create_check_run(scene.place, scene.first, check)
    assert caught.value.github_status == 403
    chosen = scene.hub.add_repository(scene.site.owner, "chosen")
    scene.installation.repository_ids = {chosen.id}
    with pytest.raises(GitHubMissing):
        await scene.adapter.commit(scene.place, scene.first)


async def test_a_suspended_installation_is_refused_until_it_is_not(scene: Scene) -> None:
    assert await scene.adapter.branch_head(scene.place, "main") == scene.first
    scene.hub.suspend(scene.installation)
    with pytest.raises(GitHubRefused, match="suspended"):
        await scene.adapter.branch_head(scene.place, "main")
    assert (await scene.adapter.installation(scene.key, scene.installation.id)).suspended
    scene.hub.suspend(scene.installation, suspended=False)
    assert await scene.adapter.branch_head(scene.place, "main") == scene.first


async def test_a_wrong_key_is_refused_and_never_told(scene: Scene) -> None:
    other, _ = state.key_pair(77)
    for text in (other, "no key at all"):
        with pytest.raises(GitHubRefused) as caught:
            await scene.adapter.app(AppKey(scene.app.id, text))
        assert caught.value.github_status == 401
        assert text.splitlines()[-1] not in str(caught.value)
        assert text not in repr(AppKey(1, text))


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'"text"', b"{}", b"null"])
async def test_an_answer_that_is_not_githubs_is_no_crash(scene: Scene, body: bytes) -> None:
    scene.hub.fail("", status=200, times=100, body=body)
    calls: list[Awaitable[Any]] = [
        scene.adapter.app(scene.key),
        scene.adapter.deliveries(scene.key),
        scene.adapter.exchange_code("id", "secret", "code"),
        scene.adapter.repositories(scene.key, scene.installation.id),
    ]
    for call in calls:
        with pytest.raises(GitHubUnavailable, match=r"sense|JSON"):
            await call


async def test_one_token_serves_many_calls(scene: Scene) -> None:
    for _ in range(5):
        await scene.adapter.branch_head(scene.place, "main")
    assert scene.hub.requests("access_tokens") == 1
    [minted] = scene.hub.state.tokens.values()
    assert minted.repository_ids is None


async def test_a_kept_token_is_given_up_five_minutes_early(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.github.routes_app.TOKEN_SECONDS", 299)
    await scene.adapter.branch_head(scene.place, "main")
    await scene.adapter.branch_head(scene.place, "main")
    assert scene.hub.requests("access_tokens") == 2


async def test_an_endless_answer_is_cut_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.adapters.github_kit.ANSWER_BYTES_MAX", 1000)
    scene.hub.fail("GET /app$", status=200, body=b"[" + b"1," * 10_000 + b"1]")
    with pytest.raises(GitHubUnavailable):
        await scene.adapter.app(scene.key)


async def test_a_call_inside_a_transaction_is_a_bug(scene: Scene) -> None:
    marker = transaction_open.set(True)
    try:
        with pytest.raises(TransactionOpen):
            await scene.adapter.app(scene.key)
    finally:
        transaction_open.reset(marker)


async def test_redelivery_reaches_a_receiver(scene: Scene) -> None:
    """With nobody there GitHub keeps what did not arrive; later it does."""
    scene.hub.push(scene.site, {"a": "1"})
    lost = (await scene.adapter.deliveries(scene.key)).items[0]
    await scene.adapter.redeliver(scene.key, lost.id)

    async def tried() -> bool:
        return len((await scene.adapter.deliveries(scene.key)).items) > 2

    await eventually(tried, "the delivery is tried again")
    await scene.adapter.close()
