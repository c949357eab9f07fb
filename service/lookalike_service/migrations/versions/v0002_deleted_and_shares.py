"""What deleted products leave, and how much of a garment each colour covers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Products of before are there; views of before know no shares."""
    op.add_column("products", sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("views", sa.Column("shares", sa.JSON, nullable=False, server_default="[]"))
