"""`python -m chaos.soak`: hours in minutes. The embedded stack at 70 % of what it can do, and whether anything grows.

Writes build/soak.json and build/soak.png (memory, open files, shared memory, latency over time).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from matplotlib.figure import Figure

from bench.calls import search_call, search_stub
from bench.photos import load_photos
from bench.plots import COLORS, INK, LINE, MUTED
from bench.processes import Family
from chaos.expected import fill
from chaos.world import Embedded, embedded
from chaos.writes import Ledger
from lookalike import Client
from lookalike.bench.load import closed_loop, open_loop
from lookalike.v1.search_service_pb2 import SearchProductsRequest

__all__ = ["GROWTH", "Sample", "draw", "growth", "soak"]

SHARE: Final = 0.7
CALLERS: Final = 8
SHARED_MEMORY: Final = Path("/dev/shm")
# How much the last third may lie above the second one; the first is for warming up. Latency is the noisiest.
GROWTH: Final = {"memory_mib": 1.03, "open_files": 1.03, "shared_memory_mib": 1.05, "p50_ms": 1.25}


@dataclass(frozen=True, slots=True)
class Sample:
    """The stack at one moment; latencies are of the window that ended then."""

    minutes: float
    memory_mib: float
    open_files: float
    shared_memory_mib: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """The median of the last third over that of the second, by what was sampled."""
    third = len(samples) // 3
    if not third:
        raise ValueError("three samples are the least that can grow")
    before, after = samples[third : 2 * third], samples[-third:]
    return {
        name: statistics.median(getattr(each, name) for each in after)
        / max(1e-9, statistics.median(getattr(each, name) for each in before))
        for name in GROWTH
    }


async def soak(
    directory: Path,
    *,
    photos: Sequence[bytes],
    seconds: float,
    window: float,
    say: Callable[[str], None] = lambda _: None,
) -> list[Sample]:
    """Load the embedded stack with photos for so many seconds, with a writer beside, and take a sample per window."""
    with embedded(directory) as world:
        async with Client(world.address, timeout=60) as client:
            expected = await fill(client, directory / "wardrobe")
        ledger = Ledger(world.address, tuple(photo.content for photo in expected), pause=0.5)
        async with search_stub(world.address) as stub, ledger:
            call = search_call(stub, [SearchProductsRequest(image=photo) for photo in photos])
            peak = await closed_loop(call, callers=CALLERS, seconds=max(5.0, window / 3), warmup=2.0)
            rate = SHARE * peak.throughput
            say(f"{peak.throughput:.1f} photos/s at most, {rate:.1f} from now on")
            begin, samples = time.monotonic(), list[Sample]()
            while time.monotonic() - begin < seconds:
                run = await open_loop(call, rate=rate, seconds=window, warmup=0.0, seed=len(samples))
                failed = run.requests - run.codes["OK"]
                samples.append(
                    Sample(
                        (time.monotonic() - begin) / 60,
                        *weighed(world),
                        p50_ms=run.latencies.get_value_at_percentile(50) / 1000,
                        p99_ms=run.latencies.get_value_at_percentile(99) / 1000,
                        requests=run.requests,
                        failed=failed,
                    )
                )
                say(str(samples[-1]))
    return samples


def weighed(world: Embedded) -> tuple[float, float, float]:
    """MiB of memory, open files and MiB of shared memory of all processes of the stack."""
    family = Family((world.supervisor.pid,))
    files = 0
    for process in family.members():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            files += process.num_fds()
    shared = sum(path.stat().st_size for path in SHARED_MEMORY.glob("lookalike_*") if path.exists())
    return sum(family.pss_mib().values()), files, shared / 2**20


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Four small charts over the minutes, each from zero."""
    figure = Figure(figsize=(9.0, 4.9), dpi=160, facecolor="white")
    figure.set_layout_engine("constrained")
    minutes = [each.minutes for each in samples]
    requests, failed = (sum(getattr(each, name) for each in samples) for name in ("requests", "failed"))
    figure.suptitle(
        f"The embedded stack at {SHARE:.0%} of what it can do: {requests:,} searches with photos, {failed:,} failed",
        color=INK,
        fontsize=10,
        x=0.01,
        horizontalalignment="left",
    )
    names = {
        "memory_mib": "memory of all processes, MiB",
        "open_files": "open files",
        "shared_memory_mib": "shared memory (/dev/shm), MiB",
        "p50_ms": "latency of a search, ms",
    }
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, names.items(), strict=True):
        values = [getattr(each, name) for each in samples]
        axes.plot(minutes, values, color=COLORS[0], linewidth=1.6, label="p50")
        if name == "p50_ms":
            tail = [each.p99_ms for each in samples]
            axes.plot(minutes, tail, color=COLORS[1], linewidth=1.6, label="p99")
            axes.legend(frameon=False, fontsize=8)
            values = tail
        axes.set_xlim(0, 1.02 * minutes[-1])
        axes.set_ylim(0, 1.2 * max(values))
        axes.tick_params(labelsize=8)
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.set_xlabel("minutes", color=MUTED, fontsize=8)
        axes.grid(axis="y", color=LINE, linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path)


def main() -> int:
    """Soak, draw, and say whether anything grew; 1 when it did or a request failed."""
    parser = argparse.ArgumentParser(prog="chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--window", type=float, default=30.0, help="seconds per sample (30)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    build = Path("build").resolve()
    build.mkdir(exist_ok=True)

    def say(text: str) -> None:
        print(f"soak: {text}", file=sys.stderr, flush=True)

    directory = build / "soak" / time.strftime("%H%M%S")
    samples = asyncio.run(
        soak(
            directory,
            photos=load_photos(options.data).shown,
            seconds=60 * options.minutes,
            window=options.window,
            say=say,
        )
    )
    grown = growth(samples)
    failed = sum(each.failed for each in samples)
    flat = not failed and all(grown[name] <= most for name, most in GROWTH.items())
    found = {"flat": flat, "failed": failed, "growth": grown, "samples": [asdict(each) for each in samples]}
    (build / "soak.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(samples, build / "soak.png")
    print({name: value for name, value in found.items() if name != "samples"})
    return int(not flat)


if __name__ == "__main__":
    sys.exit(main())
