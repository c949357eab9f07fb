"""The use cases of the search side: a photo, garment tokens or a product in, lookalikes out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from lookalike_service.admission import Deadline, Permits
from lookalike_service.errors import (
    GarmentTokenInvalid,
    ImageTooLarge,
    ImageUnreadable,
    PageTokenInvalid,
    ProductNotFound,
    RegionInvalid,
    RequestInvalid,
)
from lookalike_service.filter import Node, parse
from lookalike_service.garments import looks, looks_of
from lookalike_service.model import Box, Found, Garment, GarmentFinder
from lookalike_service.names import product_name
from lookalike_service.ports import Index, Store
from lookalike_service.queries import Analysis, GarmentHits, Hit, Lookalikes, PhotoQuery, Seen, Terms
from lookalike_service.ranking import Ranked, Ranker, Want
from lookalike_service.settings import Settings
from lookalike_service.telemetry import Stopwatch
from lookalike_service.tokens import Tokens, compact, expanded, fingerprint

__all__ = ["Searcher", "checked_box", "checked_image"]

MOST_GARMENTS: Final = 16


class Searcher:
    """Finds garments and their lookalikes."""

    def __init__(
        self, settings: Settings, *, finder: GarmentFinder, index: Index, store: Store, tokens: Tokens, permits: Permits
    ) -> None:
        """`permits` bound how many photos are with the models at once."""
        self._settings = settings
        self._finder = finder
        self._store = store
        self._tokens = tokens
        self._permits = permits
        # Searches in the index have as many of their own, so that a tap never waits for photos of others.
        self._index_permits = Permits(
            settings.search_permits, waiters=settings.search_waiters, seconds=settings.permit_wait_seconds
        )
        self._ranker = Ranker(index, store, window=settings.rerank_window, depth=settings.max_depth)

    async def analyze(self, catalog: str, query: PhotoQuery, *, embedding_version: int, deadline: Deadline) -> Analysis:
        """Find and describe the garments of a photo. Raises what GarmentFinder.find raises, and Overloaded."""
        stopwatch = Stopwatch()
        self._check_version(embedding_version)
        self._check(query)
        async with deadline.bound():
            seen = await self._seen(catalog, query, deadline=deadline, stopwatch=stopwatch)
        results = tuple(GarmentHits(each) for each in seen)
        return Analysis(results, self._finder.embedding_version, stopwatch.timings())

    async def search(
        self,
        catalog: str,
        query: PhotoQuery | Sequence[str],
        terms: Terms,
        *,
        embedding_version: int,
        deadline: Deadline,
    ) -> Analysis:
        """Find the lookalikes of every garment of a photo, or of garment tokens.

        Raises the errors that SearchProducts documents.
        """
        stopwatch = Stopwatch()
        self._check_version(embedding_version)
        size = self._page_size(terms)
        condition = parse(terms.filter)
        if isinstance(query, PhotoQuery):
            if terms.page_token:
                raise PageTokenInvalid("a page is asked for with the garment's token in `garments`, not with the photo")
            self._check(query)
        else:
            seen = self._remembered(catalog, query)
        async with deadline.bound():
            if isinstance(query, PhotoQuery):
                seen = await self._seen(catalog, query, deadline=deadline, stopwatch=stopwatch)
            offset = self._offset(catalog, seen, terms)
            ranked = await self._ranked(
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
            hits, token = self._page(found, offset, size, request=_request(catalog, each.vector, terms))
            results.append(GarmentHits(each, hits, token))
        return Analysis(tuple(results), self._finder.embedding_version, stopwatch.timings())

    async def similar(
        self, catalog: str, product_id: str, terms: Terms, *, embedding_version: int, deadline: Deadline
    ) -> Lookalikes:
        """Find the lookalikes of a product from its stored vectors. Raises what ListSimilarProducts documents."""
        stopwatch = Stopwatch()
        version = self._check_version(embedding_version)
        size = self._page_size(terms)
        condition = parse(terms.filter)
        async with deadline.bound():
            product = (await self._store.products(catalog, [product_id], views=True)).get(product_id)
            if product is None:
                name = product_name(catalog, product_id)
                raise ProductNotFound(f"there is no product {name}", metadata={"product": name})
            views = [view for view in product.views if view.embedding_version == version]
            request = _request(catalog, f"{product_id} {product.indexed_revision}".encode(), terms)
            offset = self._tokens.read_page(terms.page_token, request=request) if terms.page_token else 0
            if not views:
                return Lookalikes((), "", version, stopwatch.timings())
            vectors = np.stack([view.embedding for view in views]).astype(np.float32)
            want = Want(vectors, views[0].category, looks_of(views[0]), besides=product_id)
            [ranked] = await self._ranked(
                catalog,
                [want],
                need=offset + size + 1,
                filter=condition,
                terms=terms,
                deadline=deadline,
                stopwatch=stopwatch,
            )
        hits, token = self._page(ranked, offset, size, request=request)
        return Lookalikes(hits, token, version, stopwatch.timings())

    def _check_version(self, asked: int) -> int:
        served = self._finder.embedding_version
        if asked not in (0, served):
            raise RequestInvalid(f"embedding version {asked} is not served, {served} is", field="embedding_version")
        return served

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

    def _remembered(self, catalog: str, tokens: Sequence[str]) -> list[Seen]:
        """The garments that tokens hold."""
        if not 1 <= len(tokens) <= MOST_GARMENTS:
            raise GarmentTokenInvalid(f"{len(tokens)} garment tokens; at least 1 and at most {MOST_GARMENTS}")
        seen = []
        for token in tokens:
            memory = self._tokens.read_garment(
                token,
                catalog=catalog,
                embedding_version=self._finder.embedding_version,
                dimension=self._finder.embedding_size,
            )
            garment = Garment(
                box=memory.box,
                crop_box=memory.box,
                score=memory.score,
                source=memory.source,
                category=memory.category,
                categories=(),
                colours=(),
                patterns=(),
                materials=(),
                landmarks=np.empty((0, 3), np.float32),
                mask=np.empty((0, 0), np.uint8),
                embedding=expanded(memory.vector),
            )
            seen.append(Seen(garment, memory.region_id, memory.looks, token, memory.vector))
        return seen

    async def _seen(self, catalog: str, query: PhotoQuery, *, deadline: Deadline, stopwatch: Stopwatch) -> list[Seen]:
        """The garments that the models see."""
        with stopwatch.phase("queue"):
            await self._permits.take(timeout=deadline.remaining())
        try:
            with stopwatch.phase("inference"):
                found: Found = await self._finder.find(
                    query.image,
                    regions=[region.box for region in query.regions],
                    min_score=query.min_garment_score,
                    max_garments=min(query.max_garments, MOST_GARMENTS),
                    timeout=deadline.remaining(),
                )
        finally:
            self._permits.give_back()
        ids = [region.id for region in query.regions] or [""] * len(found.garments)
        return [
            self._described(garment, catalog, region_id) for garment, region_id in zip(found.garments, ids, strict=True)
        ]

    def _described(self, garment: Garment, catalog: str, region_id: str) -> Seen:
        seen, version = looks(garment), self._finder.embedding_version
        token = self._tokens.of_garment(
            garment, catalog=catalog, embedding_version=version, region_id=region_id, looks=seen
        )
        return Seen(garment, region_id, seen, token, compact(garment.embedding))

    async def _ranked(
        self,
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
        with stopwatch.phase("queue"):
            await self._index_permits.take(timeout=deadline.remaining())
        try:
            return await self._ranker.rank(
                catalog, wants, need=need, filter=filter, terms=terms, deadline=deadline, stopwatch=stopwatch
            )
        finally:
            self._index_permits.give_back()

    def _offset(self, catalog: str, seen: Sequence[Seen], terms: Terms) -> int:
        if not terms.page_token:
            return 0
        if len(seen) != 1:
            raise PageTokenInvalid(
                "a page is asked for with exactly one garment token, since every garment has its own"
            )
        return self._tokens.read_page(terms.page_token, request=_request(catalog, seen[0].vector, terms))

    def _page(self, ranked: Ranked, offset: int, size: int, *, request: bytes) -> tuple[tuple[Hit, ...], str]:
        """One page, and the token of the next one if there is any within the depth that pages reach."""
        end = min(offset + size, self._settings.max_depth)
        more = len(ranked.hits) > end and end < self._settings.max_depth
        return ranked.hits[offset:end], self._tokens.of_page(end, request=request) if more else ""


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
