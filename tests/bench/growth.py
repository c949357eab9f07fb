"""How throughput grows: `make bench-growth`, or

    PYTHONPATH=tests python -m bench.growth [--seconds 10] [--rounds 3]

SearchProducts against cores, garments per photo, size of the photo and size of the catalog. Writes
build/bench_growth.json and one small plot each, build/bench_<what>.png.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.calls import search_call
from bench.machine import machine, revision
from bench.photos import load_photos, resized
from bench.plan import Plan, balanced
from bench.plots import Curve, draw
from bench.ratios import Reading, in_turns
from bench.servers import Servers, say
from bench.tokens import token_calls
from lookalike.bench.load import Call, Run, closed_loop, event_loop
from lookalike.v1.search_service_pb2 import SearchProductsRequest

ROOT: Final = Path(__file__).parents[2]
CALLERS: Final = 8
GARMENTS: Final = (1, 2, 4, 6, 8)
SIDES: Final = (256, 512, 1024, 2048, 4096)
CATALOGS: Final = {"rows1000": 1_000, "rows10000": 10_000, "rows30000": 30_000, "rows100000": 100_000}
SERVERS: Final = ("triton", "gateway", "milvus")
FIRST: Final = next(iter(CATALOGS))


async def cores(plan: Plan, stub: Any) -> list[Curve]:  # noqa: ANN401
    """All servers on the first core, the first two, ...; the load generator may run anywhere."""
    allowed = sorted(os.sched_getaffinity(0))
    counts = [2**power for power in range(8) if 2**power < len(allowed)] + [len(allowed)]
    call = search_call(stub, _requests(plan.photos.shown))

    async def run(count: int) -> Run:
        _confine(plan, set(allowed[:count]))
        return await _run(plan, call)

    try:
        runs = await _runs(plan, {float(count): partial(run, count) for count in counts})
    finally:
        _confine(plan, set(allowed))
    return [Curve("photos/s", _throughput(runs))]


async def garments(plan: Plan, stub: Any) -> list[Curve]:  # noqa: ANN401
    """The same photos, cut short at so many garments."""
    runners = {}
    for most in GARMENTS:
        call = search_call(stub, _requests(plan.photos.shown, max_garments=most))
        runners[float(most)] = partial(_run, plan, call)
    # Many photos have fewer than are allowed, so what is drawn is how many there were.
    runs = {_garments_per_photo(of_most): of_most for of_most in (await _runs(plan, runners)).values()}
    per_garment = {many: Reading(tuple(run.throughput * many for run in of_many)) for many, of_many in runs.items()}
    return [Curve("photos/s", _throughput(runs)), Curve("garments/s", per_garment)]


async def sizes(plan: Plan, stub: Any) -> list[Curve]:  # noqa: ANN401
    """The same photos, larger and smaller."""
    runners = {}
    for side in SIDES:
        photos = [resized(photo, longest_side=side) for photo in plan.photos.shown]
        runners[float(side)] = partial(_run, plan, search_call(stub, _requests(photos)))
    return [Curve("photos/s", _throughput(await _runs(plan, runners)))]


async def catalogs(plan: Plan, stub: Any) -> list[Curve]:  # noqa: ANN401
    """Photos in catalogs of several sizes, and searches with a garment token by one caller."""
    photos, tokens = {}, {}
    for catalog, rows in CATALOGS.items():
        call = search_call(stub, _requests(plan.photos.shown, catalog=f"catalogs/{catalog}"))
        photos[float(rows)] = partial(_run, plan, call)
        tap = (await token_calls(stub, plan.photos.shown[:8], catalog=catalog))["tap"]
        tokens[float(rows)] = partial(_run, plan, tap, callers=1)
    taps = await _runs(plan, tokens)
    medians = {at: Reading(tuple(run.percentile(50) for run in of_size)) for at, of_size in taps.items()}
    return [Curve("photos/s", _throughput(await _runs(plan, photos))), Curve("garment token, p50 ms", medians)]


PARTS: Final[dict[str, tuple[Callable[[Plan, Any], Awaitable[list[Curve]]], str]]] = {
    "cores": (cores, "cores"),
    "garments": (garments, "garments per photo"),
    "photo_size": (sizes, "longest side of the photo, pixels"),
    "catalog_size": (catalogs, "rows in the catalog"),
}
"""What is varied, and how its axis is called."""


def _requests(photos: Sequence[bytes], *, max_garments: int = 0, catalog: str = "") -> list[SearchProductsRequest]:
    name = catalog or f"catalogs/{FIRST}"
    return [SearchProductsRequest(catalog=name, image=photo, max_garments=max_garments) for photo in photos]


def _confine(plan: Plan, allowed: set[int]) -> None:
    for name in SERVERS:
        plan.servers.families[name].confine(allowed)


async def _run(plan: Plan, call: Call, *, callers: int = CALLERS) -> Run:
    return await closed_loop(call, callers=callers, seconds=plan.seconds, warmup=plan.warmup)


async def _runs(plan: Plan, runners: Mapping[float, Callable[[], Awaitable[Run]]]) -> dict[float, list[Run]]:
    """All points in turns."""
    found = await in_turns({str(at): runner for at, runner in runners.items()}, rounds=plan.rounds)
    return {at: found[str(at)] for at in runners}


def _throughput(runs: Mapping[float, Sequence[Run]]) -> dict[float, Reading]:
    return {at: Reading(tuple(run.throughput for run in of_point)) for at, of_point in runs.items()}


def _garments_per_photo(runs: Sequence[Run]) -> float:
    return sum(run.garments for run in runs) / max(sum(run.requests for run in runs), 1)


async def measure(directory: Path, options: argparse.Namespace) -> dict[str, list[Curve]]:
    """Every part, on one set of servers."""
    photos = load_photos(options.data)
    servers = Servers(directory, others=photos.others, catalogs=CATALOGS)
    plan = Plan(photos, servers, directory, options.rounds, options.seconds, warmup=2.0)
    wanted = options.only or list(PARTS)
    try:
        async with AsyncExitStack() as stack:
            shown, _ = await balanced(await plan.ensemble(stack), photos.shown)
            plan = replace(plan, photos=replace(photos, shown=shown))
            stub = await plan.stub(stack, filled=tuple(CATALOGS) if "catalog_size" in wanted else (FIRST,))
            found = {}
            for name in wanted:
                say(f"growth: {PARTS[name][1]}")
                found[name] = await PARTS[name][0](plan, stub)
            return found
    finally:
        await asyncio.to_thread(servers.stop)


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", action="append", choices=sorted(PARTS))
    parser.add_argument("--output", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    about = {"revision": revision(), "machine": machine(), "callers": CALLERS}
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-growth-") as folder,
        asyncio.Runner(loop_factory=event_loop) as runner,
    ):
        found = runner.run(measure(Path(folder), options))
    options.output.mkdir(parents=True, exist_ok=True)
    content = {name: [curve.to_json() for curve in curves] for name, curves in found.items()}
    (options.output / "bench_growth.json").write_text(json.dumps({**content, "about": about}, indent=1) + "\n")
    for name, curves in found.items():
        path = options.output / f"bench_{name}.png"
        draw(curves, path, axis=PARTS[name][1], logarithmic=name in ("photo_size", "catalog_size"))
        for curve in curves:
            points = ", ".join(f"{at:g}: {reading.value:.2f}" for at, reading in curve.points.items())
            print(f"{name}: {curve.name}: {points}")


if __name__ == "__main__":
    main()
