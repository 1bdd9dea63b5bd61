"""REST routes of repositories, pull requests, and what commits show."""

from __future__ import annotations

from typing import Any

from tests.support.github import shapes
from tests.support.github.rest import Call, Refusal, Rest, page, repository_of, route
from tests.support.github.state import Account, Comment, Pull, Written

FILES_OF_COMPARISON_MAX = 300
FILES_OF_PULL_REQUEST_MAX = 3000


@route(
    "GET",
    "/installation/repositories",
    "installation",
    "InstallationRepositoriesGetResponse200",
    needs=("metadata:read",),
)
def installation_repositories(rest: Rest, call: Call) -> Any:
    assert call.minted
    assert call.installation
    chosen = call.minted.repository_ids
    seen = [
        shapes.repository(rest.state, each)
        for each in rest.state.reached(call.installation)
        if chosen is None or each.id in chosen
    ]
    return {"total_count": len(seen), "repositories": page(call, seen)}


@route("GET", "/repositories/{id}", "installation", "FullRepository", needs=("metadata:read",))
def repository_by_id(rest: Rest, call: Call) -> Any:
    assert call.installation
    for each in rest.state.reached(call.installation):
        if each.id == call.number("id"):
            return shapes.repository(rest.state, each, "FullRepository")
    raise Refusal(404, "Not Found")


@route("GET", "/repos/{owner}/{repo}", "installation", "FullRepository", needs=("metadata:read",))
def get_repository(rest: Rest, call: Call) -> Any:
    return shapes.repository(rest.state, repository_of(call), "FullRepository")


@route(
    "GET",
    "/repos/{owner}/{repo}/git/matching-refs/{ref+}",
    "installation",
    "list[GitRef]",
    needs=("contents:read",),
)
def matching_refs(rest: Rest, call: Call) -> Any:
    it = repository_of(call)
    wanted = f"refs/{call.found['ref']}"
    found = sorted(it.git.refs().items())
    if not found:
        raise Refusal(409, "Git Repository is empty.")
    return [shapes.ref(rest.state, it, *each) for each in found if each[0].startswith(wanted)]


@route(
    "GET",
    "/repos/{owner}/{repo}/git/ref/{ref+}",
    "installation",
    "GitRef",
    needs=("contents:read",),
)
def get_ref(rest: Rest, call: Call) -> Any:
    it = repository_of(call)
    name, refs = f"refs/{call.found['ref']}", it.git.refs()
    if not refs:
        raise Refusal(409, "Git Repository is empty.")
    if name not in refs:
        raise Refusal(404, "Not Found")
    return shapes.ref(rest.state, it, name, refs[name])


@route(
    "GET", "/repos/{owner}/{repo}/commits/{sha}", "installation", "Commit", needs=("contents:read",)
)
def get_commit(rest: Rest, call: Call) -> Any:
    it, sha = repository_of(call), call.found["sha"]
    if not it.git.has(sha):
        raise Refusal(422, f"No commit found for SHA: {sha}")
    return shapes.commit(rest.state, it, sha)


@route(
    "GET",
    "/repos/{owner}/{repo}/compare/{basehead}",
    "installation",
    "CommitComparison",
    needs=("contents:read",),
)
def compare(rest: Rest, call: Call) -> Any:
    it = repository_of(call)
    base, _, head = call.found["basehead"].partition("...")
    if not (it.git.has(base) and it.git.has(head)):
        raise Refusal(404, "Not Found")
    middle = it.git.merge_base(base, head)
    return shapes.comparison(
        rest.state,
        it,
        (base, head, middle),
        it.git.differing(middle, head)[:FILES_OF_COMPARISON_MAX],
    )


@route(
    "GET",
    "/repos/{owner}/{repo}/collaborators/{login}/permission",
    "installation",
    "RepositoryCollaboratorPermission",
    needs=("metadata:read",),
)
def permission(rest: Rest, call: Call) -> Any:
    who = rest.state.accounts.get(call.found["login"])
    if who is None:
        raise Refusal(404, "Not Found")
    level = rest.state.permission(repository_of(call), who.login)
    return shapes.permission(rest.state, who, level)


# Pull requests and their comments.


@route(
    "GET",
    "/repos/{owner}/{repo}/pulls",
    "installation",
    "list[PullRequestSimple]",
    needs=("pull_requests:read",),
)
def list_pulls(rest: Rest, call: Call) -> Any:
    wanted, base = call.query.get("state", "open"), call.query.get("base")
    found = [
        shapes.pull(rest.state, each, "PullRequestSimple")
        for each in reversed(repository_of(call).pulls)
        if wanted in (each.state, "all") and base in (None, each.base_ref)
    ]
    return page(call, found)


def _pull(call: Call) -> Pull:
    for each in repository_of(call).pulls:
        if each.number == call.number("number"):
            return each
    raise Refusal(404, "Not Found")


@route(
    "GET",
    "/repos/{owner}/{repo}/pulls/{number}",
    "installation",
    "PullRequest",
    needs=("pull_requests:read",),
)
def get_pull(rest: Rest, call: Call) -> Any:
    return shapes.pull(rest.state, _pull(call))


@route(
    "GET",
    "/repos/{owner}/{repo}/pulls/{number}/files",
    "installation",
    "list[DiffEntry]",
    needs=("pull_requests:read",),
)
def pull_files(rest: Rest, call: Call) -> Any:
    it = _pull(call)
    base = it.base.git.merge_base(it.base.git.head(it.base_ref) or "", it.head_sha)
    found = it.base.git.differing(base, it.head_sha)[:FILES_OF_PULL_REQUEST_MAX]
    return shapes.files(page(call, found))


_WRITES_COMMENTS = ("issues:write", "pull_requests:write")


@route(
    "GET",
    "/repos/{owner}/{repo}/issues/{number}/comments",
    "installation",
    "list[IssueComment]",
    needs=("issues:read", "pull_requests:read"),
)
def list_comments(rest: Rest, call: Call) -> Any:
    it = _pull(call)
    mine = [
        shapes.comment(rest.state, each)
        for each in rest.state.comments
        if each.repository is it.base and each.number == it.number
    ]
    return page(call, mine)


@route(
    "POST",
    "/repos/{owner}/{repo}/issues/{number}/comments",
    "installation",
    "IssueComment",
    body=("ReposOwnerRepoIssuesIssueNumberCommentsPostBody",),
    needs=_WRITES_COMMENTS,
    status=201,
)
def create_comment(rest: Rest, call: Call) -> Any:
    assert call.installation
    it, app = _pull(call), call.installation.app
    robot = Account(app.id, f"{app.slug}[bot]", "Bot")
    made = Comment(rest.state.next_id(), it.base, it.number, call.body["body"], robot, app)
    rest.state.comments.append(made)
    return shapes.comment(rest.state, made)


def _comment(rest: Rest, call: Call) -> Comment:
    for each in rest.state.comments:
        if each.id == call.number("id") and each.repository is call.repository:
            return each
    raise Refusal(404, "Not Found")


@route(
    "PATCH",
    "/repos/{owner}/{repo}/issues/comments/{id}",
    "installation",
    "IssueComment",
    body=("ReposOwnerRepoIssuesCommentsCommentIdPatchBody",),
    needs=_WRITES_COMMENTS,
)
def update_comment(rest: Rest, call: Call) -> Any:
    it = _comment(rest, call)
    it.body = call.body["body"]
    return shapes.comment(rest.state, it)


@route(
    "DELETE",
    "/repos/{owner}/{repo}/issues/comments/{id}",
    "installation",
    needs=_WRITES_COMMENTS,
    status=204,
)
def delete_comment(rest: Rest, call: Call) -> Any:
    rest.state.comments.remove(_comment(rest, call))


# What commits show.


def _written(rest: Rest, call: Call, kept: list[Written], **more: Any) -> Written:
    made = Written(rest.state.next_id(), repository_of(call), {**call.body, **more})
    kept.append(made)
    return made


def _known(call: Call, sha: str) -> None:
    if not repository_of(call).git.has(sha):
        raise Refusal(422, f"No commit found for SHA: {sha}")


@route(
    "POST",
    "/repos/{owner}/{repo}/check-runs",
    "installation",
    "CheckRun",
    status=201,
    body=("ReposOwnerRepoCheckRunsPostBodyOneof0", "ReposOwnerRepoCheckRunsPostBodyOneof1"),
    needs=("checks:write",),
)
def create_check_run(rest: Rest, call: Call) -> Any:
    _known(call, call.body["head_sha"])
    return shapes.check_run(rest.state, _written(rest, call, rest.state.check_runs))


@route(
    "PATCH",
    "/repos/{owner}/{repo}/check-runs/{id}",
    "installation",
    "CheckRun",
    body=(
        "ReposOwnerRepoCheckRunsCheckRunIdPatchBodyAnyof0",
        "ReposOwnerRepoCheckRunsCheckRunIdPatchBodyAnyof1",
    ),
    needs=("checks:write",),
)
def update_check_run(rest: Rest, call: Call) -> Any:
    for each in rest.state.check_runs:
        if each.id == call.number("id") and each.repository is call.repository:
            each.fields |= call.body
            return shapes.check_run(rest.state, each)
    raise Refusal(404, "Not Found")


@route(
    "POST",
    "/repos/{owner}/{repo}/statuses/{sha}",
    "installation",
    "Status",
    status=201,
    body=("ReposOwnerRepoStatusesShaPostBody",),
    needs=("statuses:write",),
)
def create_status(rest: Rest, call: Call) -> Any:
    _known(call, call.found["sha"])
    made = _written(rest, call, rest.state.statuses, sha=call.found["sha"])
    return shapes.status(rest.state, made)


@route(
    "POST",
    "/repos/{owner}/{repo}/deployments",
    "installation",
    "Deployment",
    status=201,
    body=("ReposOwnerRepoDeploymentsPostBody",),
    needs=("deployments:write",),
)
def create_deployment(rest: Rest, call: Call) -> Any:
    _known(call, call.body["ref"])
    return shapes.deployment(rest.state, _written(rest, call, rest.state.deployments))


@route(
    "POST",
    "/repos/{owner}/{repo}/deployments/{id}/statuses",
    "installation",
    "DeploymentStatus",
    body=("ReposOwnerRepoDeploymentsDeploymentIdStatusesPostBody",),
    needs=("deployments:write",),
    status=201,
)
def create_deployment_status(rest: Rest, call: Call) -> Any:
    known = [each.id for each in rest.state.deployments if each.repository is call.repository]
    if call.number("id") not in known:
        raise Refusal(404, "Not Found")
    kept = rest.state.deployment_statuses
    made = _written(rest, call, kept, deployment_id=call.number("id"))
    return shapes.deployment_status(rest.state, made)
