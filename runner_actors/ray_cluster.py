"""The cluster, on Ray: one-bundle placement groups are slots, detached named actors are actors.

An actor takes its bundle's whole resource, so Ray itself refuses a second one in a slot. Actors
outlive the gateway; Ray never restarts one and never repeats a call of one. The only module that
imports Ray, together with `spare_workers.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
import ray
from ray.util.placement_group import (
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from runner_actors.cluster import Actor, ActorDied, RunnerFailed, RunnerLost, Slot
from runner_actors.settings import RunnerSettings
from runner_actors.spare_workers import SpareWorkers

RESOURCE = "deployment_slot"
THREADS_MAX = 16
TEXT_CHARACTERS_MAX = 1000
_SLOT_NAME = re.compile(r"[^/]+/\d+")
_T = TypeVar("_T")


class RayCluster:
    """A cluster that this process has joined as a driver. Errors of Ray become ours."""

    def __init__(self, settings: RunnerSettings, runner_class: type) -> None:
        self._namespace = settings.ray_namespace
        self._settings_json = msgspec.json.encode(settings)
        self._runner: Any = ray.remote(runner_class)
        self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="ray-call")
        self.spares = SpareWorkers(self._in_thread)

    @classmethod
    def join(cls, settings: RunnerSettings, runner_class: type) -> RayCluster:
        """Become a driver of the cluster. Blocks, for minutes if nothing answers at its address."""
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(
            address=settings.ray_address,
            namespace=settings.ray_namespace,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
        # The first value that is serialized costs a third of a second of imports: not a user's.
        ray.put(b"")
        return cls(settings, runner_class)

    # Slots.

    async def make_slot(self, name: str) -> Slot:
        """Reserve room for one actor."""
        return await self._in_thread(_make_group, name)

    async def remove_slot(self, name: str) -> None:
        """Remove a slot and kill the actor in it."""
        await self._in_thread(_remove_group, name)

    async def find_slot(self, name: str) -> Slot:
        """A slot that exists."""
        return await self._in_thread(get_placement_group, name)

    async def slot_names(self) -> list[str]:
        """All slots that exist."""
        return await self._in_thread(_group_names)

    async def node_of(self, slot: Slot) -> str:
        """The node where a slot is; empty while there is none."""
        return await self._in_thread(_node_of, slot)

    # Actors.

    async def make_actor(self, name: str, slot: Slot) -> Actor:
        """Make an actor in a slot."""
        options = self._runner.options(
            name=name,
            namespace=self._namespace,
            lifetime="detached",
            max_restarts=0,
            max_task_retries=0,
            num_cpus=0,
            resources={RESOURCE: 1},
            scheduling_strategy=PlacementGroupSchedulingStrategy(slot, 0),
        )
        return await self._in_thread(_make_actor, options, name, self._settings_json)

    async def begun(self, actor: Actor) -> None:
        """Until an actor answers."""
        await self._answer(actor.__ray_ready__.remote())
        self.spares.used()

    async def actor_names(self) -> list[str]:
        """The actors that exist."""
        return await self._in_thread(ray.util.list_named_actors)

    async def find_actor(self, name: str) -> Actor:
        """An actor that exists."""
        return await self._in_thread(ray.get_actor, name)

    async def slot_name_of(self, actor: Actor) -> str:
        """Ask an actor for the name of its slot."""
        return str(await self._answer(actor.__ray_call__.remote(_own_group_name)))

    async def kill(self, actor: Actor) -> None:
        """Kill an actor."""
        await self._in_thread(_kill, actor)

    async def call(self, actor: Actor, method: str, *arguments: Any) -> Any:
        """Call an actor once."""
        return await self._answer(getattr(actor, method).remote(*arguments))

    async def _answer(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except ray.exceptions.ActorDiedError as problem:
            raise ActorDied(_text(problem)) from None
        except ray.exceptions.RayTaskError as problem:
            raise RunnerFailed(_text(problem)) from None
        except ray.exceptions.RayError as problem:
            raise RunnerLost(_text(problem)) from None

    async def _in_thread(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call what blocks beside the event loop; a cancel waits for its end."""
        called = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        try:
            return await asyncio.shield(called)
        except asyncio.CancelledError:
            await asyncio.wait({called})
            raise
        except (ray.exceptions.RayError, ValueError) as problem:
            raise RunnerLost(_text(problem)) from None


def _make_group(name: str) -> Any:
    try:
        return placement_group([{RESOURCE: 1}], name=name, lifetime="detached")
    except ray.exceptions.RaySystemError:
        # The name is taken by what another gateway left: ours knows of nobody there.
        _remove_group(name)
        return placement_group([{RESOURCE: 1}], name=name, lifetime="detached")


def _remove_group(name: str) -> None:
    try:
        remove_placement_group(get_placement_group(name))
    except ValueError:
        return


def _group_names() -> list[str]:
    return [
        group["name"]
        for group in placement_group_table().values()
        if group["state"] != "REMOVED" and _SLOT_NAME.fullmatch(group["name"])
    ]


def _node_of(group: Any) -> str:
    facts = placement_group_table(group)
    if facts.get("state") != "CREATED":
        return ""
    return str(facts["bundles_to_node_id"][0])


def _make_actor(options: Any, name: str, settings_json: bytes) -> Any:
    try:
        return options.remote(name, settings_json)
    except ray.exceptions.ActorAlreadyExistsError:
        with contextlib.suppress(ValueError):
            _kill(ray.get_actor(name))
        return options.remote(name, settings_json)


def _kill(actor: Any) -> None:
    ray.kill(actor, no_restart=True)


def _own_group_name(_runner: object) -> str:
    """Called inside an actor."""
    group = ray.util.get_current_placement_group()
    return str(placement_group_table(group)["name"]) if group else ""


def _text(problem: BaseException) -> str:
    """The ends of an error's text, which say what happened; Ray explains a lot in between."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return " … ".join(dict.fromkeys(lines[:1] + lines[-1:]))[:TEXT_CHARACTERS_MAX]
