"""Installations: from "Install the GitHub App" to being claimed by one organization, and away.

GitHub sends a person back with the number of an installation in the address, which anybody could
write there. So it is claimed only when the person, by GitHub's own word, controls the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from sqlalchemy import Row

from control_plane.domain.deployment_settings import with_repository_address
from control_plane.domain.github.manifest import missing_permissions
from control_plane.domain.principal import Principal
from control_plane.errors import Conflict, Forbidden, NotFound
from control_plane.services import access
from control_plane.services.github import app, states
from control_plane.services.github.app import AppFacts, Credentials
from control_plane.services.github.ports import (
    GitHubMissing,
    GitHubRefused,
    Installation,
    Repository,
)
from control_plane.services.github.states import State
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployment_settings as settings_store
from control_plane.store.github import installations as store
from control_plane.store.transaction import Transaction

INSTALL = "install"


class InstallationFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An installation as it is shown."""

    id: int
    account: str
    account_type: str
    selection: str
    """`all` or `selected` repositories."""
    suspended: bool
    missing_permissions: dict[str, str]
    """What the App needs and this installation has not accepted yet, with the access wanted."""
    comments: bool
    claimed_at: int | None
    manage_url: str
    """Where on GitHub its repositories are chosen and permissions accepted."""


class Integration(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What Settings > Integrations shows."""

    app: AppFacts | None
    installations: list[InstallationFacts]
    unclaimed: int
    """How many installations there are on GitHub that no organization here has claimed."""


class Concerned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A stack that loses its push-to-deploy configuration."""

    stack: str
    repository: str


@verb
async def show(world: World, principal: Principal, organization: str) -> Integration:
    """An organization's integration with GitHub."""
    async with world.database.snapshot() as tx:
        row = await access.organization(tx, principal, organization)
        found_app = await store.find_app(tx)
        claimed = await store.of_organization(tx, row.id)
        unclaimed = await store.unclaimed(tx)
    slug = found_app.slug if found_app else ""
    return Integration(
        app=None if found_app is None else app.facts_of(found_app),
        installations=[_facts(world, each, slug) for each in claimed],
        unclaimed=len(unclaimed),
    )


def _facts(world: World, row: Row[Any], slug: str) -> InstallationFacts:
    return InstallationFacts(
        id=row.id,
        account=row.account_login,
        account_type=row.account_type,
        selection=row.repository_selection,
        suspended=row.suspended_at is not None,
        missing_permissions=missing_permissions(msgspec.json.decode(row.permissions)),
        comments=row.comments,
        claimed_at=row.claimed_at,
        manage_url=world.github.install_url(slug, ""),
    )


@verb
async def claimed_by(world: World, principal: Principal, installation_id: int) -> str:
    """Which of the caller's organizations has claimed an installation; empty for none."""
    async with world.database.snapshot() as tx:
        row = await store.find(tx, installation_id)
    if row is None or row.organization_id is None or not principal.may_see(row.organization):
        return ""
    return str(row.organization)


@verb
async def start(world: World, principal: Principal, organization: str) -> str:
    """Where an administrator goes to install the App; raises Forbidden, NotFound without an App."""
    await _require_admin(world, principal, organization)
    found = await app.credentials(world)
    state = State(purpose=INSTALL, user_id=principal.user.id, organization=organization)
    return world.github.install_url(found.slug, states.write(world, state))


@verb
async def start_claim(
    world: World, principal: Principal, organization: str, installation_id: int = 0
) -> str:
    """Where an administrator goes to show GitHub's word for an installation that is there."""
    await _require_admin(world, principal, organization)
    found = await app.credentials(world)
    state = State(
        purpose=INSTALL,
        user_id=principal.user.id,
        organization=organization,
        installation_id=installation_id,
    )
    return world.github.authorize_url(
        found.client_id, installed_url(world), states.write(world, state)
    )


def installed_url(world: World) -> str:
    """Where GitHub sends people back to."""
    return f"{world.config.public_url}/settings/integrations/github/installed"


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """How coming back from GitHub ended."""

    organization: str
    accounts: list[str]
    """Whose installations were claimed; empty when there was none to claim."""
    onward: str = ""
    """Where to go on GitHub to prove who one is, before anything can be claimed."""


@verb
async def finish(
    world: World, principal: Principal, state_text: str, code: str, installation_id: int
) -> Claimed:
    """Claim what somebody came back with. Raises Forbidden, Conflict.

    Without the number of an installation, all are claimed that the person controls and that
    nobody has claimed.
    """
    state = states.read(world, state_text, INSTALL, principal.user.id)
    await _require_admin(world, principal, state.organization)
    wanted = installation_id or state.installation_id
    if not code:
        onward = await start_claim(world, principal, state.organization, wanted)
        return Claimed(organization=state.organization, accounts=[], onward=onward)
    credentials = await app.credentials(world)
    controlled = await _controlled(world, credentials, code, wanted)
    accounts = []
    for each in controlled:
        repositories = await world.github.repositories(credentials.key, each.id)
        if await _claim(world, principal, state.organization, each, repositories, bool(wanted)):
            accounts.append(each.account.login)
    return Claimed(organization=state.organization, accounts=accounts)


async def _controlled(
    world: World, credentials: Credentials, code: str, wanted: int
) -> list[Installation]:
    """The installations that the person of the code controls."""
    try:
        user_token = await world.github.exchange_code(
            credentials.client_id, credentials.client_secret, code, installed_url(world)
        )
    except GitHubRefused:
        raise Forbidden(
            detail="GitHub does not know this code any more. Begin again at Settings >"
            " Integrations."
        ) from None
    visible = await world.github.user_installations(user_token.token)
    found = [each for each in visible if wanted in (0, each.id)]
    controlled = [
        each for each in found if await world.github.controls(user_token.token, each.account)
    ]
    if wanted and not controlled:
        account = found[0].account.login if found else "its account"
        raise Forbidden(
            detail=f"GitHub does not show you as an owner of {account}. Ask one of its owners to"
            " do this: they install the App from here, signed in to Slipway."
        )
    return controlled


async def _claim(
    world: World,
    principal: Principal,
    organization: str,
    found: Installation,
    repositories: Sequence[Repository],
    by_number: bool,
) -> bool:
    now = world.now()
    async with world.database.transaction() as tx:
        row = await access.organization(tx, principal, organization)
        known = await store.find(tx, found.id)
        claimed_by = None if known is None else known.organization_id
        if claimed_by not in (None, row.id):
            if by_number:
                raise Conflict(
                    detail=f"The installation on {found.account.login} belongs to another"
                    " organization of this server. An administrator there must give it up first."
                )
            return False
        await store.save(tx, found.id, values_of(found), now)
        if claimed_by is None:
            await store.change(
                tx,
                found.id,
                organization_id=row.id,
                claimed_by=principal.user.login,
                claimed_at=now,
            )
        await _save_repositories(tx, found.id, repositories, now)
    return True


def values_of(found: Installation) -> dict[str, Any]:
    """An installation's columns, as GitHub has them."""
    return {
        "account_id": found.account.id,
        "account_login": found.account.login,
        "account_type": found.account.kind,
        "repository_selection": found.selection,
        "permissions": msgspec.json.encode(dict(found.permissions)).decode(),
        "events": msgspec.json.encode(list(found.events)).decode(),
        "suspended_at": 1 if found.suspended else None,
    }


async def _save_repositories(
    tx: Transaction, installation_id: int, repositories: Sequence[Repository], now: int
) -> None:
    await store.remove_all_repositories(tx, installation_id)
    await store.save_repositories(
        tx,
        installation_id,
        [
            {
                "id": each.id,
                "full_name": each.full_name,
                "default_branch": each.default_branch,
                "private": each.private,
                "archived": each.archived,
            }
            for each in repositories
        ],
        now,
    )


@verb
async def refresh(world: World, installation_id: int) -> None:
    """Look again at an installation and its repositories on GitHub; gone there, it goes here."""
    credentials = await app.credentials(world)
    found = await world.github.installation(credentials.key, installation_id)
    repositories = (
        () if found.suspended else await world.github.repositories(credentials.key, installation_id)
    )
    async with world.database.transaction() as tx:
        await store.save(tx, installation_id, values_of(found), world.now())
        if not found.suspended:
            await _save_repositories(tx, installation_id, repositories, world.now())


@verb
async def what_goes(
    world: World, principal: Principal, organization: str, installation_id: int
) -> list[Concerned]:
    """The stacks whose push-to-deploy configurations an uninstall deletes."""
    async with world.database.snapshot() as tx:
        row = await _own(tx, principal, organization, installation_id)
        stacks = await store.settings_of_account(tx, row.organization_id, row.account_login)
    return [
        Concerned(stack=f"{each.project}/{each.name}", repository=each.repository)
        for each in stacks
    ]


@verb
async def uninstall(
    world: World, principal: Principal, organization: str, installation_id: int
) -> list[Concerned]:
    """Uninstall the App from an account; returns the stacks that lost their configurations."""
    await _require_admin(world, principal, organization)
    gone = await what_goes(world, principal, organization, installation_id)
    credentials = await app.credentials(world)
    with suppress(GitHubMissing):  # Then somebody was quicker, on GitHub.
        await world.github.delete_installation(credentials.key, installation_id)
    await forget(world, installation_id)
    return gone


@verb
async def forget(world: World, installation_id: int) -> int:
    """An installation is gone from GitHub: it goes here, with push-to-deploy configurations.

    Returns how many stacks lost theirs. Their sources stay: only what GitHub triggered ends.
    """
    async with world.database.transaction() as tx:
        row = await store.find(tx, installation_id)
        if row is None:
            return 0
        stacks: Sequence[Row[Any]] = ()
        if row.organization_id is not None:
            stacks = await store.settings_of_account(tx, row.organization_id, row.account_login)
        for each in stacks:
            settings = _without_github(world, msgspec.json.decode(each.body))
            body = msgspec.json.encode(settings).decode()
            await settings_store.save(tx, each.id, body, each.version + 1, world.now())
        await store.remove(tx, installation_id)
    return len(stacks)


def _without_github(world: World, settings: dict[str, Any]) -> dict[str, Any]:
    """The address that went without saying is said now."""
    settings = with_repository_address(settings, world.config.github.base_url)
    return {key: value for key, value in settings.items() if key not in ("gitHub", "vcs")}


@verb
async def set_comments(
    world: World, principal: Principal, organization: str, installation_id: int, wanted: bool
) -> None:
    """Whether pull requests get comments; check runs are always made."""
    await _require_admin(world, principal, organization)
    async with world.database.transaction() as tx:
        await _own(tx, principal, organization, installation_id)
        await store.change(tx, installation_id, comments=wanted)


async def _own(
    tx: Transaction, principal: Principal, organization: str, installation_id: int
) -> Row[Any]:
    owner = await access.organization(tx, principal, organization)
    row = await store.find(tx, installation_id)
    if row is None or row.organization_id != owner.id:
        raise NotFound(what=f"Installation {installation_id} of '{organization}'")
    return row


async def _require_admin(world: World, principal: Principal, organization: str) -> None:
    async with world.database.snapshot() as tx:
        row = await access.organization(tx, principal, organization)
    access.require_admin(principal, row.login)
