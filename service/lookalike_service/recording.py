"""The use case of recording which products were looked at: hashed, written together, and forgotten in time."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from lookalike_service import metrics
from lookalike_service.admission import Deadline
from lookalike_service.errors import LookalikeError
from lookalike_service.page_views import DAY_SECONDS, Counts, Fate, PageView, PageViewStore, SessionView
from lookalike_service.settings import Settings
from lookalike_service.throttle import Throttle

__all__ = ["ViewRecorder"]

logger = logging.getLogger(__name__)

# Shops' clocks are not all right; a view that is ahead by no more counts as of now.
CLOCK_SECONDS: Final = 300
# 16 bytes: among a billion sessions no two meet but with a chance of 1e-21.
HASH_BYTES: Final = 16
# Views in one commit: enough that the commit is shared, few enough that it holds up nobody.
TOGETHER: Final = 1000
PRUNE_SECONDS: Final = 3600.0
Waiting = tuple[str, Sequence[SessionView], "asyncio.Future[list[Fate]]"]


class ViewRecorder:
    """Takes in views. Those that come while others are written are written together, in one commit."""

    def __init__(self, settings: Settings, *, views: PageViewStore, now: Callable[[], float] = time.time) -> None:
        """`now` gives the seconds since 1970."""
        # blake2b takes keys of up to 64 bytes, and ours may be any text.
        secret = settings.session_key.get_secret_value().encode() or secrets.token_bytes(32)
        self._key = hashlib.sha256(b"lookalike sessions" + secret).digest()
        self._settings = settings
        self._views = views
        self._now = now
        self._throttle = Throttle(
            settings.page_views_per_second, seconds=settings.permit_wait_seconds, what="views of products"
        )
        self._waiting: list[Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._pruning: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to prune once an hour."""
        self._pruning = asyncio.create_task(self._prune_for_ever())

    async def stop(self) -> None:
        """Finish what is being written."""
        if self._pruning:
            self._pruning.cancel()
            await asyncio.gather(self._pruning, return_exceptions=True)
        if self._writing:
            await asyncio.wait([self._writing])

    async def record(self, views: Sequence[PageView], *, deadline: Deadline) -> Counts:
        """Take in some views, and return what became of them once all that count are durable.

        Raises Overloaded, StoreUnavailable, DeadlineExceeded.
        """
        await self._throttle.through(len(views), timeout=deadline.remaining())
        now = int(self._now())
        first = (now // DAY_SECONDS - self._settings.page_view_days + 1) * DAY_SECONDS
        by_catalog: dict[str, list[SessionView]] = {}
        counts: Counts = dict.fromkeys(Fate, 0)
        for view in views:
            if not first <= view.seconds <= now + CLOCK_SECONDS:
                counts[Fate.OUT_OF_WINDOW] += 1
                metrics.page_views(view.catalog, Fate.OUT_OF_WINDOW.value, 1)
                continue
            day = min(view.seconds, now) // DAY_SECONDS
            kept = SessionView(self._hashed(view.catalog, view.session), view.product_id, day)
            by_catalog.setdefault(view.catalog, []).append(kept)
        for catalog, some in by_catalog.items():
            for fate, number in Counter(await self._written(catalog, some)).items():
                counts[fate] += number
                metrics.page_views(catalog, fate.value, number)
        return counts

    async def forget(self, catalog: str, session: str) -> int:
        """Delete the views of a session and return how many there were. Raises StoreUnavailable."""
        return await self._views.forget(catalog, self._hashed(catalog, session))

    async def prune(self) -> int:
        """Delete what is too old or too much, and return how many views that were. Raises StoreUnavailable."""
        today = int(self._now()) // DAY_SECONDS
        first = max(
            today - self._settings.page_view_days + 1, await self._views.first_day(most=self._settings.page_views_kept)
        )
        deleted = 0
        # The views of today are kept whatever their number: without them nothing would ever be.
        while some := await self._views.prune(before=min(first, today)):
            deleted += some
        return deleted

    async def _prune_for_ever(self) -> None:
        while True:
            try:
                deleted = await self.prune()
                if deleted:
                    logger.info("deleted %d views of products that were too old or too many", deleted)
            except LookalikeError as error:
                logger.warning("views of products are not pruned: %s", error.message)
            await asyncio.sleep(PRUNE_SECONDS)

    def _hashed(self, catalog: str, session: str) -> bytes:
        """A keyed hash: who has the database alone cannot try out session ids, nor join them over catalogs."""
        named = f"{catalog}/{session}".encode()
        return hashlib.blake2b(named, key=self._key, digest_size=HASH_BYTES).digest()

    async def _written(self, catalog: str, views: Sequence[SessionView]) -> list[Fate]:
        done: asyncio.Future[list[Fate]] = asyncio.get_running_loop().create_future()
        self._waiting.append((catalog, views, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._drain())
        return await done

    async def _drain(self) -> None:
        while self._waiting:
            # Whoever is ready to write in this turn of the loop shall share the commit.
            await asyncio.sleep(0)
            catalog, batch = self._next()
            joined = [view for _, views, _ in batch for view in views]
            try:
                fates = await self._views.add(catalog, joined, most=self._settings.page_views_per_session)
            except Exception as error:
                for _, _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            begin = 0
            for _, views, done in batch:
                if not done.done():
                    done.set_result(fates[begin : begin + len(views)])
                begin += len(views)

    def _next(self) -> tuple[str, list[Waiting]]:
        """The first who waits, with those after him of the same catalog that fit in."""
        catalog, total = self._waiting[0][0], 0
        batch: list[Waiting] = []
        rest: list[Waiting] = []
        for each in self._waiting:
            fits = each[0] == catalog and (not batch or total + len(each[1]) <= TOGETHER)
            (batch if fits else rest).append(each)
            total += len(each[1]) if fits else 0
        self._waiting = rest
        return catalog, batch
