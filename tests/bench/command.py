"""The benchmark of the served pipeline: `make bench`, or

    PYTHONPATH=tests python -m bench [--only KEY ...] [--quick] [--rounds 5] [--seconds 10]

Starts what it needs, prints a table, writes build/bench.json and the table as build/bench.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.efficiency import ensemble_efficiency
from bench.embedded_stack import embedded_stack
from bench.figures import TARGETS, Figure, missed, table
from bench.gateway import gateway_added, gateway_efficiency
from bench.machine import machine, revision
from bench.overload import overload
from bench.photos import Photos, load_photos
from bench.plan import Plan, balanced
from bench.servers import Servers, say
from bench.tokens import token_search
from bench.versus import versus
from lookalike.bench.load import event_loop

__all__ = ["SECTIONS", "main"]

logger = logging.getLogger("bench")

# Of the cores, before anything of ours runs.
BUSY_SHARE: Final = 0.4
ROOT: Final = Path(__file__).parents[2]
# In this order: the ensemble before Milvus runs beside it, the large catalog after what must not wait for its memory.
SECTIONS: Final[dict[Callable[[Plan], Awaitable[list[Figure]]], tuple[str, ...]]] = {
    ensemble_efficiency: ("ensemble_efficiency", "ensemble_efficiency_one_garment"),
    gateway_efficiency: (
        "gateway_efficiency",
        "cpu_ms_per_search",
        "milvus_cpu_ms_per_search",
        "client_cpu_ms_per_search",
    ),
    gateway_added: ("gateway_added_p50_ms",),
    overload: ("overload_goodput",),
    versus: (
        "versus_fastapi_throughput",
        "versus_fastapi_p99",
        "versus_fastapi_goodput_overload",
        "versus_litserve_throughput",
    ),
    token_search: ("token_search_p50_ms",),
    embedded_stack: ("cold_start_s", "rss_mb", "lite_search_photos_per_s"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every figure is what was wanted, 1 when one is not."""
    options = _parser().parse_args(arguments)
    rounds = options.rounds or (2 if options.quick else 5)
    seconds = options.seconds or (4.0 if options.quick else 10.0)
    busy, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if busy > BUSY_SHARE * cores:
        say(f"the load average is {busy:.1f} on {cores} cores: other work runs here, and the figures will be unfit")
    begin = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-bench-") as folder,
        asyncio.Runner(loop_factory=event_loop) as runner,
    ):
        figures, broken = runner.run(_run(Path(folder), options, rounds=rounds, seconds=seconds))
    wrong = missed(figures)
    print(table(figures))
    minutes = (time.monotonic() - begin) / 60
    print(f"{len(figures)} figures in {minutes:.1f} minutes; written to {options.output}")
    print(f"not what was wanted: {', '.join(wrong)}" if wrong else "all of them as wanted")
    if broken:
        print(f"not measured: {', '.join(broken)}; see above")
    return 1 if wrong or broken else 0


async def _run(
    directory: Path, options: argparse.Namespace, *, rounds: int, seconds: float
) -> tuple[dict[str, Figure], list[str]]:
    """The figures, written down after each section, and the keys of sections that failed."""
    photos = load_photos(options.data)
    servers = Servers(directory, others=photos.others)
    plan = Plan(photos, servers, directory, rounds, seconds, warmup=1.0 if options.quick else 2.0)
    figures: dict[str, Figure] = {}
    broken: list[str] = []
    try:
        plan, garments = await _ordered(plan)
        about = {
            "revision": revision(),
            "machine": machine(),
            "seconds": seconds,
            "photos": {**photos.to_json(), "garments_per_photo": garments},
        }
        for section, keys in SECTIONS.items():
            if options.only and not set(keys) & set(options.only):
                continue
            try:
                found = {figure.key: figure for figure in await section(plan)}
            except Exception:
                # The others may still be measured, and each took minutes.
                logger.exception("%s was not measured", " and ".join(keys))
                broken += keys
                continue
            figures |= found
            _write(options.output, found, about)
            say("; ".join(f"{key} {figure.reading.value:.3f}" for key, figure in found.items()))
    finally:
        await asyncio.to_thread(servers.stop)
    options.output.with_suffix(".md").write_text(table(figures) + "\n")
    return figures, broken


async def _ordered(plan: Plan) -> tuple[Plan, float]:
    async with AsyncExitStack() as stack:
        bare = await plan.ensemble(stack)
        shown, garments = await balanced(bare, plan.photos.shown)
    photos = Photos(plan.photos.source, shown, plan.photos.others)
    return replace(plan, photos=photos), garments


def _write(output: Path, figures: dict[str, Figure], about: dict[str, Any]) -> None:
    """The figures beside those that an earlier run has measured and this one has not, each with its own run."""
    output.parent.mkdir(parents=True, exist_ok=True)
    before: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    content = {key: before[key] for key in TARGETS if key in before}
    content |= {key: {**figure.to_json(), "run": about} for key, figure in figures.items()}
    output.write_text(json.dumps({key: content[key] for key in TARGETS if key in content}, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="a folder with street photos"
    )
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), metavar="KEY", help="repeatable")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 4 s: whether it runs, not how fast")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one run, after its warm-up")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    return parser
