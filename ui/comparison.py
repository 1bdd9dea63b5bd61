"""Two deployments of a stack side by side: how each ended, what it took, what was different."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import Provide
from litestar.params import QueryParameter

from control_plane.domain import settings_outline
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound
from control_plane.services import deployment_queries
from control_plane.services.deployment_queries import Shown
from control_plane.services.sessions import Viewer
from control_plane.services.world import World
from ui.guard import provide_name
from ui.pages import page
from ui.stack import STACK

VERSION_MAX = 2**31 - 1

Other = Annotated[int, QueryParameter(name="with", ge=0, le=VERSION_MAX)]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The same of both; None where one does not have it."""

    title: str
    before: int | None
    after: int | None

    @property
    def change(self) -> int | None:
        """By how much there is more, or less, of it."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


@get(
    f"{STACK}/deployments/{{version:int}}/compare",
    dependencies={"name": Provide(provide_name, sync_to_thread=False)},
)
async def compare(
    world: World,
    viewer: Viewer,
    principal: Principal,
    name: StackName,
    version: int,
    other: Other = 0,
) -> Response[str]:
    """A deployment beside another of its stack; without `with`, beside the one before it."""
    after = await deployment_queries.show_version(world, principal, name, version)
    wanted = other or after.previous_version
    if wanted is None:
        raise NotFound(what=f"A deployment before #{version}")
    before = await deployment_queries.show_version(world, principal, name, wanted)
    return page(
        "comparison.html",
        viewer,
        organization=name.organization,
        name=name,
        path="/" + "/".join(name),
        before=before,
        after=after,
        steps=pairs(_steps(before), _steps(after)),
        changes=sorted(pairs(_changes(before), _changes(after)), key=_place),
        differences=settings_outline.differences(_settings(before), _settings(after)),
        durations=Pair(title="In all", before=_took(before), after=_took(after)),
    )


def pairs(before: Mapping[str, int | None], after: Mapping[str, int | None]) -> list[Pair]:
    """Everything that either has, in the order of the later one."""
    return [
        Pair(title=title, before=before.get(title), after=after.get(title))
        for title in {**after, **before}
    ]


def _steps(shown: Shown) -> dict[str, int | None]:
    return {
        step.name: step.ended_at - step.started_at
        for step in shown.steps
        if step.started_at is not None and step.ended_at is not None
    }


def _changes(shown: Shown) -> dict[str, int | None]:
    """Of the update that the deployment was for; a preview's, where it made no other."""
    rows = [row for row in shown.updates if not row.dry_run] or shown.updates
    if not rows or not rows[-1].resource_changes:
        return {}
    return dict(msgspec.json.decode(rows[-1].resource_changes, type=dict[str, int]))


def _place(pair: Pair) -> tuple[bool, str]:
    return pair.title == "same", pair.title


def _settings(shown: Shown) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(shown.row.settings)
    return found


def _took(shown: Shown) -> int | None:
    row = shown.row
    if row.started_at is None or row.ended_at is None:
        return None
    return int(row.ended_at - row.started_at)


ROUTES: list[Any] = [compare]
