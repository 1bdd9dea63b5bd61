"""Settings of an organization: its limit, its members, its runner pools, its integrations."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict

from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Problem
from control_plane.services import organization_settings as settings
from control_plane.services import organizations, pool_settings
from control_plane.services.pool_settings import NewPool
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import text_of
from ui.pages import page
from ui.sign_in import seen


class OrganizationSettings(Controller):
    """`/{organization}/-/settings`."""

    path = "/{organization:str}/-/settings"
    include_in_schema = False

    @get()
    async def general(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        organization: str,
        saved: bool = False,
    ) -> Response[str]:
        """The organization's name and limit."""
        return await _general(world, viewer, organization, saved=saved)

    @post()
    async def change(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
    ) -> Response[Any]:
        """Change them."""
        name, limit = text_of(form, "name"), text_of(form, "limit")
        try:
            await settings.change(
                world, principal, organization, name=name, limit=_whole_number(limit)
            )
        except Problem as problem:
            return await _general(world, viewer, organization, problem, name=name, limit=limit)
        return seen(f"/{organization}/-/settings?saved=1")

    @get("/members")
    async def members(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Response[str]:
        """Who belongs to the organization."""
        return await _members(world, viewer, organization)

    @post("/members")
    async def add_member(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
    ) -> Response[Any]:
        """Add a user of this server; or make a new one, whose link is on this answer alone."""
        login, role = text_of(form, "login"), text_of(form, "role")
        try:
            if text_of(form, "new"):
                link = await settings.invite(world, principal, organization, login, role)
                return await _members(world, viewer, organization, invited=login, link=link)
            await settings.add_member(world, principal, organization, login, role)
        except Problem as problem:
            return await _members(world, viewer, organization, problem, typed=form)
        return seen(f"/{organization}/-/settings/members")

    @post("/members/{login:str}/role")
    async def change_role(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
        login: str,
    ) -> Response[Any]:
        """Make a member an administrator, or one no longer."""
        try:
            await settings.change_role(world, principal, organization, login, text_of(form, "role"))
        except Problem as problem:
            return await _members(world, viewer, organization, problem)
        return seen(f"/{organization}/-/settings/members")

    @post("/members/{login:str}/remove")
    async def remove_member(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
        login: str,
    ) -> Response[Any]:
        """End a membership."""
        try:
            await settings.remove_member(world, principal, organization, login)
        except Problem as problem:
            return await _members(world, viewer, organization, problem)
        has_left = login == principal.user.login
        return seen("/" if has_left else f"/{organization}/-/settings/members")

    @get("/pools")
    async def pools(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Response[str]:
        """The runner pools that the organization may use."""
        return await _pools(world, viewer, organization)

    @post("/pools")
    async def create_pool(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
    ) -> Response[Any]:
        """Make a pool. Its token is on this answer, and nowhere else ever again."""
        try:
            made = await pool_settings.create(
                world,
                principal,
                organization,
                name=text_of(form, "name"),
                description=text_of(form, "description"),
            )
        except Problem as problem:
            return await _pools(world, viewer, organization, problem, typed=form)
        return await _pools(world, viewer, organization, made=made)

    @post("/pools/{pool_id:str}/rotate")
    async def rotate_pool(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
        pool_id: str,
    ) -> Response[Any]:
        """Give a pool another token, shown once."""
        made = await pool_settings.rotate_token(world, principal, organization, pool_id)
        return await _pools(world, viewer, organization, made=made)

    @post("/pools/{pool_id:str}/delete")
    async def delete_pool(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        form: FormMultiDict,
        organization: str,
        pool_id: str,
    ) -> Response[Any]:
        """Forget a pool that nothing needs."""
        try:
            await pool_settings.remove(world, principal, organization, pool_id)
        except Problem as problem:
            return await _pools(world, viewer, organization, problem)
        return seen(f"/{organization}/-/settings/pools")


class NewOrganization(Controller):
    """`/-/organizations`."""

    path = "/-/organizations"
    include_in_schema = False

    @get()
    async def ask(self, viewer: Viewer) -> Response[str]:
        """The page to make an organization on."""
        return _new_organization(viewer)

    @post()
    async def create(
        self, world: World, viewer: Viewer, principal: Principal, form: FormMultiDict
    ) -> Response[Any]:
        """Make one; its maker is its first administrator."""
        login = text_of(form, "login")
        try:
            await settings.create(world, principal, login)
        except Problem as problem:
            return _new_organization(viewer, problem, login)
        return seen(f"/{login}")


def _whole_number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise BadRequest(detail="The limit must be a whole number.")


async def _general(
    world: World,
    viewer: Viewer,
    organization: str,
    problem: Problem | None = None,
    *,
    saved: bool = False,
    **typed: str,
) -> Response[str]:
    principal = viewer.principal
    row = await organizations.show(world, principal, organization)
    return page(
        "organization_settings.html",
        viewer,
        status=problem.status if problem else 200,
        organization=organization,
        row=row,
        typed={"name": row.name or row.login, "limit": row.deployment_limit} | typed,
        bounds=settings.limit_bounds(world, principal, row.deployment_limit),
        is_admin=organization in principal.admin_of,
        problem=problem,
        saved=saved,
    )


async def _members(
    world: World,
    viewer: Viewer,
    organization: str,
    problem: Problem | None = None,
    *,
    typed: FormMultiDict | None = None,
    invited: str = "",
    link: str = "",
) -> Response[str]:
    principal = viewer.principal
    fields = {name: text_of(typed, name) if typed else "" for name in ("login", "role", "new")}
    return page(
        "members.html",
        viewer,
        status=problem.status if problem else 200,
        organization=organization,
        row=await organizations.show(world, principal, organization),
        members=await organizations.members(world, principal, organization),
        is_admin=organization in principal.admin_of,
        problem=problem,
        typed=fields,
        invited=invited,
        link=f"{world.config.public_url}/sign-in/{link}" if link else "",
    )


async def _pools(
    world: World,
    viewer: Viewer,
    organization: str,
    problem: Problem | None = None,
    *,
    typed: FormMultiDict | None = None,
    made: NewPool | None = None,
) -> Response[str]:
    principal = viewer.principal
    shared_logs = world.config.log_store if "://" in world.config.log_store else ""
    return page(
        "pools.html",
        viewer,
        status=problem.status if problem else 200,
        organization=organization,
        pools=await pool_settings.listing(world, principal, organization),
        is_admin=organization in principal.admin_of,
        problem=problem,
        typed={name: text_of(typed, name) if typed else "" for name in ("name", "description")},
        made=made,
        url=world.config.public_url,
        shared_logs=shared_logs,
    )


def _new_organization(
    viewer: Viewer, problem: Problem | None = None, login: str = ""
) -> Response[str]:
    return page(
        "new_organization.html",
        viewer,
        status=problem.status if problem else 200,
        organization=viewer.principal.user.login,
        problem=problem,
        login=login,
    )


ROUTES: list[Any] = [OrganizationSettings, NewOrganization]
