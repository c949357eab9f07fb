"""What tests of bulk loads share: a small catalog file, models for it, and all steps without Ray."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from fakes import MemoryIndex
from lookalike.catalogs import Catalog, Fetcher, open_catalog
from lookalike_service.bulk.embedding import Job, PartEmbedder
from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.loading import LoadedPart, Loader
from lookalike_service.bulk.manifest import Manifest
from lookalike_service.bulk.parts import write_plan
from lookalike_service.bulk.planning import Scan, scan
from lookalike_service.images import Images
from lookalike_service.projection import Projection, only
from lookalike_service.store import SqlStore
from support_gateway import open_store
from support_triton import FakeTriton, Message, looks

__all__ = ["ROWS", "Bulk", "Models", "embed_all", "manifest_of", "opened", "planned_scan", "write_rows"]

ROWS: list[dict[str, Any]] = [
    {
        "id": "a", "title": "Größe", "brand": "Mira", "category": "Dress", "price": 4900, "currency": "EUR",
        "available": False, "uri": "https://shop.example/a", "attributes": {"fit": "slim", "size": 38, "new": True},
        "images": ["1.jpg", {"path": "2.jpg", "category": "skirt"}, "1.jpg"],
    },
    {"id": "b", "images": [{"path": "3.jpg", "box": [0.1, 0.2, 0.7, 0.8]}], "revision": 7},
    {"id": "c", "image": "4.jpg"},
]  # fmt: skip


class Models(FakeTriton):
    """Every photo has its own vector, and one that begins with `broken` is no image."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = looks

    async def ModelInfer(self, request: Message, context: Message) -> Message:  # noqa: N802 - Triton's name
        if b"broken" in request.raw_input_contents[0]:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_UNREADABLE: these bytes are no image")
        return await super().ModelInfer(request, context)


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> Path:
    for number in range(1, 9):
        (folder / f"{number}.jpg").write_bytes(b"photo %d" % number)
    (folder / "broken.jpg").write_bytes(b"broken")
    path = folder / "products.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def planned_scan(catalog: Catalog, folder: Folder, *, part_products: int = 2) -> Scan:
    return scan(
        catalog,
        part_products=part_products,
        write=lambda part, rows: write_plan(folder, part, rows),
        refuse=lambda row: None,
    )


def manifest_of(seen: Scan, **changes: Any) -> Manifest:  # noqa: ANN401 - any field
    manifest = Manifest("default", "products.jsonl", seen.digest, seen.products, seen.unusable, 2, seen.parts, 1, 256)
    return replace(manifest, **changes)


def embed_all(job: Job) -> list[str]:
    with closing(PartEmbedder(job)) as worker:
        answers = [worker({"part": [part]}) for part in range(job.manifest.parts)]
    return [problem for answer in answers for problem in answer["problem"] if problem]


@dataclass
class Bulk:
    """A catalog file that is planned, and everything that a bulk load of it needs."""

    catalog: Catalog
    folder: Folder
    manifest: Manifest
    job: Job
    store: SqlStore
    index: MemoryIndex

    def loader(self, *, store: SqlStore | None = None, images: str = "") -> Loader:
        """What loads; by another way to the database, or with the photographs elsewhere, when these are given."""
        store = store or self.store
        projection = Projection(shelves=only(1, self.index), store=store)
        photographs = Images(images or self.job.images)
        return Loader(self.folder, self.manifest, store=store, images=photographs, projection=projection)

    async def embed(self) -> list[str]:
        """Embed all parts, as a worker does in a process of its own; gives the problems."""
        return await asyncio.to_thread(embed_all, self.job)

    async def load(self) -> LoadedPart:
        """Load all parts, and add up what became of them."""
        total, loader = LoadedPart(), self.loader()
        for part in range(self.manifest.parts):
            loaded = await loader.load(part)
            total.products += loaded.products
            total.outcomes += loaded.outcomes
            total.kept += loaded.kept
            total.failures += loaded.failures
        await loader.finish()
        return total


@asynccontextmanager
async def opened(path: Path, *, tritons: tuple[str, ...], out: str = "vectors") -> AsyncIterator[Bulk]:
    async with AsyncExitStack() as stack:
        fetcher = await stack.enter_async_context(Fetcher())
        catalog = await stack.enter_async_context(open_catalog(path, fetcher=fetcher))
        folder, images = Folder(str(path.parent / out)), Images(f"file://{path.parent}/images")
        manifest = manifest_of(planned_scan(catalog, folder))
        store, index = await open_store(path.parent), MemoryIndex()
        stack.push_async_callback(store.close)
        job = Job(manifest, path.parent, folder.url, images.url, tritons, 2**20, 20.0, 5.0, 4)
        bulk = Bulk(catalog, folder, manifest, job, store, index)
        await bulk.loader().begin()
        yield bulk
