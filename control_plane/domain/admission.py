"""Whether a deployment may be queued, decided from facts alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from control_plane.domain import deployment_settings, settings_reading, sources
from control_plane.domain.principal import Pool, Principal
from control_plane.errors import BadRequest, Forbidden, PoolOffline, Problem, QueueFull

Settings = dict[str, Any]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the process's settings say."""

    queued_max: int
    environment_variables_max: int
    local_sources: bool


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of the organization at this moment."""

    organization: str
    organization_id: str
    queued: int
    """How many deployments of the organization wait."""
    pools: tuple[Pool, ...]
    """The pools that the organization may use: its own and the hosted ones."""
    default_pool_ids: frozenset[str]


class Admit(msgspec.Struct, frozen=True):
    """It may be queued, for this pool."""

    pool: Pool


class Refuse(msgspec.Struct, frozen=True):
    """It may not, and why."""

    problem: Problem


def require_person(principal: Principal) -> None:
    """Raise Forbidden for a deployment's own token.

    The program that it is given to could otherwise start, or change, deployments after its own.
    """
    if principal.deployment_id is not None:
        raise Forbidden(
            detail="A deployment's own token does not queue deployments, change deployment"
            " settings, pause or resume. Use a personal access token."
        )


def decide(
    settings: Settings, stored: Settings | None, facts: Facts, limits: Limits
) -> Admit | Refuse:
    """Judge a deployment by its merged settings; a paused stack or organization still queues.

    `stored` are the settings that it inherits from, None without.
    """
    try:
        _require_source(settings, limits)
        deployment_settings.require_own_image(settings)
        deployment_settings.require_options_max(settings)
        deployment_settings.require_variables_max(settings, limits.environment_variables_max)
        pool = resolve_pool(settings, facts)
        _require_same_seal(settings, stored, pool, facts)
        if facts.queued >= limits.queued_max:
            raise QueueFull(organization=facts.organization, limit=limits.queued_max)
    except Problem as problem:
        return Refuse(problem)
    return Admit(pool)


def resolve_pool(settings: Settings, facts: Facts) -> Pool:
    """The pool that settings choose; raises BadRequest for one that does not exist.

    Named by `agentPoolID`; else the organization's default; else the hosted default.
    Raises PoolOffline when no gateway of it has ever registered: it has no key to seal to.
    """
    wanted = settings.get("agentPoolID")
    pool = find_pool(wanted, facts)
    if pool is None and not wanted:
        raise PoolOffline(
            detail=f"'{facts.organization}' has no runner pool that is the default. Start one"
            " (slipway up), or name a pool by its agentPoolID."
        )
    if pool is None:
        raise BadRequest(
            detail=f"'{facts.organization}' has no agent pool '{wanted}'."
            " Leave agentPoolID empty to use the default pool."
        )
    if pool.public_key is None:
        raise PoolOffline(
            detail=f"The runner pool '{pool.name}' has never been online. Start its gateway"
            " (slipway gateway), then try again."
        )
    return pool


def find_pool(wanted: str | None, facts: Facts) -> Pool | None:
    """The pool of that id, or the default one."""
    if wanted:
        return next((pool for pool in facts.pools if pool.id == wanted), None)
    defaults = [pool for pool in facts.pools if pool.id in facts.default_pool_ids]
    return next(iter(sorted(defaults, key=_own_first)), None)


def _own_first(pool: Pool) -> tuple[bool, str]:
    return pool.organization_id is None, pool.id


def _require_source(settings: Settings, limits: Limits) -> None:
    git = (settings.get("sourceContext") or {}).get("git") or {}
    repository = git.get("repoUrl") or ""
    if not repository:
        raise BadRequest(
            detail="The deployment has no source. Set sourceContext.git.repoUrl (and branch or"
            " commit) in the request, or save it in the stack's deployment settings and inherit"
            " them with inheritSettings."
        )
    # Settings may be older than this rule.
    settings_reading.require_no_credentials(repository, ("sourceContext", "git", "repoUrl"))
    sources.require_usable(git, local=limits.local_sources)


def _require_same_seal(
    settings: Settings, stored: Settings | None, pool: Pool, facts: Facts
) -> None:
    """Inherited secrets can be opened only by the pool that they were sealed to."""
    if stored is None:
        return
    sealed_to = find_pool(stored.get("agentPoolID"), facts)
    if sealed_to is None or sealed_to.id == pool.id:
        return
    inherited = deployment_settings.ciphertexts(stored) & deployment_settings.ciphertexts(settings)
    if inherited:
        raise BadRequest(
            detail=f"The stack's stored secrets are sealed to the runner pool '{sealed_to.name}'"
            f" and cannot be opened by '{pool.name}'. Give them again in this request, or leave"
            " agentPoolID empty."
        )


def facts_of(
    organization_id: str, organization: str, queued: int, pools: Iterable[tuple[Pool, bool]]
) -> Facts:
    """Facts about an organization from all (pool, is default) pairs at hand."""
    usable = [
        (pool, default)
        for pool, default in pools
        if pool.organization_id in (None, organization_id)
    ]
    return Facts(
        organization=organization,
        organization_id=organization_id,
        queued=queued,
        pools=tuple(pool for pool, _ in usable),
        default_pool_ids=frozenset(pool.id for pool, default in usable if default),
    )
