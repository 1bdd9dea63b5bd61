"""Queries about the App, its installations, and the repositories that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from control_plane.store.github.tables import app, installations, repositories
from control_plane.store.tables import deployment_settings, organizations, stacks
from control_plane.store.transaction import Transaction

APP = 1
PAGE = 500


async def find_app(tx: Transaction) -> Row[Any] | None:
    """The server's GitHub App, if there is one."""
    return await tx.first(select(app).where(app.c.id == APP))


async def save_app(tx: Transaction, values: Mapping[str, Any]) -> None:
    """Keep the App in the place of any other."""
    await tx.execute(delete(app))
    await tx.execute(app.insert().values(id=APP, **values))


async def change_app(tx: Transaction, **values: Any) -> None:
    """Note something of the App."""
    await tx.execute(update(app).values(**values))


async def remove_app(tx: Transaction) -> None:
    """Forget the App, and with it all that was installed."""
    await tx.execute(delete(installations))
    await tx.execute(delete(app))


async def find(tx: Transaction, installation_id: int) -> Row[Any] | None:
    """An installation, with the login of the organization that has claimed it."""
    return await tx.first(_with_organization().where(installations.c.id == installation_id))


async def of_organization(tx: Transaction, organization_id: str) -> Sequence[Row[Any]]:
    """The installations that an organization has claimed."""
    return await tx.all(
        _with_organization()
        .where(installations.c.organization_id == organization_id)
        .order_by(installations.c.account_login)
    )


async def all_installations(tx: Transaction) -> Sequence[Row[Any]]:
    """Every installation that is known."""
    return await tx.all(select(installations))


async def unclaimed(tx: Transaction) -> Sequence[Row[Any]]:
    """The installations that nobody has claimed."""
    return await tx.all(
        _with_organization()
        .where(installations.c.organization_id.is_(None))
        .order_by(installations.c.account_login)
    )


def _with_organization() -> Any:
    return select(
        installations,
        func.coalesce(organizations.c.login, "").label("organization"),
    ).outerjoin(organizations, organizations.c.id == installations.c.organization_id)


async def save(tx: Transaction, installation_id: int, values: Mapping[str, Any], now: int) -> None:
    """Keep what GitHub says of an installation; who has claimed it stays as it is."""
    found = {**values, "modified_at": now}
    await tx.execute(
        tx.insert(installations)
        .values(id=installation_id, created_at=now, **found)
        .on_conflict_do_update(index_elements=[installations.c.id], set_=found)
    )


async def change(tx: Transaction, installation_id: int, **values: Any) -> None:
    """Note something of an installation."""
    await tx.execute(
        update(installations).where(installations.c.id == installation_id).values(**values)
    )


async def remove(tx: Transaction, installation_id: int) -> None:
    """Forget an installation and its repositories."""
    await tx.execute(delete(installations).where(installations.c.id == installation_id))


async def save_repositories(
    tx: Transaction, installation_id: int, found: Iterable[Mapping[str, Any]], now: int
) -> None:
    """Keep repositories of an installation: `id`, `full_name`, and what else is known."""
    for each in found:
        values = {
            **each,
            "name_key": each["full_name"].lower(),
            "installation_id": installation_id,
            "modified_at": now,
        }
        others = {key: value for key, value in values.items() if key != "id"}
        await tx.execute(
            tx.insert(repositories)
            .values(**values)
            .on_conflict_do_update(index_elements=[repositories.c.id], set_=others)
        )


async def remove_repositories(tx: Transaction, ids: Iterable[int]) -> None:
    """Forget repositories that an installation holds no longer."""
    await tx.execute(delete(repositories).where(repositories.c.id.in_(list(ids))))


async def remove_all_repositories(tx: Transaction, installation_id: int) -> None:
    """Forget all repositories of an installation."""
    await tx.execute(delete(repositories).where(repositories.c.installation_id == installation_id))


async def repositories_of(
    tx: Transaction, organization_id: str, words: str = ""
) -> Sequence[Row[Any]]:
    """Repositories of an organization's installations, those with the words in their names."""
    found = (
        select(repositories)
        .join(installations, installations.c.id == repositories.c.installation_id)
        .where(installations.c.organization_id == organization_id)
        .order_by(repositories.c.name_key)
        .limit(PAGE)
    )
    if words:
        found = found.where(repositories.c.name_key.contains(words.lower(), autoescape=True))
    return await tx.all(found)


async def repositories_of_installation(tx: Transaction, installation_id: int) -> Sequence[Row[Any]]:
    """All repositories of one installation."""
    return await tx.all(
        select(repositories).where(repositories.c.installation_id == installation_id)
    )


async def repository(tx: Transaction, repository_id: int) -> Row[Any] | None:
    """A repository by GitHub's number of it."""
    return await tx.first(select(repositories).where(repositories.c.id == repository_id))


async def repository_named(
    tx: Transaction, organization_id: str, full_name: str
) -> Row[Any] | None:
    """A repository of an organization's installations by its name, in any case of letters."""
    return await tx.first(
        select(repositories)
        .join(installations, installations.c.id == repositories.c.installation_id)
        .where(
            installations.c.organization_id == organization_id,
            installations.c.suspended_at.is_(None),
            repositories.c.name_key == full_name.lower(),
        )
    )


async def concerned(tx: Transaction, organization_id: str, full_name: str) -> Sequence[Row[Any]]:
    """Stacks of an organization whose settings name a repository, with these settings."""
    return await tx.all(
        select(
            stacks.c.id,
            stacks.c.project,
            stacks.c.name,
            stacks.c.paused_at,
            deployment_settings.c.body,
            organizations.c.login.label("organization"),
        )
        .select_from(deployment_settings)
        .join(stacks, stacks.c.id == deployment_settings.c.stack_id)
        .join(organizations, organizations.c.id == stacks.c.organization_id)
        .where(
            deployment_settings.c.repository == full_name.lower(),
            stacks.c.organization_id == organization_id,
        )
        .order_by(stacks.c.project, stacks.c.name)
    )


async def followed(tx: Transaction) -> Sequence[Row[Any]]:
    """Repositories that settings name, with each of these settings, of claimed installations."""
    return await tx.all(
        select(
            repositories.c.id.label("repository_id"),
            repositories.c.installation_id,
            repositories.c.full_name,
            deployment_settings.c.body,
        )
        .select_from(deployment_settings)
        .join(stacks, stacks.c.id == deployment_settings.c.stack_id)
        .join(repositories, repositories.c.name_key == deployment_settings.c.repository)
        .join(installations, installations.c.id == repositories.c.installation_id)
        .where(
            installations.c.organization_id == stacks.c.organization_id,
            installations.c.suspended_at.is_(None),
            repositories.c.archived.is_(False),
        )
    )


async def settings_of_account(
    tx: Transaction, organization_id: str, account_login: str
) -> Sequence[Row[Any]]:
    """Stacks of an organization whose settings name a repository of an account."""
    return await tx.all(
        select(
            stacks.c.id,
            stacks.c.project,
            stacks.c.name,
            deployment_settings.c.body,
            deployment_settings.c.version,
            deployment_settings.c.repository,
        )
        .select_from(deployment_settings)
        .join(stacks, stacks.c.id == deployment_settings.c.stack_id)
        .where(
            deployment_settings.c.repository.startswith(
                f"{account_login.lower()}/", autoescape=True
            ),
            stacks.c.organization_id == organization_id,
        )
        .order_by(stacks.c.project, stacks.c.name)
    )
