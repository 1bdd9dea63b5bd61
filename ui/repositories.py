"""Repositories and branches to choose from in Settings > Deploy, as far as GitHub says them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from control_plane.domain.deployment_settings import repository_of
from control_plane.domain.names import StackName
from control_plane.domain.principal import Principal
from control_plane.errors import NotFound, Problem
from control_plane.services.github import browsing, installing
from control_plane.services.github.browsing import RepositoryFacts
from control_plane.services.world import World

REPOSITORY = "gitHub.repository"
BRANCH = "sourceContext.git.branch"
PATIENCE_SECONDS = 3.0
"""How long a page waits for GitHub before it does without."""

SET_UP = "It takes effect once this server has a GitHub App"
INSTALL = "It takes effect once the GitHub App is installed for {}"


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What the form offers; any other name may be typed all the same."""

    repositories: Sequence[str] = ()
    chosen: str = ""
    """The repository whose branches these are."""
    matching: Sequence[str] = ()
    """Repositories with the words in their names, where none is called exactly so."""
    branches: Sequence[str] = ()
    lacking: str = ""
    """Why pushes deploy nothing yet; empty where they do."""
    note: str = ""
    """Why there are no branches to choose from."""
    filled: dict[str, Any] = {}
    """Fields that a choice has filled in, by their paths; nothing of it is saved yet."""


async def choices(
    world: World,
    principal: Principal,
    name: StackName,
    stored: dict[str, Any],
    chosen: str = "",
) -> Choices:
    """What there is to choose from; without GitHub, a note in the place of the branches."""
    integration = await installing.show(world, principal, name.organization)
    if integration.app is None:
        return Choices(lacking=SET_UP)
    if not integration.installations:
        return Choices(lacking=INSTALL.format(name.organization))
    known = await browsing.repositories(world, principal, name.organization)
    offered = [each.full_name for each in known if not each.archived]
    wanted = chosen or repository_of(stored)
    found = await browsing.repositories(world, principal, name.organization, wanted)
    exact = next((each for each in found if each.full_name.lower() == wanted.lower()), None)
    if chosen and exact is None and found:
        matching = [each.full_name for each in found]
        return Choices(repositories=offered, chosen=chosen, matching=matching)
    repository = wanted if exact is None else exact.full_name
    branches, note = await _branches(world, principal, name.organization, repository)
    return Choices(
        repositories=offered,
        chosen=repository,
        branches=branches,
        note=note,
        filled=_filled(exact) if chosen and exact is not None else {},
    )


def _filled(repository: RepositoryFacts) -> dict[str, str]:
    branch = {BRANCH: repository.default_branch} if repository.default_branch else {}
    return {REPOSITORY: repository.full_name} | branch


async def _branches(
    world: World, principal: Principal, organization: str, repository: str
) -> tuple[Sequence[str], str]:
    if not repository:
        return (), ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await browsing.branches(world, principal, organization, repository), ""
    except NotFound:
        return (), f"The GitHub App is not installed on {repository}, or is suspended there."
    except TimeoutError:
        return (), "GitHub takes its time: type the branch's name, or load the page again."
    except Problem as problem:
        return (), f"{problem.message} Until then, type the branch's name."
