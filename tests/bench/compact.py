"""Compact vectors: kinds of index and of numbers, by what they take, find and cost. `make bench-vectors`, or

    PYTHONPATH=tests python -m bench.compact [--rows 100000] [--quick]

Some of our own embeddings are the queries, the others the rows, and made vectors beside them make up `--rows`. Every
kind is built with faiss in this process; those that Milvus 2.3.5 and Milvus Lite build are built there, too. Prints a
table and writes build/bench_vectors.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.compact_engines import LITE_KINDS, MILVUS_KINDS, in_faiss, on_server
from bench.compact_kinds import KINDS, Corpus, corpus, same_product_first
from bench.compact_report import page
from bench.machine import machine, revision
from bench.made_vectors import fitted
from bench.own_vectors import own_vectors
from bench.servers import say
from lookalike.bench.load import event_loop
from support_engines import MilvusAccess, lite, milvus

ROOT: Final = Path(__file__).parents[2]
ROWS, QUICK_ROWS, QUERIES = 100_000, 10_000, 300
# What Lite is for.
LITE_ROWS: Final = 10_000


def measured(data: Path, folder: Path, *, rows: int, queries: int) -> dict[str, Any]:
    """Everything that the JSON holds."""
    own = own_vectors(data)
    mixture = fitted(own)
    small = corpus(own, mixture, rows=0, queries=queries)
    whole = corpus(own, mixture, rows=rows, queries=queries)
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        alone = in_faiss(kind, small, own.vectors)
        beside = in_faiss(kind, whole, own.vectors)
        say(f"faiss {kind.name}: recall {alone.recall:.3f} among our own, {beside.recall:.3f} among {rows:,}")
        found.append({**beside.to_json(), "recall_own": alone.recall})
    with milvus(folder / "milvus") as access:
        found += _served("Milvus 2.3.5", access, MILVUS_KINDS, whole)
    with lite(folder / "lite") as access:
        least = corpus(own, mixture, rows=min(rows, LITE_ROWS), queries=queries)
        found += _served("Milvus Lite 3.2", access, LITE_KINDS, least, folder=folder / "lite")
    same = {numbers: same_product_first(own, numbers) for numbers in ("256", "128 (PCA)", "128 (first)")}
    return {"kinds": found, "same_product_first": same, "own": own.words(), "rows_own": len(small.rows)}


def _served(
    engine: str, access: MilvusAccess, kinds: Sequence[str], rows: Corpus, *, folder: Path | None = None
) -> list[dict[str, Any]]:
    found = []
    for kind in kinds:
        with asyncio.Runner(loop_factory=event_loop) as runner:
            result = runner.run(on_server(engine, kind, access, rows, folder=folder))
        say(f"{engine} {kind}: recall {result.recall:.3f}, p50 {result.p50_ms:.1f} ms")
        found.append(result.to_json())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """0 once all is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--quick", action="store_true", help="few rows: whether it runs")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench_vectors.json")
    options = parser.parse_args(arguments)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    begin, about = time.monotonic(), {"revision": revision(), "machine": machine(), "rows": rows}
    with tempfile.TemporaryDirectory(prefix="lookalike-compact-") as folder:
        content = measured(options.data, Path(folder), rows=rows, queries=options.queries)
    about |= {"minutes": (time.monotonic() - begin) / 60, "queries": options.queries}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**content, "run": about}, indent=1) + "\n")
    print(page({**content, "run": about}))
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    # A search is one caller's: threads within it would hide what it costs.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    sys.exit(main())
