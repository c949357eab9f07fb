"""The figures of a run: what each means, what is wanted of it, the file and the table they become."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.ratios import Reading

__all__ = ["INDEX_TARGETS", "TARGETS", "Figure", "Target", "missed", "rows_of", "table"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure means and its bound; without one it is only reported."""

    meaning: str
    at_least: float | None = None
    at_most: float | None = None

    def words(self) -> str:
        """As a table writes it."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else "reported"

    def met(self, value: float) -> bool | None:
        """Whether the value is within the bound; None without one. What is no number never is."""
        if self.at_least is None and self.at_most is None:
            return None
        least, most = self.at_least, self.at_most
        return math.isfinite(value) and (least is None or value >= least) and (most is None or value <= most)


TARGETS: Final = {
    "ensemble_efficiency": Target("photos/s of Triton / of the same graphs called directly", at_least=0.95),
    "ensemble_efficiency_one_garment": Target("the same, one garment per photo", at_least=0.90),
    "gateway_efficiency": Target("SearchProducts/s / photos/s of the ensemble alone", at_least=0.96),
    "gateway_added_p50_ms": Target("one caller: above the ensemble and Milvus called bare", at_most=3),
    "token_search_p50_ms": Target("filter, tap and page by garment token, 100,000 rows", at_most=15),
    "versus_fastapi_throughput": Target("16 callers: ours / FastAPI's", at_least=0.92),
    "versus_fastapi_p99": Target("16 callers: ours / FastAPI's", at_most=1.1),
    "versus_fastapi_goodput_overload": Target(
        "answers in time at 3 times the capacity: ours / FastAPI's", at_least=1.0
    ),
    "versus_litserve_throughput": Target("16 callers: ours / LitServe's", at_least=1.0),
    "overload_goodput": Target("answers in time at 3 times the capacity / peak", at_least=0.90),
    "cold_start_s": Target("embedded stack: from process start to SERVING", at_most=20),
    "rss_mb": Target("embedded stack after load: PSS of all its processes, MB", at_most=2500),
    "cpu_ms_per_search": Target("CPU of gateway and Triton per photo searched"),
    "milvus_cpu_ms_per_search": Target("CPU of Milvus per photo searched"),
    "client_cpu_ms_per_search": Target("CPU of the load generator per photo searched"),
    "lite_search_photos_per_s": Target("SearchProducts/s on Milvus Lite with 10,000 rows"),
}
"""Those of make bench."""

INDEX_TARGETS: Final = {
    "adapter_overhead": Target("p50 of the Index adapter / of pymilvus called bare, in turns", at_most=1.15),
    "recall_at_10": Target("products of exact search that the adapter finds, least of all sizes", at_least=0.95),
    "p99_growth_100k_to_max": Target(
        "p99 of the largest catalog / of 100,000 vectors, one caller, in turns", at_most=2
    ),
    "p99_under_upserts_ratio": Target("p99 while products are upserted / idle, at the same rate", at_most=2),
    "visibility_p99_s": Target("seconds from acknowledgement to being found, while products are upserted"),
}
"""Those of make bench-index."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One key of bench.json: its reading, and whatever explains it."""

    key: str
    reading: Reading
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """What is wanted of it."""
        return (TARGETS | INDEX_TARGETS)[self.key]

    @property
    def met(self) -> bool | None:
        """Whether it is what was wanted; None when nothing was."""
        return self.target.met(self.reading.value)

    def to_json(self) -> dict[str, Any]:
        """Value, spread, rounds, wanted, met, meaning and details."""
        return {
            "value": _rounded(self.reading.value),
            "spread": [_rounded(value) for value in self.reading.spread],
            "rounds": [_rounded(value) for value in self.reading.rounds],
            "wanted": self.target.words(),
            "met": self.met,
            "meaning": self.target.meaning,
            "details": _plain(self.details),
        }


def table(figures: Mapping[str, Figure], *, targets: Mapping[str, Target] = TARGETS) -> str:
    """All figures as a table in Markdown, in the order of `targets`."""
    rows = [("figure", "value", "spread", "wanted", "met", "what it is")]
    for key in targets:
        if key in figures:
            figure = figures[key]
            low, high = figure.reading.spread
            met = {True: "yes", False: "NO", None: ""}[figure.met]
            value, spread = _short(figure.reading.value), f"{_short(low)} - {_short(high)}"
            rows.append((f"`{key}`", value, spread, figure.target.words(), met, figure.target.meaning))
    return rows_of(rows)


def rows_of(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first of the rows is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def missed(figures: Mapping[str, Figure], *, targets: Mapping[str, Target] = TARGETS) -> list[str]:
    """The keys of figures that are not what was wanted."""
    return [key for key in targets if key in figures and figures[key].met is False]


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The same with short numbers, and with null for what is no number."""
    if isinstance(value, Reading):
        return {"value": _rounded(value.value), "rounds": [_rounded(each) for each in value.rounds]}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return _rounded(value) if math.isfinite(value) else None
    return value
