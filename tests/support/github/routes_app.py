"""REST routes of an App, its installations, its deliveries, and of people."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

from tests.support.github import shapes
from tests.support.github.rest import LEVELS, Call, Refusal, Rest, page, route
from tests.support.github.state import Delivery, Installation, Minted, iso

TOKEN_SECONDS = 3600


@route(
    "POST",
    "/app-manifests/{code}/conversions",
    "nobody",
    "AppManifestsCodeConversionsPostResponse201",
    status=201,
)
def convert(rest: Rest, call: Call) -> Any:
    app = rest.state.manifest_codes.pop(call.found["code"], None)
    if app is None:
        raise Refusal(404, "Not Found")
    return shapes.created_app(rest.state, app)


@route("GET", "/app", "app", "Integration")
def get_app(rest: Rest, call: Call) -> Any:
    assert call.app
    return shapes.app(rest.state, call.app)


@route("GET", "/app/installations", "app", "list[Installation]")
def list_installations(rest: Rest, call: Call) -> Any:
    mine = [each for each in rest.state.installations.values() if each.app is call.app]
    return page(call, [shapes.installation(rest.state, each) for each in mine])


def _installation(rest: Rest, call: Call) -> Installation:
    found = rest.state.installations.get(call.number("id"))
    if found is None or found.app is not call.app:
        raise Refusal(404, "Not Found")
    return found


@route("GET", "/app/installations/{id}", "app", "Installation")
def get_installation(rest: Rest, call: Call) -> Any:
    return shapes.installation(rest.state, _installation(rest, call))


@route("DELETE", "/app/installations/{id}", "app", status=204)
def delete_installation(rest: Rest, call: Call) -> Any:
    it = rest.state.installations.pop(_installation(rest, call).id)
    told = (it, "deleted", rest.state.owner(it.account))
    threading.Thread(target=rest.webhooks.installation, args=told, daemon=True).start()


@route(
    "POST",
    "/app/installations/{id}/access_tokens",
    "app",
    "InstallationToken",
    body=("AppInstallationsInstallationIdAccessTokensPostBody",),
    status=201,
)
def mint(rest: Rest, call: Call) -> Any:
    it = _installation(rest, call)
    if it.suspended:
        raise Refusal(403, "This installation has been suspended")
    asked = call.body.get("permissions")
    permissions = dict(it.permissions) if asked is None else dict(asked)
    for name, level in permissions.items():
        if LEVELS[level] > LEVELS.get(it.permissions.get(name, ""), 0):
            raise Refusal(422, "The permissions requested are not granted to this installation.")
    ids = set(call.body["repository_ids"]) if "repository_ids" in call.body else None
    if ids and not ids <= {each.id for each in rest.state.reached(it)}:
        raise Refusal(
            422, "There is at least one repository that does not exist or is not accessible"
        )
    token = f"ghs_{secrets.token_hex(18)}"
    expires = time.time() + TOKEN_SECONDS
    rest.state.tokens[token] = Minted(it, permissions, ids, expires)
    return {"token": token, "expires_at": iso(expires), "permissions": permissions}


@route("GET", "/app/hook/deliveries", "app", "list[HookDeliveryItem]")
def list_deliveries(rest: Rest, call: Call) -> Any:
    mine = [each for each in reversed(rest.state.deliveries) if each.app is call.app]
    size, start = int(call.query.get("per_page", 30)), int(call.query.get("cursor", "v1_0")[3:])
    if start + size < len(mine):
        where = f"{rest.state.url}/api/v3{call.path}?per_page={size}&cursor=v1_{start + size}"
        call.answer_headers["Link"] = f'<{where}>; rel="next"'
    return [shapes.delivery(rest.state, each) for each in mine[start : start + size]]


def _delivery(rest: Rest, call: Call) -> Delivery:
    for each in rest.state.deliveries:
        if each.id == call.number("id") and each.app is call.app:
            return each
    raise Refusal(404, "Not Found")


@route("GET", "/app/hook/deliveries/{id}", "app", "HookDelivery")
def get_delivery(rest: Rest, call: Call) -> Any:
    return shapes.delivery(rest.state, _delivery(rest, call), whole=True)


@route("POST", "/app/hook/deliveries/{id}/attempts", "app", status=202)
def redeliver(rest: Rest, call: Call) -> Any:
    rest.webhooks.redeliver(_delivery(rest, call))
    return {}


# People.


@route("GET", "/user", "user", "PublicUser")
def get_user(rest: Rest, call: Call) -> Any:
    assert call.user
    return shapes.user(rest.state, call.user)


@route("GET", "/user/installations", "user", "UserInstallationsGetResponse200")
def user_installations(rest: Rest, call: Call) -> Any:
    """Those of accounts in which the person sees something; not only those they control."""
    assert call.user
    login = call.user.login
    mine = [
        shapes.installation(rest.state, each)
        for each in rest.state.installations.values()
        if each.app is call.app and (each.account is call.user or login in each.account.members)
    ]
    return {"total_count": len(mine), "installations": page(call, mine)}


@route("GET", "/user/memberships/orgs/{org}", "user", "OrgMembership")
def own_membership(rest: Rest, call: Call) -> Any:
    assert call.user
    return _membership(rest, call.found["org"], call.user.login)


@route(
    "GET",
    "/orgs/{org}/memberships/{login}",
    "installation",
    "OrgMembership",
    needs=("members:read",),
)
def membership(rest: Rest, call: Call) -> Any:
    assert call.installation
    if call.installation.account.login != call.found["org"]:
        raise Refusal(403, "Resource not accessible by integration")
    return _membership(rest, call.found["org"], call.found["login"])


def _membership(rest: Rest, organization: str, login: str) -> Any:
    account = rest.state.accounts.get(organization)
    if account is None or login not in account.members:
        raise Refusal(404, "Not Found")
    return shapes.membership(rest.state, account, rest.state.accounts[login])
