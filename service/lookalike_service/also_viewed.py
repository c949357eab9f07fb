"""The use case of 'others also viewed': what the same sessions looked at, filled up or mixed with lookalikes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cachetools import TTLCache

from lookalike_service import metrics
from lookalike_service.admission import Deadline
from lookalike_service.companions import Companion, Decay, blended, companions_of
from lookalike_service.errors import RequestInvalid
from lookalike_service.filter import parse
from lookalike_service.model import Product
from lookalike_service.names import no_such_product
from lookalike_service.page_views import DAY_SECONDS, PageViewStore
from lookalike_service.ports import Store
from lookalike_service.queries import Hit, Lookalikes, Terms
from lookalike_service.remembering import of_page
from lookalike_service.search import Searcher
from lookalike_service.settings import Settings
from lookalike_service.telemetry import Stopwatch, Timings
from lookalike_service.tokens import Tokens, fingerprint
from lookalike_service.versions import Snapshot

__all__ = ["AlsoViewed", "AlsoViewedPage", "AlsoViewedProduct"]

# Products by the sum that cosines are made of, from which those with the best cosines are taken.
CANDIDATES: Final = 4
# How many lookalikes take part in a mixture; a bound, so that every page is of the same list.
MIXED_LOOKALIKES: Final = 100
# Some 30 KiB each, where all are as long as may be.
MOST_LISTS: Final = 1000


@dataclass(frozen=True, slots=True)
class AlsoViewedProduct:
    """A product that was viewed `together` with another, or else looks like it; `score` 0..1."""

    product: Product
    score: float
    together: bool


@dataclass(frozen=True, slots=True)
class AlsoViewedPage:
    """A page of the list; `embedding_version` is 0 when no vectors were compared."""

    products: tuple[AlsoViewedProduct, ...]
    next_page_token: str
    embedding_version: int
    timings: Timings


class AlsoViewed:
    """Lists what others also viewed."""

    def __init__(
        self,
        settings: Settings,
        *,
        versions: Callable[[], Snapshot],
        searcher: Searcher,
        store: Store,
        views: PageViewStore,
        tokens: Tokens,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` gives the seconds since 1970."""
        self._settings = settings
        self._versions = versions
        self._searcher = searcher
        self._store = store
        self._views = views
        self._tokens = tokens
        self._now = now
        self._lists: TTLCache[tuple[str, str], tuple[Companion, ...]] = TTLCache(
            MOST_LISTS, ttl=settings.also_viewed_seconds
        )

    async def page(
        self,
        catalog: str,
        product_id: str,
        terms: Terms,
        *,
        similarity_share: float,
        sticky_key: str = "",
        deadline: Deadline,
    ) -> AlsoViewedPage:
        """A page of the list; of the terms, filter, page size and page token count.

        Every page is of the embedding version that the first one was given, even where no vectors are compared: filters
        look at what that version saw of a product.
        Raises the errors that ListAlsoViewedProducts documents.
        """
        stopwatch, versions = Stopwatch(), self._versions()
        if terms.page_size < 0:
            raise RequestInvalid("page_size is 0 or more", field="page_size")
        if not (math.isfinite(similarity_share) and 0 <= similarity_share <= 1):
            raise RequestInvalid("similarity_share is between 0 and 1", field="similarity_share")
        size = min(terms.page_size or self._settings.page_size, self._settings.max_page_size)
        condition = parse(terms.filter)
        request = fingerprint("also viewed", catalog, product_id, terms.filter, similarity_share)
        if terms.page_token:
            begin, version = self._tokens.read_page(terms.page_token, request=request)
            of_page(versions, catalog, version, asked=0)
        else:
            begin, version = 0, versions.choose(catalog, key=sticky_key).version
        end = min(begin + size, self._settings.max_depth)
        async with deadline.bound():
            if product_id not in await self._store.products(catalog, [product_id]):
                raise no_such_product(catalog, product_id)
            listed = await self._companions(catalog, product_id)
            ids = [each.product_id for each in listed]
            there = await self._views.holding(catalog, ids, filter=condition, embedding_version=version)
            viewed = [each for each in listed if each.product_id in there]
            looks = _Looks()
            if similarity_share or len(viewed) <= end:
                most = MIXED_LOOKALIKES if similarity_share else end + 1 + len(viewed)
                looks = await self._lookalikes(
                    catalog, product_id, terms, version=version, most=most, deadline=deadline
                )
            similar = [Companion(hit.product.id, hit.score) for hit in looks.hits]
            entries = blended(viewed, similar, share=similarity_share)
            products = {hit.product.id: hit.product for hit in looks.hits}
            lacking = [each.product_id for each, _ in entries[begin:end] if each.product_id not in products]
            products.update(await self._store.products(catalog, lacking))
        page = tuple(
            AlsoViewedProduct(products[each.product_id], each.score, together)
            for each, together in entries[begin:end]
            if each.product_id in products
        )
        metrics.also_viewed(sum(each.together for each in page), len(page))
        more = len(entries) > end and end < self._settings.max_depth
        token = self._tokens.of_page(end, embedding_version=version, request=request) if more else ""
        return AlsoViewedPage(page, token, looks.version, looks.timed(stopwatch.timings()))

    async def _companions(self, catalog: str, product_id: str) -> tuple[Companion, ...]:
        """The products that belong to it, best first, as they were a moment ago."""
        known = self._lists.get((catalog, product_id))
        if known is not None:
            return known
        today, most = int(self._now()) // DAY_SECONDS, self._settings.also_viewed_products
        shared = await self._views.shared(
            catalog,
            product_id,
            decay=Decay(today - self._settings.page_view_days + 1, today, self._settings.page_view_half_life),
            sessions=self._settings.also_viewed_sessions,
            least=self._settings.also_viewed_least,
            limit=CANDIDATES * most,
        )
        found = companions_of(shared, limit=most)
        if self._settings.also_viewed_seconds:
            self._lists[catalog, product_id] = found
        return found

    async def _lookalikes(
        self, catalog: str, product_id: str, terms: Terms, *, version: int, most: int, deadline: Deadline
    ) -> _Looks:
        """The best lookalikes by an embedding version, page by page."""
        pages: list[Lookalikes] = []
        token, found = "", 0
        while not pages or (token and found < most):
            asked = Terms(terms.filter, page_size=min(most, self._settings.max_page_size), page_token=token)
            page = await self._searcher.similar(
                catalog, product_id, asked, embedding_version=version, deadline=deadline
            )
            pages.append(page)
            token, found = page.next_page_token, found + len(page.hits)
        return _Looks(pages)


class _Looks:
    """The lookalikes of some pages, none when no vectors were compared."""

    def __init__(self, pages: Sequence[Lookalikes] = ()) -> None:
        # A product may come on two pages when it is written in between.
        self.hits: list[Hit] = list({hit.product.id: hit for page in reversed(pages) for hit in page.hits}.values())
        self.hits.sort(key=lambda hit: -hit.score)
        self.version = pages[0].embedding_version if pages else 0
        self._timings = [page.timings for page in pages]

    def timed(self, whole: Timings) -> Timings:
        """The times of the call with those of its searches taken out of our own work."""
        queue, search = (sum(getattr(each, name) for each in self._timings) for name in ("queue", "search"))
        return Timings(queue=queue, inference=0.0, search=search, own=max(0.0, whole.own - queue - search))
