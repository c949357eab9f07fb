"""What make bench-index prints, writes down and draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import INDEX_TARGETS, Figure, rows_of, table
from bench.plots import Curve, draw_together
from bench.ratios import Reading

__all__ = ["drawn", "pages"]

PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")


def pages(content: Mapping[str, Any]) -> str:
    """The tables and where they were measured, in Markdown, from what build/bench_index.json holds."""
    figures = {key: Figure(key, Reading(tuple(content[key]["rounds"]))) for key in INDEX_TARGETS if key in content}
    parts = [table(figures, targets=INDEX_TARGETS), _searches(content), _fillings(content)]
    if "upserts" in content:
        parts.append(_upserts(content["upserts"]))
    return "\n\n".join([*parts, _about(content["run"])])


def _searches(content: Mapping[str, Any]) -> str:
    rows = [
        ("vectors", "filter passes", "recall@10", *(f"{name}: p50 / p95 / p99 ms, per s" for name in _callers(content)))
    ]
    for each in content["searches"]:
        cells = [
            f"{' / '.join(_short(load[name]) for name in PERCENTILES)}, {load['searches_per_s']:.0f}"
            for load in each["callers"].values()
        ]
        passes = "no filter" if each["filter"] == "none" else each["filter"]
        rows.append((f"{each['rows']:,}", passes, f"{each['recall_at_10']:.3f}", *cells))
    return rows_of(rows)


def _callers(content: Mapping[str, Any]) -> list[str]:
    return [f"{count} caller{'s' * (count != '1')}" for count in content["searches"][0]["callers"]]


def _fillings(content: Mapping[str, Any]) -> str:
    rows = [("vectors", "rows written per s", "indexed after, s", "Milvus, MiB", "adapter p50 / bare p50, ms")]
    for each in content["sizes"]:
        ours, theirs = (_short(content["overheads"][str(each["rows"])][name]) for name in ("adapter_ms", "bare_ms"))
        rows.append((
            f"{each['rows']:,}",
            f"{each['rows_per_s']:,.0f} ({each['written_by']})",
            f"{each['index_s']:.0f}",
            f"{each['milvus_mib']:,.0f}",
            f"{ours} / {theirs}",
        ))  # fmt: skip
    return rows_of(rows)


def _upserts(found: Mapping[str, Any]) -> str:
    p50, p99, visible = found["p50_ms"], found["p99_ms"], found["visible_s"]
    rows = [("at " + f"{found['searches_per_s']:.0f} searches/s", "p50 ms", "p99 ms", "found after p50 / p99 s")]
    for name, words in (("idle", "idle"), ("upserts", f"beside {found['products_per_s']:.0f} products/s")):
        seconds = f"{visible[name]['p50']:.2f} / {visible[name]['p99']:.2f}"
        rows.append((words, _short(Reading(tuple(p50[name])).value), _short(Reading(tuple(p99[name])).value), seconds))
    return rows_of(rows)


def _about(run: Mapping[str, Any]) -> str:
    machine, like = run["machine"], run["likeness"]
    sentence = (
        f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel'].partition('-')[0]}, "
        f"Milvus {run['milvus']}, pymilvus {machine['packages']['pymilvus']}, commit {run['revision']}; "
        f"{run['minutes']:.0f} minutes; load average {machine['load_average'][0]:.1f} at the start. "
        f"Vectors of {run['dimension']} numbers, made like {run['own']}: the median cosine to the tenth neighbor is "
        f"{like['made'][1]:.2f} where our own have {like['own'][1]:.2f}."
    )
    return f"{sentence} {run['note']}" if run.get("note") else sentence


def drawn(content: Mapping[str, Any], path: Path) -> None:
    """Latency of a lone caller against the size of the catalog."""
    curves = []
    for name, passes in (("no filter", "none"), ("1 % pass", "1 %")):
        for percentile in ("p50", "p99"):
            points = {
                float(each["rows"]): Reading((each["callers"]["1"][f"{percentile}_ms"],))
                for each in content["searches"]
                if each["filter"] == passes
            }
            curves.append(Curve(f"{name}, {percentile}", points))
    draw_together(curves, path, axis="vectors in the catalog", unit="ms, one caller", logarithmic=True)


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
