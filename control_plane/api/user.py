"""The caller: who they are, their organizations, access tokens and what this server can do."""

from __future__ import annotations

import datetime
import functools
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from msgspec import UNSET, UnsetType

from control_plane import toolchain
from control_plane.api import body, paging
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Forbidden
from control_plane.services import identity, organizations
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]

DESCRIPTION_CHARACTERS_MAX = 200
OLDEST_CLI = "3.0.0"
EXPIRES_MAX = 253_402_300_799
"""The end of the year 9999, in Unix seconds."""


class Organization(msgspec.Struct, rename="camel", kw_only=True):
    """An organization of the caller."""

    github_login: str
    name: str
    avatar_url: str = ""
    role: str = "member"


class TokenInfo(msgspec.Struct, rename="camel", kw_only=True):
    """Present when the caller is a machine."""

    name: str
    organization: str
    team: str = ""


class CurrentUser(msgspec.Struct, rename="camel", kw_only=True):
    """The caller, in the CLI's words."""

    id: str
    github_login: str
    name: str
    email: str
    avatar_url: str
    organizations: list[Organization]
    identities: list[str] = []
    site_admin: bool = False
    has_mfa: bool = msgspec.field(name="hasMFA", default=False)
    is_org_managed: bool = False
    is_managed_by_multi_org: bool = False
    token_info: TokenInfo | UnsetType = UNSET


@get("/api/user")
async def current_user(principal: Principal) -> CurrentUser:
    """The person, or the deployment on a person's behalf, that the token stands for."""
    user = principal.user
    return CurrentUser(
        id=user.id,
        github_login=user.login,
        name=user.name or user.login,
        email=user.email,
        avatar_url=user.avatar_url,
        organizations=[
            Organization(
                github_login=login,
                name=login,
                role="admin" if login in principal.admin_of else "member",
            )
            for login in _organizations(principal)
        ],
        site_admin=user.site_admin,
        token_info=_token_info(principal),
    )


def _organizations(principal: Principal) -> list[str]:
    """The personal organization first."""
    return sorted(principal.organizations, key=lambda login: (login != principal.user.login, login))


def _token_info(principal: Principal) -> TokenInfo | UnsetType:
    if principal.deployment_id is None:
        return UNSET
    return TokenInfo(name=principal.token_name, organization=_organizations(principal)[0])


class DefaultOrganization(msgspec.Struct, kw_only=True):
    """Where stacks without an organization in their name belong."""

    login: str = msgspec.field(name="GitHubLogin")
    messages: list[Any] = msgspec.field(name="Messages", default_factory=list)


@get("/api/user/organizations/default")
async def default_organization(world: World, principal: Principal) -> DefaultOrganization:
    """The one that the caller has chosen, or their personal one; for a deployment, its stack's."""
    return DefaultOrganization(login=await organizations.default_of(world, principal))


@post("/api/user/organizations/{organization:str}/default", status_code=204)
async def choose_default_organization(
    world: World, principal: Principal, organization: str
) -> None:
    """Choose where stacks without an organization in their name belong."""
    await organizations.set_default(world, principal, organization)


class Capability(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Something that a client may make use of."""

    capability: str
    version: int = 0
    configuration: dict[str, Any] | None = None


class Capabilities(msgspec.Struct, kw_only=True):
    """What this server can do beyond the least.

    Delta checkpoints are understood but not offered: what today's CLI sends by them lacks pending
    operations. Journaling is negotiated when an update starts.
    """

    capabilities: list[Capability]


@get("/api/capabilities")
async def capabilities() -> Capabilities:
    """The optional abilities of this server.

    Delta checkpoints are accepted, and offered to no CLI. What one writes who was offered them, in
    whole documents too, lacks up to 9 pending operations, has more under a name that none reads,
    and has no snippets and no extensions (`marshalSpannedDeployment` in the CLI's `pkg/backend/
    httpstate`: from 3.68 to 3.259, and on its main branch in August 2026). So there is no version
    in a User-Agent yet to offer them to; older ones have not been looked at, and need none.
    """
    return Capabilities(
        capabilities=[
            Capability(capability="batch-encrypt"),
            Capability(
                capability="deployment-schema-version", version=1, configuration={"version": 4}
            ),
            Capability(capability="stack-policy-packs", version=1),
        ]
    )


class CliVersion(msgspec.Struct, rename="camel", kw_only=True):
    """The versions of the CLI that a client may compare its own with."""

    latest_version: str
    oldest_without_warning: str
    latest_dev_version: str


@get("/api/cli/version")
async def cli_version() -> CliVersion:
    """This server's own toolchain's version, as the latest that it knows; none is too old.

    The CLI itself asks the vendor's cloud, whatever its backend is.
    """
    version = _toolchain_version()
    return CliVersion(
        latest_version=version, oldest_without_warning=OLDEST_CLI, latest_dev_version=version
    )


@functools.cache
def _toolchain_version() -> str:
    return toolchain.read_recipe().version


class AccessToken(msgspec.Struct, rename="camel", kw_only=True):
    """A personal access token, without its value. Zero stands for never."""

    id: str
    name: str
    description: str
    created: str
    created_by: str
    last_used: int
    expires: int
    admin: bool = False
    type: str = "personal"


class AccessTokens(msgspec.Struct, kw_only=True):
    """The caller's tokens."""

    tokens: list[AccessToken]


class NewToken(msgspec.Struct, kw_only=True):
    """What a new token is for, and until when it works (Unix seconds; 0: for ever)."""

    description: str = ""
    expires: int = 0


class TokenMade(msgspec.Struct, rename="camel", kw_only=True):
    """A new token: its value is never shown again."""

    id: str
    token_value: str


@get("/api/user/tokens")
async def list_tokens(world: World, principal: Principal) -> AccessTokens:
    """The caller's personal access tokens."""
    _require_person(principal)
    rows = await identity.list_tokens(world, principal)
    return AccessTokens(tokens=[_access_token(row, principal) for row in rows])


def _access_token(row: Any, principal: Principal) -> AccessToken:
    created = datetime.datetime.fromtimestamp(row.created_at / 1000, datetime.UTC)
    return AccessToken(
        id=row.id,
        name=row.name,
        description=row.name,
        created=created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        created_by=principal.user.login,
        last_used=(row.last_used_at or 0) // 1000,
        expires=(row.expires_at or 0) // 1000,
    )


@post("/api/user/tokens", status_code=200)
async def create_token(request: AnyRequest, world: World, principal: Principal) -> TokenMade:
    """Make a personal access token."""
    _require_person(principal)
    new = await body.decode(request, NewToken)
    if len(new.description) > DESCRIPTION_CHARACTERS_MAX:
        raise BadRequest(
            detail=f"'description' is longer than {DESCRIPTION_CHARACTERS_MAX} characters."
        )
    if "\0" in new.description:
        raise BadRequest(detail="'description' must be a text without NUL.")
    paging.bounded(new.expires, "expires", EXPIRES_MAX)
    if new.expires and new.expires * 1000 <= world.now():
        raise BadRequest(detail="'expires' is in the past.")
    made = await identity.create_token(
        world, principal.user.login, new.description, new.expires * 1000 or None
    )
    return TokenMade(id=made.id, token_value=made.value)


@delete("/api/user/tokens/{token_id:str}", status_code=204)
async def delete_token(world: World, principal: Principal, token_id: str) -> None:
    """Revoke one of the caller's tokens."""
    _require_person(principal)
    await identity.delete_token(world, principal, token_id)


def _require_person(principal: Principal) -> None:
    if principal.deployment_id is not None:
        raise Forbidden(detail="A deployment's token does not manage access tokens.")


ROUTES: list[Any] = [
    current_user,
    default_organization,
    choose_default_organization,
    capabilities,
    cli_version,
    list_tokens,
    create_token,
    delete_token,
]
