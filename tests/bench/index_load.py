"""Searches through the Index adapter and by pymilvus called bare, for the load engine and one by one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.exact import recall_at
from lookalike.bench.load import Answer, Call
from lookalike_service.filter import Node
from lookalike_service.milvus import MilvusIndex
from lookalike_service.ports import Index
from lookalike_service.rows import FIELDS

__all__ = ["LIMIT", "SEARCH_WIDTH", "Bare", "adapter_call", "number_of", "overhead", "recall"]

LIMIT: Final = 10
SEARCH_WIDTH: Final = 64
SECONDS: Final = 30.0

Queries = npt.NDArray[np.float32]


def adapter_call(index: Index, catalog: str, queries: Queries, *, filter: Node | None = None) -> Call:
    """One query after the other, for ten products."""

    async def call(number: int) -> Answer:
        query = queries[number % len(queries)][None]
        [ranking] = await index.search(catalog, query, limit=LIMIT, filter=filter, timeout=SECONDS)
        return Answer(garments=len(ranking.matches))

    return call


async def recall(
    index: Index, catalog: str, queries: Queries, exact: Sequence[Sequence[int]], *, filter: Node | None = None
) -> float:
    """The share of the ten products of exact search that the adapter finds, mean over the queries."""
    found = []
    for query in queries:
        [ranking] = await index.search(catalog, query[None], limit=LIMIT, filter=filter, timeout=SECONDS)
        found.append([number_of(match.product_id) for match in ranking.matches])
    return recall_at(found, exact)


def number_of(product_id: str) -> int:
    """Of a made product."""
    return int(product_id.removeprefix("p"))


class Bare:
    """pymilvus called by somebody who needs neither grouping nor deadlines nor metrics."""

    def __init__(self, client: Any, collection: str) -> None:  # noqa: ANN401 - pymilvus is untyped
        """`client` is an AsyncMilvusClient."""
        self._client = client
        self._collection = collection

    async def search(self, query: npt.NDArray[np.float32], *, rows: int) -> None:
        """The same parameters and output fields as the adapter's."""
        await self._client.search(
            self._collection,
            data=[query],
            anns_field="embedding",
            limit=rows,
            output_fields=FIELDS,
            search_params={"metric_type": "COSINE", "params": {"ef": max(SEARCH_WIDTH, rows)}},
            consistency_level="Bounded",
            timeout=SECONDS,
        )


async def overhead(index: MilvusIndex, catalog: str, bare: Bare, queries: Queries) -> tuple[list[float], list[float]]:
    """Milliseconds of every query through the adapter and bare, one after the other; who is first alternates.

    Bare asks for as many rows as the adapter does at that moment.
    """
    ours: list[float] = []
    theirs: list[float] = []

    async def adapter(query: Queries) -> None:
        begin = time.perf_counter()
        await index.search(catalog, query[None], limit=LIMIT, timeout=SECONDS)
        ours.append(1000 * (time.perf_counter() - begin))

    async def alone(query: Queries) -> None:
        rows = index.rows_for(LIMIT)
        begin = time.perf_counter()
        await bare.search(query, rows=rows)
        theirs.append(1000 * (time.perf_counter() - begin))

    for number, query in enumerate(queries):
        for way in (adapter, alone) if number % 2 else (alone, adapter):
            await way(query)
    return ours, theirs
