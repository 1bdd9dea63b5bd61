"""The GitHub adapter against a server that speaks GitHub's REST routes and checks each request."""

from __future__ import annotations

import time
from dataclasses import replace

import httpx
import pytest

from control_plane.adapters.github import RestGitHub
from control_plane.services.github.ports import (
    Account,
    CheckRun,
    GitHubMissing,
    GitHubRefused,
)
from tests.contract.conftest import Scene
from tests.support.github import state

GONE = "1234567890" * 4


# The App.


async def test_an_app_is_made_of_a_code_once(scene: Scene) -> None:
    scene.hub.state.manifest_codes["c0de"] = scene.app
    made = await scene.adapter.convert_manifest("c0de")
    assert (made.id, made.slug, made.owner.login) == (scene.app.id, scene.app.slug, "acme")
    assert made.pem == scene.app.private_key
    assert made.webhook_secret == scene.app.webhook_secret
    for secret in (made.pem, made.webhook_secret, made.client_secret):
        assert secret not in repr(made)
    with pytest.raises(GitHubMissing):
        await scene.adapter.convert_manifest("c0de")


async def test_an_app_and_its_installations_are_read(scene: Scene) -> None:
    app = await scene.adapter.app(scene.key)
    assert (app.id, app.slug) == (scene.app.id, scene.app.slug)
    assert app.permissions["checks"] == "write"
    [found] = await scene.adapter.installations(scene.key)
    assert found == await scene.adapter.installation(scene.key, scene.installation.id)
    assert (found.account.login, found.account.kind) == ("acme", "Organization")
    assert (found.selection, found.suspended) == ("all", False)
    await scene.adapter.delete_installation(scene.key, found.id)
    with pytest.raises(GitHubMissing):
        await scene.adapter.installation(scene.key, found.id)


async def test_a_token_opens_what_it_was_minted_for(scene: Scene) -> None:
    other = scene.hub.add_repository(scene.site.owner, "other")
    rights = {"contents": "read"}
    token = await scene.adapter.mint_token(
        scene.key, scene.installation.id, [scene.site.id], rights
    )
    assert token.token not in repr(token)
    assert 3500 < token.expires_at_ms / 1000 - time.time() < 3700
    minted = scene.hub.state.tokens[token.token]
    assert (minted.repository_ids, minted.permissions) == ({scene.site.id}, rights)
    assert other.id not in (minted.repository_ids or ())
    with pytest.raises(GitHubRefused, match="not granted"):
        await scene.adapter.mint_token(
            scene.key, scene.installation.id, [scene.site.id], {"contents": "write"}
        )
    with pytest.raises(ValueError, match="limits"):
        await scene.adapter.mint_token(scene.key, scene.installation.id, [], rights)


async def test_deliveries_are_listed_read_and_asked_for_again(scene: Scene) -> None:
    for number in range(3):
        scene.hub.push(scene.site, {"a": str(number)})
    first = await scene.adapter.deliveries(scene.key, limit=2)
    assert [each.event for each in first.items] == ["push", "push"]
    assert first.cursor
    second = await scene.adapter.deliveries(scene.key, first.cursor, limit=2)
    assert [each.event for each in second.items] == ["push", "installation"]
    assert second.cursor == ""
    lost = first.items[0]
    assert (lost.status_code, lost.redelivery) == (0, False)
    assert lost.repository_id == scene.site.id
    assert lost.installation_id == scene.installation.id
    whole = await scene.adapter.delivery(scene.key, lost.id)
    assert whole.delivery.guid == lost.guid
    assert whole.payload["after"] == scene.site.git.head("main")
    await scene.adapter.redeliver(scene.key, lost.id)
    newest = (await scene.adapter.deliveries(scene.key)).items[0]
    assert (newest.guid, newest.redelivery) == (lost.guid, True)
    assert newest.id != lost.id


# Repositories.


async def test_all_pages_of_repositories_are_read(scene: Scene) -> None:
    for number in range(104):
        one = replace(scene.site, id=scene.hub.state.next_id(), name=f"r{number}")
        scene.hub.state.repositories.append(one)
    found = await scene.adapter.repositories(scene.key, scene.installation.id)
    assert len(found) == 105
    assert len({each.id for each in found}) == 105
    site = next(each for each in found if each.full_name == "acme/site")
    assert site.private
    assert site.default_branch == "main"
    assert site.clone_url == scene.hub.clone_url(scene.site)


async def test_a_renamed_repository_is_found_by_its_id_and_by_its_old_name(scene: Scene) -> None:
    scene.hub.rename(scene.site, "website")
    found = await scene.adapter.repository_by_id(scene.key, scene.installation.id, scene.site.id)
    assert found.full_name == "acme/website"
    assert await scene.adapter.branch_head(scene.place, "main") == scene.first
    old = replace(scene.place, full_name="acme/site")
    assert await scene.adapter.branch_head(old, "main") == scene.first
    scene.hub.delete(scene.site)
    with pytest.raises(GitHubMissing):
        await scene.adapter.repository_by_id(scene.key, scene.installation.id, scene.site.id)


async def test_branches_and_tags_are_listed_by_their_beginning(scene: Scene) -> None:
    for name in ("feature/b", "feature/a", "fix-#1%2"):
        scene.hub.move_branch(scene.site, name, scene.first)
    scene.hub.tag(scene.site, "v1", scene.first)
    names = [each.name for each in await scene.adapter.branches(scene.place)]
    assert names == ["feature/a", "feature/b", "fix-#1%2", "main"]
    found = await scene.adapter.branches(scene.place, "feature/", 1)
    assert [(each.name, each.sha) for each in found] == [("feature/a", scene.first)]
    assert [each.name for each in await scene.adapter.tags(scene.place, "v")] == ["v1"]
    assert await scene.adapter.branch_head(scene.place, "fix-#1%2") == scene.first
    assert await scene.adapter.branch_head(scene.place, "feature") is None
    scene.hub.move_branch(scene.site, "of/an/installation", scene.first)
    assert await scene.adapter.branch_head(scene.place, "of/an/installation") == scene.first


async def test_an_empty_repository_has_no_branches(scene: Scene) -> None:
    empty = scene.hub.add_repository(scene.site.owner, "empty")
    place = replace(scene.place, full_name=empty.full_name)
    assert await scene.adapter.branches(place) == ()
    assert await scene.adapter.branch_head(place, "main") is None


async def test_a_commit_and_the_files_of_a_comparison(scene: Scene) -> None:
    commit = await scene.adapter.commit(scene.place, scene.first)
    assert (commit.message, commit.author_login) == ("Begin", "ada")
    with pytest.raises(GitHubMissing):
        await scene.adapter.commit(scene.place, GONE)
    second = scene.hub.push(scene.site, {"docs/a.md": None, "docs/b.md": "a", "new": "1"})
    found = await scene.adapter.compare_files(scene.place, scene.first, second)
    assert set(found.names) == {"docs/a.md", "docs/b.md", "new"}
    assert not found.cut
    with pytest.raises(GitHubMissing):
        await scene.adapter.compare_files(scene.place, GONE, second)


async def test_more_files_than_github_tells_of_are_cut(scene: Scene) -> None:
    after = scene.hub.push(scene.site, {f"f{number}": "x" for number in range(301)})
    found = await scene.adapter.compare_files(scene.place, scene.first, after)
    assert len(found.names) == 300
    assert found.cut


async def test_what_a_person_may_do(scene: Scene) -> None:
    scene.hub.add_user("eve")
    found = [
        await scene.adapter.permission(scene.place, login)
        for login in ("ada", "bob", "eve", "nobody")
    ]
    assert found == ["admin", "read", "none", "none"]
    roles = [
        await scene.adapter.organization_role(scene.key, scene.installation.id, "acme", login)
        for login in ("ada", "bob", "eve")
    ]
    assert roles == ["admin", "member", None]


# Pull requests.


async def test_pull_requests_are_read(scene: Scene) -> None:
    hub, bob = scene.hub, scene.hub.state.accounts["bob"]
    fork = hub.fork(scene.site, bob)
    head = hub.push(fork, {"x": "1"}, "theirs", sender=bob)
    hub.open_pull(scene.site, "theirs", head=fork, author=bob, draft=True, labels=["preview"])
    hub.push(scene.site, {"y": "1"}, "ours")
    own = hub.open_pull(scene.site, "ours")
    first = await scene.adapter.pull_request(scene.place, 1)
    assert (first.head_sha, first.head_ref, first.base_ref) == (head, "theirs", "main")
    assert (first.from_fork, first.draft, first.labels) == (True, True, ("preview",))
    assert (first.author.login, first.head_repository_id) == ("bob", fork.id)
    fork.deleted = True
    first = await scene.adapter.pull_request(scene.place, 1)
    assert (first.head_repository_id, first.from_fork) == (None, True)
    both = await scene.adapter.open_pull_requests(scene.place, "main")
    assert [each.number for each in both] == [2, 1]
    assert not both[0].from_fork
    assert await scene.adapter.open_pull_requests(scene.place, "other") == ()
    hub.close_pull(own, merge=True)
    assert (await scene.adapter.pull_request(scene.place, 2)).merged
    assert len(await scene.adapter.open_pull_requests(scene.place)) == 1
    with pytest.raises(GitHubMissing, match="pull request"):
        await scene.adapter.pull_request(scene.place, 99)


async def test_the_files_of_a_pull_request_are_those_since_it_left(scene: Scene) -> None:
    scene.hub.push(
        scene.site, {f"n{number}": "1" for number in range(130)}, "ours", parents=[scene.first]
    )
    scene.hub.push(scene.site, {"on-main": "1"})
    scene.hub.open_pull(scene.site, "ours")
    found = await scene.adapter.pull_request_files(scene.place, 1)
    assert len(found.names) == 130
    assert "on-main" not in found.names
    assert not found.cut


async def test_a_comment_is_written_found_changed_and_removed(scene: Scene) -> None:
    hub, marker = scene.hub, "<!-- slipway acme/site/dev -->"
    hub.push(scene.site, {"x": "1"}, "ours")
    pull = hub.open_pull(scene.site, "ours")
    imitation = state.Comment(1, scene.site, 1, marker, hub.state.accounts["bob"], None)
    hub.state.comments.append(imitation)
    for number in range(120):
        hub.state.comments.append(replace(imitation, id=10_000 + number, body="words"))
    assert await scene.adapter.find_comment(scene.place, 1, marker) is None
    made = await scene.adapter.create_comment(scene.place, 1, f"{marker} begun")
    assert await scene.adapter.find_comment(scene.place, 1, marker) == made
    changed = await scene.adapter.update_comment(scene.place, made.id, f"{marker} done")
    assert (changed.id, changed.body) == (made.id, f"{marker} done")
    await scene.adapter.delete_comment(scene.place, made.id)
    with pytest.raises(GitHubMissing):
        await scene.adapter.update_comment(scene.place, made.id, "late")
    assert pull.number == 1


# What commits show.


async def test_a_check_run_follows_a_deployment(scene: Scene) -> None:
    check = CheckRun(name="slipway", status="queued", details_url="http://slipway.test/d/1")
    number = await scene.adapter.create_check_run(scene.place, scene.first, check)
    running = replace(check, status="in_progress", started_at_ms=1_767_323_045_000)
    await scene.adapter.update_check_run(scene.place, number, running)
    done = replace(
        running,
        status="completed",
        conclusion="success",
        title="2 created",
        summary="All is well.",
        text="log",
        external_id="d-1",
        completed_at_ms=1_767_323_046_000,
    )
    await scene.adapter.update_check_run(scene.place, number, done)
    [kept] = scene.hub.state.check_runs
    assert kept.fields["conclusion"] == "success"
    assert kept.fields["started_at"] == "2026-01-02T03:04:05Z"
    assert kept.fields["output"] == {"title": "2 created", "summary": "All is well.", "text": "log"}
    with pytest.raises(GitHubRefused, match="422"):
        await scene.adapter.create_check_run(scene.place, GONE, check)


async def test_statuses_and_deployments_of_a_commit(scene: Scene) -> None:
    await scene.adapter.set_commit_status(
        scene.place, scene.first, state="success", context="slipway/dev", description="d" * 200
    )
    [status] = scene.hub.state.statuses
    assert len(status.fields["description"]) == 140
    number = await scene.adapter.create_deployment(
        scene.place, scene.first, environment="dev", description="by push", transient=False
    )
    await scene.adapter.set_deployment_status(
        scene.place, number, state="in_progress", log_url="http://slipway.test/d/1"
    )
    [deployment] = scene.hub.state.deployments
    assert deployment.fields["auto_merge"] is False
    assert deployment.fields["required_contexts"] == []
    assert scene.hub.state.deployment_statuses[0].fields["deployment_id"] == number


# People.


async def test_a_person_signs_in(scene: Scene) -> None:
    ada = scene.hub.state.accounts["ada"]
    scene.hub.state.codes["c0de"] = (scene.app, ada)
    given = (scene.app.client_id, scene.app.client_secret, "c0de", "http://slipway.test/back")
    token = await scene.adapter.exchange_code(*given)
    assert token.token not in repr(token)
    assert token.refresh_token
    assert token.refresh_token not in repr(token)
    user = await scene.adapter.user(token.token)
    assert (user.id, user.login, user.email) == (ada.id, "ada", "ada@example.com")
    with pytest.raises(GitHubRefused, match="incorrect or expired"):
        await scene.adapter.exchange_code(*given)
    [seen] = await scene.adapter.user_installations(token.token)
    assert seen.id == scene.installation.id


async def test_who_controls_an_account(scene: Scene) -> None:
    hub = scene.hub
    people = {login: hub.state.accounts[login] for login in ("ada", "bob")}
    people["eve"] = hub.add_user("eve")
    for login, each in people.items():
        hub.state.user_tokens[f"ghu_{login}"] = (scene.app, each)
    acme = Account(hub.state.accounts["acme"].id, "acme", "Organization")
    controls = [await scene.adapter.controls(f"ghu_{login}", acme) for login in people]
    assert controls == [True, False, False]
    bob = Account(people["bob"].id, "bob", "User")
    controls = [await scene.adapter.controls(f"ghu_{login}", bob) for login in people]
    assert controls == [False, True, False]


@pytest.mark.parametrize(
    ("base_url", "slug_page"),
    [("https://github.com", "apps"), ("https://github.example.com", "github-apps")],
)
def test_addresses_for_browsers(base_url: str, slug_page: str) -> None:
    adapter = RestGitHub(base_url, "https://api.example.com")
    assert adapter.manifest_url("s&t") == f"{base_url}/settings/apps/new?state=s%26t"
    own = f"{base_url}/organizations/acme/settings/apps/new?state=s"
    assert adapter.manifest_url("s", "acme") == own
    assert (
        adapter.install_url("slip", "s") == f"{base_url}/{slug_page}/slip/installations/new?state=s"
    )
    page = httpx.URL(adapter.authorize_url("id", "http://a/b?c", "s"))
    assert str(page.copy_with(query=None)) == f"{base_url}/login/oauth/authorize"
    assert dict(page.params) == {"client_id": "id", "redirect_uri": "http://a/b?c", "state": "s"}
