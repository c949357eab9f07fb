"""The shop of a rival: faiss over the rows and the products in memory, in a folder that the benchmark fills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from lookalike_service.model import Product

__all__ = ["Shelf", "write_products", "write_rows"]

PRODUCTS_PER_GARMENT: Final = 10
# Rows asked for first: a product has several, and ten products are wanted.
FIRST_ROWS: Final = 40
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 16, 200, 64

Floats = npt.NDArray[np.float32]


def write_products(directory: Path, products: Sequence[Product]) -> None:
    """Write the same shop that the products make elsewhere: a row for each of their views, in their order."""
    vectors = np.stack([view.embedding for product in products for view in product.views]).astype(np.float32)
    write_rows(
        directory,
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        products=np.repeat(np.arange(len(products)), [len(product.views) for product in products]),
        titles=[product.title for product in products],
        prices=[product.price.amount_minor if product.price else 0 for product in products],
    )


def write_rows(
    directory: Path, *, vectors: Floats, products: npt.NDArray[np.int64], titles: Sequence[str], prices: Sequence[int]
) -> None:
    """Write the shop that a rival in `directory` serves: `rows.npz`, and `rows.faiss` built from it.

    `rows.npz` holds `vectors`, (n, 256) float32 of unit length; `products`, (n,) int64, which product each row
    shows; `titles`, (p,) text; `prices`, (p,) int64 in the currency's smallest unit. Raises ValueError when they do
    not fit each other.
    """
    if vectors.ndim != 2 or not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3):
        raise ValueError("vectors must be rows of unit length; divide each by its norm")
    if len(products) != len(vectors) or len(titles) != len(prices):
        raise ValueError("every vector needs a product, and every product a title and a price")
    if len(products) and not 0 <= products.min() <= products.max() < len(titles):
        raise ValueError(f"products must be numbers below {len(titles)}, the number of titles")
    directory.mkdir(parents=True, exist_ok=True)
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
    index.add(np.ascontiguousarray(vectors, np.float32))
    faiss.write_index(index, str(directory / "rows.faiss"))
    np.savez(
        directory / "rows.npz",
        vectors=vectors.astype(np.float32),
        products=products.astype(np.int64),
        titles=np.array(titles),
        prices=np.array(prices, np.int64),
    )


class Shelf:
    """The shop in memory: an index of its rows, and what is shown of its products."""

    def __init__(self, directory: Path) -> None:
        """Read what `write_rows` wrote."""
        with np.load(directory / "rows.npz") as rows:
            self._owners: list[int] = rows["products"].tolist()
            shown = zip(rows["titles"].tolist(), rows["prices"].tolist(), strict=True)
        self._products = [{"product": n, "title": title, "price": price} for n, (title, price) in enumerate(shown)]
        self._index = faiss.read_index(str(directory / "rows.faiss"))

    def nearest(self, vectors: Floats) -> list[list[dict[str, Any]]]:
        """The nearest products of each vector (k, 256), nearest first, each once with the score of its best row."""
        width = min(FIRST_ROWS, len(self._owners))
        found = self._grouped(vectors, width)
        while width < len(self._owners):
            short = [n for n, products in enumerate(found) if len(products) < PRODUCTS_PER_GARMENT]
            if not short:
                break
            width = min(width * 4, len(self._owners))
            for n, products in zip(short, self._grouped(vectors[short], width), strict=True):
                found[n] = products
        return found

    def _grouped(self, vectors: Floats, width: int) -> list[list[dict[str, Any]]]:
        found = []
        for scores, rows in zip(*(each.tolist() for each in self._index.search(vectors, width)), strict=True):
            best: dict[int, float] = {}
            for score, row in zip(scores, rows, strict=True):
                if row >= 0 and self._owners[row] not in best:
                    best[self._owners[row]] = score
                    if len(best) == PRODUCTS_PER_GARMENT:
                        break
            found.append([{**self._products[owner], "score": min(score, 1.0)} for owner, score in best.items()])
        return found
