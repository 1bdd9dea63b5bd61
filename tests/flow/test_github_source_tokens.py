"""The token that a runner fetches its source with: narrow, and written down nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.github_org import Connected, connected
from tests.support.github_runner import Granted, take


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def pushed(org: Connected) -> Granted:
    """What a push had queued, under its lease."""
    org.stack()
    org.hub.push(org.repository, {"a": "1"})
    org.deliveries(2)
    granted = take(org)
    assert granted.grant.source is not None
    assert granted.grant.source.token_wanted
    return granted


def test_it_opens_one_repository_for_reading(org: Connected, tmp_path: Path) -> None:
    token = pushed(org).opened_source_token()
    minted = org.hub.state.tokens[token]
    assert minted.repository_ids == {org.repository.id}
    assert minted.permissions == {"contents": "read", "metadata": "read"}
    kept = [each for each in (tmp_path / "data").rglob("*") if each.is_file()]
    assert any(each.suffix == ".db" or each.name.endswith("-wal") for each in kept)
    assert [each.name for each in kept if token.encode() in each.read_bytes()] == []


def test_only_the_runner_under_its_lease_gets_it(org: Connected) -> None:
    granted = pushed(org)
    before = len(org.hub.state.tokens)
    assert granted.source_token("wrong").status_code in (401, 409)
    assert granted.source_token(granted.cli_token).status_code in (401, 409)
    assert granted.source_token(generation=7).status_code == 409
    granted.conclude()
    assert granted.source_token().status_code == 409
    assert len(org.hub.state.tokens) == before


def test_a_repository_that_is_installed_no_more_is_named(org: Connected) -> None:
    granted = pushed(org)
    org.hub.uninstall(org.installation)
    org.deliveries(2)
    answer = granted.source_token()
    assert answer.status_code == 404
    assert "acme/site" in answer.json()["message"]
    assert "removed" in answer.json()["message"]


def test_an_outage_of_github_is_told(org: Connected) -> None:
    granted = pushed(org)
    org.hub.fail("access_tokens", status=502, times=20)
    answer = granted.source_token()
    assert answer.status_code == 404
    assert "acme/site" in answer.json()["message"]
    assert "502" in answer.json()["message"] or "GitHub" in answer.json()["message"]
