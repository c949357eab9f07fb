"""How much of what the machine can do the served ensemble delivers, and where the rest goes."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from bench.calls import Ensemble
from bench.direct import LAYOUTS, DirectWorkers, Pace, direct_workers
from bench.figures import Figure
from bench.plan import Plan
from bench.ratios import best, in_turns, ratio
from bench.servers import say
from lookalike.bench.load import closed_loop
from lookalike.bench.triton import read_statistics, stages_between
from support_glue import REPOSITORY

__all__ = ["ensemble_efficiency"]

CONCURRENCIES = (2, 3, 4, 6, 8, 12)
# Direct calls have no warm-up and no queue that has to fill.
SHARE_OF_SECONDS = 0.7


async def ensemble_efficiency(plan: Plan) -> list[Figure]:
    """Photos as they are, and with one garment each."""
    async with AsyncExitStack() as stack:
        bare = await plan.ensemble(stack)
        workers = {}
        for name, layout in LAYOUTS.items():
            entering = direct_workers(REPOSITORY, plan.photos.shown, layout)
            workers[name] = await asyncio.to_thread(stack.enter_context, entering)
        return [
            await _efficiency(plan, bare, workers, key=key, max_garments=max_garments)
            for key, max_garments in (("ensemble_efficiency", 0), ("ensemble_efficiency_one_garment", 1))
        ]


async def _efficiency(
    plan: Plan, bare: Ensemble, workers: Mapping[str, DirectWorkers], *, key: str, max_garments: int
) -> Figure:
    call = bare.call(plan.photos.shown, max_garments=max_garments)
    callers, probed = await _best_concurrency(plan, bare, max_garments)
    say(f"{key}: {callers} callers are best; Triton and direct calls in turns")
    triton = await plan.servers.triton()
    garments: list[float] = []

    async def served() -> Pace:
        load = await plan.closed(call, callers=callers, families=["triton"])
        garments.append(load.run.garments / max(load.run.requests, 1))
        return Pace(load.run.throughput, sum(load.cpu_ms.values()))

    async def direct(name: str) -> Pace:
        seconds = plan.seconds * SHARE_OF_SECONDS
        return await asyncio.to_thread(workers[name].run, seconds=seconds, max_garments=max_garments)

    before = await read_statistics(f"http://{triton.http_address}")
    contenders: dict[str, Callable[[], Awaitable[Pace]]] = {
        "served": served,
        **{name: partial(direct, name) for name in workers},
    }
    paces = await in_turns(contenders, rounds=plan.rounds)
    stages = stages_between(before, await read_statistics(f"http://{triton.http_address}"))
    rates = {name: [pace.photos_per_s for pace in of_name] for name, of_name in paces.items()}
    fastest = best({name: rates[name] for name in workers})
    details = {
        "callers": callers,
        "probed": probed,
        "fastest_direct": fastest,
        "photos_per_s": rates,
        "cpu_ms_per_photo": {
            name: statistics.median(pace.cpu_ms for pace in of_name) for name, of_name in paces.items()
        },
        "garments_per_photo": statistics.median(garments),
        "stages": [stage.to_json() for stage in stages],
    }
    return Figure(key, ratio(rates["served"], rates[fastest]), details)


async def _best_concurrency(plan: Plan, bare: Ensemble, max_garments: int) -> tuple[int, dict[int, float]]:
    """How many callers Triton is fastest with, in short runs, and photos/s by callers."""
    call = bare.call(plan.photos.shown, max_garments=max_garments)
    probed = {}
    for callers in CONCURRENCIES:
        run = await closed_loop(call, callers=callers, seconds=plan.seconds / 2, warmup=plan.warmup / 2)
        probed[callers] = run.throughput
    return max(probed, key=probed.__getitem__), probed
