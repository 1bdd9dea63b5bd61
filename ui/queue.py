"""The queue of an organization: what runs until when, what waits and why; pause and resume."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.response import Stream

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound, Problem
from control_plane.services import deployment_queries, pausing, sessions
from control_plane.services.hints import organization_topic
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import provide_name
from ui.live import HEADERS, WAIT_SECONDS
from ui.pages import fragment, page
from ui.sign_in import own_address, seen
from ui.stack import STACK

SHOWN = 200
"""How many of those that wait are drawn; the figures count all."""
LOOK_SECONDS = 0.5
"""At most so often an open page is drawn anew."""


class QueuePages(Controller):
    """`/{organization}/-/queue`."""

    path = "/{organization:str}/-/queue"
    include_in_schema = False

    @get()
    async def show(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Response[str]:
        """What runs and what waits, as it is now; the page's script keeps it so."""
        return page(
            "queue.html",
            viewer,
            organization=organization,
            may_pause=organization in principal.admin_of,
            **await _facts(world, principal, organization),
        )

    @get("/live")
    async def live(
        self, world: World, viewer: Viewer, principal: Principal, organization: str
    ) -> Stream:
        """The same while it changes: `state` events with the page's changing part."""
        queue = await deployment_queries.queue(world, principal, organization, 1)
        events = _follow(world, viewer, organization, queue.organization_id)
        return Stream(events, headers=HEADERS, media_type="text/event-stream")

    @post("/pause")
    async def pause(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """Begin no more deployments."""
        await pausing.pause_organization(world, principal, organization, str(form.get("note", "")))
        return seen(f"/{organization}/-/queue")

    @post("/resume")
    async def resume(
        self, world: World, principal: Principal, form: FormMultiDict, organization: str
    ) -> Response[Any]:
        """Let the queue go on."""
        await pausing.resume_organization(world, principal, organization)
        return seen(f"/{organization}/-/queue")


class StackPausePages(Controller):
    """The pause of one stack's queue: `/{organization}/{project}/{stack}/pause` and `/resume`."""

    path = STACK
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @post("/pause")
    async def pause(
        self, world: World, principal: Principal, name: StackName, form: FormMultiDict
    ) -> Response[Any]:
        """Begin no more deployments of the stack."""
        await pausing.pause_stack(world, principal, name, str(form.get("note", "")))
        return seen(_onward(name, form))

    @post("/resume")
    async def resume(
        self, world: World, principal: Principal, name: StackName, form: FormMultiDict
    ) -> Response[Any]:
        """Let the stack's queue go on."""
        await pausing.resume_stack(world, principal, name)
        return seen(_onward(name, form))


def _onward(name: StackName, form: FormMultiDict) -> str:
    """Back to the page that the form was on."""
    return own_address(str(form.get("onward", "")) or "/" + "/".join(name))


async def _facts(world: World, principal: Principal, organization: str) -> dict[str, Any]:
    return {
        "queue": await deployment_queries.queue(world, principal, organization, SHOWN),
        "metadata": await deployment_queries.organization_metadata(world, principal, organization),
        "now": world.now(),
    }


async def _follow(
    world: World, viewer: Viewer, organization: str, organization_id: str
) -> AsyncIterator[bytes]:
    """One look, and one drawing, at each wake for all who watch; each is asked who they are."""
    looked_at = float("-inf")

    async def look(_: str | None) -> str:
        nonlocal looked_at
        # A burst of submissions is looked at once.
        await asyncio.sleep(looked_at + LOOK_SECONDS - time.monotonic())
        looked_at = time.monotonic()
        facts = await _facts(world, viewer.principal, organization)
        return fragment("_queue_state.html", organization=organization, **facts)

    last, number = "", 0
    with world.watches.watch(world.broker, organization_topic(organization_id), look) as watch:
        try:
            while True:
                found = await watch.after(number, WAIT_SECONDS)
                seer = await sessions.viewer(world, viewer.cookie)
                if not seer.principal.may_see(organization):
                    raise NotFound(what=f"Organization '{organization}'")
                if found is None or found.value == last:
                    yield _event("beat", "")
                    number = found.number if found else number
                    continue
                number, last = found
                yield _event("state", last)
        except Problem as problem:
            yield _event("gone", problem.message)


def _event(name: str, data: str) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


ROUTES: list[Any] = [QueuePages, StackPausePages]
