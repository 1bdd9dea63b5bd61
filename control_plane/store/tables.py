"""The tables. Times are Unix milliseconds; tokens are kept as SHA-256 digests; ids are UUID text.

`queue_heads` and `queue_ready` are pointers derived from `deployments` in the same transaction.
A wrong pointer may delay a grant and can be rebuilt; it can never break an invariant, because the
grant counts live rows itself and a unique index forbids two live deployments of one stack.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    column,
)

from control_plane.domain.deployment import LIVE, Status

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_live = column("status").in_([str(status) for status in LIVE])
_queued = column("status") == str(Status.NOT_STARTED)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("login", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, default=""),
    Column("email", Text, nullable=False, default=""),
    Column("avatar_url", Text, nullable=False, default=""),
    Column("site_admin", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
    # The organization of stacks named without one; null: the personal one.
    Column("default_organization_id", Text),
)

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("login", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, default=""),
    Column("personal", Boolean, nullable=False, default=False),
    Column("deployment_limit", Integer, nullable=False),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),
    Column("pause_note", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Text, nullable=False),
    Index("ix_memberships_user_id", "user_id"),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("expires_at", BigInteger),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    # The token that somebody signed in with: revoked, it takes its sessions along.
    Column("access_token_id", ForeignKey("access_tokens.id", ondelete="CASCADE"), index=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

login_links = Table(
    "login_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    # None: the link to the setup of a server that has no user yet.
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

projects = Table(
    "projects",
    metadata,
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

stacks = Table(
    "stacks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), nullable=False),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tags", Text, nullable=False, default="{}"),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    # The state: number of the last update, and the object that holds what it left.
    Column("version", Integer, nullable=False, default=0),
    Column("checkpoint_key", Text),
    Column("resource_count", Integer, nullable=False, default=0),
    Column("last_update_at", BigInteger),
    Column("newest_update_id", Text),
    # The state lock: the update that may write now.
    Column("current_update_id", Text),
    Column("wrapped_data_key", LargeBinary, nullable=False),
    # Deployments.
    Column("deployment_version", Integer, nullable=False, default=0),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),
    Column("pause_note", Text, nullable=False, default=""),
    Column("needs_recovery_since", BigInteger),
    # When somebody last asked for a build without what earlier ones left behind.
    Column("caches_cleared_at", BigInteger),
    UniqueConstraint("organization_id", "project", "name"),
)

updates = Table(
    "updates",
    metadata,
    Column("id", Text, primary_key=True),
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer),
    Column("message", Text, nullable=False, default=""),
    Column("environment", Text, nullable=False, default="{}"),
    Column("config", Text, nullable=False, default="{}"),
    Column("program", Text, nullable=False, default="{}"),
    Column("requested_by", Text),
    Column("deployment_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("resource_changes", Text),
    Column("resource_count", Integer),
    # The lease: a token that may write state and events, and until when.
    Column("lease_digest", LargeBinary, index=True),
    Column("lease_expires_at", BigInteger),
    Column("journal_version", Integer, nullable=False, default=0),
    Column("base_checkpoint_key", Text),
    Column("checkpoint_key", Text),
    Column("checkpoint_sequence", Integer, nullable=False, default=0),
    Column("checkpoint_hash", Text),
    Index("ix_updates_stack_version", "stack_id", "version"),
    # So that a page far back, and how many there are, are told by the index alone.
    Index("ix_updates_activity", "stack_id", "created_at", "id", "status", "dry_run"),
    Index("ix_updates_deployment_id", "deployment_id"),
    Index(
        "ix_updates_running_lease",
        "lease_expires_at",
        sqlite_where=column("lease_digest").isnot(None),
        postgresql_where=column("lease_digest").isnot(None),
    ),
)

update_events = Table(
    "update_events",
    metadata,
    Column("update_id", ForeignKey("updates.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    # What people are told of; null for the most, which nobody asks for.
    Column("interest", Integer),
    Index(
        "ix_update_events_told",
        "update_id",
        "interest",
        "sequence",
        sqlite_where=column("interest").isnot(None),
        postgresql_where=column("interest").isnot(None),
    ),
    sqlite_with_rowid=False,
)

journal_entries = Table(
    "journal_entries",
    metadata,
    Column("update_id", ForeignKey("updates.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

pools = Table(
    "pools",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE")),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("token_digest", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary),
    Column("is_default", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger),
    Column("ready", Boolean, nullable=False, default=False),
    # The leading gateway; several may poll, one gets grants.
    Column("leader", Text),
    Column("leader_expires_at", BigInteger),
)

deployment_settings = Table(
    "deployment_settings",
    metadata,
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    # The GitHub repository whose pushes and pull requests concern the stack, in small letters.
    Column("repository", Text, nullable=False, default="", server_default="", index=True),
)

deployments = Table(
    "deployments",
    metadata,
    # The place in line: deployments are granted in this order.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), nullable=False),
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), nullable=False),
    Column("pool_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("operation", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("message", Text, nullable=False, default=""),
    Column("exit_code", Integer),
    Column("trigger", Text, nullable=False),
    Column("initiator", Text, nullable=False, default=""),
    Column("requested_by", Text),
    # The settings in force for this deployment, secrets sealed.
    Column("settings", Text, nullable=False),
    Column("inherit_settings", Boolean, nullable=False, default=True),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("accepted_at", BigInteger),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("cancel_requested_at", BigInteger),
    Column("cancel_mode", Text),
    Column("cancelled_by", Text),
    # The lease. Both digests are cleared in the transaction that ends it.
    Column("generation", Integer, nullable=False, default=0),
    Column("lease_expires_at", BigInteger),
    Column("runner_digest", LargeBinary, index=True),
    Column("cli_digest", LargeBinary, index=True),
    Column("waiting_for", Text, nullable=False, default=""),
    Column("engine_started_at", BigInteger),
    Column("last_event", Integer, nullable=False, default=0),
    # The source as it was found.
    Column("source_commit", Text, nullable=False, default=""),
    Column("source_message", Text, nullable=False, default=""),
    Column("source_author", Text, nullable=False, default=""),
    # The log: how long it is so far, and whether its end marker came.
    Column("log_length", BigInteger, nullable=False, default=0),
    Column("log_complete", Boolean, nullable=False, default=False),
    Column("log_deleted_at", BigInteger),
    # Under which organization's prefix the log lies, if the stack has moved since.
    Column("log_organization_id", Text),
    UniqueConstraint("stack_id", "version"),
    Index(
        "one_live_deployment_per_stack",
        "stack_id",
        unique=True,
        sqlite_where=_live,
        postgresql_where=_live,
    ),
    Index(
        "ix_deployments_live_organization",
        "organization_id",
        sqlite_where=_live,
        postgresql_where=_live,
    ),
    Index(
        "ix_deployments_live_lease",
        "lease_expires_at",
        sqlite_where=_live,
        postgresql_where=_live,
    ),
    Index(
        "ix_deployments_queued_stack",
        "stack_id",
        "position",
        sqlite_where=_queued,
        postgresql_where=_queued,
    ),
    Index(
        "ix_deployments_queued_organization",
        "organization_id",
        "created_at",
        # So that counting who waits reads the index alone.
        "status",
        sqlite_where=_queued,
        postgresql_where=_queued,
    ),
    Index("ix_deployments_organization", "organization_id", "position"),
    # All that a list is filtered and searched by: a scan for a rare word reads the index alone.
    # PostgreSQL refuses so wide an entry, and has parallel scans.
    Index(
        "ix_deployments_filters",
        "organization_id",
        "position",
        "status",
        "operation",
        "trigger",
        "stack_id",
        "requested_by",
        "created_at",
        "version",
        "source_commit",
        "source_message",
        "message",
    ).ddl_if(dialect="sqlite"),
    Index("ix_deployments_organization_status", "organization_id", "status"),
    Index("ix_deployments_ended_at", "ended_at"),
)

queue_heads = Table(
    "queue_heads",
    metadata,
    Column("stack_id", ForeignKey("stacks.id", ondelete="CASCADE"), primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("pool_id", Text, nullable=False),
    # Oldest queued deployment of the stack; null while the stack is live, paused or empty.
    Column("head", BigInteger),
    Index(
        "ix_queue_heads_grantable",
        "organization_id",
        "pool_id",
        "head",
        sqlite_where=column("head").isnot(None),
        postgresql_where=column("head").isnot(None),
    ),
)

queue_ready = Table(
    "queue_ready",
    metadata,
    Column("organization_id", ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True),
    Column("pool_id", Text, primary_key=True),
    # Oldest grantable head; null while the organization is at its limit, paused or without work.
    Column("ready", BigInteger),
    Index(
        "ix_queue_ready_pick",
        "pool_id",
        "ready",
        sqlite_where=column("ready").isnot(None),
        postgresql_where=column("ready").isnot(None),
    ),
)

deployment_steps = Table(
    "deployment_steps",
    metadata,
    Column("deployment_id", ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False, default=""),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    sqlite_with_rowid=False,
)

log_segments = Table(
    "log_segments",
    metadata,
    Column("deployment_id", ForeignKey("deployments.id", ondelete="CASCADE"), primary_key=True),
    Column("segment", Integer, primary_key=True),
    Column("step", Integer, nullable=False),
    # Of the first byte in the deployment's whole output.
    Column("offset", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    Column("line_breaks", Integer, nullable=False),
    Column("object_key", Text, nullable=False),
    Column("marks", Text, nullable=False, default="[]"),
    sqlite_with_rowid=False,
)

server_state = Table(
    "server_state",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at", Float),
)
