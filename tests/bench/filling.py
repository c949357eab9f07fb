"""A catalog as large as wanted, filled in seconds: the models see a few photos, everything else is drawn near those."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pymilvus import MilvusClient
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from lookalike_service import tables
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.milvus import MilvusIndex, MilvusOptions, collection_of
from lookalike_service.model import Box, Entry, Garment, GarmentFinder, Money, Product, ProductImage, View
from lookalike_service.records import image_rows, product_row, view_rows
from support_engines import MilvusAccess

__all__ = ["Seen", "fill", "made_products", "seen_garments", "settled"]

BRANDS: Final = ("Acorn", "Birch", "Cedar", "Drift", "Ember", "Fjord", "Grove", "Heath", "Inlet", "Juniper")
# Cosines of about 0.8 to the garment that a product was drawn near, and 0.95 between the views of a product: what
# the wardrobe's own items and views have.
PRODUCT_NOISE, VIEW_NOISE = 0.75, 0.33
BATCH: Final = 2000
PATIENCE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the models said of one garment: vector (d,) float32, coarse category, colours, pattern."""

    embedding: npt.NDArray[np.float32]
    category: str
    colours: tuple[str, ...]
    pattern: str


async def seen_garments(finder: GarmentFinder, photos: Sequence[bytes]) -> list[Seen]:
    """Every garment on the photos."""
    found = [await finder.find(photo, timeout=60) for photo in photos]
    return [_seen(garment) for each in found for garment in each.garments]


def _seen(garment: Garment) -> Seen:
    colours = tuple(colour.name for colour in garment.colours[:2])
    pattern = garment.patterns[0].name if garment.patterns else ""
    return Seen(garment.embedding, garment.category, colours, pattern)


def made_products(near: Sequence[Seen], *, rows: int, catalog: str, seed: int = 0) -> Iterator[Product]:
    """Products with 2 or 3 views each, `rows` views in all, every product near one of the garments."""
    random = np.random.default_rng(seed)
    counts = itertools.cycle((2, 3))
    left, number = rows, 0
    while left > 0:
        views = min(next(counts), left)
        yield _product(near[int(random.integers(len(near)))], random, number=number, views=views, catalog=catalog)
        left, number = left - views, number + 1


def _product(near: Seen, random: np.random.Generator, *, number: int, views: int, catalog: str) -> Product:
    id = f"p{number:06d}"
    own = _near(near.embedding, random, PRODUCT_NOISE)
    made = tuple(
        View(
            id=f"{id}/{position}/0",
            image_sha256=hashlib.sha256(f"{id} {position}".encode()).hexdigest(),
            box=Box(0.1, 0.1, 0.9, 0.9),
            category=near.category,
            colours=near.colours,
            shares=(0.7, 0.3)[: len(near.colours)],
            pattern=near.pattern,
            embedding_version=1,
            embedding=_near(own, random, VIEW_NOISE).astype(np.float16),
        )
        for position in range(views)
    )
    return Product(
        catalog=catalog,
        id=id,
        title=f"{BRANDS[number % len(BRANDS)]} {near.category} {number}",
        brand=BRANDS[number % len(BRANDS)],
        category=near.category,
        price=Money(int(random.integers(900, 30_000)), "EUR"),
        available=bool(random.random() < 0.9),
        uri=f"https://shop.example/products/{id}",
        attributes={"size": "SML"[number % 3], "season": float(20 + number % 6)},
        images=tuple(ProductImage(view.image_sha256) for view in made),
        revision=1,
        indexed_revision=1,
        views=made,
    )


def _near(vector: npt.NDArray[np.float32], random: np.random.Generator, noise: float) -> npt.NDArray[np.float32]:
    """A unit vector beside it; `noise` is the length of what is added."""
    added = random.normal(size=vector.shape)
    moved = vector + added * (noise / np.linalg.norm(added))
    return np.asarray(moved / np.linalg.norm(moved), np.float32)


async def fill(products: Sequence[Product], *, access: MilvusAccess, database_url: str) -> float:
    """Write them into an empty catalog of an index and a database; returns the seconds that took.

    The index is written through its port. The database gets the port's own rows, thousands in one statement: one
    product after the other, as shops send them, would take minutes.
    """
    begin = time.perf_counter()
    options = MilvusOptions(access.uri, token=access.token, call_seconds=60)
    index = await MilvusIndex.connect(options, embedding_version=1, dimension=len(products[0].views[0].embedding))
    engine = await open_database(DatabaseOptions(database_url))
    try:
        await index.prepare(products[0].catalog)
        for first in range(0, len(products), BATCH):
            batch = products[first : first + BATCH]
            entries = [Entry(product, view) for product in batch for view in product.views]
            await asyncio.gather(
                index.upsert(batch[0].catalog, entries, timeout=PATIENCE_SECONDS), _insert(engine, batch)
            )
    finally:
        await index.close()
        await engine.dispose()
    return time.perf_counter() - begin


async def _insert(engine: AsyncEngine, products: Sequence[Product]) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(tables.products), [product_row(product) for product in products])
        for table, rows in ((tables.images, image_rows), (tables.views, view_rows)):
            await connection.execute(insert(table), [row for product in products for row in rows(product)])


def settled(access: MilvusAccess, catalog: str, *, rows: int, patience: float = PATIENCE_SECONDS) -> float:
    """Have Milvus seal and index what was written, and wait until it has; returns the seconds that took.

    Without this, searches would go through rows without an index, and what builds it would take the cores from them.
    """
    begin = time.monotonic()
    client, name = MilvusClient(access.uri, token=access.token, timeout=60, dedicated=True), collection_of(catalog, 1)
    try:
        client.flush(name, timeout=patience)
        while _indexed(client, name) < rows:
            if time.monotonic() - begin > patience:
                raise TimeoutError(f"Milvus has not indexed {rows} rows of {name} within {patience:.0f} s")
            time.sleep(0.5)
    finally:
        client.close()
    return time.monotonic() - begin


def _indexed(client: Any, name: str) -> int:  # noqa: ANN401 - pymilvus is untyped
    description = client.describe_index(name, "embedding", timeout=60)
    return int(description.get("indexed_rows", 0)) if int(description.get("pending_index_rows", 0)) == 0 else 0
