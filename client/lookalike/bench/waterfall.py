"""Where the time of a request went, as bars one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookalike.bench.load import Run
from lookalike.bench.measuring import Measured
from lookalike.bench.sweep import Sweep
from lookalike.bench.triton import Stage

__all__ = ["Bar", "shown_of", "waterfall"]

# In the order in which a request meets them; others come behind.
PHASES = ("wire", "queue", "inference", "search", "own")
MEANINGS = {
    "late": "begun late by this command",
    "wire": "network, gRPC, and this side's reading",
    "queue": "waiting for a permit of the gateway",
    "inference": "the models",
    "search": "the index",
    "own": "everything else of the gateway",
}
# What runs side by side with the stage before it.
BESIDE = {"segment": "keypoints"}
ENSEMBLES = "garments"
NOTICED_MS = 0.05


@dataclass(frozen=True, slots=True)
class Bar:
    """A mean per OK answer in milliseconds, `start` after the request was due; `waiting` is the first part of `length`.

    `stage` says that it is a stage inside Triton, which lies within the bar "inference".
    """

    name: str
    start: float
    length: float
    waiting: float = 0.0
    stage: bool = False
    meaning: str = ""


def shown_of(measurements: Sequence[Measured], sweep: Sweep | None) -> Measured:
    """The run whose time is taken apart: that of the highest rate in time, or else the last one with answers."""
    answered = [each for each in measurements if each.run.codes["OK"]] or measurements
    return next((each for each in answered if sweep and each.run is sweep.highest), answered[-1])


def waterfall(measured: Measured) -> list[Bar]:
    """The bars of a run, from top to bottom; empty where the server gave no account of its time."""
    bars: list[Bar] = []
    end = 0.0
    for name, length in _phases(measured.run):
        bars.append(Bar(name, end, length, meaning=MEANINGS.get(name, "")))
        if name == "inference":
            bars.extend(_stages(measured.stages, begin=end))
        end += length
    return bars


def _phases(run: Run) -> Iterator[tuple[str, float]]:
    means = run.mean_phases()
    if not means:
        return
    late = float(run.delays.get_mean_value()) / 1000
    if run.rate is not None and late > NOTICED_MS:
        yield "late", late
    yield from ((name, means[name]) for name in PHASES if name in means)
    yield from ((name, length) for name, length in means.items() if name not in PHASES)


def _stages(stages: Sequence[Stage], *, begin: float) -> Iterator[Bar]:
    """The steps of the ensembles; those take in the whole way themselves."""
    starts: dict[str, float] = {}
    end = begin
    for stage in stages:
        if stage.model.startswith(ENSEMBLES):
            continue
        start = starts.get(BESIDE.get(stage.model, ""), end)
        starts[stage.model] = start
        end = max(end, start + stage.queue_ms + stage.compute_ms)
        length = stage.queue_ms + stage.compute_ms
        yield Bar(stage.model, start, length, stage.queue_ms, stage=True, meaning=f"batch {stage.mean_batch:.1f}")
