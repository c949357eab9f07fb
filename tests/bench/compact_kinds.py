"""The kinds of index that are compared, what they are compared on, and what a million garments then take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.exact import ExactSearch
from bench.made_vectors import Mixture
from bench.own_vectors import OwnVectors

__all__ = ["KINDS", "LIMIT", "Corpus", "Kind", "corpus", "lists_for", "reduced", "same_product_first"]

LIMIT: Final = 10
NUMBERS: Final = 128
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of index: its name in Milvus where it has one, the recipe of faiss, and how many numbers a vector keeps.

    `{lists}` in the recipe stands for the number of lists. `numbers` is "256", "128 (PCA)" or "128 (first)".
    """

    name: str
    recipe: str
    numbers: str = "256"


KINDS: Final = (
    Kind("FLAT", "Flat"),
    Kind("HNSW", "HNSW16,Flat"),
    Kind("HNSW, fp16 vectors", "HNSW16_SQfp16"),
    Kind("HNSW_SQ", "HNSW16_SQ8"),
    Kind("IVF_FLAT", "IVF{lists},Flat"),
    Kind("IVF_SQ8", "IVF{lists},SQ8"),
    Kind("IVF_RABITQ", "IVF{lists},RaBitQ"),
    Kind("IVF_RABITQ, refined by SQ8", "IVF{lists},RaBitQ,Refine(SQ8)"),
    Kind("HNSW", "HNSW16,Flat", "128 (PCA)"),
    Kind("HNSW", "HNSW16,Flat", "128 (first)"),
    Kind("HNSW_SQ", "HNSW16_SQ8", "128 (PCA)"),
    Kind("IVF_SQ8", "IVF{lists},SQ8", "128 (PCA)"),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """`rows` (n, d) and `queries` (m, d), float32 of unit length, and for each query the numbers of its ten rows."""

    rows: Vectors
    queries: Vectors
    exact: list[list[int]]


def corpus(own: OwnVectors, mixture: Mixture, *, rows: int, queries: int, seed: int = 0) -> Corpus:
    """Own embeddings less the queries, drawn by chance, and made ones beside them up to `rows`."""
    order = np.random.default_rng(seed).permutation(len(own.vectors))
    asked, kept = own.vectors[order[:queries]], own.vectors[order[queries:]]
    lacking = max(rows - len(kept), 0)
    made = mixture.draw(np.random.default_rng(seed + 1), lacking)[0]
    all_rows = np.concatenate([kept, made]) if lacking else kept[: rows or None]
    return Corpus(all_rows, asked, _exact(all_rows, asked))


def _exact(rows: Vectors, queries: Vectors) -> list[list[int]]:
    search = ExactSearch(queries, limit=LIMIT, most_views=1)
    for begin in range(0, len(rows), 20_000):
        search.add(rows[begin : begin + 20_000], np.arange(begin, min(begin + 20_000, len(rows))))
    return search.products()


def lists_for(rows: int) -> int:
    """Lists of an IVF index: the power of two nearest to four times the root of the rows, as faiss advises.

    Fewer where each would have less than the 39 rows that its training asks for.
    """
    return int(2 ** min(round(np.log2(4 * np.sqrt(rows))), np.floor(np.log2(rows / 39))))


def reduced(vectors: Vectors, numbers: str, *, fitted_to: Vectors) -> Vectors:
    """The vectors with so many numbers, of unit length; PCA is fitted to others and leaves their mean in."""
    if numbers == "256":
        return vectors
    if numbers == "128 (first)":
        kept = vectors[:, :NUMBERS]
    else:
        # Cosines are to be kept, so directions are those of the vectors themselves, not of their deviations.
        directions = np.linalg.eigh(fitted_to.T.astype(np.float64) @ fitted_to)[1][:, ::-1][:, :NUMBERS]
        kept = vectors @ directions.astype(np.float32)
    return np.asarray(kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12), np.float32)


def same_product_first(own: OwnVectors, numbers: str) -> float:
    """The share of views of rendered garments whose nearest other vector is a view of the same one."""
    vectors = reduced(own.vectors, numbers, fitted_to=own.vectors)
    known = np.flatnonzero(own.products >= 0)
    scores = vectors[known] @ vectors.T
    scores[np.arange(len(known)), known] = -2
    return float(np.mean(own.products[scores.argmax(axis=1)] == own.products[known]))
