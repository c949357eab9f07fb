"""The stack of `make serve`: how long it takes to serve, how much memory it holds, how fast Milvus Lite lets it be."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from bench.calls import search_call, search_stub
from bench.figures import Figure
from bench.filling import Seen, fill, made_products
from bench.plan import Plan, loaded
from bench.processes import watching
from bench.ratios import Reading
from bench.servers import say
from lookalike.v1.search_service_pb2 import SearchProductsRequest
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.embedded.stack import serving
from support_engines import MilvusAccess

__all__ = ["embedded_stack"]

CALLERS: Final = 8
# As many as Lite is for.
ROWS: Final = 10_000


async def embedded_stack(plan: Plan) -> list[Figure]:
    """Start the filled stack, load it, weigh it, stop it; once a round. Everything else is stopped before."""
    near = await plan.servers.garments()
    await asyncio.to_thread(plan.servers.stop)
    directory = plan.directory / "embedded"
    say(f"filling Milvus Lite with {ROWS} rows")
    await _fill(directory, near)
    starts, weights, rates, details = [], [], [], []
    for _ in range(min(plan.rounds, 3)):
        say("cold_start_s: starting the embedded stack")
        # Every photo is new to the models; the stack's processes inherit it.
        os.environ["LOOKALIKE_RECENT_MEBIBYTES"] = "0"
        async with AsyncExitStack() as stack:
            begin = time.perf_counter()
            address, family = await asyncio.to_thread(stack.enter_context, watching(serving(directory)))
            starts.append(time.perf_counter() - begin)
            idle = sum(family.pss_mib().values())
            stub = await stack.enter_async_context(search_stub(address))
            call = search_call(stub, [SearchProductsRequest(image=photo) for photo in plan.photos.shown])
            load = await loaded(
                call, callers=CALLERS, seconds=plan.seconds, warmup=plan.warmup, families={"stack": family}
            )
            pss = family.pss_mib()
            weights.append(sum(pss.values()) * 1.048576)
            rates.append(load.run.throughput)
            run = {"codes": dict(load.run.codes), "phases_ms": load.run.mean_phases(), "cpu_ms_per_photo": load.cpu_ms}
            details.append({"idle_mib": idle, "loaded_mib": pss, **run})
    return [
        Figure("cold_start_s", Reading(tuple(starts)), {"rows": ROWS, "files": "cached by the system from round 2 on"}),
        Figure("rss_mb", Reading(tuple(weights)), {"callers": CALLERS, "runs": details}),
        Figure("lite_search_photos_per_s", Reading(tuple(rates)), {"callers": CALLERS, "rows": ROWS, "runs": details}),
    ]


async def _fill(directory: Path, near: list[Seen]) -> None:
    products = list(made_products(near, rows=ROWS, catalog="default"))
    lite = EmbeddedMilvus(directory / "vectors", run_directory=directory / "run" / "milvus")
    await asyncio.to_thread(lite.start)
    try:
        database = f"sqlite+aiosqlite:///{directory / 'catalog.db'}"
        await fill(products, access=MilvusAccess(lite.uri), database_url=database)
    finally:
        await asyncio.to_thread(lite.stop)
