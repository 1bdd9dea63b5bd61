"""What Pulumi Cloud has and Slipway has not: a clear answer instead of an unknown address.

The body says 501 and names the feature. The HTTP status is 501 too, but for reads: the CLI repeats
a GET that fails with 5xx three times, after 1, 2 and 4 seconds, and only then shows its message
(`httputil.DoWithRetryOpts`), while its error and its decisions come from the body's `code`. Reads
are therefore answered with HTTP 400, which nobody repeats, and which unlike 404 nobody takes for
"there is none": the Pulumi Service provider forgets a resource whose read is answered so.

Who may not see a stack or an organization gets its 404 here as well, and nobody a 401.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, route
from litestar.types import ControllerRouterHandler, Method

from control_plane.api import problems
from control_plane.api.stack_path import under_stack
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotBuilt
from control_plane.services import organizations, stacks
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]

ORGANIZATION = "/api/orgs/{organization:str}"

OF_STACKS = {
    "Schedules": (
        "/deployments/schedules",
        "/deployments/drift/schedules",
        "/deployments/ttl/schedules",
    ),
    "Drift runs": ("/drift",),
    "Webhooks": ("/hooks",),
    "Policy groups": ("/policygroups",),
    "Teams": ("/teams", "/collaborators"),
    "Stack annotations": ("/annotations",),
    "Activity feeds": ("/activity",),
    "Notifications": ("/notifications",),
    "Resource listings": ("/resources",),
    "Listings of stack references": ("/upstreamreferences", "/downstreamreferences"),
    "Agent workflows": ("/workflow",),
}
"""Features by the paths below a stack's address at which Pulumi Cloud serves them."""

OF_ORGANIZATIONS = {
    "Agent pools over REST": (f"{ORGANIZATION}/agent-pools",),
    "Audit logs": (f"{ORGANIZATION}/auditlogs",),
    "OIDC issuers": (f"{ORGANIZATION}/oidc", f"{ORGANIZATION}/auth"),
    "Transfers of many stacks": (f"{ORGANIZATION}/bulk-transfer",),
    "Customer-managed keys": (f"{ORGANIZATION}/cmk",),
    "Webhooks": (f"{ORGANIZATION}/hooks",),
    "Changes of members over REST": (f"{ORGANIZATION}/members/{{rest:path}}",),
    "Invitations": (f"{ORGANIZATION}/invites",),
    "Policy packs and groups": (
        f"{ORGANIZATION}/policygroups",
        f"{ORGANIZATION}/policypacks",
        f"{ORGANIZATION}/policyresults",
        f"{ORGANIZATION}/registry",
    ),
    "Usage summaries": (
        f"{ORGANIZATION}/deployments/summary",
        f"{ORGANIZATION}/deployments/usagereport",
        f"{ORGANIZATION}/resources",
        f"{ORGANIZATION}/packages",
        f"{ORGANIZATION}/secrets",
    ),
    "Restores of deleted stacks": (f"{ORGANIZATION}/restore-stack",),
    "Roles": (f"{ORGANIZATION}/roles",),
    "SAML settings": (f"{ORGANIZATION}/saml",),
    "Resource searches": (f"{ORGANIZATION}/search", "/api/console/orgs/{organization:str}/stacks"),
    "Services": (f"{ORGANIZATION}/services",),
    "Teams": (f"{ORGANIZATION}/teams",),
    "Template sources": (f"{ORGANIZATION}/template", f"{ORGANIZATION}/templates/sources"),
    "Organization access tokens": (f"{ORGANIZATION}/tokens",),
    "Insights": (
        f"{ORGANIZATION}/discovered-resources",
        f"{ORGANIZATION}/insights-scans",
        "/api/preview/insights/{organization:str}",
    ),
    "Neo agents": (
        f"{ORGANIZATION}/neo",
        "/api/preview/agents/{organization:str}",
        "/api/console/orgs/{organization:str}/neo",
    ),
    "ESC environments": (
        "/api/esc/environments/{organization:str}",
        "/api/esc/cloudsetup/{organization:str}",
        "/api/preview/environments/{organization:str}",
    ),
    "Console pages": (
        "/api/console/stacks/{organization:str}",
        "/api/console/orgs/{organization:str}/members",
    ),
    "Project secrets": ("/api/projects/{organization:str}",),
    "Change requests": (
        "/api/change-gates/{organization:str}",
        "/api/change-requests/{organization:str}",
    ),
    "VCS integrations": ("/api/console/orgs/{organization:str}/integrations",),
}
"""Features by their whole paths, in which `organization` names whose they are."""

OF_USERS = {
    "ESC environments": (
        "/api/esc/environments",
        "/api/esc/context",
        "/api/esc/providers",
        "/api/esc/rotators",
        "/api/preview/environments",
    ),
    "Published packages and templates": (
        "/api/registry/policypacks",
        "/api/registry/terraform-modules",
        "/api/preview/registry",
    ),
    "Accounts at a VCS": (
        "/api/user/vcs",
        "/api/user/github",
        "/api/user/gitlab-app",
        "/api/user/pending-emails",
        "/api/user/pending-invites",
        "/api/user/verified-email",
    ),
    "AI templates": ("/api/ai",),
    "Shared logs": ("/api/log-encryption-session",),
    "Published API schemas": ("/api/openapi",),
}
"""Features that belong to no organization."""

OF_ANYBODY = {
    "OIDC token exchanges": ("/api/oauth/token",),
    "Customer-managed agents": ("/api/deployments",),
}
"""Features whose callers come without a token of a person's."""

ABOVE_ORGANIZATIONS = ("/api/esc/environments", "/api/preview/environments")
"""What lies below these belongs to the organization that comes next."""

VERBS: list[Method] = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def answer(request: AnyRequest, feature: str) -> Response[bytes]:
    """The answer of everything here."""
    status = 400 if request.method in ("GET", "HEAD") else NotBuilt.status
    return problems.render(NotBuilt(what=feature), status=status)


UNBUILT = "unbuilt"
"""Marks, in a handler's `opt`, that it only tells what there is not."""

_HIDDEN: dict[str, Any] = {"include_in_schema": False, "opt": {UNBUILT: True}}


def _with_all_below(path: str) -> list[str]:
    if path.endswith(":path}") or path in ABOVE_ORGANIZATIONS:
        return [path]
    return [path, f"{path}/{{rest:path}}"]


def _paths(of: tuple[str, ...]) -> list[str]:
    return [each for path in of for each in _with_all_below(path)]


def _of_stack(feature: str, paths: tuple[str, ...]) -> ControllerRouterHandler:
    @route(_paths(paths), http_method=VERBS, status_code=200, **_HIDDEN)
    async def unbuilt(
        request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> Response[bytes]:
        await stacks.require(world, principal, name)
        return answer(request, feature)

    return unbuilt


def _of_organization(feature: str, paths: tuple[str, ...]) -> ControllerRouterHandler:
    @route(_paths(paths), http_method=VERBS, status_code=200, **_HIDDEN)
    async def unbuilt(
        request: AnyRequest, world: World, principal: Principal, organization: str
    ) -> Response[bytes]:
        await organizations.show(world, principal, organization)
        return answer(request, feature)

    return unbuilt


def _of_user(feature: str, paths: tuple[str, ...]) -> ControllerRouterHandler:
    @route(_paths(paths), http_method=VERBS, status_code=200, **_HIDDEN)
    async def unbuilt(request: AnyRequest, principal: Principal) -> Response[bytes]:
        return answer(request, feature)

    return unbuilt


def _of_anybody(feature: str, paths: tuple[str, ...]) -> ControllerRouterHandler:
    @route(_paths(paths), http_method=VERBS, status_code=200, **_HIDDEN)
    async def unbuilt(request: AnyRequest) -> Response[bytes]:
        return answer(request, feature)

    return unbuilt


_VERSIONS = [
    f"/api/registry/{kind}/{{source:str}}/{{publisher:str}}/{{name:str}}/versions"
    for kind in ("packages", "templates")
]


@route(
    [
        *_VERSIONS,
        *(f"{path}/{{version:str}}" for path in _VERSIONS),
        *(f"{path}/{{version:str}}/complete" for path in _VERSIONS),
    ],
    http_method=["POST", "DELETE"],
    status_code=200,
    **_HIDDEN,
)
async def publish(request: AnyRequest, principal: Principal) -> Response[bytes]:
    """Reads are answered in `empty.py`."""
    return answer(request, "Published packages and templates")


ROUTES: list[Any] = [
    publish,
    under_stack([_of_stack(*each) for each in OF_STACKS.items()]),
    *(_of_organization(*each) for each in OF_ORGANIZATIONS.items()),
    *(_of_user(*each) for each in OF_USERS.items()),
    *(_of_anybody(*each) for each in OF_ANYBODY.items()),
]
