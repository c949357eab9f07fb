"""Index over pymilvus: one collection of garment views per catalog and embedding version, grouped by product here."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from lookalike_service import metrics
from lookalike_service.errors import DeadlineExceeded, IndexUnavailable, StartupError
from lookalike_service.expression import milvus_expression
from lookalike_service.filter import Node
from lookalike_service.logs import request_id
from lookalike_service.milvus_clients import (
    FAILURES,
    MilvusOptions,
    connected,
    failing_clearly,
    not_loaded,
    reason,
    said,
    searcher,
)
from lookalike_service.milvus_collections import Collections, alias_of, collection_of
from lookalike_service.milvus_sharing import SharedCalls, Vectors
from lookalike_service.milvus_versions import abilities_of
from lookalike_service.model import Entry, IndexedView, Ranking
from lookalike_service.rows import FIELDS, check_versions, grouped, row_of
from lookalike_service.telemetry import asking

__all__ = ["MilvusIndex", "MilvusOptions", "alias_of", "collection_of"]

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

# Milvus refuses to return more rows than this per query.
MOST_ROWS: Final = 16384
# Vectors of several searches in one call; its answer is held in memory whole.
MOST_SHARED: Final = 128
SCANNED_ROWS: Final = 1000
# It refuses messages of 64 MiB; what a row takes beside its vector and its attributes is far less than this.
MOST_BYTES: Final = 48 * 1024 * 1024
BYTES_BESIDE: Final = 4096


class _Kind(NamedTuple):
    """What searches must have in common to go together."""

    collection: str
    rows: int
    expression: str


class MilvusIndex:
    """The garment views of one embedding version; searches group rows by product and fetch wider while short."""

    def __init__(
        self,
        options: MilvusOptions,
        *,
        writer: Any,  # noqa: ANN401 - pymilvus is untyped
        collections: Collections,
        embedding_version: int,
        dimension: int,
    ) -> None:
        """`writer` is a synchronous client; see `connect`, which makes it and waits for the server."""
        self._options = options
        self._version = embedding_version
        self._row_bytes = dimension * 4 + BYTES_BESIDE
        # Searches share the event loop. Turning thousands of rows into messages would hold it up, and Lite creates
        # collections through the synchronous client only, so everything else runs in threads.
        self._writer = writer
        self._collections = collections
        self._clients = [searcher(options) for _ in range(options.clients)]
        self._turn = itertools.cycle(self._clients)
        self._shared = SharedCalls[_Kind, list[dict[str, Any]]](
            self._rows, at_once=options.calls * options.clients, most=MOST_SHARED
        )
        self._rows_per_product = 2.0
        self._loading: dict[str, asyncio.Task[None]] = {}

    @classmethod
    async def connect(
        cls, options: MilvusOptions, *, embedding_version: int, dimension: int, timeout: float = 60.0
    ) -> Self:
        """Wait until Milvus answers, `timeout` seconds at most. Raises StartupError that says what to do."""
        writer = await connected(options, timeout=timeout)
        try:
            version = str(await asyncio.to_thread(writer.get_server_version, timeout=options.call_seconds))
            abilities = abilities_of(version)
            if options.index_kind not in abilities.kinds:
                raise StartupError(
                    f"{abilities.name} builds no {options.index_kind} index; set LOOKALIKE_INDEX_KIND to one of "
                    f"{', '.join(sorted(abilities.kinds))}"
                )
        except StartupError:
            await asyncio.to_thread(writer.close)
            raise
        except FAILURES as error:
            await asyncio.to_thread(writer.close)
            raise StartupError(f"Milvus at {options.address} does not say its version") from error
        if not abilities.measured:
            logger.info("Milvus %s: the contract suite has not been run on %s", version, abilities.name)
        collections = Collections(writer, options, abilities, dimension=dimension)
        return cls(
            options, writer=writer, collections=collections, embedding_version=embedding_version, dimension=dimension
        )

    async def prepare(self, catalog: str) -> None:
        """Create what is missing of the catalog's collection and alias, and load it."""
        name = collection_of(catalog, self._version)
        with failing_clearly(name, "could not be made ready"):
            await asyncio.to_thread(self._collections.prepare, name, alias=alias_of(catalog))

    async def point(self, catalog: str) -> None:
        """Let the catalog's alias name this version's collection. Raises IndexUnavailable."""
        name = collection_of(catalog, self._version)
        with failing_clearly(name, "could not be given its alias"):
            await asyncio.to_thread(self._collections.point, alias_of(catalog), name)

    async def drop(self, catalog: str) -> None:
        """Drop this version's collection. Raises IndexUnavailable, and StartupError while the alias names it."""
        name = collection_of(catalog, self._version)
        with failing_clearly(name, "could not be dropped"):
            await asyncio.to_thread(self._collections.drop, name, alias=alias_of(catalog))

    async def search(
        self,
        catalog: str,
        vectors: npt.NDArray[np.float32],
        *,
        limit: int,
        filter: Node | None = None,
        timeout: float | None = None,
    ) -> list[Ranking]:
        """Rank products for each row of `vectors` (n, d): `limit` of them wherever that many exist.

        One call serves all rows; those that come back short of products, because many views of few products lie
        near, are asked again four times wider, until the collection has no more. Raises IndexUnavailable,
        DeadlineExceeded.
        """
        rankings: dict[int, Ranking] = {}
        wanting = list(range(len(vectors)))
        rows = self.rows_for(limit)
        expression = milvus_expression(filter) if filter else ""
        async with self._calling("search", catalog, timeout, rows=len(vectors)) as seconds:
            while wanting:
                kind = _Kind(collection_of(catalog, self._version), rows, expression)
                found = await self._shared.search(kind, list(vectors[wanting]), seconds=seconds)
                for number, hits in zip(wanting, found, strict=True):
                    rankings[number] = grouped(hits, limit=limit, complete=len(hits) < rows)
                    self._learn(len(hits), len({hit["product_id"] for hit in hits}))
                wanting = [
                    number for number in wanting
                    if len(rankings[number].matches) < limit and not rankings[number].complete and rows < MOST_ROWS
                ]  # fmt: skip
                rows = min(MOST_ROWS, rows * 4)
        return [rankings[number] for number in range(len(vectors))]

    def rows_for(self, limit: int) -> int:
        """How many rows a search for `limit` products asks Milvus for at first, by how many views each had of late."""
        # Whole eights, so that searches of like depth can go together.
        return min(MOST_ROWS, -(-max(limit + 1, int(limit * self._rows_per_product * 1.25) + 1) // 8) * 8)

    async def _rows(self, kind: _Kind, vectors: Vectors, seconds: float) -> list[list[dict[str, Any]]]:
        answer = await next(self._turn).search(
            kind.collection,
            data=vectors,
            anns_field="embedding",
            filter=kind.expression,
            limit=kind.rows,
            output_fields=FIELDS,
            search_params={
                "metric_type": "COSINE",
                "params": self._collections.search_parameters(
                    kind.collection, rows=kind.rows, filtered=bool(kind.expression)
                ),
            },
            consistency_level="Bounded",
            retry_times=3,
            timeout=seconds,
            client_request_id=request_id.get(),
        )
        return [[_row(hit) for hit in hits] for hits in answer]

    def _learn(self, rows: int, products: int) -> None:
        if products:
            self._rows_per_product += 0.1 * (min(16.0, rows / products) - self._rows_per_product)

    async def upsert(self, catalog: str, entries: Sequence[Entry], *, timeout: float | None = None) -> None:
        """Write views in batches, replacing those of the same id.

        Raises IndexUnavailable, DeadlineExceeded, and VersionsOutdated for vectors of another embedding version.
        """
        check_versions(entries, self._version, catalog=catalog)
        end = None if timeout is None else time.monotonic() + timeout
        for batch in _batches(entries, self._options.batch, sizes=map(self._bytes, entries)):
            async with self._calling("upsert", catalog, _until(end), rows=len(batch)) as seconds:
                await _to_the_end(self._upsert, collection_of(catalog, self._version), batch, seconds)

    def _upsert(self, collection: str, entries: Sequence[Entry], seconds: float) -> None:
        self._writer.upsert(collection, [row_of(entry) for entry in entries], timeout=seconds)

    def _bytes(self, entry: Entry) -> int:
        return self._row_bytes + sum(4 * len(str(each)) for pair in entry.product.attributes.items() for each in pair)

    async def delete(self, catalog: str, view_ids: Sequence[str], *, timeout: float | None = None) -> None:
        """Delete views by their ids. Raises IndexUnavailable, DeadlineExceeded."""
        end, name = None if timeout is None else time.monotonic() + timeout, collection_of(catalog, self._version)
        for batch in _batches(view_ids, self._options.batch, sizes=map(len, view_ids)):
            async with self._calling("delete", catalog, _until(end), rows=len(batch)) as seconds:
                await _to_the_end(self._writer.delete, name, ids=list(batch), timeout=seconds)

    async def scan(self, catalog: str) -> AsyncIterator[Sequence[IndexedView]]:
        """All views of the catalog, some hundreds at a time and in no order; of fresh writes perhaps not all.

        Raises IndexUnavailable.
        """
        name, most = collection_of(catalog, self._version), self._options.call_seconds
        async with self._calling("scan", catalog, None):
            rows = await asyncio.to_thread(
                self._writer.query_iterator,
                name,
                batch_size=SCANNED_ROWS,
                output_fields=["id", "product_id", "revision"],
                timeout=most,
            )
        try:
            while True:
                async with self._calling("scan", catalog, None):
                    found = await asyncio.to_thread(rows.next)
                if not found:
                    return
                yield [IndexedView(row["id"], row["product_id"], int(row["revision"])) for row in found]
        finally:
            await asyncio.to_thread(rows.close)

    async def revisions(self, catalog: str, view_ids: Sequence[str]) -> dict[str, int]:
        """The revisions of those among `view_ids` that the index has, every acknowledged write included.

        Raises IndexUnavailable.
        """
        found: dict[str, int] = {}
        for batch in _batches(view_ids, SCANNED_ROWS, sizes=map(len, view_ids)):
            async with self._calling("query", catalog, None, rows=len(batch)) as seconds:
                rows = await asyncio.to_thread(
                    self._writer.query,
                    collection_of(catalog, self._version),
                    ids=list(batch),
                    output_fields=["id", "revision"],
                    consistency_level="Strong",
                    timeout=seconds,
                )
            found.update({row["id"]: int(row["revision"]) for row in rows})
        return found

    async def close(self) -> None:
        """Let go of the connections."""
        for task in self._loading.values():
            task.cancel()
        for client in self._clients:
            await client.close()
        await asyncio.to_thread(self._writer.close)

    @asynccontextmanager
    async def _calling(
        self, operation: str, catalog: str, timeout: float | None, *, rows: int = 0
    ) -> AsyncIterator[float]:
        """Bound the time of a call, watch it, hand out that bound, and say what went wrong in our own words."""
        most = self._options.call_seconds
        bound = most if timeout is None else min(most, timeout)
        begin = time.monotonic()
        try:
            collection = collection_of(catalog, self._version)
            with asking("milvus", operation, collection=collection, rows=rows):
                async with asyncio.timeout(bound):
                    yield bound
            metrics.index_rows(catalog, operation, rows)
        except TimeoutError as error:
            if timeout is not None and time.monotonic() - begin >= timeout:
                raise DeadlineExceeded("the index had not answered when the caller's time was over") from error
            raise IndexUnavailable(f"the index did not answer within {most:.0f} s") from error
        except FAILURES as error:
            logger.warning("Milvus failed: %s", said(error))
            if not_loaded(error):
                self._load(catalog)
            raise IndexUnavailable(reason(error)) from error

    def _load(self, catalog: str) -> None:
        """Make a collection ready that a restarted server holds on disk only; those who ask meanwhile try again."""
        if catalog not in self._loading:
            task = asyncio.create_task(self._loaded(catalog))
            self._loading[catalog] = task
            task.add_done_callback(lambda _: self._loading.pop(catalog, None))

    async def _loaded(self, catalog: str) -> None:
        logger.info("%s is not loaded: Milvus was restarted", collection_of(catalog, self._version))
        try:
            await self.prepare(catalog)
        except (IndexUnavailable, StartupError) as error:
            logger.warning("%s", error)


def _row(hit: dict[str, Any]) -> dict[str, Any]:
    """The fields that a hit brought back, with its score beside them."""
    # Past pymilvus' own lookup, which takes a microsecond, by tens of hits in each of thousands of searches.
    row: dict[str, Any] = dict.__getitem__(hit, "entity")
    row["id"], row["score"] = dict.__getitem__(hit, "id"), dict.__getitem__(hit, "distance")
    return row


async def _to_the_end(call: Callable[..., object], *arguments: object, **named: object) -> None:
    """Run a write in a thread, and go on only when it has really ended.

    pymilvus tries again within its timeout and begins its last attempt just before that is over. A write that was given
    up and lands afterwards would undo a newer one.
    """
    writing = asyncio.ensure_future(asyncio.to_thread(call, *arguments, **named))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        if not writing.cancelled():
            writing.exception()
        raise


def _until(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _batches(items: Sequence[Item], most: int, *, sizes: Iterable[int]) -> Iterator[Sequence[Item]]:
    """Cut into batches of `most` items and MOST_BYTES bytes."""
    begin, total = 0, 0
    for end, size in enumerate(sizes):
        if end > begin and (end - begin == most or total + size > MOST_BYTES):
            yield items[begin:end]
            begin, total = end, 0
        total += size
    if begin < len(items):
        yield items[begin:]
