"""The console: everything that a browser opens."""

from __future__ import annotations

from litestar import Router

from ui import (
    account,
    comparison,
    deploy_settings,
    deployment,
    deployment_log,
    gallery,
    github_sign_in,
    guard,
    integrations,
    organization,
    organization_settings,
    pages,
    queue,
    sign_in,
    stack,
    stack_pages,
    stack_settings,
)
from ui.compression import compressed


def console() -> Router:
    """The console's routes, to be mounted at the root of the server's address."""
    return Router(
        "/",
        route_handlers=[
            pages.static,
            *sign_in.ROUTES,
            *organization.ROUTES,
            *organization_settings.ROUTES,
            *integrations.ROUTES,
            *github_sign_in.ROUTES,
            *stack.ROUTES,
            *queue.ROUTES,
            *deployment.ROUTES,
            *comparison.ROUTES,
            *deployment_log.ROUTES,
            *deploy_settings.ROUTES,
            *account.ROUTES,
            *stack_pages.ROUTES,
            *stack_settings.ROUTES,
            *gallery.ROUTES,
        ],
        dependencies=guard.DEPENDENCIES,
        exception_handlers=guard.HANDLERS,
        guards=[guard.same_origin],
        middleware=[compressed],
        include_in_schema=False,
    )
