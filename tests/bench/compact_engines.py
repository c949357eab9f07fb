"""Builds a kind of index in faiss, in Milvus or in Milvus Lite, and measures it with one caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np

from bench.compact_kinds import LIMIT, Corpus, Kind, Vectors, lists_for, reduced
from bench.exact import recall_at
from bench.filling import settled
from bench.index_load import SEARCH_WIDTH
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Box, Entry, Product, View
from support_engines import MilvusAccess

__all__ = ["LITE_KINDS", "MILVUS_KINDS", "Measured", "in_faiss", "on_server"]

MILVUS_KINDS: Final = ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8")
LITE_KINDS: Final = ("HNSW", "HNSW_SQ", "IVF_SQ8")
LINKS, BUILD_WIDTH, PROBES, REFINED = 16, 200, 32, 4
CALL_SECONDS: Final = 60.0
WARM_QUERIES: Final = 20
FILES_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Measured:
    """`bytes_per_vector`: of the index serialized by faiss, or of its files in Lite; 0 where no meter exists."""

    engine: str
    name: str
    numbers: str
    rows: int
    bytes_per_vector: float
    recall: float
    p50_ms: float
    p99_ms: float
    build_seconds: float

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {name: getattr(self, name) for name in self.__slots__}


def in_faiss(kind: Kind, corpus: Corpus, own: Vectors) -> Measured:
    """Build with all threads, search with one, a query at a time."""
    rows, queries = (reduced(each, kind.numbers, fitted_to=own) for each in (corpus.rows, corpus.queries))
    index = faiss.index_factory(
        rows.shape[1], kind.recipe.format(lists=lists_for(len(rows))), faiss.METRIC_INNER_PRODUCT
    )
    begin = time.perf_counter()
    _set(index)
    index.train(rows)
    index.add(rows)
    built = time.perf_counter() - begin
    size = len(faiss.serialize_index(index)) / len(rows)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        found, took = _asked(queries, lambda query: index.search(query[None], LIMIT)[1][0].tolist())
    finally:
        faiss.omp_set_num_threads(threads)
    p50, p99 = np.percentile(took, (50, 99))
    recall = recall_at(found, corpus.exact)
    return Measured("faiss", kind.name, kind.numbers, len(rows), size, recall, float(p50), float(p99), built)


def _set(index: Any) -> None:  # noqa: ANN401 - faiss is generated
    """The widths that Lookalike searches with."""
    space = faiss.ParameterSpace()
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexRefine):
        inner.k_factor = REFINED
        inner = faiss.downcast_index(inner.base_index)
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efConstruction, inner.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
    elif isinstance(inner, faiss.IndexIVF):
        space.set_index_parameter(inner, "nprobe", PROBES)


def _asked(queries: Vectors, search: Callable[[Any], list[int]]) -> tuple[list[list[int]], list[float]]:
    """What was found, and milliseconds; the first queries are asked twice."""
    for query in queries[:WARM_QUERIES]:
        search(query)
    found, took = [], []
    for query in queries:
        begin = time.perf_counter()
        found.append(search(query))
        took.append(1000 * (time.perf_counter() - begin))
    return found, took


async def on_server(
    engine: str, kind: str, access: MilvusAccess, corpus: Corpus, *, folder: Path | None = None
) -> Measured:
    """Fill a collection through the adapter; `folder` is where a Lite keeps its data.

    A server's index files are compressed, so they say nothing of the memory that it takes.
    """
    catalog = f"compact-{kind}"
    options = MilvusOptions(
        access.uri,
        token=access.token,
        index_kind=kind,
        links=LINKS,
        build_width=BUILD_WIDTH,
        search_width=SEARCH_WIDTH,
        lists=lists_for(len(corpus.rows)),
        probes=PROBES,
        call_seconds=CALL_SECONDS,
    )
    index = await MilvusIndex.connect(options, embedding_version=1, dimension=corpus.rows.shape[1])
    before = _index_bytes(folder) if folder else 0
    try:
        await index.prepare(catalog)
        begin = time.perf_counter()
        await index.upsert(catalog, [_entry(catalog, number, row) for number, row in enumerate(corpus.rows)])
        settled(access, catalog, rows=len(corpus.rows))
        if folder:
            _wait_for_files(folder, more_than=before)
        built = time.perf_counter() - begin
        await index.search(catalog, corpus.queries[:WARM_QUERIES], limit=LIMIT, timeout=CALL_SECONDS)
        found, took = [], []
        for query in corpus.queries:
            sent = time.perf_counter()
            [ranking] = await index.search(catalog, query[None], limit=LIMIT, timeout=CALL_SECONDS)
            took.append(1000 * (time.perf_counter() - sent))
            found.append([int(match.product_id) for match in ranking.matches])
    finally:
        await index.close()
    size = (_index_bytes(folder) - before) / len(corpus.rows) if folder else 0.0
    p50, p99 = np.percentile(took, (50, 99))
    recall = recall_at(found, corpus.exact)
    return Measured(engine, kind, "256", len(corpus.rows), size, recall, float(p50), float(p99), built)


def _index_bytes(folder: Path) -> int:
    """Of the index files below a Lite's folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.idx"))


def _wait_for_files(folder: Path, *, more_than: int) -> None:
    """Lite says that rows are indexed a moment before they are, and until then searches them all."""
    end = time.monotonic() + FILES_SECONDS
    while _index_bytes(folder) <= more_than and time.monotonic() < end:
        time.sleep(0.1)


def _entry(catalog: str, number: int, row: Vectors) -> Entry:
    product = Product(catalog, str(number), indexed_revision=1)
    view = View(f"{number}/0/0", "0" * 64, Box(0, 0, 1, 1), "top", (), "", 1, row.astype(np.float16))
    return Entry(product, view)
