"""A deployment's page: its steps, its live log, why it waits, how to stop it or run it again."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import FormMultiDict
from litestar.di import Provide
from litestar.response import Stream

from control_plane.domain import settings_outline
from control_plane.domain.deployment import ENDED, LIVE
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Trigger
from control_plane.errors import BadRequest
from control_plane.services import (
    cancellation,
    deployment_queries,
    progress,
    resubmission,
)
from control_plane.services.deployment_queries import Shown
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.deployment_log import log_on_page
from ui.guard import AnyRequest, provide_name
from ui.live import HEADERS, follow
from ui.pages import fragment, page
from ui.sign_in import seen
from ui.stack import STACK


class DeploymentPages(Controller):
    """`/{organization}/{project}/{stack}/deployments/{version}`."""

    path = f"{STACK}/deployments/{{version:int}}"
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def show(
        self, world: World, viewer: Viewer, principal: Principal, name: StackName, version: int
    ) -> Response[str]:
        """The deployment as it is now; the page's script keeps it so."""
        shown = await deployment_queries.show_version(world, principal, name, version)
        return page(
            "deployment.html",
            viewer,
            organization=name.organization,
            name=name,
            **await facts(world, name, shown),
            used=settings_outline.outline(msgspec.json.decode(shown.row.settings)),
            **await log_on_page(world, principal, name, shown),
            once=str(uuid.uuid4()),
        )

    @get("/live")
    async def live(
        self,
        request: AnyRequest,
        world: World,
        viewer: Viewer,
        name: StackName,
        version: int,
        after: str = "",
    ) -> Stream:
        """The page's changes as they happen: the log's bytes from where the reader is, the state.

        An event's id is the log's attempt and the offset after its bytes. A browser that was cut
        off sends the last one as `Last-Event-ID`, or its script as `after`, and goes on there.
        """
        shown = await deployment_queries.show_version(world, viewer.principal, name, version)
        last = request.headers.get("last-event-id", after)

        async def draw(shown: Shown) -> str:
            return await _rendered(world, name, shown)

        events = follow(world, viewer, name, shown.row.id, last, draw)
        return Stream(events, headers=HEADERS, media_type="text/event-stream")

    @post("/cancel")
    async def cancel(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        form: FormMultiDict,
        version: int,
    ) -> Response[Any]:
        """Stop it: first gracefully, then now, which must be confirmed."""
        shown = await deployment_queries.show_version(world, principal, name, version)
        mode = str(form.get("mode", "graceful"))
        if mode == "graceful":
            await cancellation.cancel(world, principal, name, shown.row.id, "graceful")
        elif mode == "now" and form.get("sure"):
            await cancellation.cancel(world, principal, name, shown.row.id, "now")
        elif mode == "now":
            raise BadRequest(detail="To kill it now, confirm that you want that.")
        else:
            raise BadRequest(detail="mode must be graceful or now.")
        return seen(f"/{'/'.join(name)}/deployments/{version}")

    @post("/again")
    async def again(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        form: FormMultiDict,
        version: int,
    ) -> Response[Any]:
        """Run it again, with the same commit and settings."""
        shown = await deployment_queries.show_version(world, principal, name, version)
        once = str(form.get("once", ""))
        submitted = await resubmission.again(
            world, principal, name, shown.row.id, Trigger.CONSOLE, once
        )
        return seen(f"/{'/'.join(name)}/deployments/{submitted.version}")


async def facts(world: World, name: StackName, shown: Shown) -> dict[str, Any]:
    """What the page's changing part is made from; who asks may see the deployment."""
    git = ((shown.configuration or {}).get("source") or {}).get("git") or {}
    return {
        "shown": shown,
        "row": shown.row,
        "path": "/" + "/".join(name),
        "is_live": shown.row.status in LIVE,
        "has_ended": shown.row.status in ENDED,
        "branch": git.get("branch") or "",
        "progress": await progress.of_updates(world, shown.updates),
        "grace": int(world.config.deployments.grace_seconds * 1000),
        "now": world.now(),
    }


async def _rendered(world: World, name: StackName, shown: Shown) -> str:
    return fragment("_deployment_state.html", **await facts(world, name, shown))


ROUTES: list[Any] = [DeploymentPages]
