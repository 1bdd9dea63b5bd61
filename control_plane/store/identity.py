"""Queries about users, their access tokens, and the tokens of pools and deployments."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from control_plane.store.github.tables import sources
from control_plane.store.tables import access_tokens, deployments, pools, users
from control_plane.store.transaction import Transaction


async def user_by_login(tx: Transaction, login: str) -> Row[Any] | None:
    """The user of that login."""
    return await tx.first(select(users).where(users.c.login == login))


async def user_by_id(tx: Transaction, user_id: str) -> Row[Any] | None:
    """The user of that id."""
    return await tx.first(select(users).where(users.c.id == user_id))


async def create_user(tx: Transaction, login: str, *, site_admin: bool, now: int) -> str:
    """Add a user; returns the id."""
    user_id = str(uuid.uuid4())
    await tx.execute(
        users.insert().values(
            id=user_id, login=login, name=login, site_admin=site_admin, created_at=now
        )
    )
    return user_id


async def by_access_token(tx: Transaction, digest: bytes) -> Row[Any] | None:
    """The user behind a personal access token, with `token_id`, `token_name`, `expires_at`."""
    return await tx.first(
        select(
            users,
            access_tokens.c.id.label("token_id"),
            access_tokens.c.name.label("token_name"),
            access_tokens.c.expires_at,
            access_tokens.c.last_used_at,
        )
        .join_from(users, access_tokens)
        .where(access_tokens.c.digest == digest)
    )


async def add_access_token(
    tx: Transaction, user_id: str, digest: bytes, *, name: str, now: int, expires_at: int | None
) -> str:
    """Keep a token's digest; returns the token's id."""
    token_id = str(uuid.uuid4())
    await tx.execute(
        access_tokens.insert().values(
            id=token_id,
            user_id=user_id,
            digest=digest,
            name=name,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return token_id


async def set_default_organization(tx: Transaction, user_id: str, organization_id: str) -> None:
    """Note where the user's stacks belong whose names tell no organization."""
    await tx.execute(
        update(users).where(users.c.id == user_id).values(default_organization_id=organization_id)
    )


async def access_tokens_of(tx: Transaction, user_id: str) -> Any:
    """The user's tokens, newest first, without digests."""
    return await tx.all(
        select(
            access_tokens.c.id,
            access_tokens.c.name,
            access_tokens.c.created_at,
            access_tokens.c.last_used_at,
            access_tokens.c.expires_at,
        )
        .where(access_tokens.c.user_id == user_id)
        .order_by(access_tokens.c.created_at.desc())
    )


async def touch_access_token(tx: Transaction, token_id: str, now: int) -> None:
    """Note that a token was used."""
    await tx.execute(
        update(access_tokens).where(access_tokens.c.id == token_id).values(last_used_at=now)
    )


async def delete_access_token(tx: Transaction, user_id: str, token_id: str) -> bool:
    """Revoke one of the user's tokens; whether there was one."""
    result = await tx.execute(
        delete(access_tokens).where(
            access_tokens.c.id == token_id, access_tokens.c.user_id == user_id
        )
    )
    return bool(result.rowcount)


async def by_deployment_token(tx: Transaction, digest: bytes) -> Row[Any] | None:
    """The live deployment whose CLI carries this token."""
    return await tx.first(
        select(
            deployments.c.id,
            deployments.c.stack_id,
            deployments.c.generation,
            deployments.c.requested_by,
            deployments.c.lease_expires_at,
            func.coalesce(sources.c.is_fork, False).label("is_fork"),
        )
        .select_from(deployments)
        .outerjoin(sources, sources.c.deployment_id == deployments.c.id)
        .where(deployments.c.cli_digest == digest)
    )


async def pool_by_token(tx: Transaction, digest: bytes) -> Row[Any] | None:
    """The pool that this token belongs to."""
    return await tx.first(select(pools).where(pools.c.token_digest == digest))
