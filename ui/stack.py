"""A stack's first page, and the buttons that deploy it."""

from __future__ import annotations

import uuid
from typing import Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide

from control_plane.domain import tags
from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.property_values import MASK
from control_plane.domain.trigger import Submission, Trigger
from control_plane.errors import BadRequest, Forbidden, NotFound, Problem
from control_plane.services import (
    activity,
    deployment_queries,
    deployment_settings,
    stack_outputs,
    stacks,
    submission,
)
from control_plane.services.activity import Which
from control_plane.services.deployment_queries import ListQuery
from control_plane.services.sessions import Viewer
from control_plane.services.stack_outputs import Output
from control_plane.services.world import World
from ui import deploy_form, markdown
from ui.deploy_form import Choices
from ui.guard import provide_name
from ui.pages import page
from ui.sign_in import seen

STACK = "/{organization:str}/{project:str}/{stack:str}"
RECENT = 5
README = "readme"
"""The output that Pulumi Cloud shows as a page, too."""


class StackPages(Controller):
    """`/{organization}/{project}/{stack}`."""

    path = STACK
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def overview(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName
    ) -> Response[str]:
        """The stack, its outputs, what was done last, and what can be done with it."""
        return await _overview(world, viewer, name)

    @post("/outputs/reveal", status_code=200)
    async def reveal(
        self, world: World, viewer: Viewer, name: StackName, form: FormMultiDict
    ) -> Response[str]:
        """The same page with one secret output in plain text."""
        return await _overview(world, viewer, name, reveal=str(form.get("output", "")))

    @post("/deployments")
    async def deploy(
        self,
        world: World,
        viewer: Viewer,
        principal: Principal,
        name: StackName,
        form: FormMultiDict,
    ) -> Response[Any]:
        """Queue a deployment; the same form sent twice is one deployment."""
        choices = deploy_form.choices_of(form)
        once = str(form.get("once", ""))
        try:
            operation = deploy_form.operation_of(choices)
            if operation is Operation.DESTROY and str(form.get("confirmed", "")) != name.stack:
                raise BadRequest(detail=f"To destroy the stack, type its name: {name.stack}")
            wanted = Submission(
                operation=operation,
                request=deploy_form.request_of(choices),
                trigger=Trigger.CONSOLE,
            )
            key = deploy_form.key_of(once, choices)
            submitted = await submission.submit(world, principal, name, wanted, once=key)
        except (NotFound, Forbidden):
            raise
        except Problem as problem:
            again = deploy_form.shown_again(choices)
            return await _overview(world, viewer, name, choices=again, problem=problem, once=once)
        return seen(f"/{'/'.join(name)}/deployments/{submitted.version}")


async def _overview(
    world: World,
    viewer: Viewer,
    name: StackName,
    *,
    reveal: str = "",
    choices: Choices | None = None,
    problem: Problem | None = None,
    once: str = "",
) -> Response[str]:
    principal = viewer.principal
    found = await stacks.get(world, principal, name)
    deployments = await deployment_queries.list_of_stack(
        world, principal, name, ListQuery(page_size=RECENT)
    )
    done = await activity.page(world, principal, name, Which.UPDATES, 1, RECENT)
    settings = await stored_settings(world, principal, name)
    outputs = await stack_outputs.listing(world, principal, name, reveal)
    return page(
        "stack.html",
        viewer,
        status=200 if problem is None else problem.status,
        organization=name.organization,
        name=name,
        stack=found.stack,
        tags=tags.decode(found.stack.tags),
        current=found.current,
        deployments=deployments,
        updates=done.entries,
        outputs=outputs,
        readme=_readme(outputs),
        source=(settings.get("sourceContext") or {}).get("git") or {},
        choices=choices or Choices(),
        problem=problem,
        once=once or str(uuid.uuid4()),
        now=world.now(),
    )


def _readme(outputs: list[Output]) -> str:
    """What the program wants to be read about the stack, as HTML; no secret is in it."""
    found = next((each for each in outputs if each.name == README), None)
    if found is None or not isinstance(found.value, str):
        return ""
    # One that stands open in the list is left out here: a text is no place for a secret.
    values = {each.name: MASK if each.opened else each.value for each in outputs}
    return markdown.rendered(markdown.with_outputs(found.value, values))


async def stored_settings(world: World, principal: Principal, name: StackName) -> dict[str, Any]:
    """The stack's deployment settings; empty while there are none."""
    try:
        return await deployment_settings.show(world, principal, name)
    except NotFound:
        return {}


ROUTES: list[Any] = [StackPages]
