"""Webhooks: checked, kept, answered. What they mean is looked into after the answer.

GitHub signs each delivery with the App's webhook secret (X-Hub-Signature-256: HMAC-SHA256 of the
body) and gives up on an answer after ten seconds; what is delivered again has the same id.
Source: GitHub's documentation, "Validating webhook deliveries" and "Best practices for using
webhooks".
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from control_plane import metrics
from control_plane.errors import BadRequest, NotFound, NotLoggedIn, Problem, TooLarge
from control_plane.services.github.app import find_credentials
from control_plane.services.hints import GITHUB_DELIVERIES
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store.github import deliveries, installations
from control_plane.store.transaction import Transaction

PAYLOAD_BYTES_MAX = 25 * 1024 * 1024
"""GitHub's own limit of a payload."""
_ID_CHARACTERS_MAX = 100


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came."""

    id: str
    event: str
    signature: str
    body: bytes


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: whether it is the first time that this delivery came."""

    id: str
    is_new: bool


class _Named(msgspec.Struct, frozen=True):
    id: int = 0
    full_name: str = ""


class _Peek(msgspec.Struct, frozen=True):
    """What is looked at before the answer."""

    action: str = ""
    installation: _Named | None = None
    repository: _Named | None = None


@verb
async def receive(world: World, delivered: Delivered) -> Received:
    """Keep a delivery whose signature is right; one that is known already is answered the same.

    Raises NotFound without an App, NotLoggedIn for a wrong signature, BadRequest, TooLarge.
    """
    if len(delivered.body) > PAYLOAD_BYTES_MAX:
        raise TooLarge(limit_bytes=PAYLOAD_BYTES_MAX)
    credentials = await find_credentials(world)
    if credentials is None:
        raise NotFound(what="A GitHub App of this server")
    require_signature(delivered.body, delivered.signature, credentials.webhook_secret)
    _require_header(delivered.id, "X-GitHub-Delivery")
    _require_header(delivered.event, "X-GitHub-Event")
    row = row_of(world, delivered.id, delivered.event, delivered.body)
    answer: Received = await world.deliveries.join(row, partial(_commit, world))
    return answer


def require_signature(body: bytes, signature: str, secret: str) -> None:
    """Raise NotLoggedIn unless this is what GitHub signed; compared in constant time."""
    wanted = "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    if not hmac.compare_digest(wanted.encode(), signature.encode(errors="replace")):
        metrics.GITHUB_DELIVERIES.labels("refused").inc()
        raise NotLoggedIn()


def _require_header(value: str, name: str) -> None:
    if not value or len(value) > _ID_CHARACTERS_MAX or not value.isascii():
        raise BadRequest(detail=f"The header {name} is missing or odd.")


def row_of(world: World, delivery_id: str, event: str, body: bytes) -> dict[str, Any]:
    """A delivery as it is kept. Raises BadRequest for a body that is no JSON object."""
    try:
        peek = msgspec.json.decode(body, type=_Peek)
    except msgspec.DecodeError as problem:
        raise BadRequest(
            detail=f"The payload cannot be read: {problem}. Set the webhook's content type to"
            " application/json."
        ) from None
    now = world.now()
    return {
        "id": delivery_id,
        "event": event,
        "action": peek.action[:_ID_CHARACTERS_MAX],
        "installation_id": peek.installation.id if peek.installation else None,
        "repository": peek.repository.full_name[:300] if peek.repository else "",
        "status": deliveries.RECEIVED,
        "payload": zlib.compress(body, 1),
        "received_at": now,
        "next_attempt_at": now,
    }


async def _commit(world: World, rows: Sequence[dict[str, Any]]) -> Sequence[Received | Problem]:
    """Keep all rows in one transaction."""
    new: dict[str, dict[str, Any]] = {}
    answers: list[Received | Problem] = []
    async with world.database.transaction() as tx:
        known = await deliveries.known(tx, [row["id"] for row in rows])
        for row in rows:
            is_new = row["id"] not in known and row["id"] not in new
            if is_new:
                new[row["id"]] = row | {"organization_id": await _claimed_by(tx, row)}
            answers.append(Received(id=row["id"], is_new=is_new))
        if new:
            await deliveries.add(tx, list(new.values()))
            tx.after_commit(partial(world.broker.wake, GITHUB_DELIVERIES))
    metrics.GITHUB_DELIVERIES.labels("new").inc(len(new))
    metrics.GITHUB_DELIVERIES.labels("again").inc(len(rows) - len(new))
    return answers


async def _claimed_by(tx: Transaction, row: dict[str, Any]) -> str | None:
    if row["installation_id"] is None:
        return None
    found = await installations.find(tx, row["installation_id"])
    return None if found is None else found.organization_id


@verb
async def keep(world: World, row: dict[str, Any]) -> bool:
    """Keep what was never delivered, found out otherwise; whether it is new."""
    answer: Received = await world.deliveries.join(row, partial(_commit, world))
    return answer.is_new
