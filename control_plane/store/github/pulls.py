"""Queries about pull requests, the deployments that are of GitHub, and review stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, func, select, update

from control_plane.domain.deployment import ENDED
from control_plane.store.github.tables import comments, pulls, review_stacks, sources
from control_plane.store.tables import deployment_settings, deployments, organizations, stacks
from control_plane.store.transaction import Transaction


async def find(tx: Transaction, repository_id: int, number: int) -> Row[Any] | None:
    """A pull request as it was last told."""
    return await tx.first(
        select(pulls).where(pulls.c.repository_id == repository_id, pulls.c.number == number)
    )


async def named(
    tx: Transaction, organization_id: str, full_name: str, number: int
) -> Row[Any] | None:
    """A pull request by its repository's name."""
    return await tx.first(
        select(pulls).where(
            pulls.c.organization_id == organization_id,
            pulls.c.full_name == full_name,
            pulls.c.number == number,
        )
    )


async def save(tx: Transaction, values: Mapping[str, Any]) -> None:
    """Keep what is known of a pull request; an approval stays as it is."""
    others = {k: v for k, v in values.items() if k not in ("repository_id", "number")}
    await tx.execute(
        tx.insert(pulls)
        .values(**values)
        .on_conflict_do_update(index_elements=[pulls.c.repository_id, pulls.c.number], set_=others)
    )


async def change(tx: Transaction, repository_id: int, number: int, **values: Any) -> None:
    """Note something of a pull request."""
    await tx.execute(
        update(pulls)
        .where(pulls.c.repository_id == repository_id, pulls.c.number == number)
        .values(**values)
    )


async def add_sources(tx: Transaction, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note from what on GitHub deployments came; what is noted already stays."""
    await tx.execute(tx.insert(sources).on_conflict_do_nothing(), list(rows))


async def source_of(tx: Transaction, deployment_id: str) -> Row[Any] | None:
    """From what on GitHub a deployment came; None for those that did not."""
    return await tx.first(select(sources).where(sources.c.deployment_id == deployment_id))


async def sources_of(tx: Transaction, deployment_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """From what on GitHub some deployments came; none for those that did not."""
    return await tx.all(select(sources).where(sources.c.deployment_id.in_(deployment_ids)))


async def unfinished(tx: Transaction, repository_id: int, number: int) -> Sequence[Row[Any]]:
    """Deployments of a pull request that have not ended, with their stacks' names."""
    return await tx.all(
        select(
            deployments.c.id,
            deployments.c.stack_id,
            deployments.c.operation,
            deployments.c.status,
            sources.c.sha,
            stacks.c.project,
            stacks.c.name,
            organizations.c.login.label("organization"),
        )
        .select_from(sources)
        .join(deployments, deployments.c.id == sources.c.deployment_id)
        .join(stacks, stacks.c.id == deployments.c.stack_id)
        .join(organizations, organizations.c.id == stacks.c.organization_id)
        .where(
            sources.c.repository_id == repository_id,
            sources.c.pull_request == number,
            deployments.c.status.notin_([str(each) for each in ENDED]),
        )
    )


async def deployments_of_commit(
    tx: Transaction, organization_id: str, repository_id: int, sha: str
) -> Sequence[Row[Any]]:
    """The last deployment of each stack that came from a commit."""
    newest = (
        select(func.max(deployments.c.position))
        .join(sources, sources.c.deployment_id == deployments.c.id)
        .where(
            sources.c.repository_id == repository_id,
            sources.c.sha == sha,
            deployments.c.organization_id == organization_id,
        )
        .group_by(deployments.c.stack_id)
    )
    return await tx.all(
        select(
            deployments.c.id,
            deployments.c.version,
            deployments.c.operation,
            sources.c.pull_request,
            stacks.c.project,
            stacks.c.name,
        )
        .join(sources, sources.c.deployment_id == deployments.c.id)
        .join(stacks, stacks.c.id == deployments.c.stack_id)
        .where(deployments.c.position.in_(newest))
    )


async def open_reports(tx: Transaction, now: int, count: int) -> Sequence[Row[Any]]:
    """Deployments of which GitHub may have to be told something, those that waited longest."""
    return await tx.all(
        select(
            sources,
            deployments.c.organization_id,
            deployments.c.stack_id,
            deployments.c.version,
            deployments.c.operation,
            deployments.c.status,
            deployments.c.reason,
            deployments.c.message,
            deployments.c.created_at,
            deployments.c.started_at,
            deployments.c.ended_at,
            deployments.c.modified_at,
            stacks.c.project,
            stacks.c.name.label("stack"),
            organizations.c.login.label("organization"),
        )
        .select_from(sources)
        .join(deployments, deployments.c.id == sources.c.deployment_id)
        .join(stacks, stacks.c.id == deployments.c.stack_id)
        .join(organizations, organizations.c.id == stacks.c.organization_id)
        .where(
            sources.c.is_open.is_(True),
            sources.c.next_report_at <= now,
            sources.c.reported_at != deployments.c.modified_at,
        )
        .order_by(sources.c.next_report_at)
        .limit(count)
    )


async def change_source(tx: Transaction, deployment_id: str, **values: Any) -> None:
    """Note what GitHub has been told of a deployment."""
    await tx.execute(
        update(sources).where(sources.c.deployment_id == deployment_id).values(**values)
    )


async def comment(
    tx: Transaction, repository_id: int, number: int, stack_id: str
) -> Row[Any] | None:
    """The comment that a stack has on a pull request."""
    return await tx.first(
        select(comments).where(
            comments.c.repository_id == repository_id,
            comments.c.pull_request == number,
            comments.c.stack_id == stack_id,
        )
    )


async def save_comment(tx: Transaction, values: Mapping[str, Any]) -> None:
    """Note a stack's comment on a pull request."""
    keys = ("repository_id", "pull_request", "stack_id")
    await tx.execute(
        tx.insert(comments)
        .values(**values)
        .on_conflict_do_update(
            index_elements=[comments.c[key] for key in keys],
            set_={key: value for key, value in values.items() if key not in keys},
        )
    )


async def add_review_stack(tx: Transaction, values: Mapping[str, Any]) -> None:
    """Note that a stack is a pull request's; known already, it stays as it is."""
    await tx.execute(tx.insert(review_stacks).values(**values).on_conflict_do_nothing())


async def review_stacks_of(tx: Transaction, repository_id: int, number: int) -> Sequence[Row[Any]]:
    """The review stacks of a pull request, with their names."""
    return await tx.all(
        _review_stacks().where(
            review_stacks.c.repository_id == repository_id,
            review_stacks.c.pull_request == number,
        )
    )


async def names_taken(tx: Transaction, organization_id: str, project: str) -> set[str]:
    """Names in a project that begin as those of review stacks do, whoever made them."""
    rows = await tx.all(
        select(stacks.c.name).where(
            stacks.c.organization_id == organization_id,
            stacks.c.project == project,
            stacks.c.name.startswith("pr-", autoescape=True),
        )
    )
    return {row.name for row in rows}


async def reopen_review_stacks(tx: Transaction, repository_id: int, number: int) -> None:
    """Note that a pull request's stacks are to stay."""
    await tx.execute(
        update(review_stacks)
        .where(
            review_stacks.c.repository_id == repository_id,
            review_stacks.c.pull_request == number,
        )
        .values(closed_at=None)
    )


async def leftover_review_stacks(tx: Transaction, count: int) -> Sequence[Row[Any]]:
    """Review stacks whose pull request is closed and that are still there."""
    return await tx.all(_review_stacks().where(review_stacks.c.closed_at.isnot(None)).limit(count))


async def open_review_stacks(tx: Transaction) -> Sequence[Row[Any]]:
    """Review stacks whose pull requests were open when they were last looked at."""
    return await tx.all(_review_stacks().where(review_stacks.c.closed_at.is_(None)))


async def review_stack(tx: Transaction, stack_id: str) -> Row[Any] | None:
    """What a stack is the review stack of; None for other stacks."""
    return await tx.first(_review_stacks().where(review_stacks.c.stack_id == stack_id))


async def close_review_stack(tx: Transaction, stack_id: str, now: int) -> None:
    """Note that a review stack is to go."""
    await tx.execute(
        update(review_stacks).where(review_stacks.c.stack_id == stack_id).values(closed_at=now)
    )


def _review_stacks() -> Any:
    return (
        select(
            review_stacks,
            stacks.c.project,
            stacks.c.name,
            stacks.c.organization_id,
            organizations.c.login.label("organization"),
            deployment_settings.c.stack_id.isnot(None).label("has_settings"),
        )
        .join(stacks, stacks.c.id == review_stacks.c.stack_id)
        .outerjoin(deployment_settings, deployment_settings.c.stack_id == stacks.c.id)
        .join(organizations, organizations.c.id == stacks.c.organization_id)
    )


async def unapproved(tx: Transaction, organization_id: str) -> Sequence[Row[Any]]:
    """Open pull requests of forks whose head is not approved."""
    return await tx.all(
        select(pulls)
        .where(
            pulls.c.organization_id == organization_id,
            pulls.c.is_open.is_(True),
            pulls.c.is_fork.is_(True),
            pulls.c.approved_sha != pulls.c.head_sha,
        )
        .order_by(pulls.c.updated_at.desc())
        .limit(100)
    )


async def is_overtaken(
    tx: Transaction, deployment_id: str, *, repository_id: int, pull_request: int, stack_id: str
) -> bool:
    """Whether the stack has a newer deployment of the same pull request."""
    own = select(deployments.c.version).where(deployments.c.id == deployment_id).scalar_subquery()
    newer = await tx.first(
        select(deployments.c.id)
        .join(sources, sources.c.deployment_id == deployments.c.id)
        .where(
            sources.c.repository_id == repository_id,
            sources.c.pull_request == pull_request,
            deployments.c.stack_id == stack_id,
            deployments.c.version > own,
        )
        .limit(1)
    )
    return newer is not None


async def delay_reports(tx: Transaction, installation_id: int, until: int) -> None:
    """Report nothing of an installation before a time."""
    await tx.execute(
        update(sources)
        .where(
            sources.c.installation_id == installation_id,
            sources.c.is_open.is_(True),
            sources.c.next_report_at < until,
        )
        .values(next_report_at=until)
    )


async def is_to_be_told(tx: Transaction, stack_id: str, ended_after: int) -> bool:
    """Whether GitHub is still to be told of a deployment of the stack that ended since."""
    found = await tx.first(
        select(sources.c.deployment_id)
        .join(deployments, deployments.c.id == sources.c.deployment_id)
        .where(
            deployments.c.stack_id == stack_id,
            sources.c.is_open.is_(True),
            deployments.c.ended_at > ended_after,
        )
        .limit(1)
    )
    return found is not None
