"""Reads products of record for many writers at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from lookalike_service.model import Product
from lookalike_service.ports import Store

__all__ = ["Lookups"]


class Lookups:
    """Those that are asked for while a query runs share the next one, so that an import costs few round trips."""

    def __init__(self, store: Store) -> None:
        """`store` must stay open as long as somebody waits."""
        self._store = store
        self._waiting: dict[str, dict[str, list[asyncio.Future[Product | None]]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def product(self, catalog: str, product_id: str) -> Product | None:
        """The product with its views, or what a deleted one left, as it is after this call. Raises StoreUnavailable."""
        found: asyncio.Future[Product | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(catalog, defaultdict(list))[product_id].append(found)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await found

    async def _drain(self) -> None:
        while self._waiting:
            # Whoever is ready to ask in this turn of the loop shall share the query.
            await asyncio.sleep(0)
            waiting, self._waiting = self._waiting, {}
            for catalog, asked in waiting.items():
                try:
                    products = await self._store.products(catalog, list(asked), views=True, deleted=True)
                except Exception as error:
                    for found in (each for futures in asked.values() for each in futures if not each.done()):
                        found.set_exception(error)
                    continue
                for product_id, futures in asked.items():
                    for found in futures:
                        if not found.done():
                            found.set_result(products.get(product_id))
