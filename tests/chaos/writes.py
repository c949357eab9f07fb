"""Writers who never stop and remember what was acknowledged; a check that all of it is there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
from pymilvus import MilvusClient

from chaos.load import halted
from chaos.world import CATALOGS
from lookalike.v1 import product_pb2, product_service_pb2
from lookalike.v1.product_service_pb2_grpc import ProductServiceStub
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.milvus_collections import collection_of
from lookalike_service.store import SqlStore

__all__ = ["Ledger", "lost_products", "lost_views"]

CATALOG: Final = CATALOGS[1]
PRODUCTS, WRITERS = 24, 2
SECONDS: Final = 20.0
OPTIONS: Final = (("grpc.max_reconnect_backoff_ms", 500), ("grpc.min_reconnect_backoff_ms", 500))
# Floats travel as float16 in the database.
CLOSE: Final = 2e-3
MOST_ROWS: Final = 16384


def name(number: int) -> str:
    """The name of a product."""
    return f"catalogs/{CATALOG}/products/p{number}"


@dataclass(slots=True)
class Ledger:
    """What was acknowledged: the round that each product had at least, negative when it was deleted then."""

    address: str
    photos: tuple[bytes, ...]
    acknowledged: dict[int, int] = field(default_factory=dict)
    count: int = 0
    refused: int = 0
    pause: float = 0.0
    surplus: set[str] = field(default_factory=set)
    """Rows that the index has too much since an earlier fault."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Ledger:
        first = max((abs(round) for round in self.acknowledged.values()), default=0) + 1000
        self._tasks = [asyncio.create_task(self._write(number, first)) for number in range(WRITERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await halted(self._tasks)

    async def _write(self, writer: int, first: int) -> None:
        async with grpc.aio.insecure_channel(self.address, options=OPTIONS) as channel:
            stub: Any = ProductServiceStub(channel)  # one class serves both kinds of channels
            for round in itertools.count(first):
                for number in range(writer, PRODUCTS, WRITERS):
                    # What became of a write that failed is open, so nobody writes the same round twice.
                    try:
                        await self._one(stub, number, round)
                    except grpc.aio.AioRpcError:
                        self.refused += 1
                        await asyncio.sleep(0.1)
                    await asyncio.sleep(self.pause)

    async def _one(self, stub: Any, number: int, round: int) -> None:  # noqa: ANN401
        if (number + round) % 7 == 0:
            delete = product_service_pb2.DeleteProductRequest(name=name(number), revision=round, allow_missing=True)
            await stub.DeleteProduct(delete, timeout=SECONDS)
            self._note(number, -round)
            return
        # Most writes change what searches see without a new photo; each seventh round brings one.
        image = product_pb2.ProductImage(content=self.photos[round // 7 % len(self.photos)])
        product = product_pb2.Product(
            name=name(number), title=str(round), brand=f"brand {round}", revision=round, images=[image]
        )
        request = product_service_pb2.ImportProductsRequest(product=product)
        async for answer in stub.ImportProducts(iter([request]), timeout=SECONDS):
            if answer.error.code:
                self.refused += 1
                await asyncio.sleep(0.05)
            else:
                self._note(number, round)

    def _note(self, number: int, round: int) -> None:
        self.acknowledged[number] = round
        self.count += 1


async def lost_products(ledger: Ledger, database_url: str) -> list[str]:
    """The acknowledged writes that the database does not have; it may have later ones that nobody heard of."""
    acknowledged = dict(ledger.acknowledged)
    store = SqlStore(await open_database(DatabaseOptions(database_url)))
    try:
        ids = [f"p{number}" for number in acknowledged]
        stored = await store.products(CATALOG, ids, views=True, deleted=True)
    finally:
        await store.close()
    lost = []
    for number, round in acknowledged.items():
        found = stored.get(f"p{number}")
        if found is None or found.revision < abs(round):
            lost.append(f"p{number}: round {round} is acknowledged, {found.revision if found else 'nothing'} is there")
        elif found.revision == abs(round) and found.deleted is not (round < 0):
            lost.append(f"p{number}: deleted or not, it is the other way round in round {round}")
        elif not found.deleted and (found.title != str(found.revision) or not found.views):
            lost.append(f"p{number}: half of a write is there: {found.title} at {found.revision}")
    return lost


async def lost_views(settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Where the index does not hold the very vectors of the database, once nobody writes; by id what it has too much.

    A row too much is of a revision that has passed, or else it counts as lost: searches drop the former.
    """
    store = SqlStore(await open_database(DatabaseOptions(settings["LOOKALIKE_DATABASE_URL"])))
    uri, token = settings["LOOKALIKE_MILVUS_URI"], settings.get("LOOKALIKE_MILVUS_TOKEN", "")
    lost, surplus = list[str](), dict[str, str]()
    client = await asyncio.to_thread(MilvusClient, uri, token=token, timeout=30, dedicated=True)
    try:
        for catalog in CATALOGS:
            products = {product.id: product for product in await store.page(catalog, limit=MOST_ROWS, views=True)}
            views = {
                view.id: (product.indexed_revision, view.embedding.astype(np.float32))
                for product in products.values()
                for view in product.views
            }
            collection = collection_of(catalog, 1)
            # Lite that was restarted loads what is searched, and nobody searches here.
            await asyncio.to_thread(client.load_collection, collection, timeout=60)
            rows = await asyncio.to_thread(
                client.query,
                collection,
                filter='id != ""',
                output_fields=["id", "revision", "embedding"],
                limit=MOST_ROWS,
                consistency_level="Strong",
                timeout=60,
            )
            indexed = {row["id"]: (int(row["revision"]), np.array(row["embedding"], np.float32)) for row in rows}
            lost += [f"{catalog}: {id} is not in the index" for id in views.keys() - indexed.keys()]
            for id in indexed.keys() - views.keys():
                product = products.get(id.partition("/")[0])
                current = product is not None and product.indexed_revision <= indexed[id][0]
                said = f"{catalog}: {id} of revision {indexed[id][0]} should not be in the index"
                said += f", {product.indexed_revision if product else 'none'} is"
                if current:
                    lost.append(said)
                else:
                    surplus[id] = said
            for id in views.keys() & indexed.keys():
                (revision, vector), (found, there) = views[id], indexed[id]
                if revision != found or float(np.abs(vector - there).max()) > CLOSE:
                    lost.append(f"{catalog}: {id} differs: revision {found} instead of {revision}")
    finally:
        await asyncio.to_thread(client.close)
        await store.close()
    return lost, surplus
