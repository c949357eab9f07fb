"""A worker of Ray: takes a part of the catalog, and leaves its products with their vectors in the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lookalike.catalogs import Fetcher, Loaded, Row, load
from lookalike.catalogs.extra import ExtraMissing
from lookalike.catalogs.locations import Location
from lookalike_service.admission import Deadline
from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.manifest import Manifest
from lookalike_service.bulk.parts import read_plan, write_vectors
from lookalike_service.bulk.replicas import Replicas
from lookalike_service.errors import LookalikeError, RequestInvalid, StartupError
from lookalike_service.garments import Viewer
from lookalike_service.images import Images
from lookalike_service.model import Product
from lookalike_service.ordered import in_order
from lookalike_service.plans import resolved
from lookalike_service.wire_products import draft_of

__all__ = ["Job", "PartEmbedder"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know, no secrets among it: those it finds in its own environment.

    `in_flight` products are looked at at once; one has `product_seconds`.
    """

    manifest: Manifest
    base: Location
    folder: str
    images: str
    tritons: tuple[str, ...]
    most_image_bytes: int
    product_seconds: float
    startup_seconds: float
    in_flight: int


class PartEmbedder:
    """What Ray Data calls with a part's number; its connections last as long as its process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._runner = asyncio.Runner()
        self._tools: _Tools | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """`part` is the one number in the batch; `problem` says why the part is not there, or is empty."""
        part = int(batch["part"][0])
        problem = ""
        try:
            self._runner.run(self._embed(part))
        except (StartupError, ExtraMissing) as error:
            problem = str(error)
        except LookalikeError as error:
            problem = error.message
        return {"part": [part], "problem": [problem]}

    def close(self) -> None:
        """Let go of connections, where the process lives on."""
        if self._tools:
            self._runner.run(self._tools.close())
        self._runner.close()

    async def _embed(self, part: int) -> None:
        job = self._job
        if self._tools is None:
            self._tools = await _Tools.open(job)
        tools = self._tools
        planned = await asyncio.to_thread(read_plan, tools.folder, part, base=job.base)
        rows = load(planned, fetcher=tools.fetcher, ahead=2 * job.in_flight)
        results = []
        async with aclosing(rows), aclosing(in_order(rows, tools.result, in_flight=job.in_flight)) as answers:
            async for answer in answers:
                results.append(answer)
        await asyncio.to_thread(write_vectors, tools.folder, part, results, manifest=job.manifest)


class _Tools:
    """The connections of a worker, and what it does with a product."""

    def __init__(self, job: Job, *, fetcher: Fetcher, finder: Replicas, stack: AsyncExitStack) -> None:
        self.folder = Folder(job.folder)
        self.fetcher = fetcher
        self._images = Images(job.images)
        self._viewer = Viewer(finder, self._images)
        self._job = job
        self._stack = stack

    @classmethod
    async def open(cls, job: Job) -> _Tools:
        async with AsyncExitStack() as stack:
            fetcher = await stack.enter_async_context(Fetcher(concurrency=2 * job.in_flight))
            finder = await Replicas.connect(
                job.tritons,
                embedding_version=job.manifest.embedding_version,
                # A Viewer leaves one place for those who search.
                capacity=job.in_flight + 1,
                timeout=job.startup_seconds,
            )
            stack.push_async_callback(finder.close)
            return cls(job, fetcher=fetcher, finder=finder, stack=stack.pop_all())

    async def close(self) -> None:
        await self._stack.aclose()

    async def result(self, _: int, loaded: Loaded) -> tuple[Row, Product | str]:
        """The product with its views, its photographs stored; or what is wrong with it, in the words of an import.

        Raises what another attempt may heal: the errors of the models and of the image store.
        """
        if loaded.product is None:
            return loaded.row, "; ".join(loaded.problems)
        try:
            return loaded.row, await self._described(loaded)
        except RequestInvalid as error:
            return loaded.row, f"{error.reason}: {error.message}"

    async def _described(self, loaded: Loaded) -> Product:
        assert loaded.product is not None
        message, manifest = loaded.product, self._job.manifest
        draft = draft_of(message, catalog=manifest.catalog, product_id=message.name)
        images, contents = await resolved(draft, None, most_bytes=self._job.most_image_bytes)
        product = replace(draft.product, images=images, update_time=datetime.now(tz=UTC))
        deadline = Deadline(self._job.product_seconds)
        views, _ = await self._viewer.views(product, contents, None, deadline=deadline, patient=True)
        await asyncio.gather(*(self._images.put(content) for content in contents.values()))
        return replace(product, views=views)
