"""A deployment's log on its page, where there is no script, and as a file to keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from litestar import Controller, get
from litestar.di import Provide
from litestar.response import Stream

from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.terminal_codes import WithoutCodes, plain
from control_plane.errors import LogDeleted, LogUnreadable
from control_plane.services import deployment_logs, deployment_queries
from control_plane.services.deployment_queries import Shown
from control_plane.services.world import World
from ui.guard import provide_name
from ui.pages import SECURITY
from ui.stack import STACK

TAIL_BYTES = 64 * 1024
"""How much of a log a page without a script shows."""


class DeploymentLogFile(Controller):
    """`/{organization}/{project}/{stack}/deployments/{version}/log`."""

    path = f"{STACK}/deployments/{{version:int}}/log"
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def download(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        version: int,
        colours: bool = False,
    ) -> Stream:
        """The whole log as it is now, as a text file; with `colours` byte for byte."""
        shown = await deployment_queries.show_version(world, principal, name, version)
        log = await deployment_logs.describe(world, principal, name, shown.row.id)
        body = deployment_logs.read(world, log, 0, log.length)
        headers = SECURITY | {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{_file_name(name, version, colours)}"',
        }
        return Stream(body if colours else _plain(body), headers=headers, media_type="text/plain")


def _file_name(name: StackName, version: int, colours: bool) -> str:
    return f"{name.project}-{name.stack}-{version}{'-colours' if colours else ''}.log"


async def _plain(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    taking = WithoutCodes()
    async for part in body:
        yield taking.take(part)
    yield taking.end()


async def log_on_page(
    world: World, principal: Principal, name: StackName, shown: Shown
) -> dict[str, Any]:
    """What `_log.html` needs: the log's end as text, and what is to be said of it."""
    try:
        log = await deployment_logs.describe(world, principal, name, shown.row.id)
        start = max(0, log.length - TAIL_BYTES)
        found = [part async for part in deployment_logs.read(world, log, start, log.length)]
    except (LogDeleted, LogUnreadable) as problem:
        return {"tail": "", "is_cut": False, "log_problem": problem.message}
    # After a cut the first line is rarely whole.
    tail = plain(b"".join(found)).decode(errors="replace")
    shown_from = tail.find("\n") + 1 if start else 0
    return {"tail": tail[shown_from:], "is_cut": start > 0, "log_problem": ""}


ROUTES: list[Any] = [DeploymentLogFile]
