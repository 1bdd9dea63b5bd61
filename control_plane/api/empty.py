"""What clients ask for on their way, and what is always empty here.

`pulumi new` lists an organization's and the registry's templates, `pulumi package add` the
registry's packages; both go on when there are none. `pulumi policy install` asks for a stack's
policy packs, `pulumi deployment settings` whether the vendor's GitHub App is installed.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get

from control_plane.api.stack_path import under_stack
from control_plane.api.unbuilt import UNBUILT
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import organizations, stacks
from control_plane.services.world import World


class RequiredPolicies(msgspec.Struct, rename="camel", kw_only=True):
    """The policy packs that a stack's updates must pass."""

    required_policies: list[Any] = []


@get("/policypacks")
async def stack_policy_packs(
    world: World, principal: Principal, name: StackName
) -> RequiredPolicies:
    """None: there are no policy packs here."""
    await stacks.require(world, principal, name)
    return RequiredPolicies()


class Templates(msgspec.Struct, rename="camel", kw_only=True):
    """An organization's own templates, by where they come from."""

    templates: dict[str, list[Any]] = {}
    org_has_templates: bool = False
    has_access_error: bool = False
    has_upstream_error: bool = False


@get("/api/orgs/{organization:str}/templates")
async def organization_templates(
    world: World, principal: Principal, organization: str
) -> Templates:
    """None: templates come from the CLI's own sources."""
    await organizations.show(world, principal, organization)
    return Templates()


class Installation(msgspec.Struct, kw_only=True):
    """Whether the vendor's GitHub App works for an organization."""

    installed: bool = False


@get("/api/console/orgs/{organization:str}/integrations/github-app")
async def github_app(world: World, principal: Principal, organization: str) -> Installation:
    """It never does."""
    await organizations.show(world, principal, organization)
    return Installation()


class RegistryPackages(msgspec.Struct, rename="camel", kw_only=True):
    """A page of the registry's packages."""

    packages: list[Any] = []


@get("/api/registry/packages")
async def registry_packages(principal: Principal) -> RegistryPackages:
    """None are published here."""
    return RegistryPackages()


class RegistryTemplates(msgspec.Struct, rename="camel", kw_only=True):
    """A page of the registry's templates."""

    templates: list[Any] = []


@get("/api/registry/templates")
async def registry_templates(principal: Principal) -> RegistryTemplates:
    """None are published here."""
    return RegistryTemplates()


@get(
    [
        "/api/registry/packages/{source:str}/{publisher:str}/{name:str}/versions/{version:str}",
        "/api/registry/templates/{source:str}/{publisher:str}/{name:str}/versions/{version:str}",
    ],
    opt={UNBUILT: True},
)
async def registry_version(
    principal: Principal, source: str, publisher: str, name: str, version: str
) -> None:
    """None are published here; the CLI then looks elsewhere."""
    raise NotFound(what=f"'{source}/{publisher}/{name}' {version}")


ROUTES: list[Any] = [
    under_stack([stack_policy_packs]),
    organization_templates,
    github_app,
    registry_packages,
    registry_templates,
    registry_version,
]
