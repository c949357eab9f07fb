"""Reads of the catalog of record: whole products from one moment, with as few changes of thread as a driver allows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Row, Select, Table, create_engine, false, null, select
from sqlalchemy.ext.asyncio import AsyncEngine

from lookalike_service import tables
from lookalike_service.commits import prepare_sqlite
from lookalike_service.model import Product
from lookalike_service.records import product_of

__all__ = ["MOST_IDS", "Reads", "listed", "products_by_id", "shown_views"]

Result = TypeVar("Result")

_WITHOUT_VECTORS: Final = [
    null().label(column.name) if column is tables.views.c.embedding else column for column in tables.views.c
]

# Databases bound the number of values in one statement.
MOST_IDS: Final = 500


class Reads:
    """Runs synchronous reads beside the event loop.

    aiosqlite changes threads for every step of every statement, a dozen times per search, which costs more than the
    statements do. So an SQLite file is read through a plain engine, whole reads at a time, in a thread.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine` is what `database.open_database` gives."""
        # A product, its images and its views are three queries, and must be of one moment; SQLite does that anyway.
        same_moment = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        self._engine = engine.execution_options(**same_moment)
        self._direct = _direct(engine)

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """What the work returns, in one transaction."""
        if self._direct is not None:
            return await asyncio.to_thread(_run, self._direct, work)
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """Close the connections."""
        if self._direct is not None:
            await asyncio.to_thread(self._direct.dispose)


def _run(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    with engine.connect() as connection:
        return work(connection)


def _direct(engine: AsyncEngine) -> Engine | None:
    """A plain engine on the same SQLite file; None for other databases, and for one in memory, which nobody shares."""
    url = engine.url
    if engine.dialect.name != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    direct = create_engine(url.set(drivername="sqlite"), hide_parameters=True)
    prepare_sqlite(direct)
    return direct


def products_by_id(
    connection: Connection,
    catalog: str,
    ids: Sequence[str],
    *,
    views: bool = False,
    shown: Sequence[str] = (),
    deleted: bool = False,
) -> dict[str, Product]:
    """The products that exist among `ids`, with their views, and what deleted ones left, when asked for.

    `shown` are the ids of views that are read without their vectors.
    """
    table = tables.products
    rows: list[Row[Any]] = []
    for begin in range(0, len(ids), MOST_IDS):
        query = select(table).where(table.c.catalog == catalog, table.c.id.in_(ids[begin : begin + MOST_IDS]))
        if not deleted:
            query = query.where(table.c.deleted.is_(false()))
        rows += connection.execute(query).all()
    return _completed(connection, catalog, rows, views=views, shown=shown)


def listed(connection: Connection, query: Select[Any], catalog: str, *, views: bool) -> list[Product]:
    """The products of a query on the table of products, in its order."""
    return list(_completed(connection, catalog, connection.execute(query).all(), views=views).values())


def _completed(
    connection: Connection, catalog: str, rows: Sequence[Row[Any]], *, views: bool, shown: Sequence[str] = ()
) -> dict[str, Product]:
    """The products of the rows, with their images, and their views when asked for."""
    ids = [row.id for row in rows]
    images = _by_product(connection, tables.images, catalog, ids)
    of_product = (
        _by_product(connection, tables.views, catalog, ids) if views else _shown(connection, catalog, ids, shown)
    )
    return {row.id: product_of(row, images=images.get(row.id, ()), views=of_product.get(row.id, ())) for row in rows}


def _shown(
    connection: Connection, catalog: str, products: Sequence[str], ids: Sequence[str]
) -> dict[str, list[Row[Any]]]:
    """These views by product, without their vectors."""
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for begin in range(0, len(ids), MOST_IDS):
        for row in connection.execute(shown_views(catalog, products, ids[begin : begin + MOST_IDS])):
            grouped[row.product_id].append(row)
    return grouped


def shown_views(catalog: str, products: Sequence[str], ids: Sequence[str]) -> Select[Any]:
    """The query for views of these products with these ids, with nothing in place of their vectors."""
    table = tables.views
    # Not the bare id: SQLite would look for every id below every product, or through the whole catalog for pairs.
    named = table.c.product_id.in_(products) & table.c.id.concat("").in_(ids)
    return select(*_WITHOUT_VECTORS).where(table.c.catalog == catalog, named)


def _by_product(connection: Connection, table: Table, catalog: str, ids: Sequence[str]) -> dict[str, list[Row[Any]]]:
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for begin in range(0, len(ids), MOST_IDS):
        here = (table.c.catalog == catalog) & table.c.product_id.in_(ids[begin : begin + MOST_IDS])
        # The same order whoever wrote which version when, so that a product that nobody changed compares equal.
        order = [table.c.embedding_version, table.c.position] if table is tables.views else [table.c.position]
        for row in connection.execute(select(table).where(here).order_by(*order)):
            grouped[row.product_id].append(row)
    return grouped
