"""The stand-in's things as GitHub's JSON: what matters by hand, the rest as the models ask."""

from __future__ import annotations

from typing import Any

from tests.support.github.models import complete
from tests.support.github.state import (
    Account,
    App,
    Comment,
    Delivery,
    Installation,
    Pull,
    Repository,
    State,
    Written,
    iso,
)


def account(state: State, who: Account) -> dict[str, Any]:
    return complete(
        "SimpleUser",
        {
            "id": who.id,
            "login": who.login,
            "type": who.kind,
            "html_url": f"{state.url}/{who.login}",
            "url": f"{state.url}/api/v3/users/{who.login}",
            "site_admin": False,
        },
    )


def user(state: State, who: Account) -> dict[str, Any]:
    fields = account(state, who) | {"name": who.name or None, "email": who.email or None}
    return complete("PublicUser", fields)


def app(state: State, it: App) -> dict[str, Any]:
    return complete(
        "Integration",
        {
            "id": it.id,
            "slug": it.slug,
            "name": it.name,
            "client_id": it.client_id,
            "owner": account(state, it.owner),
            "external_url": it.url,
            "html_url": f"{state.url}/github-apps/{it.slug}",
            "permissions": it.permissions,
            "events": it.events,
            "created_at": iso(0),
            "updated_at": iso(0),
        },
    )


def created_app(state: State, it: App) -> dict[str, Any]:
    secrets = {
        "client_secret": it.client_secret,
        "webhook_secret": it.webhook_secret,
        "pem": it.private_key,
    }
    return app(state, it) | secrets


def installation(state: State, it: Installation) -> dict[str, Any]:
    owner = it.account
    page = "settings/installations" if owner.kind == "User" else f"organizations/{owner.login}"
    return complete(
        "Installation",
        {
            "id": it.id,
            "account": account(state, owner),
            "target_id": owner.id,
            "target_type": owner.kind,
            "app_id": it.app.id,
            "app_slug": it.app.slug,
            "repository_selection": "all" if it.repository_ids is None else "selected",
            "permissions": it.permissions,
            "events": it.events,
            "html_url": f"{state.url}/{page}/{it.id}",
            "created_at": iso(0),
            "updated_at": iso(0),
            "suspended_at": iso(0) if it.suspended else None,
        },
    )


def repository(state: State, it: Repository, name: str = "Repository") -> dict[str, Any]:
    """As one of the models that GitHub has of a repository."""
    web = f"{state.url}/{it.full_name}"
    api = f"{state.url}/api/v3/repos/{it.full_name}"
    return complete(
        name,
        {
            "id": it.id,
            "name": it.name,
            "full_name": it.full_name,
            "owner": account(state, it.owner),
            "private": it.private,
            "visibility": "private" if it.private else "public",
            "fork": it.fork_of is not None,
            "archived": False,
            "disabled": False,
            "default_branch": it.default_branch,
            "html_url": web,
            "clone_url": f"{web}.git",
            "git_url": f"{web}.git",
            "ssh_url": f"{web}.git",
            "url": api,
            "created_at": iso(0),
            "updated_at": iso(0),
            "pushed_at": iso(0),
        },
    )


def commit(state: State, it: Repository, sha: str) -> dict[str, Any]:
    person = {"name": "Ada Lovelace", "email": "ada@example.com", "date": iso(0)}
    writer = state.accounts.get("ada")
    inner = {"message": it.git.message(sha), "author": person, "committer": person}
    tree = it.git.git("rev-parse", f"{sha}^{{tree}}")
    parents = it.git.git("rev-list", "--parents", "-n", "1", sha).split()[1:]
    return complete(
        "Commit",
        {
            "sha": sha,
            "html_url": f"{state.url}/{it.full_name}/commit/{sha}",
            "commit": inner | {"tree": {"sha": tree, "url": ""}, "url": "", "comment_count": 0},
            "author": account(state, writer) if writer else None,
            "committer": None,
            "parents": [{"sha": each, "url": ""} for each in parents],
        },
    )


def files(found: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    return [
        complete(
            "DiffEntry",
            {"sha": "0" * 40, "filename": name, "status": status, "changes": 1}
            | ({"previous_filename": previous} if previous else {}),
        )
        for status, name, previous in found
    ]


def ref(state: State, it: Repository, name: str, sha: str) -> dict[str, Any]:
    target = {"type": it.git.kind(sha), "sha": sha, "url": f"{state.url}/{sha}"}
    return complete("GitRef", {"ref": name, "object": target, "url": f"{state.url}/{name}"})


def pull(state: State, it: Pull, name: str = "PullRequest") -> dict[str, Any]:
    web = f"{state.url}/{it.base.full_name}/pull/{it.number}"
    base_sha = it.base.git.head(it.base_ref) or "0" * 40
    closed = iso(0) if it.state == "closed" else None
    fields = {
        "id": it.number,
        "number": it.number,
        "title": it.title,
        "state": it.state,
        "draft": it.draft,
        "locked": False,
        "user": account(state, it.author),
        "html_url": web,
        "labels": [label(each) for each in it.labels],
        "head": _side(state, it.head, it.head_ref, it.head_sha),
        "base": _side(state, it.base, it.base_ref, base_sha),
        "created_at": iso(0),
        "updated_at": iso(0),
        "closed_at": closed,
        "merged_at": iso(0) if it.merged else None,
        "author_association": "MEMBER",
    }
    if name != "PullRequestSimple":
        fields["merged"] = it.merged
    return complete(name, fields)


def label(name: str) -> dict[str, Any]:
    return {"id": 1, "name": name, "color": "ffffff", "default": False}


def _side(state: State, it: Repository, name: str, sha: str) -> dict[str, Any]:
    return {
        "label": f"{it.owner.login}:{name}",
        "ref": name,
        "sha": sha,
        "user": account(state, it.owner),
        "repo": None if it.deleted else repository(state, it),
    }


def comment(state: State, it: Comment) -> dict[str, Any]:
    web = f"{state.url}/{it.repository.full_name}/pull/{it.number}#issuecomment-{it.id}"
    return complete(
        "IssueComment",
        {
            "id": it.id,
            "body": it.body,
            "html_url": web,
            "user": account(state, it.author),
            "created_at": iso(0),
            "updated_at": iso(0),
            "author_association": "NONE",
            "performed_via_github_app": app(state, it.app) if it.app else None,
        },
    )


def check_run(state: State, it: Written) -> dict[str, Any]:
    given = it.fields
    output = {"title": None, "summary": None, "text": None} | (given.get("output") or {})
    output |= {"annotations_count": 0, "annotations_url": f"{state.url}/annotations"}
    fields = {name: value for name, value in given.items() if name != "output"}
    empty = {"status": "queued", "conclusion": None, "started_at": None, "completed_at": None}
    return complete("CheckRun", empty | fields | {"id": it.id, "output": output, "app": None})


def status(state: State, it: Written) -> dict[str, Any]:
    return complete("Status", {"id": it.id, "description": None, "target_url": None, **it.fields})


def deployment(state: State, it: Written) -> dict[str, Any]:
    sha = it.fields["ref"]
    fields = {name: value for name, value in it.fields.items() if name != "required_contexts"}
    times = {"created_at": iso(0), "updated_at": iso(0)}
    return complete("Deployment", {**fields, **times, "id": it.id, "sha": sha, "payload": {}})


def deployment_status(state: State, it: Written) -> dict[str, Any]:
    times = {"created_at": iso(0), "updated_at": iso(0)}
    return complete("DeploymentStatus", {"description": "", **it.fields, **times, "id": it.id})


def delivery(state: State, it: Delivery, *, whole: bool = False) -> dict[str, Any]:
    name = "HookDelivery" if whole else "HookDeliveryItem"
    fields = {
        "id": it.id,
        "guid": it.guid,
        "delivered_at": iso(it.at),
        "redelivery": it.redelivery,
        "duration": 0.1,
        "status": "OK" if 200 <= it.status_code < 300 else "failed to connect to host",
        "status_code": it.status_code,
        "event": it.event,
        "action": it.payload.get("action"),
        "installation_id": it.payload.get("installation", {}).get("id"),
        "repository_id": it.payload.get("repository", {}).get("id"),
    }
    if whole:
        fields["request"] = {"headers": {}, "payload": it.payload}
        fields["response"] = {"headers": {}, "payload": ""}
    return complete(name, fields)


def membership(state: State, organization: Account, who: Account) -> dict[str, Any]:
    fields = {
        "state": "active",
        "role": organization.members[who.login],
        "user": account(state, who),
        "organization": {"login": organization.login, "id": organization.id},
    }
    return complete("OrgMembership", fields)


def permission(state: State, who: Account, level: str) -> dict[str, Any]:
    fields = {"permission": level, "role_name": level, "user": None}
    return complete("RepositoryCollaboratorPermission", fields)


def comparison(
    state: State, it: Repository, shas: tuple[str, str, str], found: list[tuple[str, str, str]]
) -> dict[str, Any]:
    """Of base, head, and the merge base of both."""
    base, head, middle = shas
    ahead = it.git.git("rev-list", "--count", f"{base}..{head}")
    behind = it.git.git("rev-list", "--count", f"{head}..{base}")
    return complete(
        "CommitComparison",
        {
            "status": "diverged" if int(behind) else "ahead",
            "ahead_by": int(ahead),
            "behind_by": int(behind),
            "total_commits": int(ahead),
            "base_commit": commit(state, it, base),
            "merge_base_commit": commit(state, it, middle),
            "commits": [],
            "files": files(found),
        },
    )
