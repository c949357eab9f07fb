"""The use cases of the search side: a photo, garment tokens or a product in, lookalikes out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lookalike_service import metrics
from lookalike_service.admission import Deadline, Permits
from lookalike_service.callers import caller
from lookalike_service.errors import (
    ImageTooLarge,
    ImageUnreadable,
    PageTokenInvalid,
    ProductNotFound,
    RegionInvalid,
    RequestInvalid,
)
from lookalike_service.filter import Node, parse
from lookalike_service.garments import looks, looks_of
from lookalike_service.model import Box, Found, Garment, Source
from lookalike_service.names import product_name
from lookalike_service.ports import Store
from lookalike_service.queries import Analysis, GarmentHits, Hit, Lookalikes, PhotoQuery, Seen, Terms
from lookalike_service.ranking import Ranked, Ranker, Want
from lookalike_service.recent import RecentPhotos
from lookalike_service.remembering import MOST_GARMENTS, of_page, remembered
from lookalike_service.settings import Settings
from lookalike_service.telemetry import Stopwatch
from lookalike_service.tokens import Tokens, compact, expanded, fingerprint
from lookalike_service.versions import Pair, Snapshot

__all__ = ["Searcher", "checked_box", "checked_image"]


class Searcher:
    """Finds garments and their lookalikes."""

    def __init__(
        self,
        settings: Settings,
        *,
        versions: Callable[[], Snapshot],
        store: Store,
        tokens: Tokens,
        permits: Permits,
    ) -> None:
        """`permits` bound how many photos are with the models at once."""
        self._settings = settings
        self._versions = versions
        self._store = store
        self._tokens = tokens
        self._permits = permits
        self._recent = RecentPhotos(settings.recent_mebibytes)
        # Searches in the index have as many of their own, so that a tap never waits for photos of others.
        self._index_permits = Permits(
            settings.search_permits,
            waiters=settings.search_waiters,
            seconds=settings.permit_wait_seconds,
            work="searches",
        )

    async def analyze(
        self, catalog: str, query: PhotoQuery, *, embedding_version: int, sticky_key: str = "", deadline: Deadline
    ) -> Analysis:
        """Find and describe the garments of a photo. Raises what GarmentFinder.find raises, and Overloaded."""
        stopwatch = Stopwatch()
        pair = self._versions().choose(catalog, asked=embedding_version, key=sticky_key)
        self._check(query)
        async with deadline.bound():
            seen = await self._seen(pair, catalog, query, deadline=deadline, stopwatch=stopwatch)
        results = tuple(GarmentHits(each) for each in seen)
        return Analysis(results, pair.version, stopwatch.timings())

    async def search(
        self,
        catalog: str,
        query: PhotoQuery | Sequence[str],
        terms: Terms,
        *,
        embedding_version: int,
        sticky_key: str = "",
        deadline: Deadline,
    ) -> Analysis:
        """Find the lookalikes of every garment of a photo, or of garment tokens.

        Raises the errors that SearchProducts documents.
        """
        stopwatch, versions = Stopwatch(), self._versions()
        size = self._page_size(terms)
        condition = parse(terms.filter)
        if isinstance(query, PhotoQuery):
            pair = versions.choose(catalog, asked=embedding_version, key=sticky_key)
            if terms.page_token:
                raise PageTokenInvalid("a page is asked for with the garment's token in `garments`, not with the photo")
            self._check(query)
        else:
            pair, seen = remembered(query, self._tokens, versions, catalog=catalog, asked=embedding_version)
        async with deadline.bound():
            if isinstance(query, PhotoQuery):
                seen = await self._seen(pair, catalog, query, deadline=deadline, stopwatch=stopwatch)
            offset = self._offset(catalog, seen, terms)
            ranked = await self._ranked(
                pair,
                catalog,
                [Want(expanded(each.vector)[None, :], each.garment.category, each.looks) for each in seen],
                need=offset + size + 1,
                filter=condition,
                terms=terms,
                deadline=deadline,
                stopwatch=stopwatch,
            )
        results = []
        for each, found in zip(seen, ranked, strict=True):
            request = _request(catalog, each.vector, terms)
            hits, token = self._page(found, offset, size, version=pair.version, request=request)
            results.append(GarmentHits(each, hits, token))
        return Analysis(tuple(results), pair.version, stopwatch.timings())

    async def similar(
        self,
        catalog: str,
        product_id: str,
        terms: Terms,
        *,
        embedding_version: int,
        sticky_key: str = "",
        deadline: Deadline,
    ) -> Lookalikes:
        """Find the lookalikes of a product from its stored vectors. Raises what ListSimilarProducts documents."""
        stopwatch, versions = Stopwatch(), self._versions()
        pair = versions.choose(catalog, asked=embedding_version, key=sticky_key)
        size = self._page_size(terms)
        condition = parse(terms.filter)
        async with deadline.bound():
            product = (await self._store.products(catalog, [product_id], views=True)).get(product_id)
            if product is None:
                name = product_name(catalog, product_id)
                raise ProductNotFound(f"there is no product {name}", metadata={"product": name})
            request, offset = _request(catalog, f"{product_id} {product.indexed_revision}".encode(), terms), 0
            if terms.page_token:
                offset, version = self._tokens.read_page(terms.page_token, request=request)
                pair = of_page(versions, catalog, version, asked=embedding_version)
            views = [view for view in product.views if view.embedding_version == pair.version]
            if not views:
                return Lookalikes((), "", pair.version, stopwatch.timings())
            vectors = np.stack([view.embedding for view in views]).astype(np.float32)
            want = Want(vectors, views[0].category, looks_of(views[0]), besides=product_id)
            [ranked] = await self._ranked(
                pair,
                catalog,
                [want],
                need=offset + size + 1,
                filter=condition,
                terms=terms,
                deadline=deadline,
                stopwatch=stopwatch,
            )
        hits, token = self._page(ranked, offset, size, version=pair.version, request=request)
        return Lookalikes(hits, token, pair.version, stopwatch.timings())

    def _check(self, query: PhotoQuery) -> None:
        """Refuse before working."""
        checked_image(query.image, most_bytes=self._settings.max_image_bytes)
        if len(query.regions) > MOST_GARMENTS:
            raise RegionInvalid(f"{len(query.regions)} regions; {MOST_GARMENTS} at most")
        for number, region in enumerate(query.regions):
            checked_box(region.box, field=f"regions[{number}].box")
            if len(region.id) > 128:
                raise RegionInvalid("a region's id has at most 128 characters", field=f"regions[{number}].id")
        if query.max_garments < 0:
            raise RequestInvalid("max_garments is 0 or more", field="max_garments")
        if not 0 <= query.min_garment_score <= 1:
            raise RequestInvalid("min_garment_score is between 0 and 1", field="min_garment_score")

    def _page_size(self, terms: Terms) -> int:
        if terms.page_size < 0:
            raise RequestInvalid("page_size is 0 or more", field="page_size")
        if not -1 <= terms.min_score <= 1:
            raise RequestInvalid("min_score is between -1 and 1", field="min_score")
        for name, weight in zip(("color_weight", "pattern_weight"), terms.reranking, strict=True):
            if not 0 <= weight <= 1:
                raise RequestInvalid(f"{name} is between 0 and 1", field=f"reranking.{name}")
        return min(terms.page_size or self._settings.page_size, self._settings.max_page_size)

    async def _seen(
        self, pair: Pair, catalog: str, query: PhotoQuery, *, deadline: Deadline, stopwatch: Stopwatch
    ) -> list[Seen]:
        """The garments that the models see, or saw a moment ago."""
        key = self._recent.key(query, embedding_version=pair.version)
        found = self._recent.get(key)
        metrics.photo_asked(known=found is not None)
        if found is None:
            found = await self._looked_at(pair, query, deadline=deadline, stopwatch=stopwatch)
            self._recent.put(key, found)
        ids = [region.id for region in query.regions] or [""] * len(found.garments)
        return [
            self._described(garment, catalog, region_id, version=pair.version)
            for garment, region_id in zip(found.garments, ids, strict=True)
        ]

    async def _looked_at(self, pair: Pair, query: PhotoQuery, *, deadline: Deadline, stopwatch: Stopwatch) -> Found:
        waited = partial(stopwatch.phase, "queue")
        who = caller.get()
        async with self._permits.held(timeout=deadline.remaining(), waited=waited, caller=who, most=who.photos_at_once):
            with stopwatch.phase("inference"):
                found = await pair.finder.find(
                    query.image,
                    regions=[region.box for region in query.regions],
                    min_score=query.min_garment_score,
                    max_garments=min(query.max_garments, MOST_GARMENTS),
                    timeout=deadline.remaining(),
                )
        if not query.regions:
            metrics.photo_seen(sum(garment.source is Source.DETECTED for garment in found.garments))
        return found

    def _described(self, garment: Garment, catalog: str, region_id: str, *, version: int) -> Seen:
        seen = looks(garment)
        token = self._tokens.of_garment(
            garment, catalog=catalog, embedding_version=version, region_id=region_id, looks=seen
        )
        return Seen(garment, region_id, seen, token, compact(garment.embedding))

    async def _ranked(
        self,
        pair: Pair,
        catalog: str,
        wants: Sequence[Want],
        *,
        need: int,
        filter: Node | None,
        terms: Terms,
        deadline: Deadline,
        stopwatch: Stopwatch,
    ) -> list[Ranked]:
        """What the ranker says, with one of the index's permits: tokens need no model, yet they are not free."""
        waited = partial(stopwatch.phase, "queue")
        async with self._index_permits.held(timeout=deadline.remaining(), waited=waited, caller=caller.get()):
            return await self._ranker(pair).rank(
                catalog, wants, need=need, filter=filter, terms=terms, deadline=deadline, stopwatch=stopwatch
            )

    def _ranker(self, pair: Pair) -> Ranker:
        window, depth = self._settings.rerank_window, self._settings.max_depth
        return Ranker(pair.index, self._store, version=pair.version, window=window, depth=depth)

    def _offset(self, catalog: str, seen: Sequence[Seen], terms: Terms) -> int:
        if not terms.page_token:
            return 0
        if len(seen) != 1:
            raise PageTokenInvalid(
                "a page is asked for with exactly one garment token, since every garment has its own"
            )
        return self._tokens.read_page(terms.page_token, request=_request(catalog, seen[0].vector, terms))[0]

    def _page(
        self, ranked: Ranked, offset: int, size: int, *, version: int, request: bytes
    ) -> tuple[tuple[Hit, ...], str]:
        """One page, and the token of the next one if there is any within the depth that pages reach."""
        end = min(offset + size, self._settings.max_depth)
        more = len(ranked.hits) > end and end < self._settings.max_depth
        token = self._tokens.of_page(end, embedding_version=version, request=request) if more else ""
        return ranked.hits[offset:end], token


def _request(catalog: str, query: bytes, terms: Terms) -> bytes:
    digest = hashlib.sha256(query).digest()
    return fingerprint(catalog, digest, terms.filter, terms.category_mode.value, terms.min_score, terms.reranking)


def checked_box(box: Box, *, field: str) -> Box:
    """The same box. Raises RegionInvalid when it leaves the photo or has no area."""
    corners = (box.x0, box.y0, box.x1, box.y1)
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in corners):
        raise RegionInvalid(f"corners lie between 0 and 1, not {corners}", field=field)
    if box.x1 - box.x0 < 1e-6 or box.y1 - box.y0 < 1e-6:
        raise RegionInvalid(f"x0 < x1 and y0 < y1 must hold, not {corners}", field=field)
    return box


def checked_image(image: bytes, *, most_bytes: int, field: str = "image") -> bytes:
    """The same image. Raises ImageUnreadable when it is empty, ImageTooLarge when it has too many bytes."""
    if not image:
        raise ImageUnreadable("the image is empty", field=field)
    if len(image) > most_bytes:
        raise ImageTooLarge(
            f"the image has {len(image):,} bytes, {most_bytes:,} are allowed; send a smaller or more compressed one",
            field=field,
        )
    return image
