"""The report of a GPU benchmark as Markdown, with what was not measured named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["not_measured", "table"]

STAGES = ("decode", "crop", "detect", "keypoints", "segment", "embed", "server")

UNMEASURED = "not measured: "


def table(report: Mapping[str, Any]) -> str:
    """All of a report that was measured, and a list of what was not."""
    device, machine = report["device"], report["machine"]
    head = f"{device['name']}, {machine['cores']} cores of {machine['processor']}"
    lines = [f"{head}; revision {report['revision'] or 'unknown'}."]
    if device["kind"] != "cuda":
        lines += ["", "**A rehearsal on the CPU: no figure here says anything about a GPU.**"]
    lines += [*_graphs(report), *_served(report), *_limits(report)]
    missing = not_measured(report)
    if missing:
        lines += ["", "Not measured:", "", *(f"- {each}" for each in missing)]
    return "\n".join(lines)


def not_measured(report: Mapping[str, Any]) -> list[str]:
    """What the report holds no figure of, with the reason where there is one."""
    found = [] if report["device"]["kind"] == "cuda" else ["anything on a GPU"]
    if not report["graphs"]:
        found.append("the bare graphs")
    for stage, contenders in report["graphs"].items():
        found += [
            f"{stage}, {name} ({said.removeprefix(UNMEASURED)})"
            for name, said in contenders.items()
            if isinstance(said, str)
        ]
    if not report["glue"]:
        found.append("decode and crop on one core")
    if not report["served"]:
        found.append("the served route")
    # What the stages' own log says they had to do without.
    return found + sorted({f"served: {line}" for run in report["served"] for line in run["missing"]})


def _graphs(report: Mapping[str, Any]) -> Iterator[str]:
    """Rows per second by batch, and the best of a contender as a share of torch's best."""
    if not report["graphs"]:
        return
    batches = sorted({int(b) for c in report["graphs"].values() for f in c.values() if isinstance(f, dict) for b in f})
    yield from (
        "",
        "Bare graphs, rows per second by batch; the last column is the best of a line against torch's best:",
    )
    yield from ("", f"| stage | contender | {' | '.join(map(str, batches))} | of torch |")
    yield f"| --- | --- | {' | '.join('---:' for _ in batches)} | ---: |"
    for stage, contenders in report["graphs"].items():
        for name, found in contenders.items():
            if isinstance(found, str):
                continue
            cells = [f"{found[str(b)]['rows_per_s']:,.0f}" if str(b) in found else "" for b in batches]
            share = report["distances"].get(stage, {}).get(name)
            yield f"| {stage} | {name} | {' | '.join(cells)} | {'' if share is None else f'{share:.2f}'} |"


def _served(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["served"]:
        return
    yield from ("", f"Served, {report['garments_per_photo']} garments asked for; processor ms of a photo by stage:", "")
    yield (
        "| route | decode | graphs | callers | photos/s | p50 ms | p99 ms | garments | "
        + " | ".join(f"{stage} ms" for stage in STAGES)
        + " | callers ms |"
    )
    yield f"| --- | {' | '.join('---:' for _ in range(8 + len(STAGES)))} |"
    for run in report["served"]:
        cells = [
            run["route"],
            run["instances"]["decode"],
            run["instances"]["embed"],
            run["callers"],
            f"{run['photos_per_s']:.1f}",
            f"{run['p50_ms']:.0f}",
            f"{run['p99_ms']:.0f}",
            f"{run['garments_per_photo']:.2f}",
            *(f"{run['cpu_ms'].get(stage, 0.0):.2f}" for stage in STAGES),
            f"{run['client_cpu_ms']:.2f}",
        ]
        yield f"| {' | '.join(map(str, cells))} |"
    refused = sum((Counter(run["codes"]) for run in report["served"]), Counter[str]())
    del refused["OK"]
    if refused:
        yield from ("", f"Answers that were not OK: {dict(refused)}.")


def _limits(report: Mapping[str, Any]) -> Iterator[str]:
    # Graphs that ran on the CPU say nothing about how many cores a card needs.
    glue, limits = report["glue"], report["limits"] if report["device"]["kind"] == "cuda" else {}
    if glue:
        yield from (
            "",
            f"One core takes {glue['decode_ms']:.2f} ms to decode a photo and {glue['crop_ms']:.2f} ms to cut three "
            f"garments: {report['limits']['cores_for_target_decode_and_crop']:.1f} cores for "
            f"{report['target_photos_per_s']:,.0f} photos/s (arithmetic, not a run).",
        )
    if cores := limits.get("cores_for_graph_bound_decode_and_crop"):
        yield (
            f"The graphs alone, one after the other, allow {report['graph_bound_photos_per_s']:,.0f} photos/s; "
            f"decode and crop keep up with {cores:.1f} cores (arithmetic, not a run)."
        )
    if "cpu_ms_per_photo_served" in limits:
        yield (
            f"The fastest served run used {limits['cpu_ms_per_photo_served']:.2f} ms of the CPU per photo, callers not "
            f"counted: {limits['cores_for_target_served']:.1f} cores for the target (arithmetic, not a run)."
        )
