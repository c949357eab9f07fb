"""One catalog of a size: filled, then searched through the Index adapter with and without filters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pymilvus import MilvusClient

from bench.exact import ExactSearch
from bench.filling import settled
from bench.index_load import LIMIT, adapter_call, number_of, recall
from bench.made_vectors import MOST_VIEWS, Mixture, made_entries
from bench.processes import Family
from bench.servers import calm, say
from fakes import holds
from lookalike.bench.load import Run, closed_loop
from lookalike_service.filter import Node, parse, without_not
from lookalike_service.milvus import MilvusIndex, collection_of
from lookalike_service.model import Entry
from lookalike_service.rows import row_of
from support_engines import MilvusAccess

__all__ = ["CALLERS", "FILTERS", "Filling", "Searched", "catalog_of", "filled", "searched"]

CALLERS: Final = (1, 4, 16)
FILTERS: Final = {"none": "", "28 %": "price < 10000 AND available", "1 %": 'brand = "Brand 07"'}
"""By the share of the rows that pass."""
CALM_SECONDS: Final = 120.0
WARMUP: Final = 0.5
# Larger catalogs are inserted: an upsert also deletes, which takes the longer the more rows there are.
MOST_UPSERTED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Filling:
    """How a catalog was filled, in seconds: what the writes took, and until all rows had an index after the last one.

    `written_by` is upsert or insert;
    `exact` holds the numbers of the products nearest to every query, by filter; `milvus_mib` is what all of the server
    takes with this catalog and the smaller ones in memory.
    """

    rows: int
    written_by: str
    write_seconds: float
    index_seconds: float
    calm_seconds: float
    milvus_mib: float
    passing: Mapping[str, int]
    exact: Mapping[str, list[list[int]]] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """All but the exact answers."""
        return {
            "rows": self.rows,
            "written_by": self.written_by,
            "rows_per_s": self.rows / self.write_seconds,
            "write_s": self.write_seconds,
            "index_s": self.index_seconds,
            "calm_s": self.calm_seconds,
            "milvus_mib": self.milvus_mib,
            "rows_passing": dict(self.passing),
        }


@dataclass(frozen=True, slots=True)
class Searched:
    """What searches with a filter came to, by callers, and their recall."""

    rows: int
    filter: str
    recall: float
    runs: Mapping[int, Run]

    def to_json(self) -> dict[str, Any]:
        """Percentiles in milliseconds and searches per second, by callers."""
        loads = {
            str(callers): {
                **{f"p{percent:g}_ms": run.percentile(percent) for percent in (50, 95, 99)},
                "searches_per_s": run.throughput,
                "searches": run.requests,
                "codes": dict(run.codes),
            }
            for callers, run in self.runs.items()
        }
        return {"rows": self.rows, "filter": self.filter, "recall_at_10": self.recall, "callers": loads}


def catalog_of(rows: int) -> str:
    """Its name."""
    return f"rows{rows}"


async def filled(
    index: MilvusIndex,
    mixture: Mixture,
    queries: npt.NDArray[np.float32],
    *,
    rows: int,
    access: MilvusAccess,
    family: Family,
    patience: float,
) -> Filling:
    """Fill a new catalog of that size and wait until it is indexed and the server is quiet."""
    catalog, upserts = catalog_of(rows), rows <= MOST_UPSERTED
    nodes = {name: parse(text) for name, text in FILTERS.items()}
    searches = {name: ExactSearch(queries, limit=LIMIT, most_views=MOST_VIEWS) for name in nodes}
    passing = dict.fromkeys(nodes, 0)
    await index.prepare(catalog)
    writing, written = 0.0, 0
    client = MilvusClient(access.uri, token=access.token, timeout=patience, dedicated=True)
    for entries in made_entries(mixture, rows=rows, catalog=catalog):
        sent = time.monotonic()
        if upserts:
            await index.upsert(catalog, entries, timeout=patience)
        else:
            await asyncio.to_thread(_insert, client, collection_of(catalog, 1), entries)
        writing += time.monotonic() - sent
        _see(entries, nodes, searches, passing)
        written += len(entries)
        if written % 100_000 == 0:
            say(f"{written:,} of {rows:,} rows, {written / writing:,.0f} a second")
    client.close()
    indexing = await asyncio.to_thread(settled, access, catalog, rows=rows, patience=patience)
    calming = await calm(family, most=CALM_SECONDS)
    say(f"{rows:,} rows: written in {writing:.0f} s, indexed {indexing:.0f} s and quiet {calming:.0f} s later")
    memory = sum(family.pss_mib().values())
    exact = {name: search.products() for name, search in searches.items()}
    way = "upsert" if upserts else "insert"
    return Filling(rows, way, writing, indexing, calming, memory, passing, exact)


def _insert(client: Any, collection: str, entries: list[Entry]) -> None:  # noqa: ANN401 - pymilvus is untyped
    client.insert(collection, [row_of(entry) for entry in entries])


def _see(
    entries: list[Entry],
    nodes: Mapping[str, Node | None],
    searches: Mapping[str, ExactSearch],
    passing: dict[str, int],
) -> None:
    """Show rows to the exact search; what Milvus gets are the same half floats."""
    vectors = np.stack([entry.view.embedding for entry in entries]).astype(np.float32)
    # Not all are of unit length to the last bit, and Milvus divides by what they have.
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = np.array([number_of(entry.product.id) for entry in entries])
    for name, node in nodes.items():
        tree = without_not(node) if node else None
        passes = np.array([tree is None or holds(tree, entry) for entry in entries])
        searches[name].add(vectors[passes], products[passes])
        passing[name] += int(passes.sum())


async def searched(
    index: MilvusIndex, filling: Filling, queries: npt.NDArray[np.float32], *, seconds: float
) -> list[Searched]:
    """Every filter by every number of callers."""
    found, catalog = [], catalog_of(filling.rows)
    for name, text in FILTERS.items():
        filter = parse(text)
        share = await recall(index, catalog, queries, filling.exact[name], filter=filter)
        call = adapter_call(index, catalog, queries, filter=filter)
        runs = {}
        for callers in CALLERS:
            runs[callers] = await closed_loop(call, callers=callers, seconds=seconds, warmup=min(WARMUP, seconds / 5))
        found.append(Searched(filling.rows, name, share, runs))
        p99 = ", ".join(f"{callers}: {run.percentile(99):.1f}" for callers, run in runs.items())
        say(f"{filling.rows:,} rows, filter {name}: recall@10 {share:.4f}, p99 ms by callers {p99}")
    return found
