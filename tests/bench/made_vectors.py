"""Catalogs of any size whose vectors are clustered as our own embeddings are, drawn from a seed.

Our embeddings are cut into clusters (spherical k-means). A made product is drawn around a cluster's center, which is
chosen by the cluster's size: the deviations of all clusters pooled give the directions, the cluster's own deviation
the length. The views of a product are drawn around it with the deviations that the views of one rendered garment have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from bench.own_vectors import OwnVectors
from lookalike_service.model import Box, Entry, Money, Product, ProductImage, View

__all__ = ["MOST_VIEWS", "Mixture", "fitted", "likeness", "made_chunk", "made_entries"]

Vectors = npt.NDArray[np.float32]

# Views of the products in turns: 2.5 on average.
VIEWS: Final = (2, 3)
MOST_VIEWS: Final = max(VIEWS)
ROWS_PER_CHUNK: Final = 2000
PRODUCTS_PER_CHUNK: Final = ROWS_PER_CHUNK * len(VIEWS) // sum(VIEWS)
# Every hundredth product has the brand that the selective filter asks for.
BRANDS: Final = 100
CATEGORIES: Final = ("top", "outer", "dress", "pants", "shorts", "skirt", "shoes", "bag", "hat")
MEMBERS: Final = 24
MOST_CLUSTERS: Final = 512


@dataclass(frozen=True, slots=True)
class Mixture:
    """What vectors are drawn from: `centers` (k, d), how likely each is, and how far its members deviate.

    `spread` and `between_views` are (d, d): rows of independent normal numbers times one of them have the deviations
    of members of a cluster (before `scales` (k,) stretch them), and of views of a product.
    """

    centers: Vectors
    shares: npt.NDArray[np.float64]
    scales: Vectors
    spread: Vectors
    between_views: Vectors

    def draw(self, random: np.random.Generator, count: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Unit vectors (count, d), and the cluster of each."""
        chosen = random.choice(len(self.shares), count, p=self.shares)
        moved = self.centers[chosen] + self.scales[chosen, None] * _normal(random, count, self.spread)
        return _unit(moved), chosen

    def views(self, random: np.random.Generator, products: Vectors) -> Vectors:
        """A view of each product: unit vectors (n, d)."""
        return _unit(products + _normal(random, len(products), self.between_views))


def fitted(own: OwnVectors, *, seed: int = 0) -> Mixture:
    """Fit to our own embeddings; of those at least some must be views of one product."""
    vectors = own.vectors
    count = int(np.clip(len(vectors) // MEMBERS, 1, MOST_CLUSTERS))
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=20, seed=seed + 1, spherical=True, min_points_per_centroid=1, verbose=False
    )
    means.train(vectors)
    labels = means.index.search(vectors, 1)[1][:, 0]
    # Centers that are not stretched to unit length: their members deviate least from these.
    members = np.bincount(labels, minlength=count)
    kept = np.flatnonzero(members)
    centers = np.stack([vectors[labels == label].mean(axis=0) for label in kept])
    places = np.searchsorted(kept, labels)
    deviations = vectors - centers[places]
    # As many degrees of freedom as centers are lost.
    spread = _root(deviations.T @ deviations / max(len(vectors) - len(kept), 1))
    squares = np.bincount(places, (deviations**2).sum(axis=1)) / np.maximum(members[kept] - 1, 1)
    whole = (deviations**2).sum() / max(len(vectors) - len(kept), 1)
    # A lone member says nothing of its cluster's deviation.
    scales = np.where(members[kept] > 2, np.sqrt(squares / max(whole, 1e-12)), 1.0)
    shares = members[kept] / len(vectors)
    return Mixture(centers, shares, scales.astype(np.float32), spread, _root(_within_products(own)))


def _within_products(own: OwnVectors) -> Vectors:
    known = own.products >= 0
    vectors, products = own.vectors[known], own.products[known]
    if not len(products):
        raise ValueError(
            "no two of the embeddings are known to be views of one product; the wardrobe must be among them"
        )
    numbers, places = np.unique(products, return_inverse=True)
    sums = np.zeros((len(numbers), vectors.shape[1]), np.float32)
    np.add.at(sums, places, vectors)
    deviations = vectors - sums[places] / np.bincount(places)[places, None]
    return np.asarray(deviations.T @ deviations / max(len(vectors) - len(numbers), 1), np.float32)


def _root(covariance: npt.NDArray[Any]) -> Vectors:
    values, directions = np.linalg.eigh(covariance.astype(np.float64))
    return np.asarray((directions * np.sqrt(np.maximum(values, 0))).T, np.float32)


def _normal(random: np.random.Generator, count: int, root: Vectors) -> Vectors:
    return np.asarray(random.standard_normal((count, len(root)), np.float32) @ root)


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def made_entries(mixture: Mixture, *, rows: int, catalog: str, seed: int = 0) -> Iterator[list[Entry]]:
    """Chunks of views, `rows` in all; every chunk is the same whatever comes before it."""
    left, chunk = rows, 0
    while left > 0:
        entries = made_chunk(mixture, chunk, catalog=catalog, seed=seed)[:left]
        yield entries
        left, chunk = left - len(entries), chunk + 1


def made_chunk(mixture: Mixture, chunk: int, *, catalog: str, seed: int = 0, revision: int = 1) -> list[Entry]:
    """The 2,000 views of chunk number `chunk`; those of a later revision have other prices and the same looks."""
    looks, facts = np.random.default_rng((seed, chunk)), np.random.default_rng((seed, chunk, revision))
    vectors, clusters = mixture.draw(looks, PRODUCTS_PER_CHUNK)
    counts = np.resize(VIEWS, PRODUCTS_PER_CHUNK)
    views = mixture.views(looks, np.repeat(vectors, counts, axis=0)).astype(np.float16)
    prices = facts.integers(900, 30_000, PRODUCTS_PER_CHUNK)
    available = facts.random(PRODUCTS_PER_CHUNK) < 0.9
    entries, row = [], 0
    for place, count in enumerate(counts):
        number = chunk * PRODUCTS_PER_CHUNK + place
        product = _product(
            number,
            catalog=catalog,
            category=CATEGORIES[int(clusters[place]) % len(CATEGORIES)],
            price=int(prices[place]),
            available=bool(available[place]),
            revision=revision,
            views=int(count),
        )
        for position, image in enumerate(product.images):
            entries.append(Entry(product, _view(product, position, image, views[row])))
            row += 1
    return entries


def _product(
    number: int, *, catalog: str, category: str, price: int, available: bool, revision: int, views: int
) -> Product:
    return Product(
        catalog=catalog,
        id=f"p{number:08d}",
        brand=f"Brand {number % BRANDS:02d}",
        category=category,
        price=Money(price, "EUR"),
        available=available,
        attributes={"size": "SML"[number % 3], "season": float(20 + number % 6)},
        images=tuple(ProductImage(f"{number:060x}{position:04x}") for position in range(views)),
        revision=revision,
        indexed_revision=revision,
    )


def _view(product: Product, position: int, image: ProductImage, vector: npt.NDArray[np.float16]) -> View:
    return View(
        id=f"{product.id}/{position}/0",
        image_sha256=image.sha256,
        box=Box(0.1, 0.1, 0.9, 0.9),
        category=product.category,
        colours=("red", "white"),
        pattern="solid",
        embedding_version=1,
        embedding=vector,
        shares=(0.7, 0.3),
    )


def likeness(
    own: Vectors, made: Vectors, *, ranks: Sequence[int] = (1, 10), most: int = 1000
) -> dict[str, list[float]]:
    """Median cosines to the nearest neighbors of these ranks, among as many vectors of either kind."""
    count = min(len(own), len(made))
    found = {}
    for name, vectors in (("own", own[:count]), ("made", made[:count])):
        scores = vectors[: min(most, count)] @ vectors.T
        scores[np.arange(len(scores)), np.arange(len(scores))] = -2
        nearest = -np.sort(-scores, axis=1)
        found[name] = [round(float(np.median(nearest[:, rank - 1])), 4) for rank in ranks]
    return found
