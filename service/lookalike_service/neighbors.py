"""What a new embedding version changes for shoppers: the neighbors of a sample of products, by old and new vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lookalike_service.admission import Deadline
from lookalike_service.garments import looks_of
from lookalike_service.model import Product
from lookalike_service.ports import Store
from lookalike_service.queries import Terms
from lookalike_service.ranking import Ranked, Ranker, Want
from lookalike_service.telemetry import Stopwatch
from lookalike_service.versions import Pair

__all__ = ["Comparison", "Neighbors"]

NEAREST: Final = 10
AT_ONCE: Final = 16
SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Over the products asked for: the mean share of the ten nearest that both versions name, and how often the nearest
    one is another."""

    queries: int
    overlap: float
    best_changed: float

    def sentence(self, old: int) -> str:
        """The figures as one line."""
        if not self.queries:
            return f"no product to compare with version {old} by"
        return (
            f"overlap@{NEAREST} with version {old}: {self.overlap:.2f}; the best hit changed for "
            f"{self.best_changed:.0%} of {self.queries} products asked for"
        )


class Neighbors:
    """Asks both versions for the lookalikes of the same products."""

    def __init__(self, catalog: str, *, store: Store, old: Pair, new: Pair) -> None:
        self._catalog = catalog
        self._store = store
        self._pairs = (old, new)

    async def compare(self, *, total: int, sample: int) -> Comparison:
        """Compare by `sample` products, evenly spread over the `total` of the catalog; no model runs."""
        overlaps: list[float] = []
        changed: list[bool] = []
        async for products in self._spread(total=total, sample=sample):
            old, new = [await self._nearest(pair, products) for pair in self._pairs]
            for before, after in zip(old, new, strict=True):
                most = min(NEAREST, max(len(before), len(after)))
                if most:
                    overlaps.append(len(set(before) & set(after)) / most)
                    changed.append(before[:1] != after[:1])
        count = len(overlaps)
        return Comparison(count, sum(overlaps) / count if count else 0.0, sum(changed) / count if count else 0.0)

    async def _spread(self, *, total: int, sample: int) -> AsyncIterator[list[Product]]:
        """Products that both versions have, every so many of them."""
        step, after, batch = max(1, total // max(1, sample)), "", list[Product]()
        for _ in range(sample):
            page = await self._store.page(self._catalog, after=after, limit=1, views=True)
            if not page:
                break
            has = {view.embedding_version for view in page[0].views}
            if all(pair.version in has for pair in self._pairs):
                batch.append(page[0])
            if len(batch) == AT_ONCE:
                yield batch
                batch = []
            after = page[0].id
            if step > 1:
                further = await self._store.stretch(self._catalog, after=after, rows=step - 1)
                if further is None:
                    break
                after = further
        if batch:
            yield batch

    async def _nearest(self, pair: Pair, products: Sequence[Product]) -> list[list[str]]:
        """The ids of the nearest products of each, by one version."""
        ranker = Ranker(pair.index, self._store, version=pair.version, window=NEAREST, depth=NEAREST)
        ranked: list[Ranked] = await ranker.rank(
            self._catalog,
            [_want(product, pair.version) for product in products],
            need=NEAREST,
            filter=None,
            terms=Terms(),
            deadline=Deadline(SECONDS),
            stopwatch=Stopwatch(),
        )
        return [[hit.product.id for hit in each.hits[:NEAREST]] for each in ranked]


def _want(product: Product, version: int) -> Want:
    views = [view for view in product.views if view.embedding_version == version]
    vectors = np.stack([view.embedding for view in views]).astype(np.float32)
    return Want(vectors, views[0].category, looks_of(views[0]), besides=product.id)
