"""What a grant says of GitHub: whose code it is, whether there is a token, of which template.

A token is minted only when the runner asks for it, since it is good for an hour and a deployment
may wait for longer; and it opens one repository, for reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Row

from control_plane.domain import tokens
from control_plane.domain.trigger import Trigger
from control_plane.errors import NotFound
from control_plane.services import leases
from control_plane.services.github import app
from control_plane.services.github.ports import READS_SOURCE, GitHubProblem
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployments, pools, stacks
from control_plane.store.github import installations, pulls
from control_plane.store.transaction import Transaction
from runner_actors.contract import GitSource, SourceToken, Trust, seal, seal_context


@dataclass(frozen=True)
class GrantFacts:
    """What a grant says besides what is in the deployment's settings."""

    trust: Trust = "branch"
    token_wanted: bool = False
    branch_name: str = ""
    template_stack_id: str = ""
    template_stack: str = ""


async def grant_facts(world: World, row: Row[Any], source: GitSource | None) -> GrantFacts:
    """Look up what a deployment that is being granted has to do with GitHub."""
    async with world.database.snapshot() as tx:
        came_from = await pulls.source_of(tx, row.id)
        review = await pulls.review_stack(tx, row.stack_id)
        template = await stacks.by_id(tx, review.template_stack_id) if review else None
        repository = await _repository(world, tx, row.organization_id, source)
        pull = None
        if came_from is not None and came_from.pull_request is not None:
            pull = await pulls.find(tx, came_from.repository_id, came_from.pull_request)
    return GrantFacts(
        trust=_trust(row, came_from, is_review_stack=review is not None),
        token_wanted=repository is not None,
        branch_name=pull.head_ref if pull else "",
        # Secrets stay sealed for the template when it is gone.
        template_stack_id=review.template_stack_id if review else "",
        template_stack=template.name if template else "",
    )


def _trust(row: Row[Any], came_from: Row[Any] | None, *, is_review_stack: bool) -> Trust:
    if came_from is not None and came_from.is_fork:
        return "fork"
    of_pull_request = came_from is not None and came_from.pull_request is not None
    if of_pull_request or is_review_stack or row.trigger == Trigger.PULL_REQUEST:
        return "pull_request"
    return "branch"


async def _repository(
    world: World, tx: Transaction, organization_id: str, source: GitSource | None
) -> Row[Any] | None:
    """The repository of the organization's installations that a source is, if it needs a token."""
    if source is None or source.auth is not None:
        return None
    name = name_on(world.config.github.base_url, source.repo_url)
    if not name:
        return None
    return await installations.repository_named(tx, organization_id, name)


def name_on(base_url: str, repo_url: str) -> str:
    """`owner/name` of an https address on that server; empty for any other."""
    base, address = urlsplit(base_url), urlsplit(repo_url)
    if (base.scheme, base.netloc.lower()) != (address.scheme, address.netloc.lower()):
        return ""
    path = address.path.removeprefix(base.path.rstrip("/")).strip("/").removesuffix(".git")
    return path if path.count("/") == 1 else ""


@verb
async def source_token(
    world: World, deployment_id: str, runner_token: str, generation: int
) -> SourceToken:
    """Mint the token that a runner fetches its source with. Raises LeaseEnded, NotFound."""
    async with world.database.snapshot() as tx:
        row = await deployments.by_id(tx, deployment_id)
        leases.require_lease(world, row, tokens.digest(runner_token), generation)
        assert row is not None  # noqa: S101 - require_lease refuses it
        settings = msgspec.json.decode(row.settings)
        git = (settings.get("sourceContext") or {}).get("git") or {}
        name = name_on(world.config.github.base_url, git.get("repoUrl") or "")
        repository = await installations.repository_named(tx, row.organization_id, name)
        pool = await pools.by_id(tx, row.pool_id)
    if repository is None or pool is None or pool.public_key is None:
        raise NotFound(
            what=f"An installation of the GitHub App that holds '{name}' (it may have been"
            " removed since the deployment was queued)"
        )
    credentials = await app.credentials(world)
    try:
        token = await world.github.mint_token(
            credentials.key, repository.installation_id, [repository.id], READS_SOURCE
        )
    except GitHubProblem as problem:
        raise NotFound(what=f"A token for '{name}' ({problem.message})") from None
    name = f"lease/{deployment_id}/{generation}/source"
    context = seal_context(row.stack_id, name)
    return SourceToken(sealed_token=seal(token.token.encode(), pool.public_key, context))
