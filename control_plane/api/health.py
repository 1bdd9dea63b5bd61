"""Whether the server lives, and whether a deployment could run."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get
from prometheus_client import generate_latest

from control_plane.metrics import REGISTRY
from control_plane.services import readiness
from control_plane.services.world import World


@get("/health/live", include_in_schema=False)
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@get("/health/ready", include_in_schema=False)
async def ready(world: World) -> Response[bytes]:
    """200 when a deployment could run now; else 503, naming what is missing."""
    missing = await readiness.missing(world)
    body = {"status": "waiting" if missing else "ready", "missing": missing}
    return Response(
        msgspec.json.encode(body),
        status_code=503 if missing else 200,
        media_type="application/json",
    )


@get("/metrics", include_in_schema=False, media_type="text/plain; version=0.0.4")
async def metrics() -> bytes:
    """The process's metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


ROUTES: list[Any] = [live, ready, metrics]
