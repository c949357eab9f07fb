"""What taking in views costs the searches: `make bench-views`, or

    PYTHONPATH=tests python -m bench.views [--rate 1000] [--seconds 20] [--rounds 5]

The whole stack (real models, a real Milvus, SQLite) answers photos, and taps with garment tokens, of one caller each,
in turns with and without a stream of views beside them. Every round relates its own readings, and the median counts.
What was acknowledged is compared with what was sent, and lists of products that many sessions looked at are timed at
the end. Writes build/bench_views.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from bench.calls import search_call
from bench.machine import machine, revision
from bench.photos import load_photos
from bench.plan import Plan
from bench.ratios import in_turns, ratio
from bench.servers import Servers, say
from bench.tokens import token_calls
from lookalike.bench.load import Call, Run, closed_loop, event_loop
from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike.v1.product_service_pb2_grpc import ProductServiceStub
from lookalike.v1.search_service_pb2 import SearchProductsRequest

ROOT: Final = Path(__file__).parents[2]
CATALOG: Final = "default"
LIMIT: Final = 1.10
CALLS_PER_SECOND: Final = 10
VIEWS_PER_SESSION: Final = 8
# Who looks around looks at neighbors; some look at what everybody does.
NEIGHBORS: Final = 20
BESTSELLERS: Final = 0.2


@dataclass
class Feed:
    """A shop that reports so many views a second, a tenth of a second's in a call, whether it is answered or not."""

    stub: Any
    products: Sequence[str]
    rate: int
    sent: int = 0
    accepted: int = 0
    refused: int = 0
    milliseconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Report during a block, and wait for every acknowledgement at its end."""
        begin, tasks = time.monotonic(), asyncio.create_task(self._flow())
        try:
            yield
        finally:
            tasks.cancel()
            for call in await asyncio.gather(tasks, return_exceptions=True):
                if isinstance(call, Exception):
                    raise call
            self.seconds += time.monotonic() - begin

    async def _flow(self) -> None:
        calls: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        try:
            while True:
                calls = {call for call in calls if not call.done()}
                calls.add(asyncio.create_task(self._report(self._views(self.rate // CALLS_PER_SECOND))))
                due += 1 / CALLS_PER_SECOND
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            await asyncio.gather(*calls)

    async def _report(self, request: product_service_pb2.RecordViewsRequest) -> None:
        begin = time.monotonic()
        self.sent += len(request.views)
        try:
            answer = await self.stub.RecordViews(iter([request]))
        except grpc.aio.AioRpcError:
            self.refused += len(request.views)
            return
        self.accepted += answer.accepted
        self.milliseconds.append((time.monotonic() - begin) * 1000)

    def _views(self, count: int) -> product_service_pb2.RecordViewsRequest:
        request, chance, every = product_service_pb2.RecordViewsRequest(), self._random, len(self.products)
        for number in range(count):
            visit = (self.sent + number) // VIEWS_PER_SESSION
            place = random.Random(visit).randrange(every) + chance.randrange(NEIGHBORS)
            if chance.random() < BESTSELLERS:
                place = int(chance.random() ** 4 * every)
            name = f"catalogs/{CATALOG}/products/{self.products[place % every]}"
            request.views.add(product=name, session=f"visit {visit}").view_time.GetCurrentTime()
        return request


async def measured(plan: Plan, options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    async with AsyncExitStack() as stack:
        stub = await plan.stub(stack, filled=(CATALOG,))
        address = await plan.servers.gateway(filled=(CATALOG,))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        ids = [product.id for product in plan.servers.products[CATALOG]]
        feed = Feed(ProductServiceStub(channel), ids, options.rate)
        name = f"catalogs/{CATALOG}"
        photos = [SearchProductsRequest(catalog=name, image=photo) for photo in plan.photos.shown]
        taps = await token_calls(stub, plan.photos.shown[:12], catalog=CATALOG)
        kinds = {"photo": search_call(stub, photos), "tap": taps["tap"]}
        figures = {kind: await _compared(plan, call, feed, kind) for kind, call in kinds.items()}
        lists = await _lists(stub, ids)
    kept = _kept(plan.directory / "catalog.db")
    return {
        "searches": figures,
        "views": {
            "rate_asked": options.rate,
            "rate_taken": round(feed.accepted / feed.seconds, 1),
            "sent": feed.sent,
            "accepted": feed.accepted,
            "refused": feed.refused,
            "kept_and_counted": kept,
            "acknowledged_after_ms": _percentiles(feed.milliseconds),
        },
        "list_ms": _percentiles(lists),
    }


async def _compared(plan: Plan, call: Call, feed: Feed, kind: str) -> dict[str, Any]:
    say(f"{kind}: {plan.rounds} rounds with and without {feed.rate} views/s")

    async def without() -> Run:
        return await closed_loop(call, callers=1, seconds=plan.seconds, warmup=plan.warmup)

    async def beside() -> Run:
        async with feed.flowing():
            return await without()

    runs = await in_turns({"without": without, "beside": beside}, rounds=plan.rounds)
    table: dict[str, Any] = {}
    for percent in (50, 99):
        found = {name: [each.percentile(percent) for each in of_name] for name, of_name in runs.items()}
        related = ratio(found["beside"], found["without"])
        table[f"p{percent}"] = {
            **{f"{name}_ms": [round(each, 2) for each in values] for name, values in found.items()},
            "ratio": round(related.value, 3),
            "spread": [round(each, 3) for each in related.spread],
        }
    table["codes"] = {
        name: dict(sum((each.codes for each in of_name), start=type(of_name[0].codes)()))
        for name, of_name in runs.items()
    }
    return table


async def _lists(stub: Any, ids: Sequence[str]) -> list[float]:  # noqa: ANN401
    """Milliseconds of first pages that were not counted before: the bestsellers, and as many others."""
    found = []
    for id in [*ids[:50], *random.Random(1).sample(list(ids[50:]), 50)]:
        begin = time.monotonic()
        name = f"catalogs/{CATALOG}/products/{id}"
        await stub.ListAlsoViewedProducts(search_service_pb2.ListAlsoViewedProductsRequest(name=name))
        found.append((time.monotonic() - begin) * 1000)
    return found


def _kept(path: Path) -> list[int]:
    """How many rows there are, and how many the counts say."""
    with sqlite3.connect(path) as connection:
        [rows] = connection.execute("SELECT count(*) FROM page_views").fetchone()
        [counts] = connection.execute("SELECT coalesce(sum(sessions), 0) FROM page_view_counts").fetchone()
    return [rows, counts]


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when searches are no more than a tenth slower and every view was taken in, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="photographs, where there are"
    )
    parser.add_argument("--rate", type=int, default=1000, help="views a second (1000)")
    parser.add_argument("--rows", type=int, default=25_000, help="garment views in the catalog (25,000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a run (20)")
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds before it counts (2)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench_views.json")
    options = parser.parse_args(arguments)
    where = {"machine": machine(), "revision": revision()}
    photos = load_photos(options.data)
    with tempfile.TemporaryDirectory(prefix="lookalike-views-") as name:
        directory = Path(name)
        servers = Servers(directory, others=photos.others, catalogs={CATALOG: options.rows})
        plan = Plan(photos, servers, directory, options.rounds, options.seconds, options.warmup)
        try:
            with asyncio.Runner(loop_factory=event_loop) as runner:
                found = runner.run(measured(plan, options))
        finally:
            servers.stop()
    slowest = max(kind["p50"]["ratio"] for kind in found["searches"].values())
    views = found["views"]
    met = (
        slowest <= LIMIT
        and views["accepted"] == views["sent"]
        and views["kept_and_counted"][0] == views["kept_and_counted"][1]
    )
    report = {**where, "photos": photos.to_json(), "rows": options.rows, "limit": LIMIT, "met": met, **found}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print("| search, one caller | p50 ms without | beside views | ratio | p99 ratio |\n| --- | --- | --- | --- | --- |")
    for kind, row in found["searches"].items():
        alone, beside = (statistics.median(row["p50"][f"{which}_ms"]) for which in ("without", "beside"))
        print(f"| {kind} | {alone:.1f} | {beside:.1f} | {row['p50']['ratio']:.3f} | {row['p99']['ratio']:.3f} |")
    print(
        f"{views['rate_taken']:.0f} views/s, acknowledged after {views['acknowledged_after_ms']['p50']} ms (p50), "
        f"{views['acknowledged_after_ms']['p99']} ms (p99); a list takes {found['list_ms']['p50']} ms"
    )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
