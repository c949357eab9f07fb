"""`lookalike bulk`: plan, embed and load a catalog, each as far as it is not done yet."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Final

from lookalike.catalogs import Catalog, CatalogUnreadable, Fetcher, open_catalog
from lookalike.catalogs.extra import ExtraMissing
from lookalike.catalogs.failures import FailuresUnwritable
from lookalike.catalogs.locations import stem_of
from lookalike_service.bulk.cluster import embedded_parts, refuse_absent, running
from lookalike_service.bulk.embedding import Job
from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.loading import LoadedPart, Loader
from lookalike_service.bulk.manifest import Manifest, read_manifest, vectors_name, write_manifest
from lookalike_service.bulk.needed import needed_version, versions_of
from lookalike_service.bulk.parts import read_vectors, write_plan
from lookalike_service.bulk.planning import scan
from lookalike_service.bulk.replicas import Replicas
from lookalike_service.bulk.reporting import Report
from lookalike_service.database import open_database
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.images import Images
from lookalike_service.milvus import MilvusIndex
from lookalike_service.options import database_options, milvus_options
from lookalike_service.ordered import in_order
from lookalike_service.projection import Projection, only
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions

__all__ = ["bulk"]

# Parts that are being loaded at once: while one waits for Milvus, another one writes to the database.
LOADS: Final = 4


async def bulk(settings: Settings, options: argparse.Namespace) -> int:
    """Load the catalog file of the options, as far as it is not loaded yet; gives how many of its rows have failed.

    Raises StartupError with what stands in the way.
    """
    embeds, loads = options.only != "load", options.only != "embed"
    if options.catalog not in settings.catalogs:
        raise StartupError(f"there is no catalog {options.catalog}; LOOKALIKE_CATALOGS names those that are")
    try:
        if embeds:
            await asyncio.to_thread(refuse_absent, options.address)
        async with AsyncExitStack() as stack:
            fetcher = await stack.enter_async_context(Fetcher())
            catalog = await stack.enter_async_context(
                open_catalog(options.path, fetcher=fetcher, category=options.category)
            )
            report = Report(catalog, failures=options.failures, loads=loads)
            store = await _opened_store(settings, stack) if loads else None
            run = _Run(settings, options, catalog, report, store)
            await run.begin(embeds=embeds)
            try:
                await run.work(embeds=embeds)
            finally:
                # Also after an error: what was loaded is loaded.
                print(report.summary(), flush=True)
            report.write_failures()
            return len(report.failed)
    except (CatalogUnreadable, ExtraMissing, FailuresUnwritable) as error:
        raise StartupError(str(error)) from error
    except LookalikeError as error:
        raise StartupError(f"{error.message}; what is done stays, run the command again") from error


async def _opened_store(settings: Settings, stack: AsyncExitStack) -> SqlStore:
    database = await open_database(database_options(settings), timeout=settings.startup_seconds)
    store = SqlStore(database, seconds=settings.database_seconds)
    stack.push_async_callback(store.close)
    return store


class _Run:
    def __init__(
        self,
        settings: Settings,
        options: argparse.Namespace,
        catalog: Catalog,
        report: Report,
        store: SqlStore | None,
    ) -> None:
        """Without `store` nothing is loaded."""
        self._store = store
        self._settings = settings
        self._options = options
        self._catalog = catalog
        self._report = report
        self._tritons = settings.bulk_triton_addresses or (settings.triton_address,)
        self._folder = Folder(options.out or f"{stem_of(catalog.place)}-vectors")
        self._images = Images(settings.images_url)
        self._manifest: Manifest

    async def begin(self, *, embeds: bool) -> None:
        """Read the catalog, and plan it into the folder, or see that the folder is its own."""
        found = await asyncio.to_thread(read_manifest, self._folder)
        version, wanted_by = await self._wanted_version()
        if found:
            found.refuse_others(catalog=self._options.catalog, embedding_version=version, wanted_by=wanted_by)
        elif not embeds:
            raise StartupError(f"the folder {self._folder.url} holds no vectors yet; without --only load they are made")
        size = found.embedding_size if found else await self._embedding_size(version)
        part_products = found.part_products if found else self._options.part
        seen = await asyncio.to_thread(
            scan,
            self._catalog,
            part_products=part_products,
            write=(lambda *_: None) if found else partial(write_plan, self._folder),
            refuse=lambda row: self._report.fail(row.number, row.label, "; ".join(row.entry.problems)),
        )
        if found:
            found.refuse_changed(self._catalog.name, seen.digest)
        self._manifest = found or Manifest(
            catalog=self._options.catalog,
            source=self._catalog.name,
            digest=seen.digest,
            products=seen.products,
            unusable=seen.unusable,
            part_products=part_products,
            parts=seen.parts,
            embedding_version=version,
            embedding_size=size,
        )
        if not found:
            await asyncio.to_thread(write_manifest, self._folder, self._manifest)

    async def _wanted_version(self) -> tuple[int, str]:
        """The embedding version that the vectors are to be of, and who says so."""
        if self._store:
            catalog = self._options.catalog
            if version := needed_version(await versions_of(SqlVersions(self._store)), catalog):
                return version, "the catalog"
        return self._settings.embedding_version, "LOOKALIKE_EMBEDDING_VERSION"

    async def work(self, *, embeds: bool) -> None:
        """Embed what is missing in the folder, and load what is there, each part as soon as it is."""
        there = await asyncio.to_thread(self._folder.names, "vectors")
        parts = range(self._manifest.parts)
        done = [part for part in parts if vectors_name(part).rpartition("/")[2] in there]
        missing = sorted(set(parts) - set(done))
        if missing and not embeds:
            raise StartupError(
                f"{len(missing)} of {self._manifest.parts} files are missing in {self._folder.url}; without --only "
                "load they are made"
            )
        async with AsyncExitStack() as stack:
            loader = await self._loader(self._store, stack) if self._store else None

            async def settled(_: int, part: int) -> LoadedPart:
                return await loader.load(part) if loader else await asyncio.to_thread(self._looked_at, part)

            stack.enter_context(self._report.progress(total=self._manifest.products))
            numbers = await stack.enter_async_context(aclosing(self._numbers(done, missing)))
            answers = await stack.enter_async_context(aclosing(in_order(numbers, settled, in_flight=LOADS)))
            async for answer in answers:
                self._report.add(answer)
            if loader:
                await loader.finish()

    async def _numbers(self, done: Sequence[int], missing: Sequence[int]) -> AsyncGenerator[int, None]:
        """The parts that are there already, then those that are made, as they come."""
        for part in done:
            yield part
        if not missing:
            return
        loop = asyncio.get_running_loop()
        # Ray ends before the thread that waits for it, which then has nothing to wait for any more.
        with ThreadPoolExecutor(1) as waiting, running(self._options.address) as cpus:
            parts = embedded_parts(self._job(), missing, workers=self._options.workers or cpus)
            while (made := await loop.run_in_executor(waiting, next, parts, None)) is not None:
                yield made

    def _job(self) -> Job:
        base = self._catalog.base
        return Job(
            manifest=self._manifest,
            base=base.absolute() if isinstance(base, Path) else base,
            folder=self._folder.url,
            images=self._images.url,
            tritons=self._tritons,
            most_image_bytes=self._settings.max_image_bytes,
            product_seconds=self._settings.import_deadline_seconds,
            startup_seconds=self._settings.startup_seconds,
            in_flight=self._options.in_flight,
        )

    def _looked_at(self, part: int) -> LoadedPart:
        content = read_vectors(self._folder, part, manifest=self._manifest)
        return LoadedPart(len(content.products), failures=list(content.failures))

    async def _embedding_size(self, version: int) -> int:
        finder = await Replicas.connect(
            self._tritons, embedding_version=version, timeout=self._settings.startup_seconds
        )
        await finder.close()
        return finder.embedding_size

    async def _loader(self, store: SqlStore, stack: AsyncExitStack) -> Loader:
        settings, manifest = self._settings, self._manifest
        index = await MilvusIndex.connect(
            milvus_options(settings),
            embedding_version=manifest.embedding_version,
            dimension=manifest.embedding_size,
            timeout=settings.startup_seconds,
        )
        stack.push_async_callback(index.close)
        await index.prepare(manifest.catalog)
        projection = Projection(shelves=only(manifest.embedding_version, index), store=store)
        loader = Loader(self._folder, manifest, store=store, images=self._images, projection=projection)
        await loader.begin()
        return loader
