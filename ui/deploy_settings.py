"""A stack's Settings > Deploy."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.params import QueryParameter

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest, Conflict, Forbidden, NotFound, Problem
from control_plane.services import deployment_settings, stacks
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui import repositories, settings_form
from ui.guard import provide_name
from ui.pages import page
from ui.repositories import BRANCH, REPOSITORY, Choices
from ui.settings_fields import GROUPS, VARIABLES
from ui.settings_form import Settings
from ui.sign_in import seen
from ui.stack import STACK, stored_settings

Chosen = Annotated[str, QueryParameter(name="repository", max_length=300)]


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
        repository: Chosen = "",
    ) -> Response[str]:
        """The form, with what is set; secrets are not in it. A repository may be chosen in it."""
        await stacks.get(world, principal, name)
        stored = await stored_settings(world, principal, name)
        choices = await repositories.choices(world, principal, name, stored, repository)
        return _page(viewer, name, stored, choices, saved=saved)

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
        try:
            _require_unchanged(form, stored)
            patch = settings_form.patch_of(dict(form), settings_form.rows_of(form), stored)
            await deployment_settings.patch(world, principal, name, patch, "console")
        except (NotFound, Forbidden):
            raise
        except Problem as problem:
            choices = await repositories.choices(world, principal, name, stored)
            return _page(viewer, name, stored, choices, problem=problem, form=form)
        return seen(f"/{'/'.join(name)}/settings?saved=1")

    @post("/delete")
    async def delete(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        form: FormMultiDict,
    ) -> Response[Any]:
        """Forget all deployment settings, secrets too."""
        if not form.get("confirmed"):
            stored = await stored_settings(world, principal, name)
            problem = BadRequest(detail="Tick the box to delete the settings and their secrets.")
            choices = await repositories.choices(world, principal, name, stored)
            return _page(viewer, name, stored, choices, problem=problem)
        await deployment_settings.remove(world, principal, name)
        return seen(f"/{'/'.join(name)}/settings?saved=1")


def _require_unchanged(form: FormMultiDict, stored: Settings) -> None:
    """Raise Conflict when others saved since the form was drawn: it would undo what they did."""
    seen_version = form.get("version")
    if seen_version is not None and str(seen_version) != str(stored.get("version", "")):
        raise Conflict(
            detail="Somebody has saved these settings since you opened them. What you typed is"
            " below; compare it with the page opened anew, and save again."
        )


def _page(
    viewer: Viewer,
    name: StackName,
    stored: Settings,
    choices: Choices,
    *,
    saved: bool = False,
    problem: Problem | None = None,
    form: FormMultiDict | None = None,
) -> Response[str]:
    """The form as it is stored; after a problem, as it was sent, but without secrets."""
    values = settings_form.values_of(stored) | choices.filled
    variables = settings_form.variables_of(stored)
    if form is not None:
        values = settings_form.sent_values(dict(form), stored)
        variables = settings_form.without_secrets(settings_form.rows_of(form))
    detail = str(problem.fields.get("detail", "")) if problem is not None else ""
    return page(
        "deploy_settings.html",
        viewer,
        status=200 if problem is None else problem.status,
        organization=name.organization,
        name=name,
        groups=GROUPS,
        choices=choices,
        lists={REPOSITORY: choices.repositories, BRANCH: choices.branches},
        repository_field=REPOSITORY,
        values=values,
        variables=variables,
        version=stored.get("version", ""),
        is_set=bool(stored),
        saved=saved,
        problem=problem,
        wrong=settings_form.wrong_field(detail),
        variables_path=VARIABLES,
    )


ROUTES: list[Any] = [DeploySettingsPages]
