"""A stack's stored deployment settings: shown, patched, replaced, removed; values encrypted."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain import admission, deployment_settings
from control_plane.domain.admission import Facts
from control_plane.domain.deployment_settings import Settings
from control_plane.domain.names import StackName
from control_plane.domain.principal import Pool, Principal
from control_plane.errors import BadRequest, NotFound, TooLarge
from control_plane.services import access
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployment_settings as store
from control_plane.store import pools
from control_plane.store.transaction import Transaction
from runner_actors.contract import ANY_NAME

SETTINGS_BYTES_MAX = 256 * 1024
"""How large a stack's settings may be as JSON: every deployment that inherits them has a copy."""


@verb
async def show(
    world: World, principal: Principal, name: StackName, *, by_schema: bool = False
) -> Settings:
    """The stack's settings, with `version` and `source`; secrets as ciphertext. Raises NotFound."""
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await store.find(tx, stack.id)
    if row is None:
        raise NotFound(what=f"Deployment settings of stack '{name}'")
    return _answer(msgspec.json.decode(row.body), row.version, by_schema)


@verb
async def patch(
    world: World,
    principal: Principal,
    name: StackName,
    changes: Settings,
    source: str,
    *,
    by_schema: bool = False,
) -> Settings:
    """Lay changes over the stack's settings, which may be none yet; returns what they are now."""
    now, version = await _write(world, principal, name, changes, source, replace=False)
    return _answer(now, version, by_schema)


@verb
async def replace(
    world: World,
    principal: Principal,
    name: StackName,
    settings: Settings,
    source: str,
    *,
    by_schema: bool = False,
) -> Settings:
    """Put settings in the place of the stack's; returns what they are now."""
    now, version = await _write(world, principal, name, settings, source, replace=True)
    return _answer(now, version, by_schema)


@verb
async def remove(world: World, principal: Principal, name: StackName) -> None:
    """Forget the stack's settings; it is no error when there are none."""
    admission.require_person(principal)
    async with world.database.transaction() as tx:
        stack = await access.stack(tx, principal, name, lock=True)
        await store.remove(tx, stack.id)


@verb
async def encrypt(world: World, principal: Principal, name: StackName, value: Any) -> str:
    """Seal a value for any use in this stack's settings; returns the ciphertext."""
    plaintext = deployment_settings.read_secret(value, "The body")
    async with world.database.snapshot() as tx:
        stack = await access.stack(tx, principal, name)
        row = await store.find(tx, stack.id)
        facts = await _facts(tx, stack)
    stored = {} if row is None else msgspec.json.decode(row.body)
    pool = admission.resolve_pool(stored, facts)
    return deployment_settings.seal_value(plaintext, stack.id, ANY_NAME, _key(pool))


async def _write(
    world: World,
    principal: Principal,
    name: StackName,
    changes: Settings,
    source: str,
    *,
    replace: bool,
) -> tuple[Settings, int]:
    admission.require_person(principal)
    # Before anything else, so that a wrong request costs no transaction.
    deployment_settings.merge(None, changes)
    async with world.database.transaction() as tx:
        stack = await access.stack(tx, principal, name, lock=True)
        row = await store.find(tx, stack.id)
        stored: Settings = {} if row is None else msgspec.json.decode(row.body)
        settings = deployment_settings.merge(None if replace else stored, changes)
        settings = _sealed(stack.id, settings, stored, await _facts(tx, stack))
        deployment_settings.require_variables_max(
            settings, world.config.deployments.environment_variables_max
        )
        body = msgspec.json.encode(settings | {"source": source})
        if len(body) > SETTINGS_BYTES_MAX:
            raise TooLarge(limit_bytes=SETTINGS_BYTES_MAX)
        version = 1 if row is None else row.version + 1
        repository = deployment_settings.repository_of(settings)
        await store.save(tx, stack.id, body.decode(), version, world.now(), repository)
    return settings | {"source": source}, version


def _sealed(stack_id: str, settings: Settings, stored: Settings, facts: Facts) -> Settings:
    """The settings with all secrets sealed; without any, no pool needs to have been online."""
    pool = admission.find_pool(settings.get("agentPoolID"), facts)
    if pool is None and settings.get("agentPoolID"):
        raise BadRequest(detail=f"agentPoolID: there is no agent pool '{settings['agentPoolID']}'.")
    _require_same_pool(settings, stored, pool, facts)
    if not deployment_settings.needs_sealing(settings):
        return settings
    pool = admission.resolve_pool(settings, facts)
    return deployment_settings.seal(settings, stack_id, _key(pool))


def _require_same_pool(
    settings: Settings, stored: Settings, pool: Pool | None, facts: Facts
) -> None:
    """What is sealed stays with its pool: no other has the key."""
    sealed_to = admission.find_pool(stored.get("agentPoolID"), facts)
    if sealed_to is None or pool is None or sealed_to.id == pool.id:
        return
    if deployment_settings.ciphertexts(settings) & deployment_settings.ciphertexts(stored):
        raise BadRequest(
            detail=f"agentPoolID: the stored secrets are sealed to the runner pool"
            f" '{sealed_to.name}', and '{pool.name}' cannot open them. Give all secrets again"
            " together with the new pool."
        )


def _key(pool: Pool) -> bytes:
    assert pool.public_key is not None  # noqa: S101 - resolve_pool refuses a pool without one
    return pool.public_key


async def _facts(tx: Transaction, stack: Row[Any]) -> Facts:
    return await facts_of(tx, stack.organization_id, stack.organization)


async def facts_of(tx: Transaction, organization_id: str, organization: str) -> Facts:
    """What an organization's settings are judged by: the runner pools that it may use."""
    known = [
        (
            Pool(
                id=row.id,
                name=row.name,
                organization_id=row.organization_id,
                public_key=row.public_key,
            ),
            row.is_default,
        )
        for row in await pools.usable_by(tx, [organization_id])
    ]
    return admission.facts_of(organization_id, organization, 0, known)


def _answer(settings: Settings, version: int, by_schema: bool) -> Settings:
    if by_schema:
        return deployment_settings.settings_by_schema(settings) | {"version": version}
    return deployment_settings.settings_for_answer(settings) | {"version": version}
