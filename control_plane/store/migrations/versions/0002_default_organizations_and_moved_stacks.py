"""Default organizations, cleared caches, and the logs of stacks that have moved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("default_organization_id", sa.Text(), nullable=True))
    op.add_column("stacks", sa.Column("caches_cleared_at", sa.BigInteger(), nullable=True))
    op.add_column("deployments", sa.Column("log_organization_id", sa.Text(), nullable=True))
