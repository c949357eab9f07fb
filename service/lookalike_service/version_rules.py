"""What a write must hold of the embedding versions of its catalog, checked inside its own transaction.

A gateway learns of a new version a second late. So the database itself refuses a write that misses a version which is
complete, and the writer looks again: from the moment at which a version is called filled, no product can be without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from lookalike_service import tables
from lookalike_service.errors import VersionsOutdated
from lookalike_service.model import Product
from lookalike_service.versions import State

__all__ = ["check", "lock"]


async def lock(connection: AsyncConnection, catalog: str, *, alone: bool) -> None:
    """Keep the states of a catalog's versions until the transaction ends; `alone` waits for all writes under way.

    SQLite needs no lock, since it has one writer at a time, as long as the transaction has begun by writing.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"lookalike versions {catalog}".encode()).digest()[:8], signed=True)
        shared = "" if alone else "_shared"
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{shared}({number})")


async def check(connection: AsyncConnection, products: Sequence[Product]) -> None:
    """Raises VersionsOutdated when a product lacks a complete version, or has views of one that is no more."""
    for catalog in sorted({product.catalog for product in products}):
        await lock(connection, catalog, alone=False)
        table = tables.embedding_versions
        rows = (await connection.execute(select(table).where(table.c.catalog == catalog))).all()
        states = {row.version: State(row.state) for row in rows}
        needed = {version for version, state in states.items() if state.complete}
        live = {version for version, state in states.items() if state is not State.DROPPING}
        for product in products if rows else ():
            has = {view.embedding_version for view in product.views}
            if product.catalog == catalog and not needed <= has <= live:
                raise VersionsOutdated(
                    f"product {product.id} came with vectors of versions {sorted(has)}, its catalog has "
                    f"{sorted(live)} by now; send it again"
                )
