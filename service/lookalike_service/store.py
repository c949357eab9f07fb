"""The catalog of record over SQLAlchemy: SQLite on one machine, PostgreSQL in production."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lookalike_service import tables
from lookalike_service.commits import GroupCommit
from lookalike_service.database import FAILURES
from lookalike_service.errors import RevisionOutdated, StoreUnavailable
from lookalike_service.filter import Node
from lookalike_service.model import Pending, Product, View
from lookalike_service.reads import MOST_IDS, Reads, listed, products_by_id
from lookalike_service.records import image_rows, product_row, view_rows
from lookalike_service.shown import ShownProducts
from lookalike_service.telemetry import asking
from lookalike_service.version_rules import check

__all__ = ["SqlStore"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class SqlStore:
    """A Store: products, images and views in tables, with an outbox that the index follows."""

    def __init__(self, engine: AsyncEngine, *, seconds: float = 15.0, remembered: int = 0) -> None:
        """`engine` is what `database.open_database` gives; no call takes longer than `seconds`.

        As many products as `remembered` are kept for `shown`.
        """
        self.engine = engine
        self._seconds = seconds
        self._reads = Reads(engine)
        self._shown = ShownProducts(remembered)
        self._commits = GroupCommit(engine, seconds=seconds) if engine.dialect.name == "sqlite" else None

    async def products(
        self, catalog: str, ids: Sequence[str], *, views: bool = False, deleted: bool = False
    ) -> dict[str, Product]:
        """Read the products that exist among `ids`, with their views, and what deleted ones left, when asked for."""
        return await self.read(lambda here: products_by_id(here, catalog, ids, views=views, deleted=deleted))

    async def shown(
        self, catalog: str, views: Mapping[str, str], *, embedding_version: int
    ) -> dict[str, tuple[Product, View]]:
        """Read what is shown of `views`, whose ids come with their products': both, and neither's vectors."""
        return await self.read(lambda here: self._shown.read(here, catalog, views, embedding_version=embedding_version))

    async def page(
        self,
        catalog: str,
        *,
        after: str = "",
        until: str | None = None,
        limit: int = 50,
        filter: Node | None = None,
        embedding_version: int = 0,
        views: bool = False,
    ) -> list[Product]:
        """List products in the order of their ids, beginning behind `after` and ending with `until`."""
        query = tables.page(
            catalog,
            after=after,
            until=until,
            limit=limit,
            filter=filter,
            dialect=self.engine.dialect.name,
            embedding_version=embedding_version,
        )
        return await self.read(lambda here: listed(here, query, catalog, views=views))

    async def stretch(self, catalog: str, *, after: str, rows: int) -> str | None:
        """The id of the `rows`-th product behind `after`; None when there are fewer."""
        query = tables.stretch(catalog, after=after, rows=rows)
        return await self.read(lambda here: cast("str | None", here.execute(query).scalar()))

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
            if not product.deleted:
                await check(connection, [product])
            before = await self._forget(connection, product.catalog, product.id)
            if product.images:
                await connection.execute(insert(tables.images), image_rows(product))
            if product.views:
                await connection.execute(insert(tables.views), view_rows(product))
            return await self._note(connection, product.catalog, product.id, before) if pending else None

        return await self.commit(work)

    async def insert(self, products: Sequence[Product]) -> list[Pending]:
        """Insert products that are not there, each with an outbox entry; all of them in one commit, or none.

        Raises RevisionOutdated when one of them is there, VersionsOutdated as `write` does, and StoreUnavailable.
        """
        rows = [{"catalog": product.catalog, "product_id": product.id, "stale_views": []} for product in products]

        async def work(connection: AsyncConnection) -> list[Pending]:
            try:
                await connection.execute(insert(tables.products), [product_row(product) for product in products])
            except IntegrityError as error:
                raise _changed_meanwhile(f"among {products[0].id} to {products[-1].id}") from error
            await check(connection, products)
            for table, rows_of in ((tables.images, image_rows), (tables.views, view_rows)):
                if inside := [row for product in products for row in rows_of(product)]:
                    await connection.execute(insert(table), inside)
            counted = insert(tables.outbox).returning(tables.outbox.c.sequence, sort_by_parameter_order=True)
            sequences = (await connection.execute(counted, rows)).scalars().all()
            return [
                Pending(sequence, product.catalog, product.id)
                for sequence, product in zip(sequences, products, strict=True)
            ]

        return await self.commit(work) if products else []

    async def delete(self, catalog: str, product_id: str, *, expected_revision: int, revision: int = 0) -> Pending:
        """Delete a product with an outbox entry, in one commit; `revision` stays, or else the one that was deleted."""
        left = Product(catalog, product_id, revision=revision or expected_revision, deleted=True)
        pending = await self.write(left, expected_revision=expected_revision, pending=True)
        return cast(Pending, pending)

    async def pending(self, *, limit: int, catalog: str = "") -> list[Pending]:
        """Read the oldest outbox entries, of one catalog or of all."""
        query = select(tables.outbox).order_by(tables.outbox.c.sequence).limit(limit)
        if catalog:
            query = query.where(tables.outbox.c.catalog == catalog)
        rows = await self.read(lambda here: here.execute(query).all())
        return [Pending(row.sequence, row.catalog, row.product_id, tuple(row.stale_views)) for row in rows]

    async def settle(self, entries: Sequence[Pending]) -> None:
        """Remove outbox entries whose change is in the index."""
        sequences = [entry.sequence for entry in entries]

        async def work(connection: AsyncConnection) -> None:
            for begin in range(0, len(sequences), MOST_IDS):
                batch = sequences[begin : begin + MOST_IDS]
                await connection.execute(delete(tables.outbox).where(tables.outbox.c.sequence.in_(batch)))

        await self.commit(work)

    async def close(self) -> None:
        """Finish the commits under way and close all connections."""
        if self._commits:
            await self._commits.finish()
        await self._reads.close()
        await self.engine.dispose()

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

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """What the work returns, from one moment. Raises StoreUnavailable."""
        async with self._failing_clearly("read"), asyncio.timeout(self._seconds):
            return await self._reads.run(work)

    async def commit(self, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        """What the work returns, once it is committed; it begins by writing. Raises StoreUnavailable."""
        async with self._failing_clearly("write"):
            if self._commits:
                return cast(Result, await self._commits.run(work))
            async with asyncio.timeout(self._seconds), self.engine.begin() as connection:
                return await work(connection)

    @asynccontextmanager
    async def _failing_clearly(self, operation: str) -> AsyncIterator[None]:
        try:
            with asking("database", operation, system=self.engine.dialect.name):
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
