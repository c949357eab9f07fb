"""Three times as many photos as the service can take: how many are still answered in time, and how the rest is told."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from bench.calls import Watched, search_call
from bench.figures import Figure
from bench.plan import Plan
from bench.ratios import ratio
from bench.servers import say
from lookalike.bench.load import Call, Run, open_loop
from lookalike.v1.search_service_pb2 import SearchProductsRequest

__all__ = ["CALLERS", "DEADLINE_SECONDS", "FLOOD", "flood_details", "overload", "overloaded", "refusals"]

CALLERS: Final = 16
FLOOD: Final = 3.0
DEADLINE_SECONDS: Final = 2.0


async def overload(plan: Plan) -> list[Figure]:
    """The peak with 16 callers, then 3 times that many photos per second, each wanted within the deadline."""
    async with AsyncExitStack() as stack:
        stub = await plan.stub(stack)
        requests = [SearchProductsRequest(image=photo) for photo in plan.photos.shown]
        patient, hasty = search_call(stub, requests), search_call(stub, requests, timeout=DEADLINE_SECONDS)
        say(f"overload_goodput: {FLOOD:g} times the capacity, answers wanted within {DEADLINE_SECONDS:g} s")
        peaks, floods, watches = [], [], []
        for number in range(plan.rounds):
            peaks.append((await plan.closed(patient, callers=CALLERS)).run)
            watches.append(Watched(hasty))
            rate = FLOOD * statistics.median(peak.throughput for peak in peaks)
            floods.append(await overloaded(plan, watches[-1], rate=rate, seed=number))
    reading = ratio([run.goodput for run in floods], [run.throughput for run in peaks])
    details = {
        "deadline_s": DEADLINE_SECONDS,
        "peak_photos_per_s": [run.throughput for run in peaks],
        **flood_details(floods),
        "refusals": refusals([watch.seconds for watch in watches]),
    }
    return [Figure("overload_goodput", reading, details)]


async def overloaded(plan: Plan, call: Call, *, rate: float, seed: int) -> Run:
    """Photos at that rate, whatever becomes of those before. The warm-up fills the queues, and must be that long."""
    if not rate:
        raise ValueError("nothing was answered at the peak, so there is no capacity to exceed; give --seconds more")
    warmup = max(plan.warmup, 2 * DEADLINE_SECONDS)
    return await open_loop(call, rate=rate, seconds=plan.seconds, warmup=warmup, seed=seed, in_time=DEADLINE_SECONDS)


def flood_details(runs: Sequence[Run]) -> dict[str, Any]:
    """What was asked, what came in time, every code, and whether the generator kept up."""
    return {
        "asked_per_s": [run.rate or 0.0 for run in runs],
        "in_time_per_s": [run.goodput for run in runs],
        "answered_per_s": [run.throughput for run in runs],
        "codes": [dict(run.codes) for run in runs],
        "p50_ms": [run.percentile(50) for run in runs],
        "p99_ms": [run.percentile(99) for run in runs],
        "late_ms": [run.late_ms for run in runs],
    }


def refusals(watches: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, dict[str, float]]:
    """Of every code but OK: how many, and milliseconds until the caller was told, warm-up included."""
    by_code: dict[str, list[float]] = {}
    for seconds in watches:
        for code, taken in seconds.items():
            if code != "OK":
                by_code.setdefault(code, []).extend(taken)
    return {
        code: {
            "count": len(taken),
            "p50_ms": 1000 * statistics.median(taken),
            "p99_ms": 1000 * sorted(taken)[min(len(taken) - 1, int(0.99 * len(taken)))],
        }
        for code, taken in by_code.items()
    }
