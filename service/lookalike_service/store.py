"""The catalog of record over SQLAlchemy: SQLite on one machine, PostgreSQL in production."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Row, Table, delete, false, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lookalike_service import tables
from lookalike_service.commits import GroupCommit
from lookalike_service.database import FAILURES
from lookalike_service.errors import RevisionOutdated, StoreUnavailable
from lookalike_service.filter import Node
from lookalike_service.model import Pending, Product
from lookalike_service.records import image_of, image_rows, product_of, product_row, view_of, view_rows

__all__ = ["SqlStore"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Databases bound the number of values in one statement.
MOST_IDS: Final = 500


class SqlStore:
    """A Store: products, images and views in tables, with an outbox that the index follows."""

    def __init__(self, engine: AsyncEngine, *, seconds: float = 15.0) -> None:
        """`engine` is what `database.open_database` gives; no call takes longer than `seconds`."""
        self.engine = engine
        self._seconds = seconds
        # A product, its images and its views are three queries, and must be of one moment; SQLite does that anyway.
        same_moment = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        self._reading = engine.execution_options(**same_moment)
        self._commits = GroupCommit(engine, seconds=seconds) if engine.dialect.name == "sqlite" else None

    async def products(
        self, catalog: str, ids: Sequence[str], *, views: bool = False, deleted: bool = False
    ) -> dict[str, Product]:
        """Read the products that exist among `ids`, with their views, and what deleted ones left, when asked for."""
        found: dict[str, Product] = {}
        async with self._connection() as connection:
            for begin in range(0, len(ids), MOST_IDS):
                table = tables.products
                query = select(table).where(table.c.catalog == catalog, table.c.id.in_(ids[begin : begin + MOST_IDS]))
                if not deleted:
                    query = query.where(table.c.deleted.is_(false()))
                rows = (await connection.execute(query)).all()
                found.update({row.id: product_of(row) for row in rows})
            return await self._completed(connection, catalog, found, views=views)

    async def page(
        self,
        catalog: str,
        *,
        after: str = "",
        until: str | None = None,
        limit: int = 50,
        filter: Node | None = None,
        views: bool = False,
    ) -> list[Product]:
        """List products in the order of their ids, beginning behind `after` and ending with `until`."""
        query = tables.page(
            catalog, after=after, until=until, limit=limit, filter=filter, dialect=self.engine.dialect.name
        )
        async with self._connection() as connection:
            found = {row.id: product_of(row) for row in (await connection.execute(query)).all()}
            return list((await self._completed(connection, catalog, found, views=views)).values())

    async def stretch(self, catalog: str, *, after: str, rows: int) -> str | None:
        """The id of the `rows`-th product behind `after`; None when there are fewer."""
        async with self._connection() as connection:
            found = await connection.execute(tables.stretch(catalog, after=after, rows=rows))
            return cast("str | None", found.scalar())

    async def write(
        self, product: Product, *, expected_revision: int, pending: bool, expected_deleted: bool = False
    ) -> Pending | None:
        """Insert (`expected_revision` 0) or replace a product with its images and views, in one commit."""
        table = tables.products
        values = product_row(product)

        async def work(connection: AsyncConnection) -> Pending | None:
            if expected_revision == 0:
                try:
                    await connection.execute(insert(table).values(values))
                except IntegrityError as error:
                    raise _changed_meanwhile(product.id) from error
            else:
                same = (
                    _is(table, product.catalog, product.id, key="id")
                    & (table.c.revision == expected_revision)
                    & table.c.deleted.is_(expected_deleted)
                )
                if (await connection.execute(update(table).where(same).values(values))).rowcount == 0:
                    raise _changed_meanwhile(product.id)
            before = await self._forget(connection, product.catalog, product.id)
            if product.images:
                await connection.execute(insert(tables.images), image_rows(product))
            if product.views:
                await connection.execute(insert(tables.views), view_rows(product))
            return await self._note(connection, product.catalog, product.id, before) if pending else None

        return await self._committed(work)

    async def delete(self, catalog: str, product_id: str, *, expected_revision: int, revision: int = 0) -> Pending:
        """Delete a product with an outbox entry, in one commit; `revision` stays, or else the one that was deleted."""
        left = Product(catalog, product_id, revision=revision or expected_revision, deleted=True)
        pending = await self.write(left, expected_revision=expected_revision, pending=True)
        return cast(Pending, pending)

    async def pending(self, *, limit: int) -> list[Pending]:
        """Read the oldest outbox entries."""
        table = tables.outbox
        async with self._connection() as connection:
            rows = (await connection.execute(select(table).order_by(table.c.sequence).limit(limit))).all()
        return [Pending(row.sequence, row.catalog, row.product_id, tuple(row.stale_views)) for row in rows]

    async def settle(self, entries: Sequence[Pending]) -> None:
        """Remove outbox entries whose change is in the index."""
        sequences = [entry.sequence for entry in entries]

        async def work(connection: AsyncConnection) -> None:
            for begin in range(0, len(sequences), MOST_IDS):
                batch = sequences[begin : begin + MOST_IDS]
                await connection.execute(delete(tables.outbox).where(tables.outbox.c.sequence.in_(batch)))

        await self._committed(work)

    async def close(self) -> None:
        """Finish the commits under way and close all connections."""
        if self._commits:
            await self._commits.finish()
        await self.engine.dispose()

    async def _completed(
        self, connection: AsyncConnection, catalog: str, found: dict[str, Product], *, views: bool
    ) -> dict[str, Product]:
        """The products with their images, and their views when asked for."""
        images = await _by_product(connection, tables.images, catalog, list(found))
        shown = await _by_product(connection, tables.views, catalog, list(found)) if views else {}
        return {
            id: replace(
                product,
                images=tuple(map(image_of, images.get(id, ()))),
                views=tuple(map(view_of, shown.get(id, ()))),
            )
            for id, product in found.items()
        }

    async def _forget(self, connection: AsyncConnection, catalog: str, product_id: str) -> list[str]:
        """Delete the images and views of a product and return the ids of its views."""
        here = _is(tables.views, catalog, product_id)
        before = list((await connection.execute(select(tables.views.c.id).where(here))).scalars())
        await connection.execute(delete(tables.views).where(here))
        await connection.execute(delete(tables.images).where(_is(tables.images, catalog, product_id)))
        return before

    async def _note(self, connection: AsyncConnection, catalog: str, product_id: str, before: list[str]) -> Pending:
        row = {"catalog": catalog, "product_id": product_id, "stale_views": before}
        key = (await connection.execute(insert(tables.outbox).values(row))).inserted_primary_key
        return Pending(int(key[0]) if key else 0, catalog, product_id, tuple(before))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        async with self._failing_clearly(), asyncio.timeout(self._seconds), self._reading.connect() as connection:
            yield connection

    async def _committed(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        async with self._failing_clearly():
            if self._commits:
                return cast(Result, await self._commits.run(work))
            async with asyncio.timeout(self._seconds), self.engine.begin() as connection:
                return await work(connection)

    @asynccontextmanager
    async def _failing_clearly(self) -> AsyncIterator[None]:
        try:
            yield
        except FAILURES as error:
            logger.warning("the database failed: %s", error)
            # SQLite and PostgreSQL put it in these words.
            if "disk is full" in str(error) or "No space left on device" in str(error):
                raise StoreUnavailable("the database cannot be written: its disk is full") from error
            raise StoreUnavailable("the database does not answer, or cannot be written") from error


def _changed_meanwhile(product_id: str) -> RevisionOutdated:
    return RevisionOutdated(f"product {product_id} was changed by another write at the same time")


def _is(table: Any, catalog: str, product_id: str, *, key: str = "product_id") -> Any:  # noqa: ANN401 - SQL clauses
    return (table.c.catalog == catalog) & (table.c[key] == product_id)


async def _by_product(
    connection: AsyncConnection,
    table: Table,
    catalog: str,
    ids: Sequence[str],
) -> dict[str, list[Row[Any]]]:
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for begin in range(0, len(ids), MOST_IDS):
        here = (table.c.catalog == catalog) & table.c.product_id.in_(ids[begin : begin + MOST_IDS])
        for row in await connection.execute(select(table).where(here).order_by(table.c.position)):
            grouped[row.product_id].append(row)
    return grouped
