"""Repositories are renamed and moved, installations suspended and gone: settings follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.github_org import API, Connected, connected
from tests.support.waiting import wait_for


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Connected]:
    with connected(tmp_path) as made:
        yield made


def settings(org: Connected, stack: str) -> dict[str, Any]:
    return dict(org.http.get(f"{stack}/deployments/settings").json())


def test_settings_follow_a_renamed_repository(org: Connected) -> None:
    stack = org.stack()
    org.hub.rename(org.repository, "website")
    wait_for(
        lambda: settings(org, stack)["gitHub"]["repository"] == "acme/website",
        "the settings have the new name",
    )
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: org.deployments(stack), "a push of the new name is deployed")


def test_a_transferred_repository_deploys_no_more_until_it_is_claimed(org: Connected) -> None:
    stack = org.stack()
    other = org.hub.add_organization("others", {"octo-ada": "admin"})
    org.hub.install(org.app, other)
    org.hub.transfer(org.repository, other)
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: org.http.get(API).json()["unclaimed"] == 1, "the other is not claimed")
    assert org.deployments(stack) == []


def test_a_suspended_installation_deploys_nothing(org: Connected) -> None:
    stack = org.stack()
    org.hub.suspend(org.installation)
    wait_for(lambda: org.http.get(API).json()["installations"][0]["suspended"], "it is suspended")
    org.hub.suspend(org.installation, suspended=False)
    wait_for(lambda: not org.http.get(API).json()["installations"][0]["suspended"], "it is resumed")
    org.hub.push(org.repository, {"a": "b"})
    wait_for(lambda: org.deployments(stack), "a push is deployed again")


def test_missing_permissions_are_shown_until_they_are_accepted(org: Connected) -> None:
    first = org.http.get(API).json()["installations"][0]
    less = dict(org.installation.permissions)
    less.pop("checks")
    org.hub.accept_permissions(org.installation, less)

    def missing() -> dict[str, str]:
        return dict(org.http.get(API).json()["installations"][0]["missingPermissions"])

    wait_for(lambda: "checks" in missing(), "checks are missing")
    org.hub.accept_permissions(org.installation, less | {"checks": "write"})
    wait_for(lambda: missing() == first["missingPermissions"], "they are accepted")


def test_an_uninstall_says_what_it_deletes_and_deletes_it(org: Connected) -> None:
    stack = org.stack()
    path = f"{API}/installations/{org.installation.id}"
    assert org.http.get(f"{path}/concerned").json() == [
        {"stack": "shop/dev", "repository": "acme/site"}
    ]
    answer = org.http.delete(path)
    assert answer.status_code == 200, answer.text
    assert answer.json() == [{"stack": "shop/dev", "repository": "acme/site"}]
    assert org.hub.state.installations == {}
    left = settings(org, stack)
    assert "gitHub" not in left
    assert left["sourceContext"]["git"]["repoUrl"].endswith("/acme/site.git")
    assert org.http.get(API).json()["installations"] == []


def test_an_uninstall_on_github_deletes_it_too(org: Connected) -> None:
    stack = org.stack()
    org.hub.uninstall(org.installation)
    wait_for(lambda: "gitHub" not in settings(org, stack), "the configuration is gone")


def test_a_deleted_repository_keeps_its_settings(org: Connected) -> None:
    stack = org.stack()
    org.hub.delete(org.repository)
    wait_for(lambda: org.http.get(f"{API}/repositories").json() == [], "it is gone")
    assert settings(org, stack)["gitHub"]["repository"] == "acme/site"


def test_pickers_show_repositories_and_branches(org: Connected) -> None:
    org.hub.push(org.repository, {"a": "b"}, branch="feature/x")
    (found,) = org.http.get(f"{API}/repositories", params={"q": "SIT"}).json()
    assert (found["fullName"], found["defaultBranch"]) == ("acme/site", "main")
    branches = org.http.get(f"{API}/repositories/acme/site/branches").json()
    assert branches == ["main", "feature/x"]
    assert org.http.get(f"{API}/repositories/acme/none/branches").status_code == 404
    assert org.http.get(f"{API}/repositories", params={"q": "no"}).json() == []
