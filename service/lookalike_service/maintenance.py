"""What an operator runs beside the gateway: its own connections to database and index, no models."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncEngine

from lookalike_service.backup import Backup, Contents
from lookalike_service.database import FAILURES, make_engine, open_database
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.images import Images
from lookalike_service.migrate import upgrade
from lookalike_service.milvus import MilvusIndex
from lookalike_service.options import database_options, milvus_options
from lookalike_service.projection import Projection
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.verify import Report, Verifier
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Shelf

if TYPE_CHECKING:
    from lookalike_service import duplicates as found

__all__ = ["backup", "duplicates", "migrate", "restore", "verify"]


async def migrate(settings: Settings) -> str:
    """Bring the tables up to date, and say what was done. Raises StartupError."""
    async with _engine(settings) as engine:
        before, after = await upgrade(engine)
    if before == after:
        return f"the tables are of version {after} already"
    return f"the tables went from version {before} to {after}" if before else f"made the tables of version {after}"


async def backup(settings: Settings, folder: Path) -> str:
    """Save database and photographs, and say what was saved. Raises StartupError."""
    async with _engine(settings) as engine:
        return f"saved {_counted(await Backup(folder).save(engine, Images(settings.images_url)))} in {folder}"


async def restore(settings: Settings, folder: Path) -> str:
    """Fill an empty database and the image store, and say with what. Raises StartupError."""
    async with _engine(settings) as engine:
        return f"restored {_counted(await Backup(folder).restore(engine, Images(settings.images_url)))} from {folder}"


def _counted(contents: Contents) -> str:
    return f"{contents.products} products, {contents.views} views and {contents.photographs} photographs"


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The database whatever its tables are. Raises StartupError when it does not answer."""
    # A migration, a backup or a restore of millions of rows takes longer than any call of the server.
    engine = make_engine(replace(database_options(settings), call_seconds=3600.0))
    try:
        yield engine
    except FAILURES as error:
        raise StartupError(
            f"the database failed ({type(error).__name__}); check LOOKALIKE_DATABASE_URL and that it runs"
        ) from error
    finally:
        await engine.dispose()


async def verify(settings: Settings, catalogs: Sequence[str], *, repair: bool) -> list[Report]:
    """Compare index and database of these catalogs, or of all; with `repair` the outbox is replayed before.

    Raises StartupError when either cannot be reached, or fails on the way.
    """
    _check_known(settings, catalogs)
    async with AsyncExitStack() as stack:
        store = await _store(settings, stack)
        try:
            return await _verified(settings, store, catalogs or settings.catalogs, stack, repair=repair)
        except LookalikeError as error:
            raise StartupError(f"{error.message}; what was compared until then is as it was, or repaired") from error


async def duplicates(
    settings: Settings, catalogs: Sequence[str], *, memory: Path, mirrored: bool, workers: int
) -> list[found.Report]:
    """Find the same picture under two products of these catalogs, or of all; `memory` keeps what was looked at.

    Raises StartupError when database, image store or memory fail, or OpenCV is not installed.
    """
    _check_known(settings, catalogs)
    if not importlib.util.find_spec("cv2"):
        raise StartupError("looking for duplicates needs OpenCV: pip install 'lookalike[duplicates]'")
    from lookalike_service.duplicates import DuplicateFinder, Notebook

    async with AsyncExitStack() as stack:
        store, images = await _store(settings, stack), Images(settings.images_url)
        notebook = Notebook(memory)
        stack.callback(notebook.close)
        finder = DuplicateFinder(store=store, images=images, notebook=notebook, workers=workers)
        try:
            return [await finder.find(catalog, mirrored=mirrored) for catalog in catalogs or settings.catalogs]
        except LookalikeError as error:
            raise StartupError(
                f"{error.message}; what was looked at until then is in {memory}, run it again"
            ) from error


def _check_known(settings: Settings, catalogs: Sequence[str]) -> None:
    unknown = set(catalogs) - set(settings.catalogs)
    if unknown:
        raise StartupError(f"there is no catalog {', '.join(sorted(unknown))}; LOOKALIKE_CATALOGS names those that are")


async def _store(settings: Settings, stack: AsyncExitStack) -> SqlStore:
    engine = await open_database(database_options(settings), timeout=settings.startup_seconds)
    store = SqlStore(engine, seconds=settings.database_seconds)
    stack.push_async_callback(store.close)
    return store


async def _verified(
    settings: Settings, store: SqlStore, catalogs: Sequence[str], stack: AsyncExitStack, *, repair: bool
) -> list[Report]:
    """Every version that a catalog has whole; the one of the settings where nothing else is written down."""
    records = await SqlVersions(store).all()
    versions = {
        catalog: [each.version for each in records.get(catalog, ()) if each.state.complete]
        or [settings.embedding_version]
        for catalog in settings.catalogs
    }
    indexes = {
        version: await _index(settings, store, version, stack)
        for version in sorted({each for found in versions.values() for each in found})
    }
    for catalog, found in versions.items():
        for version in found:
            await indexes[version].prepare(catalog)
    shelves = {catalog: [Shelf(version, indexes[version]) for version in found] for catalog, found in versions.items()}

    def shelves_of(catalog: str) -> list[Shelf]:
        if catalog not in shelves:
            raise StartupError(f"changes of catalog {catalog} wait for the index, but LOOKALIKE_CATALOGS lacks it")
        return shelves[catalog]

    projection = Projection(shelves=shelves_of, store=store)
    if repair:
        await projection.replay()
    reports = []
    for catalog in catalogs:
        for shelf in shelves[catalog]:
            verifier = Verifier(index=shelf.index, store=store, projection=projection, embedding_version=shelf.version)
            report = await verifier.verify(catalog, repair=repair)
            report.version = shelf.version if len(shelves[catalog]) > 1 else 0
            reports.append(report)
    return reports


async def _index(settings: Settings, store: SqlStore, version: int, stack: AsyncExitStack) -> MilvusIndex:
    dimension = await _dimension(store, settings.catalogs, version)
    if not dimension:
        raise StartupError(f"the database holds no vector of embedding version {version}, so nothing can be compared")
    index = await MilvusIndex.connect(
        milvus_options(settings), embedding_version=version, dimension=dimension, timeout=settings.startup_seconds
    )
    stack.push_async_callback(index.close)
    return index


async def _dimension(store: SqlStore, catalogs: Sequence[str], version: int) -> int:
    """How many numbers a stored vector has; every product has one, so the first pages tell."""
    for catalog in catalogs:
        for product in await store.page(catalog, limit=100, views=True):
            for view in product.views:
                if view.embedding_version == version:
                    return int(view.embedding.size)
    return 0
