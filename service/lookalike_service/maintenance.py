"""What an operator runs beside the gateway: its own connections to database and index, no models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

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

__all__ = ["backup", "migrate", "restore", "verify"]


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
    unknown = set(catalogs) - set(settings.catalogs)
    if unknown:
        raise StartupError(f"there is no catalog {', '.join(sorted(unknown))}; LOOKALIKE_CATALOGS names those that are")
    async with AsyncExitStack() as stack:
        store = SqlStore(
            await open_database(database_options(settings), timeout=settings.startup_seconds),
            seconds=settings.database_seconds,
        )
        stack.push_async_callback(store.close)
        try:
            return await _verified(settings, store, catalogs or settings.catalogs, stack, repair=repair)
        except LookalikeError as error:
            raise StartupError(f"{error.message}; what was compared until then is as it was, or repaired") from error


async def _verified(
    settings: Settings, store: SqlStore, catalogs: Sequence[str], stack: AsyncExitStack, *, repair: bool
) -> list[Report]:
    version = settings.embedding_version
    dimension = await _dimension(store, catalogs, version)
    if not dimension:
        raise StartupError(f"the database holds no vector of embedding version {version}, so nothing can be compared")
    index = await MilvusIndex.connect(
        milvus_options(settings),
        embedding_version=version,
        dimension=dimension,
        timeout=settings.startup_seconds,
    )
    stack.push_async_callback(index.close)
    for catalog in catalogs:
        await index.prepare(catalog)
    projection = Projection(index=index, store=store, embedding_version=version)
    if repair:
        await projection.replay()
    verifier = Verifier(index=index, store=store, projection=projection, embedding_version=version)
    return [await verifier.verify(catalog, repair=repair) for catalog in catalogs]


async def _dimension(store: SqlStore, catalogs: Sequence[str], version: int) -> int:
    """How many numbers a stored vector has; every product has one, so the first pages tell."""
    for catalog in catalogs:
        for product in await store.page(catalog, limit=100, views=True):
            for view in product.views:
                if view.embedding_version == version:
                    return int(view.embedding.size)
    return 0
