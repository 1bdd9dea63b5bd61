"""A stack's Settings > Deploy."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import deployment_settings, stacks
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui import settings_form
from ui.guard import provide_name
from ui.pages import page
from ui.settings_form import Settings, Variable
from ui.sign_in import seen
from ui.stack import STACK, stored_settings


class DeploySettingsPages(Controller):
    """`/{organization}/{project}/{stack}/settings`."""

    path = f"{STACK}/settings"
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def show(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        saved: bool = False,
    ) -> Response[str]:
        """The form, with what is set; secrets are not in it."""
        await stacks.get(world, principal, name)
        stored = await stored_settings(world, principal, name)
        return _page(viewer, name, stored, saved=saved)

    @post()
    async def save(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        form: FormMultiDict,
    ) -> Response[Any]:
        """Change what the form changes; a wrong field leaves everything as it was."""
        stored = await stored_settings(world, principal, name)
        patch = settings_form.patch_of(dict(form), _variables(form), stored)
        try:
            await deployment_settings.patch(world, principal, name, patch, "console")
        except BadRequest as problem:
            return _page(viewer, name, stored, problem=problem, form=form)
        return seen(f"/{'/'.join(name)}/settings?saved=1")


def _variables(form: FormMultiDict) -> list[Variable]:
    """The rows of the form; a row's three fields have the same place in their lists."""
    rows = zip(form.getall("variable", []), form.getall("value", []), strict=True)
    secret = set(form.getall("secret", []))
    return [
        Variable(name=str(name).strip(), value=str(value), secret=str(row) in secret)
        for row, (name, value) in enumerate(rows)
    ]


def _page(
    viewer: Viewer,
    name: StackName,
    stored: Settings,
    *,
    saved: bool = False,
    problem: BadRequest | None = None,
    form: FormMultiDict | None = None,
) -> Response[str]:
    """The form as it is stored; after a problem, as it was sent, but without secrets."""
    values = settings_form.values_of(stored)
    variables = settings_form.variables_of(stored)
    if form is not None:
        values = settings_form.sent_values(dict(form), stored)
        variables = settings_form.without_secrets(_variables(form))
    return page(
        "deploy_settings.html",
        viewer,
        status=200 if problem is None else 400,
        organization=name.organization,
        name=name,
        groups=settings_form.GROUPS,
        values=values,
        variables=variables,
        saved=saved,
        problem=problem,
    )


ROUTES: list[Any] = [DeploySettingsPages]
