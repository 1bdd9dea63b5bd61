"""A stack's stored deployment settings: shown, patched, replaced, removed; values encrypted."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, delete, get, post, put
from litestar.di import Provide

from control_plane.api.accept import by_schema
from control_plane.api.deployments import read_any, read_settings
from control_plane.api.stack_path import STACK, provide_name
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.services import deployment_settings
from control_plane.services.world import World

AnyRequest = Request[Any, Any, Any]


class SettingsController(Controller):
    """`/api/stacks/{organization}/{project}/{stack}/deployments/settings`."""

    path = f"{STACK}/deployments/settings"
    tags = ["Deployment settings"]
    dependencies = {"name": Provide(provide_name, sync_to_thread=False)}

    @get()
    async def show(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> dict[str, Any]:
        """The stack's settings. Secrets are answered as ciphertext, the same one each time."""
        return await deployment_settings.show(world, principal, name, by_schema=by_schema(request))

    @post(status_code=200)
    async def patch(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> dict[str, Any]:
        """Change the settings: objects merge deeply, null removes, all else replaces."""
        changes = await read_settings(request)
        return await deployment_settings.patch(
            world, principal, name, changes, _source(request), by_schema=by_schema(request)
        )

    @put()
    async def replace(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> dict[str, Any]:
        """Put these settings in the place of the stack's."""
        settings = await read_settings(request)
        return await deployment_settings.replace(
            world, principal, name, settings, _source(request), by_schema=by_schema(request)
        )

    @delete(status_code=200)
    async def remove(self, world: World, principal: Principal, name: StackName) -> bool:
        """Forget the settings."""
        await deployment_settings.remove(world, principal, name)
        return True

    @post("/encrypt", status_code=200)
    async def encrypt(
        self, request: AnyRequest, world: World, principal: Principal, name: StackName
    ) -> dict[str, str]:
        """Seal a value for use in these settings: a bare string, or `{"secret": "text"}`."""
        value = await read_any(request, object)
        sealed = await deployment_settings.encrypt(world, principal, name, value)
        return (
            {"secret": "", "ciphertext": sealed} if by_schema(request) else {"ciphertext": sealed}
        )


def _source(request: AnyRequest) -> str:
    """Who writes, in the API's words; the Pulumi Service provider says so in a header."""
    return "provider" if request.headers.get("x-pulumi-source") == "provider" else "api"


ROUTES: list[Any] = [SettingsController]
