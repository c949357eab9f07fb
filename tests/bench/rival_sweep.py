"""Which options make each rival fastest on this machine: all of them in turns, at 16 callers.

    PYTHONPATH=tests python -m bench.rival_sweep [--data FOLDER] [--seconds 15] [--rounds 3] [--only fastapi]

Prints a table and writes the best options of each to build/bench_rivals.json. The best have the highest median of
photos/s; of those that come within 3 % of it, which is noise here, the one with the lowest p99 is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import rival_fastapi, rival_litserve
from bench.calls import Watched
from bench.filling import Seen, made_products
from bench.photos import load_photos
from bench.processes import watching
from bench.ratios import in_turns
from bench.rival_http import Caller
from bench.rival_pipeline import Looker
from bench.rival_shelf import write_products
from lookalike.bench.load import closed_loop

ROOT = Path(__file__).parents[2]
CALLERS: Final = 16
ROWS: Final = 25_000
WARMUP_SECONDS: Final = 3.0
NOISE: Final = 0.03

Options = Mapping[str, int | bool]
STARTERS: Final[dict[str, Callable[..., AbstractContextManager[str]]]] = {
    "fastapi": rival_fastapi.start,
    "litserve": rival_litserve.start,
}


def choices(cores: int) -> dict[str, dict[str, Options]]:
    """What is tried, by rival and by how it is called in the table."""
    threads = {"processes": 1, "threads": cores, "intra_op": 1}
    processes = {"processes": cores, "threads": 1, "intra_op": 1}
    within_graph = {"processes": 1, "threads": 1, "intra_op": cores}
    workers = {"workers": cores, "intra_op": 1}
    within = {"workers": 1, "intra_op": cores}
    fastapi: dict[str, Options] = {
        f"1 process, {cores} threads": threads,
        f"1 process, {cores} threads, sessions shared": {**threads, "shared": True},
        f"1 process, {cores + 1} threads, sessions shared": {**threads, "threads": cores + 1, "shared": True},
        f"1 process, 1 thread, {cores} threads in a graph": within_graph,
        f"1 process, 1 thread, {cores} threads in a graph, not spinning": {**within_graph, "spinning": False},
        f"{cores} processes, 1 thread each": processes,
        f"1 process, {cores} threads, batches of 4": {**threads, "batch": 4},
        f"1 process, {cores} threads, batches of 8": {**threads, "batch": 8},
        f"{cores} processes, 1 thread each, batches of 4": {**processes, "batch": 4},
    }
    litserve: dict[str, Options] = {}
    for batch in (1, 4, 8):
        litserve[f"{cores} workers, batches of {batch}"] = {**workers, "batch": batch}
        litserve[f"1 worker, {cores} threads in a graph, batches of {batch}"] = {**within, "batch": batch}
    for batch in (1, 4):
        litserve[f"{cores} workers, batches of {batch}, fast_queue"] = {**workers, "batch": batch, "fast_queue": True}
    litserve[f"1 worker, {cores} threads in a graph, not spinning, batches of 1"] = {**within, "spinning": False}
    litserve[f"{cores} workers, batches of 1, {cores} API servers"] = {**workers, "batch": 1, "api_servers": cores}
    return {"fastapi": fastapi, "litserve": litserve}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round of one choice: photos/s, milliseconds, processor milliseconds per photo of server and caller, codes."""

    throughput: float
    p50: float
    p99: float
    cpu_ms: float
    caller_cpu_ms: float
    codes: Counter[str]


async def measure(
    start: Callable[..., AbstractContextManager[str]],
    options: Options,
    *,
    directory: Path,
    photos: Sequence[bytes],
    seconds: float,
) -> Outcome:
    """Start a rival, load it, stop it."""
    with watching(start(directory, **options)) as (url, family):
        caller = Caller(url, photos)
        watched = Watched(caller)
        own, used = -time.process_time(), -family.cpu_seconds()
        run = await closed_loop(watched, callers=CALLERS, seconds=seconds, warmup=WARMUP_SECONDS)
        own, used = own + time.process_time(), used + family.cpu_seconds()
        caller.close()
    print(f"{start.__module__} {dict(options)}: {run.throughput:.2f} photos/s", file=sys.stderr, flush=True)
    each = 1000 / max(watched.answered, 1)  # the warm-up's answers, too, as the processor time has them
    return Outcome(run.throughput, run.percentile(50), run.percentile(99), used * each, own * each, run.codes)


async def sweep(photos: Sequence[bytes], others: Sequence[bytes], options: argparse.Namespace) -> dict[str, Any]:
    """Everything in turns; by rival its best options, and the points by name."""
    tried = {rival: named for rival, named in choices(options.cores).items() if options.only in (None, rival)}
    with TemporaryDirectory(prefix="lookalike-rivals-") as folder:
        directory = Path(folder)
        write_products(directory, list(made_products(_seen(others), rows=ROWS, catalog="default")))
        contenders = {
            f"{rival}: {name}": partial(
                measure, STARTERS[rival], chosen, directory=directory, photos=photos, seconds=options.seconds
            )
            for rival, named in tried.items()
            for name, chosen in named.items()
        }
        outcomes = await in_turns(contenders, rounds=options.rounds)
    found = {}
    for rival, named in tried.items():
        points = {name: point(chosen, outcomes[f"{rival}: {name}"]) for name, chosen in named.items()}
        name = best(points)
        found[rival] = {"best": name, "options": points[name]["options"], "points": points}
    return found


def _seen(photos: Sequence[bytes]) -> list[Seen]:
    looker = Looker(intra_op=1, spinning=False)
    garments = [garment for photo in photos for [each] in (looker.look([looker.decoded(photo)]),) for garment in each]
    return [Seen(garment.embedding, garment.category, (), "") for garment in garments]


def point(options: Options, rounds: Sequence[Outcome]) -> dict[str, Any]:
    """Medians over the rounds, the rounds' photos/s, and all codes."""

    def median(name: str) -> float:
        return round(float(statistics.median(getattr(outcome, name) for outcome in rounds)), 3)

    codes = sum((outcome.codes for outcome in rounds), Counter())
    figures = {name: median(name) for name in ("throughput", "p50", "p99", "cpu_ms", "caller_cpu_ms")}
    each = [round(outcome.throughput, 3) for outcome in rounds]
    return {"options": dict(options), **figures, "rounds": each, "codes": dict(codes)}


def best(points: Mapping[str, Mapping[str, Any]]) -> str:
    """The point of the lowest p99 among those without errors that are as fast as the fastest, but for noise."""
    sound = {name: point for name, point in points.items() if set(point["codes"]) == {"OK"}}
    if not sound:
        raise SystemExit(
            f"no options answered every photo: { ({name: point['codes'] for name, point in points.items()}) }"
        )
    fastest = max(point["throughput"] for point in sound.values())
    as_fast = [name for name, point in sound.items() if point["throughput"] >= (1 - NOISE) * fastest]
    return min(as_fast, key=lambda name: points[name]["p99"])


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The points in Markdown, the best of each rival in bold; errors stand beside the figures they spoil."""
    lines = [
        "| rival | options | photos/s (rounds) | p50 ms | p99 ms | its CPU ms/photo | caller's CPU ms/photo |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rival, of_rival in found.items():
        for name, each in of_rival["points"].items():
            bold = "**" if name == of_rival["best"] else ""
            errors = "".join(f", {count} {code}" for code, count in each["codes"].items() if code != "OK")
            rounds = " ".join(f"{value:.2f}" for value in each["rounds"])
            lines.append(
                f"| {rival} | {bold}{name}{bold}{errors} | {bold}{each['throughput']:.2f}{bold} ({rounds}) "
                f"| {each['p50']:.0f} | {each['p99']:.0f} | {each['cpu_ms']:.0f} | {each['caller_cpu_ms']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Sweep, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(STARTERS))
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench_rivals.json")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)), help="threads, processes, workers")
    options = parser.parse_args()
    photos = load_photos(options.data)
    found = asyncio.run(sweep(photos.shown, photos.others, options))
    print(table(found))
    about = {"callers": CALLERS, "rows": ROWS, "cores": options.cores, "photos": photos.to_json()}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(options.output.read_text()) if options.only and options.output.exists() else {}
    options.output.write_text(json.dumps({**before, **found, "about": about}, indent=2) + "\n")


if __name__ == "__main__":
    main()
