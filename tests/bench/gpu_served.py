"""The embedded Triton with its configuration for a GPU: how fast it is by instances, and what a photo costs the CPU."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from bench.gpu_callers import ROUTES, Load, Route, calling
from bench.gpu_card import Card
from bench.gpu_plan import GpuPlan, Variant, variants
from bench.processes import Family, watching
from lookalike.bench.triton import read_statistics, stages_between
from lookalike_service.embedded.triton import EmbeddedTriton

__all__ = ["CONFIG", "cpu_by_stage", "served", "write_repository"]

CONFIG: Final = "gpu"
# The first start builds the engines of four stages.
START_SECONDS: Final = 1800.0
STUB: Final = "triton_python_backend_stub"

Served = dict[str, Any]


def served(
    repository: Path,
    directory: Path,
    photos: Sequence[bytes],
    card: Card,
    plan: GpuPlan,
    *,
    say: Callable[[str], None],
) -> list[Served]:
    """Every run of the sweep: decode's instances first, then those of the graphs beside the fastest of these."""
    runs: list[Served] = []

    def sweep(chosen: Sequence[Variant]) -> None:
        for variant in chosen:
            say(f"Triton with {variant.decode} x decode, {variant.stage} x each graph")
            runs.extend(_variant(repository, directory, photos, card, plan, variant))

    sweep(variants(plan))
    best = max(runs, key=lambda run: float(run["photos_per_s"]))["instances"]
    sweep(variants(plan, fastest=Variant(best["decode"], best["embed"])))
    return runs


def _variant(
    repository: Path, directory: Path, photos: Sequence[bytes], card: Card, plan: GpuPlan, variant: Variant
) -> list[Served]:
    target = write_repository(
        repository, directory / "repository", instances=variant.instances(), on_gpu=card.kind == "cuda"
    )
    server = EmbeddedTriton(
        target, run_directory=directory / "run", model_config_name=CONFIG, start_timeout=START_SECONDS
    )
    with watching(server) as (triton, family):
        about = {"instances": variant.instances(), "missing": _missing(server.log_path)}
        return [{"route": route.name, **about, **_fastest(triton, family, route, photos, plan)} for route in ROUTES]


def _missing(log: Path) -> list[str]:
    """What the instances say they have to do without: a card, CUDA or TensorRT."""
    said = re.findall(r"\w+ runs (?:without|on the CPU;).*", log.read_text(errors="replace"))
    return sorted(set(said))


def _fastest(
    triton: EmbeddedTriton, family: Family, route: Route, photos: Sequence[bytes], plan: GpuPlan
) -> dict[str, Any]:
    """The run with the most photos per second, of all numbers of callers."""
    found = []
    with calling(triton.grpc_address, route, photos, processes=plan.processes) as callers:
        for count in plan.callers:
            before = asyncio.run(read_statistics(f"http://{triton.http_address}"))
            cpu = cpu_by_stage(family)
            load = callers.run(callers=count, seconds=plan.seconds, warmup=plan.warmup)
            used = cpu_by_stage(family) - cpu
            after = asyncio.run(read_statistics(f"http://{triton.http_address}"))
            stages = stages_between(before, after)
            # The processor time and Triton's counters are those of the warm-up, too.
            answered = max((stage.requests for stage in stages if stage.model == route.model), default=1)
            cpu_ms = {stage: 1000 * seconds / answered for stage, seconds in used.items()}
            found.append(_record(count, load, cpu_ms, [stage.to_json() for stage in stages]))
    return max(found, key=lambda run: float(run["photos_per_s"]))


def _record(callers: int, load: Load, cpu_ms: Mapping[str, float], stages: list[dict[str, object]]) -> dict[str, Any]:
    return {
        "callers": callers,
        "photos_per_s": load.photos_per_s,
        "p50_ms": load.p50,
        "p99_ms": load.p99,
        "garments_per_photo": load.garments,
        "codes": load.codes,
        "cpu_ms": dict(cpu_ms),
        "client_cpu_ms": load.client_cpu_ms,
        "stages": stages,
    }


def write_repository(source: Path, target: Path, *, instances: Mapping[str, int], on_gpu: bool) -> Path:
    """A copy whose configurations for a GPU have so many instances; without a GPU they run on the CPU instead.

    What is at `target` is replaced. Returns it.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for model, count in instances.items():
        path = target / model / "configs" / f"{CONFIG}.pbtxt"
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        for group in config.instance_group:
            group.count = count
            if not on_gpu:
                group.kind = model_config_pb2.ModelInstanceGroup.KIND_CPU
        if not on_gpu:
            # A CPU would warm up batches of 64 for longer than the whole rehearsal takes.
            del config.model_warmup[1:]
        path.write_text(text_format.MessageToString(config))
    return target


def cpu_by_stage(family: Family) -> Counter[str]:
    """Processor seconds so far: of each stage's stubs, which are told the name of their instance, and of the server."""
    seconds: Counter[str] = Counter()
    for process in family.members():
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[_stage_of(process.cmdline())] += times.user + times.system
    return seconds


def _stage_of(command: Sequence[str]) -> str:
    if not command or Path(command[0]).name != STUB:
        return "server"
    stages = ("decode", "detect", "crop", "keypoints", "segment", "embed")
    named = [stage for stage in stages for word in command[1:] if word.startswith(f"{stage}_")]
    return named[0] if named else "stub"
