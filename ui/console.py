"""The console: everything that a browser opens."""

from __future__ import annotations

from litestar import Router

from ui import (
    account,
    deploy_settings,
    deployment,
    guard,
    organization,
    pages,
    sign_in,
    stack,
    stack_pages,
)


def console() -> Router:
    """The console's routes, to be mounted at the root of the server's address."""
    return Router(
        "/",
        route_handlers=[
            pages.static,
            *sign_in.ROUTES,
            *organization.ROUTES,
            *stack.ROUTES,
            *deployment.ROUTES,
            *deploy_settings.ROUTES,
            *account.ROUTES,
            *stack_pages.ROUTES,
        ],
        dependencies=guard.DEPENDENCIES,
        exception_handlers=guard.HANDLERS,
        guards=[guard.same_origin],
        include_in_schema=False,
    )
