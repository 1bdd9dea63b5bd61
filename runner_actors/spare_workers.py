"""Keeps a few worker processes ready on every node, in which new actors begin at once.

An actor in a spare begins after 10 ms, while a process of its own would take it most of a second.
Ray has a call for it (`PrestartWorkers`), but no public way to it, so this speaks with the raylet
itself. Without spares everything works the same, only slower: failures are logged, no more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import ray
import structlog

SPARES_PER_NODE = 2
KEEP_SECONDS = 24 * 3600
CHECK_SECONDS = 60.0
PAUSE_SECONDS = 3.0
"""A process that is still starting is not counted yet, so looks are this far apart."""
RPC_SECONDS = 3.0
_WORKER = 0
_NO_ACTOR = b"\xff"

log = structlog.get_logger()


class SpareWorkers:
    """Tops up after each use, and now and then."""

    def __init__(self, in_thread: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self._in_thread = in_thread
        self._used = asyncio.Event()
        self._failing = False

    def used(self) -> None:
        """An actor has begun, probably in a spare."""
        self._used.set()

    async def keep(self) -> None:
        """Look after them for ever."""
        while True:
            await self._in_thread(self._top_up)
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._used.wait()
            except TimeoutError:
                continue
            self._used.clear()

    def _top_up(self) -> None:
        try:
            nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            for node in nodes:
                if node["Alive"] and node["Resources"].get("deployment_slot"):
                    _top_up(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
            self._failing = False
        except Exception as problem:
            if not self._failing:
                log.warning("no spare workers", problem=str(problem)[:300])
            self._failing = True


def _top_up(raylet: str) -> None:
    """Ask one node's raylet for as many spares as it lacks."""
    import grpc  # type: ignore[import-untyped]
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

    messages: Any = node_manager_pb2
    services: Any = node_manager_pb2_grpc
    with grpc.insecure_channel(raylet, (("grpc.enable_http_proxy", 0),)) as channel:
        service = services.NodeManagerServiceStub(channel)
        terms = {"metadata": _credentials(), "timeout": RPC_SECONDS}
        stats = service.GetNodeStats(messages.GetNodeStatsRequest(), **terms)
        missing = SPARES_PER_NODE - sum(map(_is_spare, stats.core_workers_stats))
        if missing > 0:
            request = messages.PrestartWorkersRequest(
                num_workers=missing, keep_alive_duration_secs=KEEP_SECONDS
            )
            request.runtime_env_info.serialized_runtime_env = "{}"
            service.PrestartWorkers(request, **terms)


def _is_spare(worker: Any) -> bool:
    """A worker process (not a driver) that has never been given an actor."""
    return worker.worker_type == _WORKER and not worker.actor_id.strip(_NO_ACTOR)


def _credentials() -> list[tuple[str, str]]:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return [("authorization", f"Bearer {Path(path).read_text().strip()}")] if path else []
