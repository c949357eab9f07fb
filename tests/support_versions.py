"""What tests of embedding versions share: two models over fakes, a reindexer, and who searches and writes meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fakes import FakeFinder, MemoryIndex, by, photo, vector
from lookalike.v1 import garment_pb2, search_service_pb2
from lookalike_service.filling import Filled, Told
from lookalike_service.reindex import Reindexer
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair, State
from support_gateway import Shop, product

__all__ = ["Log", "Traffic", "brought", "filled", "model", "reindexer", "second", "states"]


class Log(Told):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.lines: list[str] = []

    def went_on(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def said(self, sentence: str) -> None:
        self.lines.append(sentence)


def model(version: int) -> Pair:
    """A model that sees looks in its own way, with an empty index."""
    return Pair(FakeFinder(version), MemoryIndex())


def second(shop: Shop) -> Pair:
    """Have Triton serve version 2 as well."""
    return shop.pairs.setdefault(2, model(2))


def index_of(pair: Pair) -> MemoryIndex:
    """The index as what it is."""
    assert isinstance(pair.index, MemoryIndex)
    return pair.index


def reindexer(
    shop: Shop,
    *,
    catalog: str = "default",
    told: Log | None = None,
    store: Any = None,  # noqa: ANN401 - what stands before one
    **changes: Any,  # noqa: ANN401 - any argument
) -> Reindexer:
    """One as another process would have."""
    store = store or shop.store
    values: dict[str, Any] = {
        "records": SqlVersions(store), "images": shop.images, "holder": secrets.token_hex(4), "told": told or Log(),
        "notice_seconds": 0.15, "call_seconds": 0.1, "photo_seconds": 10.0, "pause": 0.01,
    }  # fmt: skip
    return Reindexer(catalog, store=store, **{**values, **changes})


async def filled(worker: Reindexer, pair: Pair) -> Filled:
    """Fill a version until it is complete."""
    done = await worker.fill(pair, index_of(pair))
    assert not done.failures
    await worker.complete(pair, index_of(pair), done)
    return done


async def brought(worker: Reindexer, pair: Pair) -> Filled:
    """All of a reindexing, the switch included."""
    async with worker.leased():
        done = await filled(worker, pair)
        assert not (await worker.check(index_of(pair), pair.version)).faults
        await worker.switch(pair.version, index_of(pair))
    return done


async def states(shop: Shop, catalog: str = "default") -> dict[int, State]:
    """The versions of a catalog."""
    return {record.version: record.state for record in (await SqlVersions(shop.store).all())[catalog]}


@dataclass
class Traffic:
    """Searches by photo, token and product, and writes, one after the other until told to stop; all must succeed."""

    shop: Shop
    catalog: str = "default"
    answers: list[int] = field(default_factory=list)
    """The version of every answer, in order."""
    written: int = 0
    tokens: list[str] = field(default_factory=list)

    async def search(self, look: str = "look 3") -> int:
        request = search_service_pb2.SearchProductsRequest(
            catalog=f"catalogs/{self.catalog}", image=photo({"look": look}), include_embedding=True
        )
        answer = await self.shop.search.SearchProducts(request)
        self.check(answer, look)
        self.tokens.append(answer.results[0].garment.garment_token)
        return int(answer.embedding_version)

    async def tap(self) -> None:
        if self.tokens:
            tokens = garment_pb2.GarmentTokens(tokens=self.tokens[-1:])
            request = search_service_pb2.SearchProductsRequest(catalog=f"catalogs/{self.catalog}", garments=tokens)
            answer = await self.shop.search.SearchProducts(request)
            assert answer.results[0].hits[0].score > 0.99

    async def similar(self) -> None:
        request = search_service_pb2.ListSimilarProductsRequest(
            name=f"catalogs/{self.catalog}/products/p3", page_size=3
        )
        first = await self.shop.search.ListSimilarProducts(request)
        assert len(first.hits) == 3
        request.page_token = first.next_page_token
        await asyncio.sleep(0.01)
        rest = await self.shop.search.ListSimilarProducts(request)
        assert rest.embedding_version == first.embedding_version
        assert rest.hits

    async def write(self) -> None:
        self.written += 1
        await self.shop.bring([product(f"new{self.written}", f"new look {self.written}", catalog=self.catalog)])

    @staticmethod
    def check(answer: search_service_pb2.SearchProductsResponse, look: str) -> None:
        """Vector, collection and what the answer says are of one version: the product itself is found with cosine 1."""
        result = answer.results[0]
        seen = np.array(result.garment.embedding.values, np.float32)
        assert result.garment.embedding.version == answer.embedding_version
        assert seen @ vector(look + by(answer.embedding_version)) > 0.99
        assert result.hits and result.hits[0].score > 0.99
        assert result.hits[0].product.name.endswith(f"/products/p{look.rpartition(' ')[2]}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Under way during a block."""
        over = asyncio.Event()

        async def searching() -> None:
            while not over.is_set():
                self.answers.append(await self.search())
                await asyncio.sleep(0)

        async def others() -> None:
            while not over.is_set():
                await asyncio.gather(self.tap(), self.similar(), self.write())

        async with asyncio.TaskGroup() as group:
            group.create_task(searching())
            group.create_task(others())
            try:
                yield
            finally:
                over.set()
