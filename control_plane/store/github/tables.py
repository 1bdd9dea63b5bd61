"""What Slipway keeps of GitHub. Ids of GitHub's things are GitHub's own numbers.

Names change on GitHub, numbers do not: rows refer to each other by number, and keep names to show.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    column,
)

from control_plane.store.tables import metadata

_is_waiting = column("status") == "received"
_is_open = column("is_open").is_(True)

app = Table(
    "github_app",
    metadata,
    # There is one App for the server: its row is 1.
    Column("id", Integer, primary_key=True),
    Column("app_id", BigInteger, nullable=False),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False, default=""),
    Column("html_url", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    # Encrypted with the master key.
    Column("private_key", LargeBinary, nullable=False),
    Column("client_secret", LargeBinary, nullable=False),
    Column("webhook_secret", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    # How far the list of deliveries on GitHub has been compared with ours: Unix milliseconds.
    Column("deliveries_checked_at", BigInteger),
)

installations = Table(
    "github_installations",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    # Null: installed on GitHub, and claimed by nobody here.
    Column("organization_id", ForeignKey("organizations.id", ondelete="SET NULL"), index=True),
    Column("account_id", BigInteger, nullable=False),
    Column("account_login", Text, nullable=False),
    Column("account_type", Text, nullable=False),
    Column("repository_selection", Text, nullable=False, default="all"),
    Column("permissions", Text, nullable=False, default="{}"),
    Column("events", Text, nullable=False, default="[]"),
    Column("suspended_at", BigInteger),
    Column("claimed_by", Text),
    Column("claimed_at", BigInteger),
    Column("comments", Boolean, nullable=False, default=True),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
)

repositories = Table(
    "github_repositories",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "installation_id",
        ForeignKey("github_installations.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("full_name", Text, nullable=False),
    # In small letters: GitHub's names differ in more than their case.
    Column("name_key", Text, nullable=False, index=True),
    Column("default_branch", Text, nullable=False, default=""),
    Column("private", Boolean, nullable=False, default=True),
    Column("archived", Boolean, nullable=False, default=False),
    Column("modified_at", BigInteger, nullable=False),
)

heads = Table(
    "github_heads",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("ref", Text, primary_key=True),
    Column("sha", Text, nullable=False),
    # What it pointed to before: of pushes of one second, the later one is told by it.
    Column("before", Text, nullable=False, default=""),
    # By GitHub's clock, Unix milliseconds; an older push that comes later is told by it.
    Column("pushed_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
)

deliveries = Table(
    "github_deliveries",
    metadata,
    # GitHub's own id, kept when it is delivered again; or one of ours for what was never delivered.
    Column("id", Text, primary_key=True),
    Column("event", Text, nullable=False),
    Column("action", Text, nullable=False, default=""),
    Column("installation_id", BigInteger),
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE")),
    Column("repository", Text, nullable=False, default=""),
    Column("summary", Text, nullable=False, default=""),
    Column("status", Text, nullable=False),
    # Deflated; null after its time.
    Column("payload", LargeBinary),
    Column("received_at", BigInteger, nullable=False),
    Column("processed_at", BigInteger),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("message", Text, nullable=False, default=""),
    # What each stack of the repository made of it, as deflated JSON.
    Column("verdicts", LargeBinary),
    Column("deployment_count", Integer, nullable=False, default=0),
    Index(
        "ix_github_deliveries_waiting",
        "next_attempt_at",
        sqlite_where=_is_waiting,
        postgresql_where=_is_waiting,
    ),
    Index("ix_github_deliveries_organization", "organization_id", "received_at"),
    Index("ix_github_deliveries_received_at", "received_at"),
)

pulls = Table(
    "github_pulls",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True),
    Column("installation_id", BigInteger, nullable=False),
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), index=True),
    Column("full_name", Text, nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("author", Text, nullable=False, default=""),
    Column("head_sha", Text, nullable=False),
    Column("head_ref", Text, nullable=False, default=""),
    Column("head_repository", Text, nullable=False, default=""),
    Column("base_ref", Text, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("is_draft", Boolean, nullable=False, default=False),
    Column("is_fork", Boolean, nullable=False),
    Column("labels", Text, nullable=False, default="[]"),
    # A member's word that this one commit of a fork may be previewed.
    Column("approved_sha", Text, nullable=False, default=""),
    Column("approved_by", Text),
    Column("approved_at", BigInteger),
    # By GitHub's clock; an older event that comes later changes nothing.
    Column("updated_at", BigInteger, nullable=False),
)

sources = Table(
    "github_sources",
    metadata,
    Column("deployment_id", ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True),
    Column("installation_id", BigInteger, nullable=False),
    Column("repository_id", BigInteger, nullable=False),
    Column("full_name", Text, nullable=False),
    Column("delivery_id", Text, nullable=False, default=""),
    Column("ref", Text, nullable=False),
    Column("sha", Text, nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("author", Text, nullable=False, default=""),
    Column("pull_request", Integer),
    Column("is_fork", Boolean, nullable=False, default=False),
    # What GitHub has been told, and what is still to be told.
    Column("is_open", Boolean, nullable=False, default=True),
    Column("next_report_at", BigInteger, nullable=False),
    # `modified_at` of the deployment that was reported, and digests of what was sent.
    Column("reported_at", BigInteger, nullable=False, default=0),
    Column("reported_state", Text, nullable=False, default="{}"),
    Column("report_attempts", Integer, nullable=False, default=0),
    Column("report_problem", Text, nullable=False, default=""),
    Column("check_run_id", BigInteger),
    Column("environment_id", BigInteger),
    Index("ix_github_sources_pull", "repository_id", "pull_request"),
    Index(
        "ix_github_sources_open",
        "next_report_at",
        sqlite_where=_is_open,
        postgresql_where=_is_open,
    ),
)

comments = Table(
    "github_comments",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("pull_request", Integer, primary_key=True),
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), primary_key=True),
    Column("comment_id", BigInteger),
    Column("body_digest", LargeBinary),
    Column("modified_at", BigInteger, nullable=False),
)

users = Table(
    "github_users",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("github_id", BigInteger, nullable=False, unique=True),
    Column("login", Text, nullable=False),
    Column("linked_at", BigInteger, nullable=False),
)

review_stacks = Table(
    "review_stacks",
    metadata,
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), primary_key=True),
    Column("template_stack_id", Text, nullable=False),
    Column("repository_id", BigInteger, nullable=False),
    Column("pull_request", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # When its pull request was closed: from then on it is to go.
    Column("closed_at", BigInteger),
    Index("ix_review_stacks_pull", "repository_id", "pull_request"),
)
