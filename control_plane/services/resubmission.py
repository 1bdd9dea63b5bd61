"""Run a deployment again: the same operation, settings and commit, as a new deployment."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment import Operation
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.domain.trigger import Origin, Submission, Trigger
from control_plane.errors import NotFound
from control_plane.services import access, submission
from control_plane.services.submission import Submitted
from control_plane.services.world import World
from control_plane.store import deployments
from control_plane.store.github import pulls

Settings = dict[str, Any]


async def again(
    world: World,
    principal: Principal,
    name: StackName,
    deployment_id: str,
    trigger: Trigger,
    once: str = "",
) -> Submitted:
    """Queue what that deployment was once more; raises NotFound, and what `submit` raises.

    Its secrets are sealed for the same stack, so they go along as they are.
    """
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await deployments.find(tx, stack.id, deployment_id)
        came_from = await pulls.source_of(tx, deployment_id)
    if row is None:
        raise NotFound(what=f"Deployment '{deployment_id}'")
    settings: Settings = msgspec.json.decode(row.settings)
    wanted = Submission(
        operation=Operation(row.operation),
        request=_at_commit(settings, row.source_commit),
        inherit_settings=False,
        trigger=trigger,
        origin=None if came_from is None else origin_of(came_from),
    )
    return await submission.submit(world, principal, name, wanted, once=once)


def origin_of(row: Row[Any]) -> Origin:
    """Where a deployment's code is from: running it again changes nothing of that."""
    return Origin(**{name: getattr(row, name) for name in Origin.__struct_fields__})


def _at_commit(settings: Settings, commit: str | None) -> Settings:
    """The settings with the commit that was found in the place of the branch that was asked for."""
    source = settings.get("sourceContext") or {}
    git = source.get("git")
    if not git or not commit:
        return settings
    fixed = {k: v for k, v in git.items() if k not in ("branch", "tag")} | {"commit": commit}
    return settings | {"sourceContext": source | {"git": fixed}}
