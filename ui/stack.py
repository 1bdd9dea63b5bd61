"""A stack's pages, and the buttons that deploy it."""

from __future__ import annotations

import uuid
from typing import Any

from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide

from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Submission, Trigger
from control_plane.errors import BadRequest, NotFound
from control_plane.services import (
    deployment_queries,
    deployment_settings,
    history,
    stacks,
    submission,
)
from control_plane.services.deployment_queries import ListQuery
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import provide_name
from ui.pages import page
from ui.sign_in import seen

STACK = "/{organization:str}/{project:str}/{stack:str}"
RECENT = 20
UPDATES = 10


class StackPages(Controller):
    """`/{organization}/{project}/{stack}`."""

    path = STACK
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def overview(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName
    ) -> Response[str]:
        """The stack, its last updates and deployments, and what can be done with it."""
        found = await stacks.get(world, principal, name)
        deployments = await deployment_queries.list_of_stack(
            world, principal, name, ListQuery(page_size=RECENT)
        )
        updates = await history.page(world, principal, name, 1, UPDATES)
        settings = await stored_settings(world, principal, name)
        return page(
            "stack.html",
            viewer,
            organization=name.organization,
            name=name,
            stack=found.stack,
            current=found.current,
            deployments=deployments,
            updates=updates.updates,
            source=(settings.get("sourceContext") or {}).get("git") or {},
            once=str(uuid.uuid4()),
            now=world.now(),
        )

    @post("/deployments")
    async def deploy(
        self, world: World, principal: Principal, name: StackName, form: FormMultiDict
    ) -> Response[Any]:
        """Queue a deployment; the same form sent twice is one deployment."""
        operation = _operation(str(form.get("operation", "")))
        if operation is Operation.DESTROY and str(form.get("confirmed", "")) != name.stack:
            raise BadRequest(detail=f"To destroy the stack, type its name: {name.stack}")
        wanted = Submission(operation=operation, request=_request(form), trigger=Trigger.CONSOLE)
        submitted = await submission.submit(
            world, principal, name, wanted, once=str(form.get("once", ""))
        )
        return seen(f"/{'/'.join(name)}/deployments/{submitted.version}")


def _operation(word: str) -> Operation:
    try:
        return Operation(word)
    except ValueError:
        raise BadRequest(detail=f"'{word}' is no operation.") from None


def _request(form: FormMultiDict) -> dict[str, Any]:
    """What this one deployment does otherwise than the stack's settings say."""
    given = {key: str(form.get(key, "")).strip() for key in ("branch", "commit")}
    git = {key: value for key, value in given.items() if value}
    if len(git) > 1:
        raise BadRequest(detail="Give a branch or a commit, not both.")
    # Naming one of them replaces whichever the stack's settings name.
    return {"sourceContext": {"git": git}} if git else {}


async def stored_settings(world: World, principal: Principal, name: StackName) -> dict[str, Any]:
    """The stack's deployment settings; empty while there are none."""
    try:
        return await deployment_settings.show(world, principal, name)
    except NotFound:
        return {}


ROUTES: list[Any] = [StackPages]
