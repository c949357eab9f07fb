"""What a gateway knows of the embedding versions: looks into the database again and again, and opens what is new."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from lookalike_service import metrics
from lookalike_service.errors import IndexUnavailable, LookalikeError, StartupError
from lookalike_service.versions import Pair, Snapshot, State, VersionRecord

__all__ = ["Opener", "Records", "VersionWatch"]

logger = logging.getLogger(__name__)

# For what is not needed at once: it is tried again with the next look.
LATER_SECONDS: Final = 1.0


class Records(Protocol):
    """Where the versions of the catalogs are written down."""

    async def all(self) -> dict[str, list[VersionRecord]]:
        """The versions of every catalog. Raises StoreUnavailable."""
        ...

    async def adopt(self, catalogs: Sequence[str], version: int) -> None:
        """Write down what serves a catalog of which nothing is written yet. Raises StoreUnavailable."""
        ...


class Opener(Protocol):
    """Connects to the ensembles and collections of a version."""

    def __call__(self, version: int, *, timeout: float) -> Awaitable[Pair]:
        """Raises StartupError, LookalikeError when either cannot be reached within `timeout` seconds."""
        ...


class VersionWatch:
    """Keeps a Snapshot of today. Calls under way keep the one that they began with, and so the version."""

    def __init__(
        self,
        records: Records,
        opener: Opener,
        *,
        catalogs: Sequence[str],
        shares: Mapping[int, float] | None = None,
        pause: float = 1.0,
        grace: float = 30.0,
    ) -> None:
        """Look every `pause` seconds; close what is gone after `grace` seconds, the longest time of a call."""
        self.now = Snapshot(shares=dict(shares or {}))
        self._records = records
        self._opener = opener
        self._catalogs = tuple(catalogs)
        self._pause = pause
        self._grace = grace
        self._prepared: set[tuple[str, int]] = set()
        self._parting: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._alone = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self, version: int, *, timeout: float) -> None:
        """Open what serves, and keep looking; `version` is for catalogs that have none yet. Raises StartupError."""
        try:
            await self._records.adopt(self._catalogs, version)
            await self._look(timeout=timeout, starting=True)
        except LookalikeError as error:
            hint = "; check that Milvus runs at LOOKALIKE_MILVUS_URI" if isinstance(error, IndexUnavailable) else ""
            raise StartupError(f"{error.message}{hint}") from error
        for catalog in self._catalogs:
            serving = self.now.serving(catalog)
            if serving != version:
                logger.warning(
                    "catalog %s is searched with embedding version %d; LOOKALIKE_EMBEDDING_VERSION=%d is for new "
                    "catalogs, and `lookalike reindex %d` brings this one there", catalog, serving, version, version,
                )  # fmt: skip
        self._task = asyncio.create_task(self._watch())

    @property
    def capacity(self) -> int:
        """How many photos at once keep the models busy, of the version that takes most."""
        return max((pair.finder.capacity for pair in self.now.pairs.values()), default=1)

    async def refresh(self) -> None:
        """Look at once. Raises StoreUnavailable."""
        await self._look(timeout=self._pause, starting=False)

    async def close(self) -> None:
        """Stop looking, and close everything."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for pair in self.now.pairs.values():
            await _close(pair)
        self.now = replace(self.now, pairs={})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.refresh()
            except LookalikeError as error:
                # What was known goes on to hold; a write that misses something new is refused by the database.
                logger.warning("the embedding versions cannot be looked up: %s", error.message)
            except Exception:
                logger.exception("the embedding versions cannot be looked up")

    async def _look(self, *, timeout: float, starting: bool) -> None:
        async with self._alone:
            every = await self._records.all()
            records = {catalog: tuple(every.get(catalog, ())) for catalog in self._catalogs}
            live = {each.version for found in records.values() for each in found if each.state is not State.DROPPING}
            serving = {each.version for found in records.values() for each in found if each.state is State.SERVING}
            before = {catalog: number for catalog in self._catalogs if (number := self._served(catalog))}
            self.now = replace(self.now, records=records, before=before)
            for version in sorted(live, key=lambda each: (each not in serving, each)):
                needed = [each.catalog for found in records.values() for each in found if each.version == version]
                must = starting and version in serving
                seconds = timeout if must else min(timeout, LATER_SECONDS)
                pair = await self._opened(version, needed, timeout=seconds, must=must)
                if pair:
                    self.now = replace(self.now, pairs={**self.now.pairs, version: pair})
            metrics.versions_are(
                (each.catalog, each.version, each.state.value) for found in records.values() for each in found
            )
            await self._part(set(self.now.pairs) - live)

    def _served(self, catalog: str) -> int:
        try:
            return self.now.serving(catalog)
        except LookalikeError:
            return 0

    async def _opened(self, version: int, catalogs: Sequence[str], *, timeout: float, must: bool) -> Pair | None:
        """The pair of a version with these catalogs ready; None, which the log says once, when it is not reached."""
        pair = self.now.pairs.get(version)
        self._parting.pop(version, None)
        try:
            if pair is None:
                pair = await self._opener(version, timeout=timeout)
                logger.info("embedding version %d is open", version)
            for catalog in catalogs:
                if (catalog, version) not in self._prepared:
                    await pair.index.prepare(catalog)
                    self._prepared.add((catalog, version))
        except (StartupError, LookalikeError) as error:
            if pair is not None and version not in self.now.pairs:
                await _close(pair)
            if must:
                raise
            if self._said.get(version) != str(error):
                logger.warning("embedding version %d is not reached: %s", version, error)
            self._said[version] = str(error)
            return None
        self._said.pop(version, None)
        return pair

    async def _part(self, gone: set[int]) -> None:
        """Close what no catalog has any more, once the calls that use it are over."""
        now = time.monotonic()
        for version in gone:
            if self._parting.setdefault(version, now + self._grace) < now:
                pairs = dict(self.now.pairs)
                pair = pairs.pop(version)
                self.now = replace(self.now, pairs=pairs)
                self._prepared = {each for each in self._prepared if each[1] != version}
                del self._parting[version]
                await _close(pair)
                logger.info("embedding version %d is closed", version)


async def _close(pair: Pair) -> None:
    await pair.finder.close()
    await pair.index.close()
