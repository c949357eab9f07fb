"""Searches while products stream in: how much slower they get, and when what was written is found."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.index_load import LIMIT, adapter_call
from bench.index_writer import Written, writing
from bench.made_vectors import ROWS_PER_CHUNK, Mixture, made_chunk
from bench.servers import say
from lookalike.bench.load import Run, open_loop
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Entry
from lookalike_service.ports import Index

__all__ = ["RATE", "WRITTEN_RATE", "UnderUpserts", "under_upserts", "visibility"]

# Searches and products per second.
RATE: Final = 50.0
WRITTEN_RATE: Final = 500.0
SETTLING_SECONDS: Final = 5.0
PROBERS: Final = 3
# Far from the numbers of catalogs and of their writer.
FIRST_PROBE_CHUNK: Final = 90_000
LONGEST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class UnderUpserts:
    """Runs of the same rate without and with upserts, the seconds until probes were found, and what the writer did."""

    idle: Sequence[Run]
    busy: Sequence[Run]
    visible_idle: Sequence[float]
    visible_busy: Sequence[float]
    written: Written

    def to_json(self) -> dict[str, Any]:
        """Percentiles and rates."""
        return {
            "searches_per_s": RATE,
            "p50_ms": {
                "idle": [run.percentile(50) for run in self.idle],
                "upserts": [r.percentile(50) for r in self.busy],
            },
            "p99_ms": {
                "idle": [run.percentile(99) for run in self.idle],
                "upserts": [r.percentile(99) for r in self.busy],
            },
            "codes": [dict(run.codes) for run in (*self.idle, *self.busy)],
            "products_per_s": self.written.rate,
            "rows_per_s": self.written.rows / self.written.seconds,
            "upsert_ms": {f"p{each}": float(np.percentile(self.written.upsert_ms, each)) for each in (50, 99)},
            "visible_s": {
                name: {"probes": len(seconds), **{f"p{each}": float(np.percentile(seconds, each)) for each in (50, 99)}}
                for name, seconds in (("idle", self.visible_idle), ("upserts", self.visible_busy))
            },
        }


async def under_upserts(
    index: MilvusIndex,
    options: MilvusOptions,
    mixture: Mixture,
    queries: npt.NDArray[np.float32],
    *,
    catalog: str,
    rows: int,
    rounds: int,
    seconds: float,
) -> UnderUpserts:
    """Searches at random moments, `rounds` runs without and then with upserts into the same catalog of `rows` rows."""
    call = adapter_call(index, catalog, queries)

    async def run(number: int) -> Run:
        return await open_loop(call, rate=RATE, seconds=seconds, warmup=1.0, seed=number)

    say(f"{RATE:.0f} searches/s, idle and then beside {WRITTEN_RATE:.0f} upserted products/s")
    idle = [await run(number) for number in range(rounds)]
    visible_idle = await visibility(index, mixture, catalog=catalog, seconds=seconds / 2, first=0)
    settling = min(SETTLING_SECONDS, seconds)
    chunks, whole = rows // ROWS_PER_CHUNK, settling + (rounds + 2) * (seconds + 1.0)
    with writing(options, mixture, catalog=catalog, rate=WRITTEN_RATE, chunks=chunks, seconds=whole) as writer:
        await asyncio.sleep(settling)
        busy = [await run(number) for number in range(rounds)]
        visible_busy = await visibility(index, mixture, catalog=catalog, seconds=2 * seconds, first=1)
        written = await asyncio.to_thread(writer.stop)
    p99 = [[round(run.percentile(99), 1) for run in runs] for runs in (idle, busy)]
    say(f"p99 ms {p99[0]} idle, {p99[1]} beside upserts")
    return UnderUpserts(idle, busy, visible_idle, visible_busy, written)


async def visibility(
    index: Index, mixture: Mixture, *, catalog: str, seconds: float, first: int, patience: float = LONGEST_SECONDS
) -> list[float]:
    """For so long, write single products and search for each until it is found: seconds after its acknowledgement.

    `first` tells one series of probes from others. Raises TimeoutError when one is not found within `patience`.
    """
    end = time.monotonic() + seconds
    probes = _probes(mixture, catalog, first)
    found: list[float] = []

    async def prober() -> None:
        while time.monotonic() < end:
            entry = next(probes)
            await index.upsert(catalog, [entry], timeout=LONGEST_SECONDS)
            found.append(await _until_found(index, catalog, entry, patience))

    await asyncio.gather(*(prober() for _ in range(PROBERS)))
    return found


async def _until_found(index: Index, catalog: str, entry: Entry, patience: float) -> float:
    begin, query = time.monotonic(), entry.view.embedding.astype(np.float32)[None]
    while time.monotonic() - begin < patience:
        [ranking] = await index.search(catalog, query, limit=LIMIT, timeout=LONGEST_SECONDS)
        if any(match.product_id == entry.product.id for match in ranking.matches):
            return time.monotonic() - begin
        await asyncio.sleep(0.01)
    raise TimeoutError(f"what was written to {catalog} is not found after {patience:g} s")


def _probes(mixture: Mixture, catalog: str, first: int) -> Iterator[Entry]:
    """One view each of products that no catalog has."""
    for chunk in itertools.count(FIRST_PROBE_CHUNK + 1000 * first):
        yield from (entry for entry in made_chunk(mixture, chunk, catalog=catalog) if entry.view.id.endswith("/0/0"))
