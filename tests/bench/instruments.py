"""What each instrument costs: `make bench-instruments`, or

    PYTHONPATH=tests python -m bench.instruments [--rounds 21] [--calls 240]

Gateways over fakes, each a process of its own with other instruments, answer the same search in turns; counted is the
CPU time that each has used per call. An instrument's price is what its gateway used more than the one without it in
the same round; the median over the rounds is divided by the CPU time that a whole photo search costs with the real
models. That comes from build/bench.json, or else is measured with the embedded stack. Writes
build/bench_instruments.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bench.photos import load_photos
from bench.processes import watching
from fakes import photo
from lookalike import SyncClient
from lookalike.v1 import search_service_pb2
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub
from lookalike_service.embedded.stack import serving
from support_telemetry import Collector

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 0.01
CALLERS: Final = 8
GARMENTS: Final = 3
METRICS: Final = ("--metrics", "127.0.0.1:0")
# Each instrument: which gateway has it, and which is the same without it.
PRICES: Final = {
    "request_ids": ("off", "bare"),
    "metrics": ("metrics", "off"),
    "traces_default_share": ("traces", "off"),
    "traces_every_call": ("traces_all", "off"),
    "logs_text": ("logs_text", "off"),
    "logs_json": ("logs_json", "off"),
    "all_as_default": ("all", "bare"),
}
# Not a default, and so under no limit: for trying out.
UNBOUND: Final = ("traces_every_call",)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running server of instruments_server.py."""

    process: subprocess.Popen[str]
    port: int

    def cpu_seconds(self) -> float:
        """What it has used until now."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def variants(collector: str) -> dict[str, Sequence[str]]:
    """The arguments of each gateway."""
    default = ("--traces", collector, "--share", "0.01")
    return {
        "bare": ("--bare",),
        "off": (),
        "metrics": METRICS,
        "traces": default,
        "traces_all": ("--traces", collector, "--share", "1"),
        "logs_text": ("--log", "text"),
        "logs_json": ("--log", "json"),
        "all": (*METRICS, *default, "--log", "text"),
    }


@contextmanager
def running(arguments: Sequence[str], log: Path) -> Iterator[Gateway]:
    """A gateway with these instruments during a block; its log goes into a file."""
    command = [sys.executable, "-m", "bench.instruments_server", *arguments]
    with log.open("w") as lines:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=lines, text=True)
    assert process.stdin and process.stdout
    try:
        first = process.stdout.readline()
        if not first:
            raise SystemExit(f"a gateway did not start:\n{log.read_text()}")
        yield Gateway(process, int(first))
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


async def searched(gateway: Gateway, calls: int) -> float:
    """Milliseconds of CPU per call, over so many."""
    request = search_service_pb2.SearchProductsRequest(
        image=photo(*({"look": f"look {number}"} for number in range(GARMENTS)))
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        stub: Any = SearchServiceStub(channel)

        async def caller(count: int) -> None:
            for _ in range(count):
                await stub.SearchProducts(request)

        await asyncio.gather(*(caller(5) for _ in range(CALLERS)))
        before = gateway.cpu_seconds()
        await asyncio.gather(*(caller(calls // CALLERS) for _ in range(CALLERS)))
        return (gateway.cpu_seconds() - before) / (calls // CALLERS * CALLERS) * 1000


def measured(rounds: int, calls: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of CPU per call, of every gateway in every round."""
    found: dict[str, list[float]] = {}
    with Collector() as collector, ExitStack() as stack:
        gateways = {
            name: stack.enter_context(running(arguments, folder / f"{name}.log"))
            for name, arguments in variants(collector.url).items()
        }
        # Many short rounds: what else the machine does then meets all of them alike.
        for number in range(rounds):
            order = list(gateways)
            random.Random(number).shuffle(order)
            for name in order:
                found.setdefault(name, []).append(asyncio.run(searched(gateways[name], calls)))
            print(f"round {number + 1} of {rounds} done", file=sys.stderr)
        assert collector.received, "the collector has got nothing"
    return found


def whole_search(path: Path, folder: Path) -> tuple[float, str]:
    """Milliseconds of CPU of one photo search with the real models, and where that is from."""
    if path.is_file():
        known = json.loads(path.read_text())
        figure = known.get("cpu_ms_per_search", known.get("figures", {}).get("cpu_ms_per_search"))
        value = figure.get("value") if isinstance(figure, dict) else figure
        if value:
            return float(value), str(path.relative_to(ROOT))
    photos = load_photos(Path("/nonexistent"), shown=24, others=0).shown
    with watching(serving(folder)) as (address, family), SyncClient(address) as client:
        for each in photos[:8]:
            client.search(each)
        before = family.cpu_seconds()
        for each in photos:
            client.search(each)
        spent = family.cpu_seconds() - before
    return spent / len(photos) * 1000, f"{len(photos)} rendered outfits, embedded stack with an empty catalog"


def prices(found: Mapping[str, Sequence[float]], whole: float) -> dict[str, dict[str, Any]]:
    """Each instrument's microseconds per call, with their spread, and its share of a whole search."""
    table = {}
    for name, (having, lacking) in PRICES.items():
        differences = sorted((a - b) * 1000 for a, b in zip(found[having], found[lacking], strict=True))
        low, _, high = statistics.quantiles(differences, n=4)
        middle = statistics.median(differences)
        share = middle / 1000 / whole
        table[name] = {
            "microseconds": round(middle, 1),
            "quartiles": [round(low, 1), round(high, 1)],
            "range": [round(differences[0], 1), round(differences[-1], 1)],
            "share": round(share, 5),
            "met": None if name in UNBOUND else share < LIMIT,
        }
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every instrument costs less than a hundredth, 1 when one does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--calls", type=int, default=240)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench_instruments.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="lookalike-instruments-") as name:
        folder = Path(name)
        whole, source = whole_search(ROOT / "build" / "bench.json", folder / "stack")
        found = measured(options.rounds, options.calls, folder)
    table = prices(found, whole)
    report = {
        "cpu_ms_per_search": round(whole, 2),
        "cpu_ms_per_search_source": source,
        "rounds": options.rounds,
        "calls_per_round": options.calls,
        "garments_per_photo": GARMENTS,
        "gateway_cpu_ms_per_call": {name: [round(each, 4) for each in values] for name, values in found.items()},
        "prices": table,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"a whole search takes {whole:.1f} ms of CPU ({source})")
    print("| instrument | CPU per call, us | quartiles | share of a search |")
    print("| --- | --- | --- | --- |")
    for each, row in table.items():
        low, high = row["quartiles"]
        print(f"| {each} | {row['microseconds']:.0f} | {low:.0f} to {high:.0f} | {row['share']:.2%} |")
    return 0 if all(row["met"] is not False for row in table.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
