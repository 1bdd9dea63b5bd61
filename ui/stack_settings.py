"""A stack's Settings > General: its tags, its name, its organization, its end."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide

from control_plane.domain import tags
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Forbidden, NotFound, Problem
from control_plane.services import stack_moves, stack_tags, stacks
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import provide_name
from ui.pages import page
from ui.sign_in import seen
from ui.stack import STACK

SPARE_TAGS = 2


class StackSettingsPages(Controller):
    """`/{organization}/{project}/{stack}/settings/general`."""

    path = f"{STACK}/settings/general"
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def show(
        self, world: World, viewer: Viewer, name: StackName, saved: bool = False
    ) -> Response[str]:
        """What can be changed of the stack itself."""
        return await _page(world, viewer, name, saved=saved)

    @post("/tags")
    async def save_tags(
        self, world: World, viewer: Viewer, name: StackName, form: FormMultiDict
    ) -> Response[Any]:
        """Give the stack the tags of the form and no others."""
        try:
            await stack_tags.replace(world, viewer.principal, name, _tags_of(form))
        except Problem as problem:
            return await _refused(world, viewer, name, problem, form, "tags")
        return seen(f"/{'/'.join(name)}/settings/general?saved=1")

    @post("/rename")
    async def rename(
        self, world: World, viewer: Viewer, name: StackName, form: FormMultiDict
    ) -> Response[Any]:
        """Give the stack another name, or its project's place to another."""
        project, stack = _text(form, "project"), _text(form, "stack")
        try:
            await stacks.rename(world, viewer.principal, name, stack, project)
        except Problem as problem:
            return await _refused(world, viewer, name, problem, form, "rename")
        path = f"/{name.organization}/{project or name.project}/{stack or name.stack}"
        return seen(f"{path}/settings/general?saved=1")

    @post("/transfer")
    async def transfer(
        self, world: World, viewer: Viewer, name: StackName, form: FormMultiDict
    ) -> Response[Any]:
        """Move the stack to another organization of the viewer."""
        to = _text(form, "to")
        try:
            await stack_moves.transfer(world, viewer.principal, name, to)
        except Problem as problem:
            return await _refused(world, viewer, name, problem, form, "transfer")
        return seen(f"/{to}/{name.project}/{name.stack}/settings/general?saved=1")

    @post("/delete")
    async def delete(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        form: FormMultiDict,
    ) -> Response[Any]:
        """Delete the stack with its history; with resources only when they are to be forgotten."""
        try:
            if str(form.get("confirmed", "")) != name.stack:
                raise BadRequest(detail=f"To delete the stack, type its name: {name.stack}")
            await stacks.delete(world, principal, name, force=bool(form.get("forget")))
        except Problem as problem:
            return await _refused(world, viewer, name, problem, form, "delete")
        return seen(f"/{name.organization}/-/stacks")


async def _refused(
    world: World,
    viewer: Viewer,
    name: StackName,
    problem: Problem,
    form: FormMultiDict,
    section: str,
) -> Response[str]:
    """The page with the problem beside what was typed; a page of its own for what is not there."""
    if isinstance(problem, NotFound | Forbidden):
        raise problem
    return await _page(world, viewer, name, problem=problem, form=form, section=section)


async def _page(
    world: World,
    viewer: Viewer,
    name: StackName,
    *,
    saved: bool = False,
    problem: Problem | None = None,
    form: FormMultiDict | None = None,
    section: str = "",
) -> Response[str]:
    found = await stacks.get(world, viewer.principal, name)
    rows = [(key, value) for key, value in sorted(tags.decode(found.stack.tags).items())]
    if form is not None and section == "tags":
        rows = [row for row in _rows(form) if any(row)]
    return page(
        "stack_settings.html",
        viewer,
        status=200 if problem is None else problem.status,
        organization=name.organization,
        name=name,
        stack=found.stack,
        tags=[*rows, *[("", "")] * SPARE_TAGS],
        project_tag=tags.PROJECT,
        typed={
            "project": _text(form, "project") if form and section == "rename" else name.project,
            "stack": _text(form, "stack") if form and section == "rename" else name.stack,
        },
        homes=sorted(viewer.principal.admin_of - {name.organization}),
        may_move=name.organization in viewer.principal.admin_of,
        saved=saved,
        problem=problem,
        section=section,
    )


def _tags_of(form: FormMultiDict) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in _rows(form):
        if not key and value:
            raise BadRequest(detail="A tag has a value and no name.")
        if key in found:
            raise BadRequest(detail=f"The tag '{key}' is there twice.")
        if key:
            found[key] = value
    return found


def _rows(form: FormMultiDict) -> list[tuple[str, str]]:
    rows = zip(form.getall("tag", []), form.getall("value", []), strict=False)
    return [(str(key).strip(), str(value).strip()) for key, value in rows]


def _text(form: FormMultiDict, key: str) -> str:
    return str(form.get(key, "")).strip()


ROUTES: list[Any] = [StackSettingsPages]
