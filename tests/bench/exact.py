"""Exact search by numpy, a chunk of rows at a time, and what share of its products another search finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["ExactSearch", "recall_at"]


class ExactSearch:
    """The best rows for each of some queries, over all rows that it has been fed with; no row is kept otherwise."""

    def __init__(self, queries: npt.NDArray[np.float32], *, limit: int, most_views: int) -> None:
        """`queries` (n, d) of unit length; `limit` products each are wanted, of which none has more than `most_views`.

        So many products are sure to be among limit x most_views rows.
        """
        self._queries, self._limit = queries, limit
        self._keep = limit * most_views
        self._scores = np.full((len(queries), 0), -2, np.float32)
        self._products = np.zeros((len(queries), 0), np.int64)

    def add(self, vectors: npt.NDArray[np.float32], products: npt.NDArray[np.int64]) -> None:
        """Take in rows: `vectors` (m, d) of unit length and the number of each one's product, (m,)."""
        if not len(products):
            return
        scores = np.concatenate([self._scores, self._queries @ vectors.T], axis=1)
        numbers = np.concatenate(
            [self._products, np.broadcast_to(products, (len(self._queries), len(products)))], axis=1
        )
        if scores.shape[1] > self._keep:
            best = np.argpartition(-scores, self._keep - 1, axis=1)[:, : self._keep]
            scores, numbers = np.take_along_axis(scores, best, axis=1), np.take_along_axis(numbers, best, axis=1)
        self._scores, self._products = scores, numbers

    def products(self) -> list[list[int]]:
        """The numbers of the nearest products for each query, best first, each once."""
        order = np.argsort(-self._scores, axis=1, kind="stable")
        ranked = np.take_along_axis(self._products, order, axis=1)
        # A dictionary keeps the first place of each.
        return [list(dict.fromkeys(row.tolist()))[: self._limit] for row in ranked]


def recall_at(found: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """The mean share of the exact answers that were found; queries without any do not count. NaN when none has any."""
    shares = [len(set(one) & set(other)) / len(other) for one, other in zip(found, exact, strict=True) if len(other)]
    return float(np.mean(shares)) if shares else float("nan")
