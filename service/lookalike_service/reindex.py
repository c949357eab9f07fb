"""Brings a catalog to another embedding version while the old one goes on serving (versions.py has the states)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.filling import Filled, Filling, Told
from lookalike_service.neighbors import Comparison, Neighbors
from lookalike_service.ports import ImageStore, Store, VersionedIndex
from lookalike_service.projection import Projection, only
from lookalike_service.verify import Report, Verifier
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair, State, VersionRecord

__all__ = ["Reindexer"]


class Reindexer:
    """Fills, checks, switches, switches back, and drops, one catalog at a time, as the holder of its lease."""

    def __init__(
        self,
        catalog: str,
        *,
        store: Store,
        records: SqlVersions,
        images: ImageStore,
        holder: str,
        told: Told,
        at_once: int = 8,
        notice_seconds: float = 2.0,
        call_seconds: float = 30.0,
        photo_seconds: float = 120.0,
        pause: float = 1.0,
    ) -> None:
        """`at_once` products are embedded at the same time.

        Gateways have seen a change after `notice_seconds`, and a call that began before it is over `call_seconds`
        later. A product has `photo_seconds`, `pause` lies between two looks at what seems missing in the index.
        """
        self._catalog = catalog
        self._store = store
        self._records = records
        self._holder = holder
        self._told = told
        self._notice = notice_seconds
        self._call = call_seconds
        self._filling = Filling(
            catalog, store=store, records=records, images=images, told=told, at_once=at_once, seconds=photo_seconds
        )
        self._pause = pause

    async def versions(self) -> dict[int, VersionRecord]:
        """The versions of the catalog as they are now."""
        return {record.version: record for record in (await self._records.all()).get(self._catalog, [])}

    async def serving(self) -> int:
        """The version that serves."""
        found = [each.version for each in (await self.versions()).values() if each.state is State.SERVING]
        return found[0]

    async def fill(self, pair: Pair, index: VersionedIndex) -> Filled:
        """Embed every product that lacks the version, from its stored photographs, beginning where a run before ended.

        Nothing that was done is done again, wherever that one was interrupted. Raises StartupError when the version is
        being dropped or the lease is lost, and the errors of models, index and store when they stay away.
        """
        record = (await self.versions()).get(pair.version)
        if record and record.state is State.DROPPING:
            raise StartupError(
                f"embedding version {pair.version} of catalog {self._catalog} is being dropped; finish that with "
                f"`lookalike reindex --drop {pair.version}`, then begin again"
            )
        await index.prepare(self._catalog)
        if record is None:
            self._ours(await self._records.begin(self._catalog, pair.version, holder=self._holder))
            record = VersionRecord(self._catalog, pair.version, State.FILLING)
        filled = Filled()
        if record.state is State.FILLING:

            async def save(last: str) -> None:
                self._ours(await self._records.save(self._catalog, pair.version, filled_to=last, holder=self._holder))

            await self._filling.all(pair, index, filled, after=record.filled_to, save=save)
        await self._filling.lacking(pair, index, filled)
        return filled

    async def complete(self, pair: Pair, index: VersionedIndex, filled: Filled) -> None:
        """Have every write reach the version from now on, and catch up with those that have not.

        From here on the database itself refuses a write without it.
        """
        if (await self.versions())[pair.version].state is State.FILLING:
            await self._change({pair.version: State.FILLED})
            await self._filling.lacking(pair, index, filled)

    async def check(self, index: VersionedIndex, version: int) -> Report:
        """Compare the new collection with the database view by view, and mend what differs."""
        projection = Projection(shelves=only(version, index), store=self._store)
        verifier = Verifier(
            index=index, store=self._store, projection=projection, embedding_version=version, pause=self._pause
        )
        report = await verifier.verify(self._catalog, repair=True)
        if report.faults:
            report = await verifier.verify(self._catalog, repair=False)
        return report

    async def compare(self, old: Pair, new: Pair, *, sample: int) -> Comparison:
        """How much the neighbors of a sample of products differ between two versions."""
        total = await self._records.count(self._catalog)
        neighbors = Neighbors(self._catalog, store=self._store, old=old, new=new)
        return await neighbors.compare(total=total, sample=sample)

    async def switch(self, version: int, index: VersionedIndex) -> None:
        """Have requests answered by this version from now on; the one before is kept, and gets all writes, too.

        Gateways notice within `notice_seconds`; calls under way end with the version that they began with. Doing it
        again after an interruption does what was left.
        """
        versions = await self.versions()
        if versions[version].state is not State.SERVING:
            await self._change({await self.serving(): State.KEPT, version: State.SERVING})
        await index.point(self._catalog)

    async def previous(self) -> int:
        """The version that served before, for a rollback. Raises StartupError when none is kept."""
        kept = [record for record in (await self.versions()).values() if record.state is State.KEPT]
        if not kept:
            raise StartupError(
                f"catalog {self._catalog} keeps no version that served before; `lookalike reindex VERSION` fills one"
            )
        return max(kept, key=lambda record: record.changed).version

    async def drop(self, version: int, index: VersionedIndex) -> None:
        """Throw a version away: first nobody is answered with it any more, then its vectors go.

        Raises StartupError for the one that
        serves and for one that is not there.
        """
        record = (await self.versions()).get(version)
        if record is None:
            raise StartupError(
                f"catalog {self._catalog} has no embedding version {version}; --status lists those it has"
            )
        if record.state is State.SERVING:
            raise StartupError(
                f"embedding version {version} serves catalog {self._catalog}; switch to another before it is dropped"
            )
        if record.state is not State.DROPPING:
            await self._change({version: State.DROPPING})
            if record.state.complete:
                self._told.said(f"waiting {self._notice + self._call:.0f} s for calls that it still answers")
                await asyncio.sleep(self._notice + self._call)
        while await self._records.forget_views(self._catalog, version):
            pass
        await index.drop(self._catalog)
        await self._change({version: None})

    @asynccontextmanager
    async def leased(self, *, seconds: float = 15.0) -> AsyncIterator[None]:
        """Be the only one who changes the versions of the catalog during a block; others are told so.

        Raises StartupError when another process holds the lease, or has taken it since we were not heard of in time.
        """
        lease = await self._records.lease(self._catalog, self._holder, seconds=seconds)
        if lease.holder != self._holder:
            raise StartupError(
                f"catalog {self._catalog} is being reindexed already, by {lease.holder}; if that process is gone, its "
                f"lease ends within {seconds:.0f} s"
            )
        owner, lost = asyncio.current_task(), False

        async def renew() -> None:
            nonlocal lost
            while not lost:
                await asyncio.sleep(seconds / 4)
                with contextlib.suppress(LookalikeError):
                    lease = await self._records.lease(self._catalog, self._holder, seconds=seconds)
                    lost = lease.holder != self._holder
            if owner:
                owner.cancel()

        renewing = asyncio.create_task(renew())
        try:
            yield
        except asyncio.CancelledError:
            self._ours(not lost)
            raise
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with contextlib.suppress(LookalikeError):
                await self._records.release(self._catalog, self._holder)

    async def _change(self, moves: dict[int, State | None]) -> None:
        self._ours(await self._records.change(self._catalog, moves, holder=self._holder))

    def _ours(self, done: bool) -> None:
        if not done:
            raise StartupError(
                f"another process has taken over the reindexing of catalog {self._catalog}; this one ends here"
            )
