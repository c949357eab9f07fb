"""What the GPU benchmark runs, and what follows from its figures: arithmetic that needs no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "GARMENTS",
    "TARGET",
    "GpuPlan",
    "Pace",
    "Variant",
    "best",
    "cores_needed",
    "distances",
    "graph_bound",
    "limits",
    "variants",
]

TARGET: Final = 2000.0
"""Photos per second with three garments each, served by one H200."""
GARMENTS: Final = 3
ONCE: Final = ("detect",)


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """Batches of the bare graphs, rounds of a timing and their least seconds; callers and length of a served run."""

    batches: tuple[int, ...]
    rounds: int
    round_seconds: float
    callers: tuple[int, ...]
    processes: int
    seconds: float
    warmup: float
    decodes: tuple[int, ...]
    stages: tuple[int, ...]

    @classmethod
    def of(cls, *, cores: int, quick: bool) -> GpuPlan:
        """For a machine with so many cores, a quarter of which may send; `quick` only shows that it runs."""
        if quick:
            return cls((1, 2), 2, 0.0, (2,), 1, 3.0, 1.0, (1,), (1,))
        sending = max(1, cores // 4)
        return cls((1, 2, 4, 8, 16, 32, 64), 7, 0.2, (16, 64, 256), sending, 10.0, 3.0, _doubling(cores), (1, 2, 4))


@dataclass(frozen=True, slots=True)
class Pace:
    """A graph on one batch: milliseconds per run and rows per second."""

    batch: int
    ms: float

    @property
    def rows_per_s(self) -> float:
        """Rows per second."""
        return 1000 * self.batch / self.ms


@dataclass(frozen=True, slots=True)
class Variant:
    """How many instances of decode and of each graph a server has; crop has half as many as decode."""

    decode: int
    stage: int

    def instances(self) -> dict[str, int]:
        """By model."""
        graphs = dict.fromkeys(("detect", "keypoints", "segment", "embed"), self.stage)
        return {"decode": self.decode, "crop": max(1, self.decode // 2), **graphs}


def variants(plan: GpuPlan, *, fastest: Variant | None = None) -> list[Variant]:
    """The sweep over decode's instances; given its fastest, the sweep over those of the graphs, less what was run."""
    usual = 2 if 2 in plan.stages else plan.stages[0]
    if fastest is None:
        return [Variant(decode, usual) for decode in plan.decodes]
    return [Variant(fastest.decode, stage) for stage in plan.stages if stage != fastest.stage]


def best(paces: Mapping[str, Mapping[int, Pace] | str], *, prefix: str) -> tuple[str, Pace] | None:
    """The fastest of the contenders whose names begin so, at its best batch; None when none was measured."""
    measured = [
        (name, pace)
        for name, found in paces.items()
        if name.startswith(prefix) and not isinstance(found, str)
        for pace in found.values()
    ]
    return max(measured, key=lambda pair: pair[1].rows_per_s, default=None)


def distances(graphs: Mapping[str, Mapping[str, Mapping[int, Pace] | str]]) -> dict[str, dict[str, float]]:
    """Of each stage the best rows per second of each contender, as a share of the fastest of torch's."""
    shares: dict[str, dict[str, float]] = {}
    for stage, contenders in graphs.items():
        bare = best(contenders, prefix="torch")
        if bare is None:
            continue
        rates = {
            name: max(pace.rows_per_s for pace in found.values())
            for name, found in contenders.items()
            if not isinstance(found, str)
        }
        shares[stage] = {name: rate / bare[1].rows_per_s for name, rate in rates.items()}
    return shares


def graph_bound(rows_per_s: Mapping[str, float], *, garments: int = GARMENTS) -> float:
    """Photos per second if the card did nothing but run the graphs one after the other; detect sees a photo once."""
    return 1 / sum((1 if stage in ONCE else garments) / rate for stage, rate in rows_per_s.items())


def cores_needed(cpu_ms: float, *, photos_per_s: float) -> float:
    """Cores that are busy all the time when each photo costs so many milliseconds of a core."""
    return photos_per_s * cpu_ms / 1000


def limits(report: Mapping[str, Any]) -> dict[str, float]:
    """Cores per card, by the cost of a photo: decode and crop alone, and everything on the CPU while served."""
    found: dict[str, float] = {}
    if glue := sum(report["glue"].values()):
        found["cores_for_target_decode_and_crop"] = cores_needed(glue, photos_per_s=TARGET)
        if bound := report.get("graph_bound_photos_per_s"):
            found["cores_for_graph_bound_decode_and_crop"] = cores_needed(glue, photos_per_s=bound)
    if report["served"]:
        fastest = max(report["served"], key=lambda run: float(run["photos_per_s"]))
        total = sum(fastest["cpu_ms"].values())
        found["cpu_ms_per_photo_served"] = total
        found["cores_for_target_served"] = cores_needed(total, photos_per_s=TARGET)
    return found


def _doubling(cores: int) -> tuple[int, ...]:
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent < cores]
    return (*powers, cores)
