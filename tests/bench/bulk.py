"""What a bulk load costs beside the models, in its workers and on the way from its folder into the servers:

    PYTHONPATH=tests python tests/bench/bulk.py embed [--products 2000] [--photo-bytes 60000]
    PYTHONPATH=tests python tests/bench/bulk.py load [--products 20000] [--views 1]

`embed` has a catalog planned and one worker embed it, without Ray; a process of its own answers as Triton does, at
once. `load` has a folder with vectors drawn at random; PostgreSQL 16, which does not wait for the disk, and Milvus
2.3.5 are real. All of it runs on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from sqlalchemy import text

from lookalike.catalogs import Fetcher, Row, open_catalog
from lookalike.catalogs.rows import Entry
from lookalike_service.bulk.embedding import Job, PartEmbedder
from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.loading import Loader
from lookalike_service.bulk.manifest import Manifest
from lookalike_service.bulk.parts import write_plan, write_vectors
from lookalike_service.bulk.planning import scan
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.drafts import Outcome
from lookalike_service.images import Images
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Box, Money, Product, ProductImage, View
from lookalike_service.ordered import in_order
from lookalike_service.projection import Projection, only
from lookalike_service.store import SqlStore
from support_engines import milvus, postgres
from support_triton import FakeTriton, looks, serving

PART, LOADS, SIZE = 500, 4, 256
PHOTO = b"a photograph"
SHA256 = hashlib.sha256(PHOTO).hexdigest()


def made(number: int, views: int, random: np.random.Generator) -> Product:
    """A product as workers leave it."""
    vectors = random.normal(size=(views, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Product(
        "default",
        f"sku-{number:09d}",
        title=f"Product {number}",
        brand="Mira",
        category="dress",
        price=Money(4900, "EUR"),
        uri=f"https://shop.example/p/{number}",
        attributes={"fit": "slim", "size": 38},
        images=(ProductImage(SHA256),),
        update_time=datetime.now(tz=UTC),
        views=tuple(
            View(
                f"sku-{number:09d}/{SHA256[:32]}/{view:08x}",
                SHA256,
                Box(0.1, 0.1, 0.9, 0.9),
                "dress",
                ("red", "white"),
                "striped",
                1,
                vector.astype(np.float16),
                (0.6, 0.3),
            )
            for view, vector in enumerate(vectors)
        ),
    )


def write_folder(folder: Folder, products: int, views: int) -> Manifest:
    """All parts of a catalog of so many products."""
    random = np.random.default_rng(0)
    manifest = Manifest("default", "made", "0" * 64, products, 0, PART, -(-products // PART), 1, SIZE)
    for part in range(manifest.parts):
        numbers = range(part * PART, min(products, (part + 1) * PART))
        results = [(Row(number, "", None, Entry(None)), made(number, views, random)) for number in numbers]
        write_vectors(folder, part, results, manifest=manifest)
    return manifest


async def load(loader: Loader, parts: int) -> Counter[Outcome]:
    """Load all parts, several at once, as the command does."""

    async def numbers() -> AsyncIterator[int]:
        for part in range(parts):
            yield part

    outcomes: Counter[Outcome] = Counter()
    async for loaded in in_order(numbers(), lambda _, part: loader.load(part), in_flight=LOADS):
        outcomes += loaded.outcomes
    return outcomes


async def measure(products: int, views: int) -> None:
    """Print the seconds of both loads."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(ExitStack())
        path = Path(servers.enter_context(tempfile.TemporaryDirectory()))
        folder = Folder(str(path / "vectors"))
        begin = time.perf_counter()
        manifest = write_folder(folder, products, views)
        size = sum(file.stat().st_size for file in (path / "vectors" / "vectors").iterdir())
        print(f"{manifest.parts} files of {size / products:.0f} bytes a product in {time.perf_counter() - begin:.1f} s")
        database, access = servers.enter_context(postgres(version=16)), servers.enter_context(milvus(path / "milvus"))
        store = SqlStore(await open_database(DatabaseOptions(database.url()), timeout=60), seconds=60)
        stack.push_async_callback(store.close)
        options = MilvusOptions(access.uri, token=access.token, call_seconds=60)
        index = await MilvusIndex.connect(options, embedding_version=1, dimension=SIZE)
        stack.push_async_callback(index.close)
        await index.prepare("default")
        images = Images(f"file://{path}/images")
        await images.put(PHOTO)
        projection = Projection(shelves=only(1, index), store=store)
        loader = Loader(folder, manifest, store=store, images=images, projection=projection)
        await loader.begin()
        for _ in range(2):
            begin, busy = time.perf_counter(), time.process_time()
            outcomes = await load(loader, manifest.parts)
            seconds, busy = time.perf_counter() - begin, time.process_time() - busy
            counts = ", ".join(f"{count} {outcome.name.lower()}" for outcome, count in outcomes.items() if count)
            print(
                f"{counts} in {seconds:.1f} s: {products / seconds:.0f} products/s, "
                f"{1000 * busy / products:.2f} ms of this process' CPU a product"
            )
        async with store.engine.connect() as connection:
            size = (await connection.execute(text("SELECT pg_database_size(current_database())"))).scalar_one()
        print(f"PostgreSQL has {size / products:.0f} bytes a product")


async def answer(connection: Connection) -> None:
    """Answer as Triton does until the process is ended, and say where."""
    triton = FakeTriton()
    triton.answer = looks
    async with serving(triton) as address:
        connection.send(address)
        await asyncio.Event().wait()


def answering(connection: Connection) -> None:
    """A process of its own."""
    asyncio.run(answer(connection))


async def planned(path: Path, folder: Folder) -> Manifest:
    """Plan a catalog file, and print how long that took."""
    async with Fetcher() as fetcher, open_catalog(path, fetcher=fetcher) as catalog:
        begin = time.perf_counter()
        write = partial(write_plan, folder)
        seen = scan(catalog, part_products=PART, write=write, refuse=lambda row: None)
        print(f"planned {seen.products / (time.perf_counter() - begin):.0f} rows/s")
    return Manifest("default", path.name, seen.digest, seen.products, seen.unusable, PART, seen.parts, 1, SIZE)


def measure_worker(products: int, photo_bytes: int) -> None:
    """Print what one worker does in a second, and what it takes."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=answering, args=(theirs,), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as name:
        path, random = Path(name), np.random.default_rng(0)
        rows = []
        for number in range(products):
            (path / f"{number}.jpg").write_bytes(random.bytes(photo_bytes))
            rows.append(json.dumps({"id": f"sku-{number:09d}", "title": "Linen dress", "images": [f"{number}.jpg"]}))
        (path / "products.jsonl").write_text("\n".join(rows))
        folder = Folder(str(path / "vectors"))
        manifest = asyncio.run(planned(path / "products.jsonl", folder))
        job = Job(manifest, path, folder.url, f"file://{path}/images", (ours.recv(),), 2**24, 120.0, 60.0, 16)
        with closing(PartEmbedder(job)) as worker:
            begin, busy = time.perf_counter(), time.process_time()
            for part in range(manifest.parts):
                worker({"part": [part]})
            seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    server.terminate()
    print(
        f"embedded {products} products of {photo_bytes} bytes: {products / seconds:.0f} products/s, "
        f"{1000 * busy / products:.2f} ms of the worker's CPU a product"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    embed, loads = steps.add_parser("embed"), steps.add_parser("load")
    embed.add_argument("--products", type=int, default=2_000)
    embed.add_argument("--photo-bytes", type=int, default=60_000)
    loads.add_argument("--products", type=int, default=20_000)
    loads.add_argument("--views", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.step == "embed":
        measure_worker(arguments.products, arguments.photo_bytes)
    else:
        asyncio.run(measure(arguments.products, arguments.views))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
