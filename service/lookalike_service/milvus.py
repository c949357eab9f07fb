"""Index over pymilvus: one collection of garment views per catalog and embedding version, grouped by product here."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException

from lookalike_service.errors import DeadlineExceeded, IndexUnavailable, StartupError
from lookalike_service.expression import milvus_expression
from lookalike_service.filter import Node
from lookalike_service.model import Entry, Ranking
from lookalike_service.rows import FIELDS, grouped, row_of

__all__ = ["MilvusIndex", "MilvusOptions", "alias_of", "collection_of"]

Item = TypeVar("Item")

logger = logging.getLogger(__name__)

# Milvus refuses to return more rows than this per query.
MOST_ROWS: Final = 16384
# VARCHAR lengths count bytes; the longest values of the API are 200 characters.
LONGEST_TEXT: Final = 800
FAILURES: Final = (MilvusException, grpc.RpcError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class MilvusOptions:
    """How to reach Milvus and what collections look like; Settings documents each."""

    uri: str
    token: str = ""
    clients: int = 1
    index_kind: str = "HNSW"
    links: int = 16
    build_width: int = 200
    search_width: int = 64
    batch: int = 2000
    call_seconds: float = 10.0


def collection_of(catalog: str, embedding_version: int) -> str:
    """`garments_<catalog>_<v>`, with the letters that Milvus refuses escaped so that no two names meet."""
    return f"{alias_of(catalog)}_{embedding_version}"


def alias_of(catalog: str) -> str:
    """`garments_<catalog>`, escaped in the same way."""
    escaped = re.sub(r"[^A-Za-z0-9]", lambda found: "__" if found[0] == "_" else f"_x{ord(found[0]):02x}", catalog)
    if len(escaped) > 200:
        escaped = "_h" + hashlib.sha256(catalog.encode()).hexdigest()
    return f"garments_{escaped}"


class MilvusIndex:
    """The garment views of one embedding version; searches group rows by product and fetch wider while short."""

    def __init__(self, options: MilvusOptions, *, writer: Any, embedding_version: int, dimension: int) -> None:  # noqa: ANN401
        """`writer` is a synchronous client; see `connect`, which makes it and waits for the server."""
        self._options = options
        self._version = embedding_version
        self._dimension = dimension
        # Searches share the event loop. Turning thousands of rows into messages would hold it up, and Lite creates
        # collections through the synchronous client only, so everything else runs in threads.
        self._writer = writer
        self._clients = [
            AsyncMilvusClient(options.uri, token=options.token, dedicated=True) for _ in range(options.clients)
        ]
        self._turn = itertools.cycle(self._clients)
        self._rows_per_product = 2.0

    @classmethod
    async def connect(
        cls, options: MilvusOptions, *, embedding_version: int, dimension: int, timeout: float = 60.0
    ) -> Self:
        """Wait until Milvus answers, `timeout` seconds at most. Raises StartupError that names what it waited for."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                seconds = max(1.0, min(5.0, deadline - time.monotonic()))
                writer = await asyncio.to_thread(_connected, options, seconds)
                return cls(options, writer=writer, embedding_version=embedding_version, dimension=dimension)
            except FAILURES as error:
                if time.monotonic() >= deadline:
                    raise StartupError(
                        f"Milvus at {options.uri} did not answer within {timeout:.0f} s; check LOOKALIKE_MILVUS_URI "
                        "and that it runs"
                    ) from error
                await asyncio.sleep(0.3)

    async def prepare(self, catalog: str) -> None:
        """Create what is missing of the catalog's collection and alias, and load it."""
        await asyncio.to_thread(self._prepare, catalog)

    def _prepare(self, catalog: str) -> None:
        name, alias, seconds = collection_of(catalog, self._version), alias_of(catalog), self._options.call_seconds * 6
        client = self._writer
        try:
            if client.has_collection(name, timeout=seconds):
                self._check(client.describe_collection(name, timeout=seconds), name)
            else:
                schema, index = self._schema(client)
                client.create_collection(
                    name, schema=schema, index_params=index, consistency_level="Bounded", timeout=seconds
                )
                logger.info("created the collection %s", name)
            if alias not in client.list_aliases(name, timeout=seconds).get("aliases", []):
                self._point(alias, name, seconds)
            client.load_collection(name, timeout=seconds)
        except FAILURES as error:
            logger.warning("Milvus failed: %s", error)
            raise IndexUnavailable(f"the collection {name} could not be made ready") from error

    def _point(self, alias: str, name: str, seconds: float) -> None:
        """Give the alias to the collection unless another embedding version has it: only reindexing switches it."""
        client = self._writer
        others = [other for other in client.list_collections(timeout=seconds) if other != name]
        taken = any(alias in client.list_aliases(other, timeout=seconds).get("aliases", []) for other in others)
        if not taken:
            client.create_alias(name, alias, timeout=seconds)

    def _check(self, description: dict[str, Any], name: str) -> None:
        found = [field["params"].get("dim") for field in description["fields"] if field["name"] == "embedding"]
        if [int(size or 0) for size in found] != [self._dimension]:
            raise StartupError(
                f"the collection {name} holds vectors of {found} numbers, the models make {self._dimension}; a change "
                "of models needs a new embedding version (LOOKALIKE_EMBEDDING_VERSION)"
            )

    def _schema(self, client: Any) -> tuple[Any, Any]:  # noqa: ANN401 - pymilvus is untyped
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=256)
        schema.add_field("product_id", DataType.VARCHAR, max_length=128)
        schema.add_field("image_sha256", DataType.VARCHAR, max_length=64)
        for name in ("category", "brand", "pattern"):
            schema.add_field(name, DataType.VARCHAR, max_length=LONGEST_TEXT)
        schema.add_field("price", DataType.INT64)
        schema.add_field("available", DataType.BOOL)
        schema.add_field("colours", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=16, max_length=64)
        schema.add_field("box", DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=4)
        schema.add_field("embedding_version", DataType.INT32)
        schema.add_field("revision", DataType.INT64)
        schema.add_field("attributes", DataType.JSON)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self._dimension)
        options = self._options
        parameters: dict[str, Any] = {"M": options.links, "efConstruction": options.build_width}
        if options.index_kind.startswith("IVF"):
            parameters = {"nlist": 1024}
        elif options.index_kind == "FLAT":
            parameters = {}
        index = client.prepare_index_params()
        # Lite reads these only when they are nested, servers only when they are not.
        index.add_index(
            "embedding",
            index_type=options.index_kind,
            metric_type="COSINE",
            params={**parameters, "params": parameters},
        )
        return schema, index

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
        rows = min(MOST_ROWS, max(limit + 1, int(limit * self._rows_per_product * 1.25) + 1))
        expression = milvus_expression(filter) if filter else ""
        async with self._calling(timeout):
            while wanting:
                found = await self._rows(catalog, vectors[wanting], rows=rows, expression=expression)
                for number, hits in zip(wanting, found, strict=True):
                    rankings[number] = grouped(hits, limit=limit, complete=len(hits) < rows)
                    self._learn(len(hits), len({hit["product_id"] for hit in hits}))
                wanting = [
                    number for number in wanting
                    if len(rankings[number].matches) < limit and not rankings[number].complete and rows < MOST_ROWS
                ]  # fmt: skip
                rows = min(MOST_ROWS, rows * 4)
        return [rankings[number] for number in range(len(vectors))]

    async def _rows(
        self, catalog: str, vectors: npt.NDArray[np.float32], *, rows: int, expression: str
    ) -> list[list[dict[str, Any]]]:
        width = max(self._options.search_width, rows)
        parameters = {"nprobe": 32} if self._options.index_kind.startswith("IVF") else {"ef": width}
        answer = await next(self._turn).search(
            collection_of(catalog, self._version),
            data=list(vectors),
            anns_field="embedding",
            filter=expression,
            limit=rows,
            output_fields=FIELDS,
            search_params={"metric_type": "COSINE", "params": parameters},
            consistency_level="Bounded",
            retry_times=3,
        )
        return [[{**hit["entity"], "score": hit["distance"]} for hit in hits] for hits in answer]

    def _learn(self, rows: int, products: int) -> None:
        if products:
            self._rows_per_product += 0.1 * (min(16.0, rows / products) - self._rows_per_product)

    async def upsert(self, catalog: str, entries: Sequence[Entry], *, timeout: float | None = None) -> None:
        """Write views in batches, replacing those of the same id. Raises IndexUnavailable, DeadlineExceeded."""
        async with self._calling(timeout) as seconds:
            for batch in _batches(entries, self._options.batch):
                await asyncio.to_thread(self._upsert, collection_of(catalog, self._version), batch, seconds)

    def _upsert(self, collection: str, entries: Sequence[Entry], seconds: float) -> None:
        self._writer.upsert(collection, [row_of(entry) for entry in entries], timeout=seconds)

    async def delete(self, catalog: str, view_ids: Sequence[str], *, timeout: float | None = None) -> None:
        """Delete views by their ids. Raises IndexUnavailable, DeadlineExceeded."""
        async with self._calling(timeout) as seconds:
            for batch in _batches(view_ids, self._options.batch):
                name = collection_of(catalog, self._version)
                await asyncio.to_thread(self._writer.delete, name, ids=list(batch), timeout=seconds)

    async def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients:
            await client.close()
        await asyncio.to_thread(self._writer.close)

    @asynccontextmanager
    async def _calling(self, timeout: float | None) -> AsyncIterator[float]:
        """Bound the time of a call, hand out that bound, and say what went wrong in our own words."""
        most = self._options.call_seconds
        bound = most if timeout is None else min(most, timeout)
        begin = time.monotonic()
        try:
            async with asyncio.timeout(bound):
                yield bound
        except TimeoutError as error:
            if timeout is not None and time.monotonic() - begin >= timeout:
                raise DeadlineExceeded("the index had not answered when the caller's time was over") from error
            raise IndexUnavailable(f"the index did not answer within {most:.0f} s") from error
        except FAILURES as error:
            logger.warning("Milvus failed: %s", error)
            raise IndexUnavailable("the index does not answer") from error


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def _connected(options: MilvusOptions, seconds: float) -> Any:  # noqa: ANN401 - pymilvus is untyped
    client = MilvusClient(options.uri, token=options.token, timeout=seconds, dedicated=True)
    try:
        client.list_collections(timeout=seconds)
    except FAILURES:
        client.close()
        raise
    return client
