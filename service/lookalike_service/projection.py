"""Keeps the index in step with the catalog of record by way of the outbox."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lookalike_service import metrics
from lookalike_service.errors import LookalikeError
from lookalike_service.model import Entry, Pending, Product
from lookalike_service.ports import Index, Store
from lookalike_service.versions import Shelf

__all__ = ["Projection", "Shelves", "only"]

logger = logging.getLogger(__name__)

Shelves = Callable[[str], Sequence[Shelf]]
"""The index of each embedding version that a catalog has."""

MOST_PRODUCTS: Final = 512
ROUNDS: Final = 10
RETRY_SECONDS: Final = 1.0


def only(version: int, index: Index) -> Shelves:
    """One version and no other, whatever the catalog."""
    return lambda _: [Shelf(version, index)]


class Projection:
    """One worker that writes what has changed to the index, many products at a time.

    It always writes what the catalog of record says at that moment, and looks again afterwards: of two processes that
    write the same product, the one that ends last has the newest.
    """

    def __init__(self, *, shelves: Shelves, store: Store) -> None:
        self._shelves = shelves
        self._store = store
        self._queue: asyncio.Queue[tuple[Pending, asyncio.Future[None]]] = asyncio.Queue()
        # By product, then by the entry's number: each entry names views that only it knows to be stale.
        self._behind: defaultdict[tuple[str, str], dict[int, Pending]] = defaultdict(dict)
        # Views that were sent for a product; a write that failed may have reached the index all the same.
        self._sent: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []
        metrics.watch_outbox(lambda: self._queue.qsize() + sum(map(len, self._behind.values())))

    async def start(self) -> None:
        """Replay what an earlier process left, then go to work. Raises IndexUnavailable, StoreUnavailable."""
        replayed = await self.replay()
        if replayed:
            logger.info("replayed %d changes that had not reached the index", replayed)
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._retry())]

    async def stop(self) -> None:
        """End; what is unfinished stays in the outbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait()[1].cancel()

    async def replay(self, catalog: str = "") -> int:
        """Apply the outbox, of one catalog or of all, until it is empty; gives how many entries there were."""
        count = 0
        while entries := await self._store.pending(limit=MOST_PRODUCTS, catalog=catalog):
            await self.apply(entries)
            count += len(entries)
        return count

    async def project(self, pending: Pending) -> None:
        """Return when the index has the change. Raises IndexUnavailable, StoreUnavailable; it is tried again later."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((pending, done))
        await done

    async def catch_up(self, catalog: str, product_id: str) -> None:
        """Project again what has failed before, so that an unchanged product is acknowledged only when it is found."""
        behind = self._behind.get((catalog, product_id), {})
        await asyncio.gather(*map(self.project, behind.values()))

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MOST_PRODUCTS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            entries = [pending for pending, _ in batch]
            failure: Exception | None = None
            try:
                await self._bring(entries)
            except Exception as error:
                failure = error
                self._wait(entries)
            for _, done in batch:
                if failure and not done.done():
                    done.set_exception(failure)
                    # Its writer may have gone away; the outbox has it.
                    done.exception()
                elif not done.done():
                    done.set_result(None)
            if not failure:
                # Nobody waits for this: an entry that is not settled is brought once more, which does no harm.
                failure = await self._settle(entries)
            if failure and not isinstance(failure, LookalikeError):
                logger.error("a change could not be brought to the index", exc_info=failure)

    async def _settle(self, entries: Sequence[Pending]) -> Exception | None:
        try:
            await self._store.settle(entries)
        except Exception as error:
            self._wait(entries)
            return error
        for entry in entries:
            key = (entry.catalog, entry.product_id)
            if key in self._behind:
                self._behind[key].pop(entry.sequence, None)
                if not self._behind[key]:
                    del self._behind[key]
        return None

    def _wait(self, entries: Sequence[Pending]) -> None:
        for entry in entries:
            self._behind[entry.catalog, entry.product_id][entry.sequence] = entry

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            waiting = [entry for each in self._behind.values() for entry in each.values()]
            if waiting:
                try:
                    for first in range(0, len(waiting), MOST_PRODUCTS):
                        await self.apply(waiting[first : first + MOST_PRODUCTS])
                except LookalikeError as error:
                    logger.warning("%d changes wait for the index: %s", len(waiting), error)
                except Exception:
                    logger.exception("changes could not be brought to the index")

    async def apply(self, entries: Sequence[Pending]) -> None:
        """Bring these changes to the index and remove their entries. Raises IndexUnavailable, StoreUnavailable."""
        await self._bring(entries)
        if failure := await self._settle(entries):
            raise failure

    async def _bring(self, entries: Sequence[Pending]) -> None:
        """Write the products' views as they are now, and delete those that they no longer have."""
        catalogs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for entry in entries:
            catalogs[entry.catalog][entry.product_id].update(entry.stale_views)
        for catalog, outdated in catalogs.items():
            await self.follow(catalog, outdated)

    async def follow(self, catalog: str, outdated: Mapping[str, set[str]]) -> None:
        """Make the index hold of these products what the record says now, and none of the views named with them.

        Raises IndexUnavailable, StoreUnavailable.
        """
        for _ in range(ROUNDS):
            products = await self._store.products(catalog, list(outdated), views=True)
            rows = [Entry(product, view) for product in products.values() for view in product.views]
            former = set().union(*outdated.values(), *(self._sent[catalog, id] for id in outdated))
            for entry in rows:
                self._sent[catalog, entry.product.id].add(entry.view.id)
            for shelf in self._shelves(catalog):
                await _put(shelf, catalog, rows, former=former)
            for id in outdated:
                self._sent.pop((catalog, id), None)
            after = await self._store.products(catalog, list(outdated))
            outdated = {
                id: {entry.view.id for entry in rows if entry.product.id == id}
                for id in outdated
                if _revision(products.get(id)) != _revision(after.get(id))
            }
            if not outdated:
                return
        logger.warning("products of %s change faster than the index can follow", catalog)


async def _put(shelf: Shelf, catalog: str, rows: Sequence[Entry], *, former: set[str]) -> None:
    """Write the rows of the shelf's version, and delete those of the former views that are not among them."""
    own = [entry for entry in rows if entry.view.embedding_version == shelf.version]
    stale = former - {entry.view.id for entry in own}
    try:
        if own:
            await shelf.index.upsert(catalog, own)
        if stale:
            await shelf.index.delete(catalog, sorted(stale))
    except LookalikeError as error:
        if shelf.needed:
            raise
        logger.warning("left to the filling of version %d: %s", shelf.version, error.message)


def _revision(product: Product | None) -> int | None:
    return product.indexed_revision if product else None
