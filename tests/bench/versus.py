"""Against what one would write instead: FastAPI and LitServe with the same weights, as fast as their sweep found."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench import rival_fastapi, rival_litserve
from bench.calls import Watched, search_call
from bench.figures import Figure
from bench.overload import CALLERS, DEADLINE_SECONDS, FLOOD, flood_details, overloaded, refusals
from bench.plan import Load, Plan
from bench.processes import watching
from bench.ratios import in_turns, ratio
from bench.rival_http import Caller
from bench.rival_shelf import write_products
from bench.servers import say
from lookalike.bench.load import Call, Run
from lookalike.v1.search_service_pb2 import SearchProductsRequest

__all__ = ["versus"]

STARTERS: Final[dict[str, Callable[..., AbstractContextManager[str]]]] = {
    "fastapi": rival_fastapi.start,
    "litserve": rival_litserve.start,
}
SWEEP: Final = Path(__file__).parents[2] / "build" / "bench_rivals.json"


async def versus(plan: Plan) -> list[Figure]:
    """Throughput and p99 of all three in turns; then what is left of ours and FastAPI's under three times the load."""
    options, source = _options()
    async with AsyncExitStack() as stack:
        stub = await plan.stub(stack)
        shop = plan.directory / "rivals"
        await asyncio.to_thread(write_products, shop, plan.servers.products["default"])
        addresses = {}
        for rival, start in STARTERS.items():
            say(f"starting {rival}")
            watched = watching(start(shop, **options[rival]))
            addresses[rival], plan.servers.families[rival] = await asyncio.to_thread(stack.enter_context, watched)
        loads = await _loads(plan, stub, addresses)
        rates = {name: [load.run.throughput for load in of_name] for name, of_name in loads.items()}
        capacity = max(statistics.median(rates[name]) for name in ("ours", "fastapi"))
        floods = await _floods(plan, stub, addresses["fastapi"], rate=FLOOD * capacity)
    about = {"options": options, "options_from": source, **_details(loads)}
    tails = {name: [load.run.percentile(99) for load in of_name] for name, of_name in loads.items()}
    good = {name: [run.goodput for run, _ in of_name] for name, of_name in floods.items()}
    flooded = {
        name: {
            **flood_details([run for run, _ in of_name]),
            "refusals": refusals([watched.seconds for _, watched in of_name]),
        }
        for name, of_name in floods.items()
    }
    return [
        Figure("versus_fastapi_throughput", ratio(rates["ours"], rates["fastapi"]), about),
        Figure("versus_fastapi_p99", ratio(tails["ours"], tails["fastapi"])),
        Figure("versus_fastapi_goodput_overload", ratio(good["ours"], good["fastapi"]), flooded),
        Figure("versus_litserve_throughput", ratio(rates["ours"], rates["litserve"])),
    ]


async def _loads(plan: Plan, stub: Any, addresses: Mapping[str, str]) -> dict[str, list[Load]]:  # noqa: ANN401
    say(f"versus: {CALLERS} callers, ours, {' and '.join(addresses)} in turns")
    requests = [SearchProductsRequest(image=photo) for photo in plan.photos.shown]
    callers = {rival: Caller(address, plan.photos.shown) for rival, address in addresses.items()}
    ours = {"triton", "gateway", "milvus"}
    contenders = {
        "ours": partial(plan.closed, search_call(stub, requests), callers=CALLERS, families=sorted(ours)),
        # Our servers idle meanwhile; what that takes from a rival shows as `milvus` beside it.
        **{
            rival: partial(plan.closed, caller, callers=CALLERS, families=[rival, *sorted(ours)])
            for rival, caller in callers.items()
        },
    }
    try:
        return await in_turns(contenders, rounds=plan.rounds)
    finally:
        for caller in callers.values():
            caller.close()


async def _floods(plan: Plan, stub: Any, fastapi: str, *, rate: float) -> dict[str, list[tuple[Run, Watched]]]:  # noqa: ANN401
    say(f"versus: {rate:.1f} photos/s, ours and FastAPI in turns")
    requests = [SearchProductsRequest(image=photo) for photo in plan.photos.shown]
    caller = Caller(fastapi, plan.photos.shown, deadline=DEADLINE_SECONDS)
    calls: dict[str, Call] = {"ours": search_call(stub, requests, timeout=DEADLINE_SECONDS), "fastapi": caller}

    async def flood(name: str) -> tuple[Run, Watched]:
        watched = Watched(calls[name])
        return await overloaded(plan, watched, rate=rate, seed=1), watched

    try:
        return await in_turns({name: partial(flood, name) for name in calls}, rounds=plan.rounds)
    finally:
        caller.close()


def _options() -> tuple[dict[str, dict[str, Any]], str]:
    """The best options of each rival: those of the sweep, else what they begin with."""
    if not SWEEP.exists():
        return {rival: {} for rival in STARTERS}, "the rivals' defaults; make bench-rivals finds better ones"
    found = json.loads(SWEEP.read_text())
    return {rival: found.get(rival, {}).get("options", {}) for rival in STARTERS}, "make bench-rivals"


def _details(loads: Mapping[str, Sequence[Load]]) -> dict[str, Any]:
    return {
        name: {
            "photos_per_s": [load.run.throughput for load in of_name],
            "p50_ms": [load.run.percentile(50) for load in of_name],
            "p99_ms": [load.run.percentile(99) for load in of_name],
            "garments_per_photo": statistics.median(load.run.garments / max(load.run.requests, 1) for load in of_name),
            "cpu_ms_per_photo": {
                part: statistics.median(load.cpu_ms[part] for load in of_name) for part in of_name[0].cpu_ms
            },
            "codes": [dict(load.run.codes) for load in of_name],
        }
        for name, of_name in loads.items()
    }
