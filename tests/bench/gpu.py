"""The benchmark on a GPU: `make bench-gpu`, or

    PYTHONPATH=tests python -m bench.gpu [--device cpu] [--quick] [--only bare|glue|served ...]

Measures the bare graphs in torch and in ONNX Runtime, then the served ensemble, and writes build/bench_gpu.json and a
table. Where no GPU is, it says so. `--device cpu --quick` rehearses all of it without one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.gpu_bare import bare_graphs
from bench.gpu_card import COMMAND, Card, CardUnusable, find_card
from bench.gpu_glue import glue_cost
from bench.gpu_plan import GARMENTS, TARGET, GpuPlan, Pace, best, distances, graph_bound, limits
from bench.gpu_served import served
from bench.gpu_table import table
from bench.machine import machine, revision
from bench.photos import load_photos
from support_glue import REPOSITORY

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("bare", "glue", "served")
NO_CARD: Final = f"""\
There is no NVIDIA GPU here, so nothing was measured and nothing written. On a machine that has one, run

  {COMMAND}

(a driver for CUDA 13 is needed). `make bench-gpu DEVICE=cpu` rehearses it on this machine's CPU."""


def main(arguments: Sequence[str] | None = None, *, listing: str | None = None) -> int:
    """0 also without a GPU; 1 where a GPU is and a package cannot use it. `listing` is as find_card takes it."""
    options = _parser().parse_args(arguments)
    try:
        card = Card("cpu", "no GPU: a rehearsal on the CPU") if options.device == "cpu" else find_card(listing)
    except CardUnusable as error:
        print(f"bench-gpu: {error}", file=sys.stderr)
        return 1
    if card is None:
        print(NO_CARD)
        return 0
    report = _report(card, options)
    output: Path = options.output or ROOT / "build" / f"bench_gpu{'' if card.kind == 'cuda' else '_rehearsal'}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=1) + "\n")
    output.with_suffix(".md").write_text(table(report) + "\n")
    print(table(report))
    print(f"{report['minutes']} minutes; written to {output}")
    return 0


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"bench-gpu: {text}", file=sys.stderr, flush=True)


def _report(card: Card, options: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    plan = GpuPlan.of(cores=about["cores"], quick=options.quick)
    parts, begin = options.only or list(PARTS), time.monotonic()
    photos = load_photos(options.data)
    graphs = bare_graphs(REPOSITORY, card, plan, say=say) if "bare" in parts else {}
    report: dict[str, Any] = {
        "device": card.to_json(),
        "machine": about,
        "revision": revision(),
        "plan": asdict(plan),
        "photos": photos.to_json(),
        "garments_per_photo": GARMENTS,
        "target_photos_per_s": TARGET,
        "graphs": _graphs_json(graphs),
        "distances": distances(graphs),
        "glue": glue_cost(REPOSITORY, photos.shown, rounds=plan.rounds) if "glue" in parts else {},
        "served": [],
    }
    runtime = {stage: found for stage in graphs if (found := best(graphs[stage], prefix="onnxruntime"))}
    if len(runtime) == len(graphs) and graphs:
        report["graph_bound_photos_per_s"] = graph_bound({s: pace.rows_per_s for s, (_, pace) in runtime.items()})
        report["graph_bound_by"] = {stage: f"{name}, batch {pace.batch}" for stage, (name, pace) in runtime.items()}
    if "served" in parts:
        with tempfile.TemporaryDirectory(prefix="lookalike-gpu-") as folder:
            report["served"] = served(REPOSITORY, Path(folder), photos.shown, card, plan, say=say)
    report["limits"] = limits(report)
    report["minutes"] = round((time.monotonic() - begin) / 60, 1)
    return report


def _graphs_json(graphs: Mapping[str, Mapping[str, Mapping[int, Pace] | str]]) -> dict[str, Any]:
    return {
        stage: {
            name: found
            if isinstance(found, str)
            else {str(b): {"ms": pace.ms, "rows_per_s": pace.rows_per_s} for b, pace in found.items()}
            for name, found in contenders.items()
        }
        for stage, contenders in graphs.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="a folder with street photos"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal")
    parser.add_argument("--quick", action="store_true", help="few batches, short runs: whether it runs, not how fast")
    parser.add_argument(
        "--only", action="append", choices=PARTS, metavar="PART", help=f"{', '.join(PARTS)}; repeatable"
    )
    parser.add_argument("--output", type=Path, help="build/bench_gpu.json, or build/bench_gpu_rehearsal.json on a CPU")
    return parser


if __name__ == "__main__":
    sys.exit(main())
