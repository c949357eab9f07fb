"""What the gateway and Milvus add to the ensemble: throughput, processor time, and latency for a lone caller."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from pymilvus import AsyncMilvusClient

from bench.calls import Ensemble, ensemble_inputs, search_call
from bench.figures import Figure
from bench.plan import Plan
from bench.ratios import Reading, in_turns, ratio
from bench.servers import say
from lookalike.v1.search_service_pb2 import SearchProductsRequest
from lookalike_service.milvus_collections import collection_of
from lookalike_service.rows import FIELDS

__all__ = ["gateway_added", "gateway_efficiency"]

CALLERS: Final = 8
# What the gateway asks for when it wants eleven products (a page of ten, and whether there is more) of 2.5 rows each.
ROWS, SEARCH_WIDTH = 32, 64
IDLE_SECONDS: Final = 5.0


async def gateway_efficiency(plan: Plan) -> list[Figure]:
    """SearchProducts and the ensemble alone in turns; what each part of a search costs the processor."""
    families = ["triton", "gateway", "milvus"]
    async with AsyncExitStack() as stack:
        stub, bare = await plan.stub(stack), await plan.ensemble(stack)
        requests = [SearchProductsRequest(image=photo) for photo in plan.photos.shown]
        contenders = {
            "ensemble": partial(plan.closed, bare.call(plan.photos.shown), callers=CALLERS, families=families),
            "search": partial(plan.closed, search_call(stub, requests), callers=CALLERS, families=families),
        }
        say(f"gateway_efficiency: {CALLERS} callers, the ensemble alone and SearchProducts in turns")
        loads = await in_turns(contenders, rounds=plan.rounds)
        idle = await _idle(plan, families)
    rates = {name: [load.run.throughput for load in of_name] for name, of_name in loads.items()}
    searches = loads["search"]
    cpu = {name: Reading(tuple(load.cpu_ms[name] for load in searches)) for name in (*families, "client")}
    ours = Reading(tuple(load.cpu_ms["triton"] + load.cpu_ms["gateway"] for load in searches))
    details = {
        "callers": CALLERS,
        "photos_per_s": rates,
        "cpu_ms_per_photo": {
            name: {part: statistics.median(load.cpu_ms[part] for load in of_name) for part in of_name[0].cpu_ms}
            for name, of_name in loads.items()
        },
        # What they use without any photo; it is part of the milliseconds above.
        "idle_cores": idle,
        "phases_ms": [load.run.mean_phases() for load in searches],
        "garments_per_photo": statistics.median(load.run.garments / max(load.run.requests, 1) for load in searches),
        "codes": [dict(load.run.codes) for load in searches],
    }
    return [
        Figure("gateway_efficiency", ratio(rates["search"], rates["ensemble"]), details),
        Figure("cpu_ms_per_search", ours, {"triton": cpu["triton"], "gateway": cpu["gateway"]}),
        Figure("milvus_cpu_ms_per_search", cpu["milvus"]),
        Figure("client_cpu_ms_per_search", cpu["client"]),
    ]


async def _idle(plan: Plan, families: Sequence[str]) -> dict[str, float]:
    """The share of a core that each uses when nobody asks anything."""
    before = {name: plan.servers.families[name].cpu_seconds() for name in families}
    await asyncio.sleep(IDLE_SECONDS)
    return {name: (plan.servers.families[name].cpu_seconds() - before[name]) / IDLE_SECONDS for name in families}


@dataclass(slots=True)
class _Bare:
    """The ensemble and then Milvus, as somebody would call them who needs neither products nor deadlines."""

    ensemble: Ensemble
    milvus: Any
    collection: str
    ensemble_ms: list[float] = field(default_factory=list)
    milvus_ms: list[float] = field(default_factory=list)

    async def search(self, photo: bytes) -> float:
        """Milliseconds for both."""
        inputs = ensemble_inputs(photo)
        begin = time.perf_counter()
        vectors = (await self.ensemble.infer(inputs)).as_numpy("embedding")
        seen = time.perf_counter()
        await self.milvus.search(
            self.collection,
            data=list(vectors),
            anns_field="embedding",
            limit=ROWS,
            output_fields=FIELDS,
            search_params={"metric_type": "COSINE", "params": {"ef": SEARCH_WIDTH}},
            consistency_level="Bounded",
            timeout=30,
        )
        end = time.perf_counter()
        self.ensemble_ms.append(1000 * (seen - begin))
        self.milvus_ms.append(1000 * (end - seen))
        return 1000 * (end - begin)


async def gateway_added(plan: Plan) -> list[Figure]:
    """One caller, every photo both ways one after the other; the median of the photos' differences.

    The difference is taken per photo, since photos differ by far more than what is looked for.
    """
    access = await plan.servers.milvus()
    async with AsyncExitStack() as stack:
        stub, bare_ensemble = await plan.stub(stack), await plan.ensemble(stack)
        milvus = AsyncMilvusClient(access.uri, token=access.token, timeout=30, dedicated=True)
        stack.push_async_callback(milvus.close)
        bare = _Bare(bare_ensemble, milvus, collection_of("default", 1))
        say("gateway_added_p50_ms: one caller, both ways in turns")
        await _differences(plan.photos.shown[:4], stub, bare)
        rounds, searched = [], []
        for number in range(plan.rounds):
            found = await _differences(plan.photos.shown, stub, bare, bare_first=number % 2 == 1)
            rounds.append(statistics.median(ours - theirs for ours, theirs in found))
            searched.append(statistics.median(ours for ours, _ in found))
    details = {
        "photos_per_round": len(plan.photos.shown),
        "search_p50_ms": searched,
        "ensemble_p50_ms": statistics.median(bare.ensemble_ms),
        "milvus_p50_ms": statistics.median(bare.milvus_ms),
        "rows": ROWS,
    }
    return [Figure("gateway_added_p50_ms", Reading(tuple(rounds)), details)]


async def _differences(
    photos: tuple[bytes, ...],
    stub: Any,  # noqa: ANN401 - one class serves synchronous and asynchronous channels
    bare: _Bare,
    *,
    bare_first: bool = False,
) -> list[tuple[float, float]]:
    """Milliseconds of SearchProducts and of the bare calls, by photo; who goes first alternates."""

    async def ours(photo: bytes) -> float:
        request = SearchProductsRequest(image=photo)
        begin = time.perf_counter()
        await stub.SearchProducts(request)
        return 1000 * (time.perf_counter() - begin)

    found = []
    for number, photo in enumerate(photos):
        order: list[Callable[[bytes], Any]] = [bare.search, ours]
        if (number % 2 == 0) == bare_first:
            theirs, mine = [await way(photo) for way in order]
        else:
            mine, theirs = [await way(photo) for way in reversed(order)]
        found.append((mine, theirs))
    return found
