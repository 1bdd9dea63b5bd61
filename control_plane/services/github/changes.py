"""What GitHub says of installations, accounts and repositories, noted here."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from control_plane.domain.github import events
from control_plane.domain.github.events import InstallationAction, RepositoryAction
from control_plane.services.github import app, installing
from control_plane.services.github.outcome import Outcome
from control_plane.services.github.ports import GitHubMissing, GitHubProblem
from control_plane.services.verb import verb
from control_plane.services.world import World
from control_plane.store import deployment_settings as settings_store
from control_plane.store.github import installations as store
from control_plane.store.github import people
from control_plane.store.transaction import Transaction

log = structlog.get_logger()


@verb
async def installation_changed(world: World, event: events.Installation) -> Outcome:
    """Installed, uninstalled, suspended, or given more permissions."""
    summary = f"installation on {event.account.login}: {event.action}"
    if event.action is InstallationAction.DELETED:
        gone = await installing.forget(world, event.id)
        return Outcome(
            summary=summary,
            message=f"{gone} stacks lost their push-to-deploy configurations." if gone else "",
        )
    values = {
        "account_id": event.account.id,
        "account_login": event.account.login,
        "account_type": event.account.kind,
        "repository_selection": "all" if event.every_repository else "selected",
        "permissions": msgspec.json.encode(event.permissions).decode(),
        "events": msgspec.json.encode(event.events).decode(),
        "suspended_at": world.now() if event.suspended else None,
    }
    now = world.now()
    async with world.database.transaction() as tx:
        await store.save(tx, event.id, values, now)
        await store.save_repositories(tx, event.id, map(_row_of, event.repositories), now)
    return Outcome(summary=summary)


@verb
async def repositories_changed(world: World, event: events.InstallationRepositories) -> Outcome:
    """The App may use other repositories than before."""
    now = world.now()
    async with world.database.transaction() as tx:
        if await store.find(tx, event.installation_id) is not None:
            selection = "all" if event.every_repository else "selected"
            await store.change(tx, event.installation_id, repository_selection=selection)
            await store.save_repositories(tx, event.installation_id, map(_row_of, event.added), now)
            await store.remove_repositories(tx, [each.id for each in event.removed])
    names = ", ".join(
        [f"+{each.full_name}" for each in event.added]
        + [f"-{each.full_name}" for each in event.removed]
    )
    return Outcome(summary=f"repositories of {event.account.login}: {names}"[:500])


@verb
async def account_renamed(world: World, event: events.AccountRenamed) -> Outcome:
    """An account has another login: so have all its repositories."""
    before, now_called = event.before, event.account.login
    async with world.database.transaction() as tx:
        row = await store.find(tx, event.installation_id)
        if row is not None:
            before = before or row.account_login
            await store.change(tx, row.id, account_login=now_called)
            for each in await store.repositories_of_installation(tx, row.id):
                name = each.full_name.partition("/")[2]
                await _rename(world, tx, row, each.full_name, f"{now_called}/{name}")
                await store.save_repositories(
                    tx,
                    row.id,
                    [{"id": each.id, "full_name": f"{now_called}/{name}"}],
                    world.now(),
                )
    return Outcome(summary=f"{before} is called {now_called} now")


@verb
async def authorization_revoked(world: World, event: events.AuthorizationRevoked) -> Outcome:
    """Somebody took back the App's right to sign them in."""
    async with world.database.transaction() as tx:
        await people.unlink(tx, event.person.id)
    return Outcome(summary=f"{event.person.login} revoked the App's authorization")


@verb
async def repository_changed(world: World, event: events.RepositoryChanged) -> Outcome:
    """Renamed, transferred, deleted, archived: settings follow a new name."""
    name = event.repository.full_name
    summary = f"{name}: {event.action}"
    async with world.database.transaction() as tx:
        row = await store.find(tx, event.installation_id or 0)
        if row is None:
            return Outcome(summary=summary, message="The installation is not known.", ignored=True)
        if event.action is RepositoryAction.DELETED:
            await store.remove_repositories(tx, [event.repository.id])
            return Outcome(
                summary=summary, message="Its stacks keep their settings; nothing triggers them."
            )
        if event.full_name_before != name:
            renamed = await _rename(world, tx, row, event.full_name_before, name)
        else:
            renamed = 0
        await store.save_repositories(tx, row.id, [_row_of(event.repository)], world.now())
    return Outcome(
        summary=summary,
        message=f"The settings of {renamed} stacks name {name} now." if renamed else "",
    )


@verb
async def repository_seen(
    world: World, installation_id: int, repository: events.Repository
) -> None:
    """Note a repository that something is told of: of new ones, GitHub says nothing else."""
    async with world.database.snapshot() as tx:
        known = await store.repository(tx, repository.id)
    row = _row_of(repository)
    wanted = row | {"installation_id": installation_id}
    if known is not None and all(getattr(known, key) == value for key, value in wanted.items()):
        return
    async with world.database.transaction() as tx:
        await store.save_repositories(tx, installation_id, [row], world.now())


async def _rename(world: World, tx: Transaction, installation: Any, before: str, after: str) -> int:
    """Let settings follow a repository to its new name; returns how many did."""
    if installation.organization_id is None:
        return 0
    stacks = await store.concerned(tx, installation.organization_id, before)
    for each in stacks:
        row = await settings_store.find(tx, each.id)
        if row is None:
            continue
        settings = _renamed(msgspec.json.decode(row.body), before, after)
        body = msgspec.json.encode(settings).decode()
        await settings_store.save(tx, each.id, body, row.version + 1, world.now(), after)
    return len(stacks)


def _renamed(settings: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    """Settings that name a repository anew, also where its address was written out."""
    for key in ("gitHub", "vcs"):
        section = settings.get(key) or {}
        if str(section.get("repository") or "").lower() == before.lower():
            settings = settings | {key: section | {"repository": after}}
    source = settings.get("sourceContext") or {}
    git = source.get("git") or {}
    address = str(git.get("repoUrl") or "")
    stem = address.removesuffix(".git")
    if stem.lower().endswith(f"/{before.lower()}"):
        renamed = stem[: -len(before)] + after + address[len(stem) :]
        settings = settings | {"sourceContext": source | {"git": git | {"repoUrl": renamed}}}
    return settings


def _row_of(repository: events.Repository) -> dict[str, Any]:
    values: dict[str, Any] = {"id": repository.id, "full_name": repository.full_name}
    if repository.default_branch:
        values |= {
            "default_branch": repository.default_branch,
            "private": repository.private,
            "archived": repository.archived,
        }
    return values


async def refresh_all(world: World) -> None:
    """Look at every installation again: what a lost delivery would have told.

    What one account answers is its own affair; the others are looked at all the same.
    """
    credentials = await app.find_credentials(world)
    if credentials is None:
        return
    async with world.database.snapshot() as tx:
        known = {row.id for row in await store.all_installations(tx)}
    found = await world.github.installations(credentials.key)
    async with world.database.transaction() as tx:
        for each in found:
            if each.id not in known:
                await store.save(tx, each.id, installing.values_of(each), world.now())
    for installation_id in sorted(known):
        try:
            await installing.refresh(world, installation_id)
        except GitHubMissing:
            await installing.forget(world, installation_id)
        except GitHubProblem as problem:
            log.warning(
                "an installation was not looked at",
                action="github",
                installation=installation_id,
                problem=problem.message,
            )
