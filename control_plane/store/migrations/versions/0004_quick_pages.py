"""What the console's pages are quick by: indexes, and which events people are told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ACTIVITY = ["stack_id", "created_at", "id", "status", "dry_run"]
FILTERED = [
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
]


def upgrade() -> None:
    op.add_column("update_events", sa.Column("interest", sa.Integer(), nullable=True))
    # Those that there are already have not been told apart: `Interest.UNSORTED`.
    op.execute("UPDATE update_events SET interest = 4")
    op.create_index(
        "ix_update_events_told",
        "update_events",
        ["update_id", "interest", "sequence"],
        sqlite_where=sa.text("interest IS NOT NULL"),
        postgresql_where=sa.text("interest IS NOT NULL"),
    )
    op.drop_index("ix_updates_stack_created", "updates")
    op.create_index("ix_updates_activity", "updates", ACTIVITY)
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_deployments_filters", "deployments", FILTERED)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_deployments_filters", "deployments")
    op.drop_index("ix_updates_activity", "updates")
    op.create_index("ix_updates_stack_created", "updates", ["stack_id", "created_at"])
    op.drop_index("ix_update_events_told", "update_events")
    op.drop_column("update_events", "interest")
