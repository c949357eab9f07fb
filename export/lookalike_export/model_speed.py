"""How long one run of each stage takes on one thread, against plain EfficientNet-Lite0 at 224 px in the same run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor, nn

from lookalike_export.graph_check import check_repository, open_graph
from lookalike_export.onnx_files import traced
from lookalike_export.served import STAGES, example_inputs
from lookalike_export.stages.backbone import HEAD_CHANNELS, Backbone
from lookalike_export.stages.contract import ServedStage
from lookalike_export.triton_config import ConfigMismatch

__all__ = ["LIMITS", "PLAIN", "Timing", "compare_speed", "plain_network"]

LIMITS = {"detect": 3.0, "keypoints": 0.6, "segment": 0.8, "embed": 1.2}
"""Most that one photo (detect) or one garment may cost, in runs of the plain network."""

PLAIN = "plain Lite0, 224 px"
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Timing:
    """Median milliseconds of a run, and its relation to the first graph: median and middle half of the rounds."""

    milliseconds: float
    relative: float
    low: float
    high: float


class _Plain(ServedStage):
    """The published network: trunk, head, mean, 1,000 classes. Pixels come normalised, so nothing is added to it."""

    inputs, outputs = ("pixels",), ("classes",)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone(head=True)
        self.classifier = nn.Linear(HEAD_CHANNELS, 1000)

    def forward(self, pixels: Tensor) -> Tensor:
        classes: Tensor = self.classifier(self.backbone(pixels)[0].mean(dim=(2, 3)))
        return classes


def plain_network() -> tuple[bytes, Arrays]:
    """The yardstick as ONNX, exported like the stages, and one input for it."""
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 4 - 2
    model = traced(_Plain().eval(), {"pixels": pixels})
    return model.SerializeToString(), {"pixels": pixels.numpy()}


def compare_speed(
    graphs: Mapping[str, tuple[Path | bytes, Arrays]], *, rounds: int = 40, runs: int = 5
) -> dict[str, Timing]:
    """Time graphs on their inputs, one thread each, all relative to the first.

    Graphs take turns, and each round relates its own medians: a machine that slows down slows all of a round alike.
    Times are the calling thread's own on the processor. A session with one thread runs on it and never waits, so that
    is its latency on a core of its own, whatever else the machine does meanwhile.
    """
    sessions = {name: (open_graph(graph), inputs) for name, (graph, inputs) in graphs.items()}
    for session, inputs in sessions.values():
        _median_run(session, inputs, runs)
    seconds = np.array([[_median_run(*pair, runs) for pair in sessions.values()] for _ in range(rounds)])
    relative = seconds / seconds[:, :1]
    return {
        name: Timing(
            float(np.median(seconds[:, i]) * 1e3),
            *(float(v) for v in np.quantile(relative[:, i], (0.5, 0.25, 0.75))),
        )
        for i, name in enumerate(sessions)
    }


def _median_run(session: onnxruntime.InferenceSession, inputs: Arrays, runs: int) -> float:
    times = []
    for _ in range(runs):
        started = time.thread_time()
        session.run(None, inputs)
        times.append(time.thread_time() - started)
    return float(np.median(times))


def stage_graphs(repository: Path) -> dict[str, tuple[Path | bytes, Arrays]]:
    """The plain network, then every stage of the repository with one photo or garment."""
    graphs: dict[str, tuple[Path | bytes, Arrays]] = {PLAIN: plain_network()}
    for stage, path in zip(STAGES, check_repository(repository, tuple(STAGES)), strict=True):
        graphs[stage] = (path, {name: tensor.numpy() for name, tensor in example_inputs(stage, batch=1).items()})
    return graphs


def main(arguments: list[str] | None = None) -> int:
    """`python -m lookalike_export.model_speed`: a table and a JSON file; returns 1 when a stage is over its limit."""
    parser = argparse.ArgumentParser(prog="model_speed", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("build/model_speed.json"))
    options = parser.parse_args(arguments)
    try:
        timings = compare_speed(stage_graphs(options.repository), rounds=options.rounds)
    except ConfigMismatch as error:
        print(f"model_speed: {error}", file=sys.stderr)
        return 1
    print(f"{'stage':20} {'ms':>7} {'relative':>9} {'middle half':>14} {'limit':>6}")
    for name, t in timings.items():
        limit = LIMITS.get(name)
        verdict = "" if limit is None else f"{limit:6.2f}{'' if t.relative <= limit else '  OVER'}"
        print(f"{name:20} {t.milliseconds:7.2f} {t.relative:9.3f} {f'{t.low:.3f}-{t.high:.3f}':>14} {verdict}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(_content(timings, options.rounds), indent=1) + "\n")
    print(f"one thread, batch 1, {options.rounds} rounds; written to {options.out}")
    return int(any(timings[stage].relative > limit for stage, limit in LIMITS.items()))


def _content(timings: Mapping[str, Timing], rounds: int) -> dict[str, Any]:
    return {
        **{stage: {**asdict(timings[stage]), "limit": limit} for stage, limit in LIMITS.items()},
        "plain": asdict(timings[PLAIN]),
        "rounds": rounds,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "onnxruntime": onnxruntime.__version__,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
