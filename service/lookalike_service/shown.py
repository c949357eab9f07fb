"""What searches show of their hits: products and views of record, built anew only where their revision has changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cachetools import TTLCache
from sqlalchemy import Connection, false, select

from lookalike_service import tables
from lookalike_service.model import Product, View
from lookalike_service.reads import MOST_IDS, products_by_id

__all__ = ["ShownProducts"]

# A version that was dropped and filled anew under its old number has other views with the same revision.
_SECONDS: Final = 60.0

ViewKey = tuple[str, int]  # id and embedding version


@dataclass(frozen=True, slots=True)
class _Known:
    product: Product
    views: dict[ViewKey, View] = field(default_factory=dict)


class ShownProducts:
    """Reads the products of a search's hits; the popular ones are hits of search after search.

    The database is asked each time, but for revisions alone, which is a tenth of the work: whoever writes, through
    whichever gateway, is seen at once. Safe to use from several threads.
    """

    def __init__(self, most: int) -> None:
        """Remember `most` products, some 3 KB each."""
        self._known: TTLCache[tuple[str, str], _Known] | None = TTLCache(most, _SECONDS) if most else None
        self._lock = threading.Lock()

    def read(
        self, connection: Connection, catalog: str, views: Mapping[str, str], *, embedding_version: int
    ) -> dict[str, tuple[Product, View]]:
        """By the ids of `views` (each with its product's) the product without views and the view without its vector.

        What is gone is left out.
        """
        revisions = _revisions(connection, catalog, sorted(set(views.values())))
        known = self._still_right(catalog, revisions)
        missing = [
            view
            for view, product in views.items()
            if product in revisions and (product not in known or (view, embedding_version) not in known[product].views)
        ]
        if missing:
            products = sorted({views[view] for view in missing})
            known.update(self._remembered(catalog, products_by_id(connection, catalog, products, shown=missing)))
        shown = {}
        for view_id, product_id in views.items():
            if product_id in known:
                view = known[product_id].views.get((view_id, embedding_version))
                if view is not None:
                    shown[view_id] = known[product_id].product, view
        return shown

    def _still_right(self, catalog: str, revisions: Mapping[str, int]) -> dict[str, _Known]:
        """What is known of the products, where that is of these revisions."""
        if self._known is None:
            return {}
        with self._lock:
            found = {product: self._known.get((catalog, product)) for product in revisions}
        return {id: each for id, each in found.items() if each and each.product.revision == revisions[id]}

    def _remembered(self, catalog: str, products: Mapping[str, Product]) -> dict[str, _Known]:
        """Products as they were just read, with what else is known of their views."""
        read = {
            id: _Known(replace(product, views=()), {(view.id, view.embedding_version): view for view in product.views})
            for id, product in products.items()
        }
        if self._known is None:
            return read
        with self._lock:
            for id, new in read.items():
                old = self._known.get((catalog, id))
                if old and old.product.revision == new.product.revision:
                    new = _Known(new.product, old.views | new.views)
                self._known[catalog, id] = read[id] = new
        return read


def _revisions(connection: Connection, catalog: str, ids: Sequence[str]) -> dict[str, int]:
    """The revisions of those products that exist."""
    table = tables.products
    found: dict[str, int] = {}
    for begin in range(0, len(ids), MOST_IDS):
        here = (table.c.catalog == catalog) & table.c.id.in_(ids[begin : begin + MOST_IDS])
        rows = connection.execute(select(table.c.id, table.c.revision).where(here, table.c.deleted.is_(false())))
        found.update((id, revision) for id, revision in rows)
    return found
