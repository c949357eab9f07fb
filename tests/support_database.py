"""What tests of the tables share: how 0.1.0 made them, and what is there now."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from lookalike_service import tables

__all__ = ["differences", "made_without_versions", "rows_of_products", "version_of", "write_version"]

# As `create_all` of 0.1.0 wrote it; BLOB is BYTEA on PostgreSQL, and the outbox counts in its own way.
FIRST_TABLES = """
CREATE TABLE products (
    catalog VARCHAR(128) NOT NULL, id VARCHAR(128) NOT NULL, title TEXT NOT NULL, brand TEXT NOT NULL,
    category TEXT NOT NULL, price BIGINT, currency VARCHAR(3), available BOOLEAN NOT NULL, uri TEXT NOT NULL,
    attributes JSON NOT NULL, revision BIGINT NOT NULL, indexed_revision BIGINT NOT NULL, created BIGINT NOT NULL,
    updated BIGINT NOT NULL, PRIMARY KEY (catalog, id));
CREATE TABLE images (
    catalog VARCHAR(128) NOT NULL, product_id VARCHAR(128) NOT NULL, position INTEGER NOT NULL,
    sha256 VARCHAR(64) NOT NULL, hint_category TEXT NOT NULL, hint_box JSON,
    PRIMARY KEY (catalog, product_id, position));
CREATE TABLE views (
    catalog VARCHAR(128) NOT NULL, product_id VARCHAR(128) NOT NULL, id VARCHAR(256) NOT NULL,
    embedding_version INTEGER NOT NULL, position INTEGER NOT NULL, image_sha256 VARCHAR(64) NOT NULL,
    category TEXT NOT NULL, colours TEXT NOT NULL, pattern TEXT NOT NULL, x0 FLOAT NOT NULL, y0 FLOAT NOT NULL,
    x1 FLOAT NOT NULL, y1 FLOAT NOT NULL, embedding {bytes} NOT NULL,
    PRIMARY KEY (catalog, product_id, id, embedding_version));
CREATE TABLE outbox (
    sequence {counter}, catalog VARCHAR(128) NOT NULL, product_id VARCHAR(128) NOT NULL, stale_views JSON NOT NULL);
INSERT INTO products VALUES (
    'default', 'p', 'a title', 'acme', 'top', 1999, 'EUR', TRUE, '', '{{"size": "M"}}', 7, 7, 0, 0);
"""
KINDS = {
    "sqlite": {"bytes": "BLOB", "counter": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"},
    "postgresql": {"bytes": "BYTEA", "counter": "BIGSERIAL PRIMARY KEY"},
}


async def made_without_versions(engine: AsyncEngine) -> None:
    """Make a database as 0.1.0 did, with one product in it."""
    async with engine.begin() as connection:
        for statement in FIRST_TABLES.format(**KINDS[engine.dialect.name]).split(";")[:-1]:
            await connection.exec_driver_sql(statement)


async def differences(engine: AsyncEngine) -> list[object]:
    """What the tables lack, or have too much, against tables.py."""

    def compared(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection)
        return list(compare_metadata(context, tables.metadata))

    async with engine.connect() as connection:
        return await connection.run_sync(compared)


async def version_of(engine: AsyncEngine) -> str:
    """The version that is written down."""
    async with engine.connect() as connection:
        return str((await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one())


async def write_version(engine: AsyncEngine, version: str) -> None:
    """Write another one down."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


async def rows_of_products(engine: AsyncEngine) -> list[tuple[object, ...]]:
    """What is there of the products."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT catalog, id, title, deleted FROM products ORDER BY id"))
        return [(row.catalog, row.id, row.title, bool(row.deleted)) for row in rows]
