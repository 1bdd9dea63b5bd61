"""Queries about who is signed in to the console, and about one-time links."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select

from control_plane.store.tables import access_tokens, login_links, sessions, users
from control_plane.store.transaction import Transaction


async def add(
    tx: Transaction,
    user_id: str,
    digest: bytes,
    *,
    access_token_id: str | None,
    now: int,
    expires_at: int,
) -> None:
    """Keep a session's digest; sessions that are over go at the same time."""
    await tx.execute(delete(sessions).where(sessions.c.expires_at <= now))
    await tx.execute(
        sessions.insert().values(
            id=str(uuid.uuid4()),
            user_id=user_id,
            access_token_id=access_token_id,
            digest=digest,
            created_at=now,
            expires_at=expires_at,
        )
    )


async def user_of(tx: Transaction, digest: bytes, now: int) -> Row[Any] | None:
    """The user who is signed in with this session."""
    return await tx.first(
        select(users)
        .join_from(users, sessions)
        .where(sessions.c.digest == digest, sessions.c.expires_at > now)
    )


async def end(tx: Transaction, digest: bytes, user_id: str) -> None:
    """Forget the session of that digest, if it is the user's."""
    await tx.execute(
        delete(sessions).where(sessions.c.digest == digest, sessions.c.user_id == user_id)
    )


async def end_one(tx: Transaction, user_id: str, session_id: str) -> bool:
    """Forget one of the user's sessions; whether there was one."""
    result = await tx.execute(
        delete(sessions).where(sessions.c.id == session_id, sessions.c.user_id == user_id)
    )
    return bool(result.rowcount)


async def end_all(tx: Transaction, user_id: str) -> None:
    """Forget all of the user's sessions."""
    await tx.execute(delete(sessions).where(sessions.c.user_id == user_id))


async def of_user(tx: Transaction, user_id: str, now: int) -> Sequence[Row[Any]]:
    """The user's sessions, newest first, each with the name of the token that it began with."""
    return await tx.all(
        select(
            sessions.c.id,
            sessions.c.digest,
            sessions.c.created_at,
            sessions.c.expires_at,
            access_tokens.c.name.label("token_name"),
        )
        .select_from(sessions)
        .outerjoin(access_tokens, access_tokens.c.id == sessions.c.access_token_id)
        .where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
        .order_by(sessions.c.created_at.desc(), sessions.c.id)
    )


async def add_link(tx: Transaction, user_id: str | None, digest: bytes, expires_at: int) -> None:
    """Keep a one-time link's digest; without a user it leads to the server's setup."""
    await tx.execute(
        login_links.insert().values(digest=digest, user_id=user_id, expires_at=expires_at)
    )


async def link(tx: Transaction, digest: bytes, now: int) -> Row[Any] | None:
    """A one-time link that may still be used."""
    return await tx.first(
        select(login_links).where(login_links.c.digest == digest, login_links.c.expires_at > now)
    )


async def take_link(tx: Transaction, digest: bytes, now: int) -> Row[Any] | None:
    """Use a one-time link up; None when there is none any more. Those past their time go too."""
    found = await link(tx, digest, now)
    result = await tx.execute(delete(login_links).where(login_links.c.digest == digest))
    await tx.execute(delete(login_links).where(login_links.c.expires_at <= now))
    return found if result.rowcount else None


async def any_user(tx: Transaction) -> bool:
    """Whether the server has a user at all."""
    return bool(await tx.scalar(select(func.count()).select_from(users)))
