"""Gives products their views of another embedding version: several at once, in the order of their ids, in batches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from lookalike_service.admission import Deadline
from lookalike_service.errors import IndexUnavailable, ModelUnavailable, RequestInvalid, StoreUnavailable
from lookalike_service.garments import Viewer
from lookalike_service.model import Product, View
from lookalike_service.ordered import in_order
from lookalike_service.ports import ImageStore, Store, VersionedIndex
from lookalike_service.projection import Projection, only
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair

__all__ = ["Filled", "Filling", "Told"]

Result = TypeVar("Result")
Embedding = tuple[Product, Sequence[View]]

PAGE: Final = 64
# What a server that restarts is away for.
PASSING: Final = (ModelUnavailable, IndexUnavailable, StoreUnavailable)
LONGEST_PAUSE: Final = 5.0


class Told:
    """Hears how a filling goes on; the command shows it."""

    def went_on(self, done: int, total: int) -> None:
        """So many of the products have the new version."""

    def said(self, sentence: str) -> None:
        """Something worth a line has happened."""


@dataclass(slots=True)
class Filled:
    """What a filling has done: products embedded by this run, and why which ones could not be."""

    products: int = 0
    failures: dict[str, str] = field(default_factory=dict)


class Filling:
    """The products of one catalog; memory is that of some pages of them, whatever its size."""

    def __init__(
        self,
        catalog: str,
        *,
        store: Store,
        records: SqlVersions,
        images: ImageStore,
        told: Told,
        at_once: int,
        seconds: float,
    ) -> None:
        """`at_once` products are embedded at the same time, each within `seconds`."""
        self._catalog = catalog
        self._store = store
        self._records = records
        self._images = images
        self._told = told
        self._at_once = at_once
        self._photo = seconds

    async def all(
        self,
        pair: Pair,
        index: VersionedIndex,
        filled: Filled,
        *,
        after: str,
        save: Callable[[str], Awaitable[None]],
    ) -> None:
        """Every product behind `after`; `save` is told the last of each batch that is whole in database and index."""
        total = await self._records.count(self._catalog)
        done = await self._records.count(self._catalog, until=after) if after else 0
        if after:
            self._told.said(f"going on behind product {after}: {done} of {total} are done")

        async def products() -> AsyncIterator[Product]:
            last = after
            while page := await self._store.page(self._catalog, after=last, limit=PAGE, views=True):
                for product in page:
                    yield product
                last = page[-1].id

        batch: list[Embedding] = []

        async def put() -> None:
            nonlocal done
            await self._lasting(lambda: self._put(pair, index, batch, filled))
            done += len(batch)
            await save(batch[-1][0].id)
            self._told.went_on(done, max(total, done))
            batch.clear()

        async with contextlib.aclosing(self._embedded(pair, products(), filled)) as embedded:
            async for each in embedded:
                batch.append(each)
                if len(batch) == PAGE:
                    await put()
        if batch:
            await put()

    async def lacking(self, pair: Pair, index: VersionedIndex, filled: Filled) -> None:
        """What writers changed or added behind the filling's back, and what failed before."""
        while True:
            lacking, after = 0, ""
            while ids := await self._records.lacking(self._catalog, pair.version, after=after, limit=PAGE):
                after = ids[-1]
                fresh = [id for id in ids if id not in filled.failures]
                lacking += len(fresh)
                products = await self._store.products(self._catalog, fresh, views=True)

                async def found(products: Sequence[Product] = tuple(products.values())) -> AsyncIterator[Product]:
                    for product in products:
                        yield product

                async with contextlib.aclosing(self._embedded(pair, found(), filled)) as embedded:
                    await self._put(pair, index, [each async for each in embedded], filled)
            if not lacking:
                return

    def _embedded(
        self, pair: Pair, products: AsyncIterator[Product], filled: Filled
    ) -> AsyncGenerator[Embedding, None]:
        """Each product with its views by the version: none when it cannot be embedded, which is noted."""
        viewer = Viewer(pair.finder, self._images)

        async def embed(_: int, product: Product) -> Embedding:
            deadline = Deadline(self._photo)
            views: Sequence[View] = ()
            try:
                views, _new = await self._lasting(
                    lambda: viewer.views(product, {}, product, deadline=deadline, patient=True)
                )
                if not views:
                    filled.failures[product.id] = "it has no photograph"
            except RequestInvalid as error:
                filled.failures[product.id] = error.message
            return product, views

        return in_order(products, embed, in_flight=self._at_once)

    async def _put(
        self,
        pair: Pair,
        index: VersionedIndex,
        batch: Sequence[Embedding],
        filled: Filled,
    ) -> None:
        """Views into the database, then into the index whatever the database says by then."""
        new = [
            (product, views)
            for product, views in batch
            if views and not any(view.embedding_version == pair.version for view in product.views)
        ]
        if new:
            await self._records.add_views(new, pair.version)
            filled.products += len(new)
        embedded = {product.id: set[str]() for product, views in batch if views}
        if embedded:
            await Projection(shelves=only(pair.version, index), store=self._store).follow(self._catalog, embedded)

    async def _lasting(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """What the work gives; what is away in passing is tried again for as long as a photo may take."""
        end, pause = time.monotonic() + self._photo, 0.1
        while True:
            try:
                return await work()
            except PASSING as error:
                if time.monotonic() + pause > end:
                    raise
                if pause == LONGEST_PAUSE:
                    self._told.said(f"{error.message}; trying again for {end - time.monotonic():.0f} s")
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
