"""From vectors to products of record: one batched search, outdated hits dropped, wider while short."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from lookalike_service.admission import Deadline
from lookalike_service.filter import Comparison, Node, both
from lookalike_service.garments import coarse, looks_of
from lookalike_service.model import Looks, Match, Product, Ranking, View
from lookalike_service.ports import Index, Store
from lookalike_service.queries import CategoryMode, Hit, Terms
from lookalike_service.telemetry import Stopwatch

__all__ = ["Ranked", "Ranker", "Want", "agreement"]

# Each is four times wider than the one before, which soon reaches the most rows that an index gives.
WIDENINGS: Final = 6


@dataclass(frozen=True, slots=True)
class Want:
    """What to find lookalikes of: (k, d) float32 vectors of which the best counts, and what not to find."""

    vectors: npt.NDArray[np.float32] = field(repr=False)
    category: str
    looks: Looks
    besides: str = ""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The hits of one want, best first; `complete` when there are no more."""

    hits: tuple[Hit, ...]
    complete: bool


class Ranker:
    """Ranks products of record."""

    def __init__(self, index: Index, store: Store, *, version: int, window: int, depth: int) -> None:
        """`index` is that of an embedding version.

        `window` products at a time are ordered anew by category and looks; nothing is ranked below `depth`."""
        self._index = index
        self._store = store
        self._version = version
        self._window = window
        self._depth = depth

    async def rank(
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
        """The best `need` products of every want, fewer only where there are no more.

        `filter` is that of the terms, read.
        """
        mode = terms.category_mode
        anew = any(terms.reranking) or mode is CategoryMode.PREFER
        if anew:
            need = -(-need // self._window) * self._window
        limit = min(need, self._depth) + any(want.besides for want in wants)
        ranked: list[Ranked] = []
        for _ in range(WIDENINGS):
            with stopwatch.phase("search"):
                rankings = await self._search(catalog, wants, limit=limit, filter=filter, mode=mode, deadline=deadline)
            views = {match.view_id: match.product_id for ranking in rankings for match in ranking.matches}
            shown = await self._store.shown(catalog, views, embedding_version=self._version)
            ranked = [
                _ranked(want, ranking, shown, min_score=terms.min_score)
                for want, ranking in zip(wants, rankings, strict=True)
            ]
            if all(len(each.hits) >= min(need, self._depth) or each.complete for each in ranked):
                break
            limit *= 4
        if anew:
            ranked = [self._anew(each, want, terms) for each, want in zip(ranked, wants, strict=True)]
        return ranked

    async def _search(
        self,
        catalog: str,
        wants: Sequence[Want],
        *,
        limit: int,
        filter: Node | None,
        mode: CategoryMode,
        deadline: Deadline,
    ) -> list[Ranking]:
        """One call for all vectors; with STRICT one per distinct category, at the same time."""
        groups: dict[str, list[int]] = {}
        for number, want in enumerate(wants):
            groups.setdefault(coarse(want.category) if mode is CategoryMode.STRICT else "", []).append(number)
        answers = await asyncio.gather(
            *(
                self._index.search(
                    catalog,
                    np.concatenate([wants[number].vectors for number in numbers]),
                    limit=limit,
                    filter=both(filter, Comparison("category", "=", category) if category else None),
                    timeout=deadline.remaining(),
                )
                for category, numbers in groups.items()
            )
        )
        merged: dict[int, Ranking] = {}
        for numbers, rankings in zip(groups.values(), answers, strict=True):
            begin = 0
            for number in numbers:
                count = len(wants[number].vectors)
                merged[number] = _merged(rankings[begin : begin + count])
                begin += count
        return [merged[number] for number in range(len(wants))]

    def _anew(self, ranked: Ranked, want: Want, terms: Terms) -> Ranked:
        """Within each window the same coarse category first, then by looks; windows keep pages from overlapping."""
        wanted, prefer = coarse(want.category), terms.category_mode is CategoryMode.PREFER
        color_weight, pattern_weight = terms.reranking

        def place(hit: Hit) -> tuple[bool, float]:
            if coarse(hit.view.category) != wanted:
                # A colour tells one dress from another; a bag of that colour is not what was asked for.
                return prefer, -hit.score
            colors, pattern = agreement(want.looks, looks_of(hit.view))
            return False, -(hit.score + color_weight * colors + pattern_weight * pattern)

        hits = [
            hit
            for begin in range(0, len(ranked.hits), self._window)
            for hit in sorted(ranked.hits[begin : begin + self._window], key=place)
        ]
        return replace(ranked, hits=tuple(hits))


def agreement(looks: Looks, other: Looks) -> tuple[float, float]:
    """How well colours and patterns agree, 0..1 each: the overlap of the colours' shares, and the same pattern."""
    whole, others = sum(looks.colours.values()), sum(other.colours.values())
    common = looks.colours.keys() & other.colours.keys()
    colors = sum(min(looks.colours[name] / whole, other.colours[name] / others) for name in common)
    return colors, float(bool(looks.pattern) and looks.pattern == other.pattern)


def _merged(rankings: Sequence[Ranking]) -> Ranking:
    """The best of several rankings per product; exact as far down as the shortest of them reaches."""
    if len(rankings) == 1:
        return rankings[0]
    best: dict[str, Match] = {}
    for ranking in rankings:
        for match in ranking.matches:
            known = best.get(match.product_id)
            if known is None or match.score > known.score:
                best[match.product_id] = match
    floor = max((each.matches[-1].score for each in rankings if each.matches and not each.complete), default=-2.0)
    matches = sorted(best.values(), key=lambda match: (-match.score, match.product_id))
    return Ranking(
        tuple(match for match in matches if match.score >= floor), complete=all(each.complete for each in rankings)
    )


def _ranked(want: Want, ranking: Ranking, shown: Mapping[str, tuple[Product, View]], *, min_score: float) -> Ranked:
    """Drop what the catalog of record no longer has as the index saw it."""
    hits: list[Hit] = []
    for match in ranking.matches:
        product, view = shown.get(match.view_id, (None, None))
        if product is None or view is None or product.indexed_revision != match.revision:
            continue
        if product.id == want.besides:
            continue
        if min_score and match.score < min_score:
            return Ranked(tuple(hits), complete=True)
        hits.append(Hit(product, match.score, view))
    return Ranked(tuple(hits), complete=ranking.complete)
