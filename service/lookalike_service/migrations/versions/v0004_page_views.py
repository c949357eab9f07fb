"""Which products were looked at in the same sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Both begin empty."""
    op.create_table(
        "page_views",
        sa.Column("catalog", sa.String(128), primary_key=True),
        sa.Column("session", sa.LargeBinary, primary_key=True),
        sa.Column("product_id", sa.String(128), primary_key=True),
        sa.Column("day", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("page_views_by_product", "page_views", ["catalog", "product_id", "day", "session"])
    op.create_table(
        "page_view_counts",
        sa.Column("catalog", sa.String(128), primary_key=True),
        sa.Column("product_id", sa.String(128), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("sessions", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
