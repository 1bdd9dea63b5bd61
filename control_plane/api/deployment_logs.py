"""A deployment's log: as the CLI follows it, by steps and lines, and byte for byte."""

from __future__ import annotations

import re
from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.di import Provide
from litestar.params import QueryParameter
from litestar.response import Stream
from msgspec import UNSET, UnsetType

from control_plane.api.deployment_wire import Wire, optional_time
from control_plane.api.stack_path import STACK, provide_name
from control_plane.domain.log_lines import Line, token_of
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import BadRequest
from control_plane.services import deployment_logs, deployment_queries
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]

PREVIEW = STACK.replace("/api/stacks/", "/api/preview/")
"""Stacks under the address of the CLI up to 3.113.0."""
COUNT_DEFAULT = 100
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")


class LineWire(Wire, kw_only=True):
    """A header, or a line with its own line break."""

    header: str | UnsetType = UNSET
    timestamp: str | UnsetType = UNSET
    line: str | UnsetType = UNSET


class LogsWire(Wire, tag_field="__type", tag="DeploymentLogs", kw_only=True):
    """Some lines of the stream; without a token it has ended."""

    lines: list[LineWire]
    next_token: str | UnsetType = UNSET


class StepLogsWire(Wire, tag_field="__type", tag="DeploymentLogsStep", kw_only=True):
    """Some lines of a step; without an offset there are no more."""

    name: str
    lines: list[LineWire]
    next_offset: int | UnsetType = UNSET


ContinuationToken = Annotated[str, QueryParameter(name="continuationToken")]
NextToken = Annotated[str, QueryParameter(name="nextToken")]


class LogController(Controller):
    """`…/deployments/{id}/logs` and `…/log`."""

    path = f"{STACK}/deployments/{{deployment_id:str}}"
    tags = ["Deployment logs"]
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get("/logs")
    async def logs(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        deployment_id: str,
        continuation_token: ContinuationToken = "",
        next_token: NextToken = "",
        job: int | None = None,
        step: int | None = None,
        offset: int = 0,
        count: int = COUNT_DEFAULT,
    ) -> LogsWire | StepLogsWire:
        """The next lines after a token; or, with `step`, lines of that step by their numbers.

        Pass `nextToken` back as `continuationToken` until there is none. An answer without news
        comes a moment later than others, with the token that it was asked with.
        """
        deployment_id = await deployment_queries.id_of(world, principal, name, deployment_id)
        if step is None and job is None:
            token = continuation_token or next_token
            return await _stream(world, principal, name, deployment_id, token)
        if job not in (None, 0):
            raise BadRequest(detail=f"job {job} does not exist: a deployment has one job, 0.")
        if step is None:
            raise BadRequest(detail="step is missing: with job, say which step.")
        found = await deployment_logs.step_lines(
            world, principal, name, deployment_id, step=step, offset=offset, count=count
        )
        return StepLogsWire(
            name=found.name,
            lines=[_line(each) for each in found.lines],
            next_offset=UNSET if found.next_offset is None else found.next_offset,
        )

    @get("/log", media_type="text/plain")
    async def log(
        self,
        request: AnyRequest,
        world: World,
        principal: Principal,
        name: StackName,
        deployment_id: str,
    ) -> Response[Any]:
        """The log's bytes as the program wrote them; `Range: bytes=N-` gives them from N on.

        `X-Slipway-Log-Complete` tells whether the log has its end; while it has not, ask again
        from where the answer ended. A deployment that begins anew begins its log anew, under
        another `ETag`: send the known one as `If-Range`, and a new log is given whole.
        """
        deployment_id = await deployment_queries.id_of(world, principal, name, deployment_id)
        log = await deployment_logs.describe(world, principal, name, deployment_id)
        headers = {
            "X-Slipway-Log-Complete": "true" if log.complete else "false",
            "Accept-Ranges": "bytes",
            "ETag": f'"{log.deployment_id}.{log.attempt}"',
            "Content-Type": "text/plain",
            "X-Content-Type-Options": "nosniff",
        }
        same = request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
        wanted = byte_range(request.headers.get("range", "") if same else "", log.length)
        if wanted is None:
            headers["Content-Range"] = f"bytes */{log.length}"
            return Response(b"", status_code=416, headers=headers, media_type="text/plain")
        start, end = wanted
        headers["Content-Length"] = str(end - start)
        status = 200
        if "range" in request.headers and (start, end) != (0, log.length):
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{log.length}"
            status = 206
        body = deployment_logs.read(world, log, start, end)
        return Stream(body, status_code=status, headers=headers, media_type="text/plain")


class PreviewLogController(Controller):
    """The same for old CLIs."""

    path = f"{PREVIEW}/deployments/{{deployment_id:str}}"
    include_in_schema = False
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get("/logs")
    async def logs(
        self,
        world: World,
        principal: Principal,
        name: StackName,
        deployment_id: str,
        continuation_token: ContinuationToken = "",
    ) -> LogsWire:
        """The next lines after a token."""
        return await _stream(world, principal, name, deployment_id, continuation_token)


def byte_range(header: str, length: int) -> tuple[int, int] | None:
    """What a Range header asks for, as (start, end) without the end; None: there is no such part.

    A header that is not understood counts as none (RFC 9110, section 14.2): everything.
    """
    found = RANGE.match(header)
    if found is None or found.group(1) == found.group(2) == "":
        return 0, length
    first, last = found.groups()
    if not first:
        return (max(0, length - int(last)), length) if int(last) and length else None
    start, end = int(first), min(length, int(last) + 1 if last else length)
    if last and int(last) < start:
        return 0, length
    return (start, end) if start < length else None


async def _stream(
    world: World, principal: Principal, name: StackName, deployment_id: str, token: str
) -> LogsWire:
    found = await deployment_logs.stream(world, principal, name, deployment_id, token)
    return LogsWire(
        lines=[_line(each) for each in found.lines],
        next_token=UNSET if found.next is None else token_of(found.next),
    )


def _line(line: Line) -> LineWire:
    return LineWire(
        header=line.header or UNSET,
        timestamp=optional_time(line.at_ms),
        line=UNSET if line.header else line.line,
    )


ROUTES: list[Any] = [LogController, PreviewLogController]
