"""The runner API: the routes of `runner_actors.contract`, which the runner side calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, post

from control_plane.api.body import decode
from control_plane.domain.principal import Pool
from control_plane.services import grants, leases, pools, recording
from control_plane.services.github import grant_facts
from control_plane.services.world import World
from runner_actors.contract import (
    Events,
    Hold,
    LeaseRenewal,
    Poll,
    Registration,
    Release,
    SourceTokenWanted,
)

AnyRequest = Request[Any, Any, Any]


class RunnerController(Controller):
    """What gateways and stack actors say."""

    path = "/api/runner"
    include_in_schema = False

    @post("/register", status_code=200)
    async def register(self, request: AnyRequest, world: World, pool: Pool) -> Response[bytes]:
        """A gateway has come up."""
        return _json(await pools.register(world, pool, await decode(request, Registration)))

    @post("/poll", status_code=200)
    async def poll(self, request: AnyRequest, world: World, pool: Pool) -> Response[bytes]:
        """Ask for work; held until there is some."""
        wanted = await decode(request, Poll)
        async with _watched(request) as gone:
            return _json(await grants.poll(world, pool, wanted, gone))

    @get("/grants")
    async def live_grants(self, world: World, pool: Pool) -> Response[bytes]:
        """What the pool holds."""
        return _json(await grants.live_grants(world, pool))

    @post("/deployments/{deployment_id:str}/hold", status_code=200)
    async def hold(
        self, deployment_id: str, request: AnyRequest, world: World, pool: Pool
    ) -> Response[bytes]:
        """Keep a grant while looking for a place for it."""
        return _json(await leases.hold(world, pool, deployment_id, await decode(request, Hold)))

    @post("/deployments/{deployment_id:str}/release", status_code=200)
    async def release(
        self, deployment_id: str, request: AnyRequest, world: World, pool: Pool
    ) -> Response[bytes]:
        """Give a grant back."""
        wanted = await decode(request, Release)
        return _json(await leases.release(world, pool, deployment_id, wanted))

    @post("/deployments/{deployment_id:str}/lease", status_code=200)
    async def renew(
        self, deployment_id: str, request: AnyRequest, world: World, runner_token: str
    ) -> Response[bytes]:
        """Renew a lease; held until a cancel is requested."""
        wanted = await decode(request, LeaseRenewal)
        return _json(await leases.renew(world, deployment_id, runner_token, wanted))

    @post("/deployments/{deployment_id:str}/events", status_code=200)
    async def record(
        self, deployment_id: str, request: AnyRequest, world: World, runner_token: str
    ) -> Response[bytes]:
        """Record a batch of events."""
        batch = await decode(request, Events)
        return _json(await recording.record(world, deployment_id, runner_token, batch))

    @post("/deployments/{deployment_id:str}/source-token", status_code=200)
    async def source_token(
        self, deployment_id: str, request: AnyRequest, world: World, runner_token: str
    ) -> Response[bytes]:
        """The token that the source is fetched with."""
        wanted = await decode(request, SourceTokenWanted)
        return _json(
            await grant_facts.source_token(world, deployment_id, runner_token, wanted.generation)
        )


def _json(answer: msgspec.Struct) -> Response[bytes]:
    return Response(msgspec.json.encode(answer), media_type="application/json")


@asynccontextmanager
async def _watched(request: AnyRequest) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client goes away while its request is being held."""
    gone = asyncio.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


ROUTES: list[Any] = [RunnerController]
