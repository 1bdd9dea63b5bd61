"""`python -m runner_actors.gateway`: asks the control plane for work and hands it to stack actors.

A small driver process beside the cluster's head. It keeps nothing: killed and started again, it
finds the actors by name and goes on. Whatever it cannot go on with ends it with a message and an
exit code, for its supervisor to start it anew: 1 when it is misconfigured or refused, 3 when Ray
is lost. On SIGTERM it leaves at once; the actors work on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import pkgutil
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from cryptography.hazmat.primitives.asymmetric import x25519

from runner_actors.contract import Poll, Registration
from runner_actors.dispatcher import Dispatcher, RefusedForGood, first_to_end, insist
from runner_actors.loopback import is_loopback
from runner_actors.placement import ClusterPlacement
from runner_actors.pool_client import PoolClient, Refused, Unavailable
from runner_actors.settings import RunnerSettings

if TYPE_CHECKING:
    from runner_actors.ray_cluster import RayCluster

EXIT_REFUSED, EXIT_RAY_LOST = 1, 3
RAY_RETRY_SECONDS = 0.1
NOT_READY_SECONDS = 5.0
RAY_CONNECT_SECONDS = 3.0
RAY_INIT_SECONDS_MAX = 60.0
RAY_LOOK_SECONDS = 2.0
RAY_MISSES_MAX = 3

log = structlog.get_logger()


class GatewayEnds(Exception):
    """The gateway cannot go on; the text says why and what to do."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def serve_pool(settings: RunnerSettings, runner: str) -> None:
    """Register, join the cluster, and work. Raises GatewayEnds, RefusedForGood."""
    api = PoolClient(settings.control_plane_url, settings.secret(settings.pool_token_path).decode())
    gateway_id = f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
    # Importing Ray takes most of a second, in which Ray itself may still be coming up.
    importing = asyncio.create_task(asyncio.to_thread(_import_ray, runner))
    await _register(api, settings, gateway_id)
    await _until_ray_answers(api, settings.ray_address, gateway_id)
    cluster = await _join(settings, *await importing)
    dispatcher = Dispatcher(api, ClusterPlacement(cluster, settings), gateway_id)
    await first_to_end(dispatcher.run(), cluster.spares.keep(), _watch_ray(settings.ray_address))


async def _register(api: PoolClient, settings: RunnerSettings, gateway_id: str) -> None:
    registration = Registration(
        gateway_id=gateway_id,
        hostname=socket.gethostname(),
        public_key=base64.b64encode(public_key(Path(settings.pool_key_path))).decode(),
        slipway_version=version("slipway"),
    )
    registered = await insist("register", lambda: api.register(registration))
    log.info("registered", pool=registered.pool_name, pool_id=registered.pool_id)


def public_key(path: Path) -> bytes:
    """The public half of the pool's key, whose private half is made if there is none: 0600, raw."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(x25519.X25519PrivateKey.generate().private_bytes_raw())
        # Linked, not renamed: of two gateways that begin at once, the first one's key stays.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
        new.unlink()
    private = x25519.X25519PrivateKey.from_private_bytes(path.read_bytes())
    return private.public_key().public_bytes_raw()


def _import_ray(runner: str) -> tuple[type[RayCluster], type]:
    from runner_actors.ray_cluster import RayCluster

    return RayCluster, pkgutil.resolve_name(runner)


async def _until_ray_answers(api: PoolClient, address: str, gateway_id: str) -> None:
    """Wait for Ray's port, because `ray.init` would block for minutes.

    Meanwhile the control plane hears that this gateway lives, but cannot run anything.
    """
    not_ready = Poll(gateway_id=gateway_id, wait_seconds=0, ready=False)
    say_at = time.monotonic() + RAY_RETRY_SECONDS
    while not await _answers(address):
        if time.monotonic() > say_at:
            log.warning("Ray does not answer yet", address=address)
            with contextlib.suppress(Unavailable, Refused):
                await api.poll(not_ready)
            say_at = time.monotonic() + NOT_READY_SECONDS
        await asyncio.sleep(RAY_RETRY_SECONDS)


async def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(RAY_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _join(settings: RunnerSettings, cluster: type[RayCluster], runner: type) -> RayCluster:
    try:
        async with asyncio.timeout(RAY_INIT_SECONDS_MAX):
            joined = await asyncio.to_thread(cluster.join, settings, runner)
    except Exception as problem:
        text = f"Ray at {settings.ray_address} cannot be joined: {problem!r}"
        raise GatewayEnds(text, EXIT_RAY_LOST) from None
    log.info("Ray joined", address=settings.ray_address)
    return joined


async def _watch_ray(address: str) -> None:
    """Ends the gateway when the cluster's head is gone; Ray itself would do so a minute later."""
    misses = 0
    while misses < RAY_MISSES_MAX:
        await asyncio.sleep(RAY_LOOK_SECONDS)
        misses = 0 if await _answers(address) else misses + 1
    raise GatewayEnds(f"Ray at {address} does not answer any more.", EXIT_RAY_LOST)


def driver_environment(settings: RunnerSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """How this process must join the cluster; what is set already stays."""
    wanted = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}
    if "SLIPWAY_RAY__TOKEN_PATH" in inherited:
        wanted["RAY_AUTH_MODE"] = "token"
        wanted["RAY_AUTH_TOKEN_PATH"] = inherited["SLIPWAY_RAY__TOKEN_PATH"]
    if is_loopback(settings.ray_address.rpartition(":")[0]):
        # Without it Ray replaces a loopback address by the machine's own, where nobody listens.
        wanted["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return {name: value for name, value in wanted.items() if name not in inherited}


def main(runner: str = "runner_actors.stack_runner:StackRunner") -> None:
    """Run the gateway; never returns. `runner` names the actors' class."""
    _set_up_logging()
    try:
        settings = RunnerSettings.from_environment()
    except ValueError as problem:
        log.error("gateway ends", problem=str(problem))
        sys.exit(EXIT_REFUSED)
    os.environ.update(driver_environment(settings, os.environ))
    asyncio.run(_until_told_to_stop(serve_pool(settings, runner)))


async def _until_told_to_stop(program: Coroutine[Any, Any, None]) -> None:
    """Run the program until it ends or a signal comes, and end this process.

    At once: Ray's own farewell waits for threads, and the actors do not need it.
    """
    running = asyncio.ensure_future(program)
    told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.cancel)
    await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
    os._exit(_exit_code(running) if running.done() else 0)


def _exit_code(program: asyncio.Future[None]) -> int:
    try:
        program.result()
    except GatewayEnds as problem:
        log.error("gateway ends", problem=str(problem))
        return problem.exit_code
    except (RefusedForGood, OSError) as problem:
        log.error("gateway ends", problem=str(problem))
    except Exception:
        log.exception("gateway ends")
    return EXIT_REFUSED


def _set_up_logging() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Local variables may be secrets: without them.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    main()
