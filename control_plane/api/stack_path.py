"""Addresses of stacks: `/api/stacks/{organization}/{project}/{stack}`, and which one is meant."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from control_plane.domain.names import StackName
from control_plane.services.world import World

STACK = "/api/stacks/{organization:str}/{project:str}/{stack:str}"

AnyRequest = Request[Any, Any, Any]


def provide_name(organization: str, project: str, stack: str) -> StackName:
    """The stack that the address names."""
    return StackName(organization, project, stack)


def under_stack(handlers: list[ControllerRouterHandler]) -> Router:
    """Handlers whose paths go on from a stack's address; they get `name: StackName`."""
    return Router(
        STACK,
        route_handlers=handlers,
        dependencies={"name": Provide(provide_name, sync_to_thread=False)},
    )


def address_used(request: AnyRequest, world: World) -> str:
    """The server's address as this caller wrote it, without a trailing slash.

    Behind a proxy that ends TLS the scheme is not seen here; the configured address has it. A
    runner's guard, through which the CLI of a deployment with secrets calls, tells its own.
    """
    told = request.headers.get("x-slipway-address", "")
    if told.startswith("http://127.0.0.1:"):
        return told
    public = world.config.public_url
    host = request.headers.get("host", "")
    if public.partition("://")[2] == host:
        return public
    return f"{request.url.scheme}://{host}"
