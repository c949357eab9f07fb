"""`lookalike reindex`: brings catalogs to another embedding version, shows how it goes, switches back and cleans up."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from lookalike_service.database import open_database
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.filling import Filled, Told
from lookalike_service.images import Images
from lookalike_service.milvus import MilvusIndex
from lookalike_service.opening import opener_of
from lookalike_service.options import database_options, milvus_options
from lookalike_service.ports import VersionedIndex
from lookalike_service.reindex import Reindexer
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair, State
from lookalike_service.watching import Opener

__all__ = ["Lines", "Wanted", "reindex", "wanted_of"]

# Both are there already, or the command is too early.
PATIENCE_SECONDS: Final = 10.0
MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator asks for: `version` to go to, or one of rollback, drop and status."""

    version: int = 0
    rollback: bool = False
    drop: int = 0
    status: bool = False
    catalogs: tuple[str, ...] = ()
    switch: bool = True
    leave_out: bool = False
    without_old: bool = False
    at_once: int = 8
    sample: int = 200
    least_overlap: float = 0.02


class Lines(Told):
    """Progress as lines: how far, how fast, how long still. `write` gets each, every few seconds."""

    def __init__(self, catalog: str, write: Callable[[str], None], *, every: float = 5.0) -> None:
        self._catalog = catalog
        self._write = write
        self._every = every
        self._seen: deque[tuple[float, int]] = deque(maxlen=64)
        self._last = 0.0

    def went_on(self, done: int, total: int) -> None:
        """So many of the products have the new version."""
        now = time.monotonic()
        self._seen.append((now, done))
        if now - self._last < self._every and done < total:
            return
        self._last = now
        (begin, before), share = self._seen[0], done / total if total else 1.0
        rate = (done - before) / (now - begin) if now > begin else 0.0
        left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
        speed = f", {rate:.1f} products/s" if rate else ""
        self.said(f"{done} of {total} products ({share:.0%}){speed}{left}")

    def said(self, sentence: str) -> None:
        """One line, with the catalog that it is about."""
        self._write(f"{self._catalog}: {sentence}")


async def reindex(settings: Settings, wanted: Wanted, *, write: Callable[[str], None] = print) -> None:
    """Do what is wanted, catalog by catalog. Raises StartupError that says what to do; what serves goes on serving."""
    unknown = set(wanted.catalogs) - set(settings.catalogs)
    if unknown:
        raise StartupError(f"there is no catalog {', '.join(sorted(unknown))}; LOOKALIKE_CATALOGS names those that are")
    async with AsyncExitStack() as stack:
        database = await open_database(database_options(settings), timeout=settings.startup_seconds)
        store = SqlStore(database, seconds=settings.database_seconds)
        stack.push_async_callback(store.close)
        catalogs = wanted.catalogs or settings.catalogs
        work = Work(settings, wanted, store=store, stack=stack, write=write)
        try:
            await SqlVersions(store).adopt(settings.catalogs, settings.embedding_version)
            for catalog in catalogs:
                await (work.show(catalog) if wanted.status else work.do(catalog))
        except LookalikeError as error:
            raise StartupError(
                f"{error.message}; what served before goes on serving, and the same command goes on from here"
            ) from error


class Work:
    """One run of the command: what it has opened, and the steps of each catalog."""

    def __init__(
        self,
        settings: Settings,
        wanted: Wanted,
        *,
        store: SqlStore,
        stack: AsyncExitStack,
        write: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._store = store
        self._stack = stack
        self._write = write
        self._opener: Opener = opener_of(settings)
        self._pairs: dict[int, Pair] = {}
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"

    async def show(self, catalog: str) -> None:
        """The versions of a catalog, their states, and how far they are filled."""
        records = SqlVersions(self._store)
        total = await records.count(catalog)
        for record in (await records.all()).get(catalog, []):
            done = await records.count(catalog, until=record.filled_to) if record.filled_to else 0
            far = f", {done} of {total} products" if record.state is State.FILLING else ""
            self._write(f"{catalog}: embedding version {record.version} {record.state.value}{far}")

    async def do(self, catalog: str) -> None:
        """What is wanted of one catalog, alone."""
        settings, wanted = self._settings, self._wanted
        told = Lines(catalog, lambda line: print(line, file=sys.stderr, flush=True))
        worker = Reindexer(
            catalog,
            store=self._store,
            records=SqlVersions(self._store),
            images=Images(settings.images_url),
            holder=self._holder,
            told=told,
            at_once=wanted.at_once,
            notice_seconds=settings.versions_seconds * 2,
            call_seconds=settings.deadline_seconds,
            photo_seconds=settings.import_deadline_seconds,
        )
        async with worker.leased():
            if wanted.drop:
                await worker.drop(wanted.drop, await self._collections(wanted.drop))
                self._write(f"{catalog}: embedding version {wanted.drop} is dropped")
            elif wanted.rollback:
                await self._rolled_back(worker, catalog)
            else:
                await self._brought(worker, catalog, told)

    async def _brought(self, worker: Reindexer, catalog: str, told: Told) -> None:
        wanted, serving = self._wanted, await worker.serving()
        new, index = await self._opened(wanted.version)
        if serving == wanted.version:
            await worker.switch(wanted.version, index)
            self._write(f"{catalog}: embedding version {serving} serves already")
            return
        old = None if wanted.without_old else await self._still_serving(serving, catalog)
        filled = await worker.fill(new, index)
        if filled.failures and not wanted.leave_out:
            raise StartupError(_failed(catalog, filled, serving))
        await worker.complete(new, index, filled)
        self._write(f"{catalog}: embedded {filled.products} products with version {new.version}")
        report = await worker.check(index, new.version)
        self._write(report.sentence())
        if report.faults:
            raise StartupError(
                f"the collection of version {new.version} differs from the database, and repairing did not help; "
                f"version {serving} goes on serving"
            )
        if old:
            comparison = await worker.compare(old, new, sample=wanted.sample)
            self._write(f"{catalog}: {comparison.sentence(serving)}")
            if comparison.queries and comparison.overlap < wanted.least_overlap and wanted.switch:
                raise StartupError(
                    f"the versions agree on less than --least-overlap {wanted.least_overlap:g}, which looks like a "
                    f"broken model: version {new.version} is filled but not switched to. Searches that ask for it by "
                    "`embedding_version` show what it finds; --least-overlap 0 switches all the same"
                )
        if not wanted.switch:
            self._write(
                f"{catalog}: version {new.version} is filled, and {serving} serves; the same command without "
                "--no-switch switches"
            )
            return
        await worker.switch(new.version, index)
        self._write(f"{catalog}: embedding version {new.version} serves")
        if wanted.without_old:
            await worker.drop(serving, await self._collections(serving))
            self._write(f"{catalog}: embedding version {serving} is dropped")
        else:
            self._write(
                f"{catalog}: version {serving} is kept: `lookalike reindex --rollback` switches back, "
                f"`lookalike reindex --drop {serving}` throws it away"
            )

    async def _rolled_back(self, worker: Reindexer, catalog: str) -> None:
        version, serving = await worker.previous(), await worker.serving()
        _, index = await self._opened(version)
        if await SqlVersions(self._store).lacking(catalog, version, limit=1):
            raise StartupError(
                f"some products of catalog {catalog} have no vectors of version {version}; "
                f"`lookalike reindex {version}` embeds them and then switches"
            )
        await worker.switch(version, index)
        self._write(f"{catalog}: embedding version {version} serves again; {serving} is kept")

    async def _opened(self, version: int) -> tuple[Pair, VersionedIndex]:
        """The version's ensembles and collections. Raises StartupError when Triton does not serve it."""
        if version not in self._pairs:
            timeout = min(PATIENCE_SECONDS, self._settings.startup_seconds)
            try:
                self._pairs[version] = await self._opener(version, timeout=timeout)
            except LookalikeError as error:
                raise StartupError(
                    f"{error.message}; both ensembles of version {version} belong into Triton's model repository "
                    "(docs/own_models.md)"
                ) from error
            self._stack.push_async_callback(self._pairs[version].finder.close)
            self._stack.push_async_callback(self._pairs[version].index.close)
        pair = self._pairs[version]
        assert isinstance(pair.index, MilvusIndex)
        return pair, pair.index

    async def _still_serving(self, version: int, catalog: str) -> Pair:
        try:
            pair, index = await self._opened(version)
        except StartupError as error:
            raise StartupError(
                f"embedding version {version}, which catalog {catalog} is searched with until the switch, is not "
                f"served: {error}. If that model is lost for good, --without-old goes on without it"
            ) from error
        await index.prepare(catalog)
        return pair

    async def _collections(self, version: int) -> MilvusIndex:
        """The collections of a version whose models may be gone; good for dropping them."""
        index = await MilvusIndex.connect(
            milvus_options(self._settings),
            embedding_version=version,
            dimension=1,
            timeout=self._settings.startup_seconds,
        )
        self._stack.push_async_callback(index.close)
        return index


def _failed(catalog: str, filled: Filled, serving: int) -> str:
    some = [f"{id} ({why})" for id, why in list(filled.failures.items())[:MOST_NAMED]]
    more = ", ..." if len(filled.failures) > len(some) else ""
    return (
        f"{len(filled.failures)} products of catalog {catalog} cannot be embedded: {', '.join(some)}{more}. Import "
        "them again with their photographs or delete them, and run the command again; or give --leave-out, and "
        f"searches do not find them. Version {serving} goes on serving"
    )


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole / 3600:.1f} h"


def wanted_of(version: int | None, catalogs: Sequence[str], **options: object) -> Wanted:
    """The options of the command line, checked. Raises StartupError when they say nothing, or two things at once."""
    wanted = Wanted(version=version or 0, catalogs=tuple(catalogs), **options)  # type: ignore[arg-type]
    if sum((wanted.version > 0, wanted.rollback, wanted.drop > 0, wanted.status)) != 1:
        raise StartupError("reindex needs the VERSION to go to, or one of --rollback, --drop VERSION and --status")
    return wanted
