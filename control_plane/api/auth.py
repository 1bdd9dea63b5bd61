"""Who is calling: from the Authorization header to a principal, for every kind of token.

`Authorization: token <value>` carries personal access tokens, deployments' CLI tokens, pool tokens
and runner tokens; `update-token <value>` carries an update's lease. `Bearer` is taken as `token`.
"""

from __future__ import annotations

from litestar import Request
from litestar.di import Provide

from control_plane.domain.principal import Pool, Principal
from control_plane.errors import NotLoggedIn
from control_plane.services import identity
from control_plane.services.world import World

AnyRequest = Request[object, object, object]  # type: ignore[type-var]


def token_of(request: AnyRequest, *schemes: str) -> str:
    """The credential of the request in one of the schemes; raises NotLoggedIn without one."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in schemes or not value.strip():
        raise NotLoggedIn()
    return value.strip()


def provide_world(request: AnyRequest) -> World:
    """The ports, from the application's state."""
    world: World = request.app.state.world
    return world


async def provide_principal(request: AnyRequest, world: World) -> Principal:
    """The person, or the deployment, behind the request."""
    return await identity.authenticate(world, token_of(request, "token", "bearer"))


async def provide_pool(request: AnyRequest, world: World) -> Pool:
    """The runner pool behind the request."""
    return await identity.authenticate_pool(world, token_of(request, "token", "bearer"))


async def provide_runner_token(request: AnyRequest) -> str:
    """The runner token of a deployment's lease; services check it in their own transaction."""
    return token_of(request, "token", "bearer")


async def provide_update_token(request: AnyRequest) -> str:
    """The lease token of an update; services check it in their own transaction."""
    return token_of(request, "update-token")


DEPENDENCIES = {
    "world": Provide(provide_world, sync_to_thread=False),
    "principal": Provide(provide_principal),
    "pool": Provide(provide_pool),
    "runner_token": Provide(provide_runner_token),
    "update_token": Provide(provide_update_token),
}
"""What handlers may ask for by parameter name."""
