"""The index at 10,000, 100,000 and a million vectors: `make bench-index`, or

    PYTHONPATH=tests python -m bench.index [--sizes 10000,100000,1000000] [--quick] [--minutes 25]

Fills catalogs of made vectors (made_vectors.py) into a real Milvus and searches them through the Index adapter. Prints
tables, writes build/bench_index.json and build/bench_index.png. Where a million vectors would take longer than
`--minutes`, going by the size before, the largest catalog has 300,000, and the output says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pymilvus import AsyncMilvusClient, MilvusClient

from bench.figures import INDEX_TARGETS, Figure, missed
from bench.index_load import LIMIT, Bare, adapter_call, overhead
from bench.index_plan import Plan, affordable, sizes
from bench.index_report import drawn, pages
from bench.index_sizes import Filling, Searched, catalog_of, filled, searched
from bench.index_upserts import UnderUpserts, under_upserts
from bench.machine import machine, revision
from bench.made_vectors import Mixture, fitted, likeness
from bench.own_vectors import own_vectors
from bench.processes import Family, watching
from bench.ratios import Reading, in_turns, ratio
from bench.servers import say
from lookalike.bench.load import Run, closed_loop, event_loop
from lookalike_service.milvus import MilvusIndex, MilvusOptions, collection_of
from support_engines import MilvusAccess, milvus

ROOT: Final = Path(__file__).parents[2]
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (10_000, 30_000)
QUERIES: Final = 400
CALL_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Bench:
    """The server with the adapter and bare pymilvus on it."""

    access: MilvusAccess
    family: Family
    options: MilvusOptions
    index: MilvusIndex
    client: Any
    mixture: Mixture
    queries: npt.NDArray[np.float32]


async def measure(bench: Bench, plan: Plan) -> tuple[dict[str, Figure], dict[str, Any]]:
    """The figures, and everything else that the JSON holds."""
    fillings: list[Filling] = []
    searches: list[Searched] = []
    overheads: dict[int, tuple[Reading, dict[str, float]]] = {}
    note = ""
    for wanted in plan.sizes:
        rows, note = affordable(
            wanted, plan, [(each.rows, each.write_seconds + each.index_seconds) for each in fillings]
        )
        if fillings and rows <= fillings[-1].rows:
            break
        filling = await filled(
            bench.index,
            bench.mixture,
            bench.queries,
            rows=rows,
            access=bench.access,
            family=bench.family,
            patience=60 * plan.minutes,
        )
        fillings.append(filling)
        searches += await searched(bench.index, filling, bench.queries, seconds=plan.seconds)
        overheads[rows] = await _overhead(bench, plan, rows)
        say(f"{rows:,} rows: adapter / bare p50 {overheads[rows][0].value:.3f}")
    growth, growing = await _growth(bench, plan, [each.rows for each in fillings])
    upserts = await under_upserts(
        bench.index,
        bench.options,
        bench.mixture,
        bench.queries,
        catalog=catalog_of(fillings[-1].rows),
        rows=fillings[-1].rows,
        rounds=plan.rounds,
        seconds=2 * plan.seconds,
    )
    figures = _figures(searches, overheads, growth, growing, upserts)
    content = {
        "sizes": [each.to_json() for each in fillings],
        "searches": [each.to_json() for each in searches],
        "overheads": {str(rows): {"ratio": reading.value, **found} for rows, (reading, found) in overheads.items()},
        "upserts": upserts.to_json(),
        "note": note,
    }
    return figures, content


async def _overhead(bench: Bench, plan: Plan, rows: int) -> tuple[Reading, dict[str, float]]:
    """p50 through the adapter over p50 bare, by rounds; and both in milliseconds."""
    catalog = catalog_of(rows)
    bare = Bare(bench.client, collection_of(catalog, 1))
    await overhead(bench.index, catalog, bare, bench.queries[:50])
    rounds = []
    for number in range(max(plan.rounds, 3)):
        queries = bench.queries[np.arange(number * plan.pairs, (number + 1) * plan.pairs) % len(bench.queries)]
        ours, theirs = await overhead(bench.index, catalog, bare, queries)
        rounds.append((float(np.median(ours)), float(np.median(theirs))))
    adapter, alone = (Reading(tuple(values)) for values in zip(*rounds, strict=True))
    found = {"adapter_ms": adapter.value, "bare_ms": alone.value, "rows_asked": float(bench.index.rows_for(LIMIT))}
    return ratio(adapter.rounds, alone.rounds), found


async def _growth(bench: Bench, plan: Plan, sizes: Sequence[int]) -> tuple[Reading, dict[str, Any]]:
    """p99 of a lone caller in the largest catalog over that in the one of 100,000, in turns."""
    small = next((rows for rows in sizes if rows == 100_000), sizes[0])
    calls = {rows: adapter_call(bench.index, catalog_of(rows), bench.queries) for rows in (small, sizes[-1])}

    async def run(rows: int) -> Run:
        return await closed_loop(calls[rows], callers=1, seconds=2 * plan.seconds, warmup=0.5)

    runs = await in_turns({str(rows): partial(run, rows) for rows in calls}, rounds=plan.rounds)
    p99 = {rows: [each.percentile(99) for each in runs[str(rows)]] for rows in calls}
    return ratio(p99[sizes[-1]], p99[small]), {"from": small, "to": sizes[-1], "p99_ms": p99}


def _figures(
    searches: Sequence[Searched],
    overheads: Mapping[int, tuple[Reading, dict[str, float]]],
    growth: Reading,
    growing: dict[str, Any],
    upserts: UnderUpserts,
) -> dict[str, Figure]:
    # The worst of the sizes counts.
    overhead_of = max(overheads, key=lambda rows: overheads[rows][0].value)
    least = min(searches, key=lambda each: each.recall)
    p99 = [[run.percentile(99) for run in runs] for runs in (upserts.busy, upserts.idle)]
    found = [
        Figure("adapter_overhead", overheads[overhead_of][0], {"rows": overhead_of}),
        Figure("recall_at_10", Reading((least.recall,)), {"rows": least.rows, "filter": least.filter}),
        Figure("p99_growth_100k_to_max", growth, growing),
        Figure("p99_under_upserts_ratio", ratio(*p99)),
        Figure("visibility_p99_s", Reading((float(np.percentile(upserts.visible_busy, 99)),))),
    ]
    return {figure.key: figure for figure in found}


async def run(directory: Path, options: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Start what is needed, measure, and return what the JSON holds."""
    about: dict[str, Any] = {"revision": revision(), "machine": machine()}
    own = await asyncio.to_thread(own_vectors, options.data)
    mixture = fitted(own)
    queries, _ = mixture.draw(np.random.default_rng(12345), QUERIES)
    apart = own.apart()
    like = likeness(apart, mixture.draw(np.random.default_rng(54321), len(apart))[0])
    async with AsyncExitStack() as stack:
        say("starting Milvus")
        access, family = stack.enter_context(watching(milvus(directory / "milvus")))
        adapter = MilvusOptions(access.uri, token=access.token, call_seconds=CALL_SECONDS)
        dimension = queries.shape[1]
        index = await MilvusIndex.connect(adapter, embedding_version=1, dimension=dimension)
        stack.push_async_callback(index.close)
        client = AsyncMilvusClient(access.uri, token=access.token, timeout=CALL_SECONDS, dedicated=True)
        stack.push_async_callback(client.close)
        bench = Bench(access, family, adapter, index, client, mixture, queries)
        figures, content = await measure(bench, plan)
        about |= {
            "milvus": _version(access),
            "dimension": dimension,
            "own": own.words(),
            "likeness": like,
            "seconds": plan.seconds,
            "rounds": plan.rounds,
            "minutes": (time.monotonic() - plan.began) / 60,
            "note": content.pop("note"),
        }
    return {**{key: figures[key].to_json() for key in INDEX_TARGETS}, **content, "run": about}


def _version(access: MilvusAccess) -> str:
    client = MilvusClient(access.uri, token=access.token, timeout=10, dedicated=True)
    try:
        return str(client.get_server_version(timeout=10)).removeprefix("v").removesuffix("-lite")
    finally:
        client.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every figure is what was wanted, 1 when one is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--sizes", type=sizes, help="vectors of the catalogs, as in 10000,100000; ascending")
    parser.add_argument(
        "--quick", action="store_true", help="small catalogs, short runs: whether it runs, not how fast"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a run; those that p99 is compared in take twice as long")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench_index.json")
    options = parser.parse_args(arguments)
    plan = Plan(
        options.sizes or (QUICK_SIZES if options.quick else SIZES),
        options.rounds or (2 if options.quick else 3),
        options.seconds or (1.5 if options.quick else 5.0),
        options.minutes,
        time.monotonic(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-index-") as folder,
        asyncio.Runner(loop_factory=event_loop) as runner,
    ):
        content = runner.run(run(Path(folder), options, plan))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(content, indent=1) + "\n")
    drawn(content, options.output.with_suffix(".png"))
    print(pages(content))
    wrong = missed(
        {key: Figure(key, Reading(tuple(content[key]["rounds"]))) for key in INDEX_TARGETS}, targets=INDEX_TARGETS
    )
    print(f"written to {options.output}")
    print(f"not what was wanted: {', '.join(wrong)}" if wrong else "all of it as wanted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
