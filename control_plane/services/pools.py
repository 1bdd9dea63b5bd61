"""Runner pools: the one that exists from the start, and the gateways that come up for them."""

from __future__ import annotations

import base64
import json

from control_plane.domain import admission, tokens
from control_plane.domain.principal import Pool
from control_plane.errors import BadRequest, Conflict, NotFound
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import pools
from control_plane.store.transaction import Transaction
from runner_actors.contract import CONTRACT_VERSION, Registered, Registration

DEFAULT_POOL = "default"
KEY_BYTES = 32


@verb
async def ensure_default(world: World, token: str) -> str:
    """Make sure that the hosted default pool exists and has this token; returns its id."""
    digest = tokens.digest(token)
    async with world.database.transaction() as tx:
        row = await pools.hosted_default(tx)
        if row is None:
            return await pools.create(
                tx,
                name=DEFAULT_POOL,
                token_digest=digest,
                organization_id=None,
                is_default=True,
                now=world.now(),
            )
        if row.token_digest != digest:
            await pools.set_token(tx, row.id, digest)
        return str(row.id)


@verb
async def register(world: World, pool: Pool, registration: Registration) -> Registered:
    """A gateway has come up: note the pool's public key. Raises BadRequest, Conflict.

    Another key than before is refused while anything is sealed to the old one.
    """
    if registration.contract_version != CONTRACT_VERSION:
        raise Conflict(
            detail=f"The gateway speaks version {registration.contract_version} of the runner"
            f" contract, this server {CONTRACT_VERSION}. Install the same Slipway on both."
        )
    key = _key(registration.public_key)
    async with world.database.transaction() as tx:
        row = await pools.by_id(tx, pool.id)
        if row is None:
            raise NotFound(what=f"Pool '{pool.id}'")
        if row.public_key not in (None, key):
            await _require_nothing_sealed(tx, pool)
        await pools.set_key(tx, pool.id, key, world.now())
    return Registered(pool_id=pool.id, pool_name=pool.name)


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise BadRequest(detail="publicKey must be a raw X25519 key: 32 bytes in base64.")
    return key


async def _require_nothing_sealed(tx: Transaction, pool: Pool) -> None:
    stacks = await _stacks_with_secrets(tx, pool)
    if stacks or await pools.has_unfinished_secrets(tx, pool.id):
        raise Conflict(
            detail=f"The pool '{pool.name}' has another key already, and the secrets of"
            f" {stacks} stacks' deployment settings, or of waiting deployments, are sealed to it."
            " Start the gateway with the old key file, or remove those secrets first."
        )


async def _stacks_with_secrets(tx: Transaction, pool: Pool) -> int:
    """How many stacks' stored settings choose this pool and hold sealed values."""
    count = 0
    for row in await pools.settings_with_secrets(tx):
        known = [
            (
                Pool(id=each.id, name=each.name, organization_id=each.organization_id),
                each.is_default,
            )
            for each in await pools.usable_by(tx, [row.organization_id])
        ]
        facts = admission.facts_of(row.organization_id, "", 0, known)
        chosen = admission.find_pool(json.loads(row.body).get("agentPoolID"), facts)
        count += chosen is not None and chosen.id == pool.id
    return count
