"""Compares the index with the catalog of record, view by view, and brings it in step."""

from __future__ import annotations

import asyncio
import enum
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lookalike_service.model import IndexedView, Product
from lookalike_service.ports import Index, Store
from lookalike_service.projection import Projection

__all__ = ["Fault", "Report", "Verifier"]

MOST_PRODUCTS: Final = 500
MOST_EXAMPLES: Final = 10


class Fault(enum.Enum):
    """What can be wrong with a view in the index."""

    MISSING = "missing"
    SURPLUS = "surplus"
    OUTDATED = "outdated"


@dataclass(slots=True)
class Report:
    """What was found in one catalog; `views` are those of record and `indexed` those that the index has."""

    catalog: str
    products: int = 0
    views: int = 0
    indexed: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    repaired: bool = False
    version: int = 0
    """The embedding version, where a catalog has several."""

    def sentence(self) -> str:
        """The report as one line."""
        of_version = f" by version {self.version}" if self.version else ""
        counts = ", ".join(f"{self.faults[fault]} {fault.value}" for fault in Fault)
        end = " (repaired)" if self.repaired and self.faults else ""
        whole = f"{self.products} products with {self.views} views, {self.indexed} in the index"
        return f"{self.catalog}{of_version}: {whole}; {counts}{end}"


class Verifier:
    """Compares and repairs while writes go on: what differs is looked at again before it counts."""

    def __init__(
        self, *, index: Index, store: Store, projection: Projection, embedding_version: int, pause: float = 1.0
    ) -> None:
        """`pause` seconds lie between the two looks; within it a write under way reaches the index."""
        self._index = index
        self._store = store
        self._projection = projection
        self._version = embedding_version
        self._pause = pause

    async def verify(self, catalog: str, *, repair: bool) -> Report:
        """Compare a catalog both ways. Raises IndexUnavailable, StoreUnavailable."""
        report = Report(catalog, repaired=repair)
        async for products in self._pages(catalog):
            report.products += len(products)
            report.views += sum(len(self._views(product)) for product in products.values())
            await self._settle(report, await self._absent(catalog, products), repair=repair)
        async for rows in self._index.scan(catalog):
            report.indexed += len(rows)
            await self._settle(report, await self._surplus(catalog, rows), repair=repair)
        return report

    async def _settle(self, report: Report, suspects: Mapping[str, str], *, repair: bool) -> None:
        """Look again at views that differ, by their products; note those that still do and repair them."""
        if not suspects:
            return
        await asyncio.sleep(self._pause)
        products = await self._store.products(report.catalog, sorted(set(suspects.values())), views=True)
        found = await self._index.revisions(report.catalog, list(suspects))
        current = {id: product.indexed_revision for product in products.values() for id in self._views(product)}
        outdated: dict[str, set[str]] = defaultdict(set)
        for view_id, product_id in suspects.items():
            fault = _fault(current.get(view_id), found.get(view_id))
            if fault is None:
                continue
            report.faults[fault] += 1
            if len(report.examples) < MOST_EXAMPLES:
                report.examples.append(f"{fault.value} {view_id}")
            outdated[product_id].add(view_id)
        if repair and outdated:
            await self._projection.follow(report.catalog, outdated)

    async def _absent(self, catalog: str, products: Mapping[str, Product]) -> dict[str, str]:
        """The views of record that the index has not, or has of another revision."""
        wanted = {id: product for product in products.values() for id in self._views(product)}
        found = await self._index.revisions(catalog, list(wanted))
        return {id: product.id for id, product in wanted.items() if found.get(id) != product.indexed_revision}

    async def _surplus(self, catalog: str, rows: Sequence[IndexedView]) -> dict[str, str]:
        """The rows of the index that belong to no view of record."""
        products = await self._store.products(catalog, sorted({row.product_id for row in rows}), views=True)
        known = {id for product in products.values() for id in self._views(product)}
        return {row.id: row.product_id for row in rows if row.id not in known}

    async def _pages(self, catalog: str) -> AsyncIterator[dict[str, Product]]:
        after = ""
        while page := await self._store.page(catalog, after=after, limit=MOST_PRODUCTS, views=True):
            yield {product.id: product for product in page}
            after = page[-1].id

    def _views(self, product: Product) -> list[str]:
        return [view.id for view in product.views if view.embedding_version == self._version]


def _fault(wanted: int | None, found: int | None) -> Fault | None:
    """`wanted` and `found` are the revisions that record and index have of a view, None where there is none."""
    if wanted == found:
        return None
    if found is None:
        return Fault.MISSING
    return Fault.SURPLUS if wanted is None else Fault.OUTDATED
