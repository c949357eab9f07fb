"""Runs the versions inside the transaction that migrate.py has begun."""

from __future__ import annotations

from alembic import context

from lookalike_service import tables

# SQLite knows few ALTERs; in a batch Alembic copies the table instead.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
