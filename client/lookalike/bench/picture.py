"""The picture of a measurement: latency against rate or by percentile, and where the time went."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lookalike.bench.load import Run
from lookalike.bench.measuring import Measured
from lookalike.bench.sweep import Sweep
from lookalike.bench.waterfall import Bar, shown_of, waterfall

__all__ = ["draw"]

INK, MUTED, LINE, PAPER = "#181b22", "#707682", "#e4e6eb", "#ffffff"
CURVES = ((50.0, "#9db7f5"), (95.0, "#5c8bff"), (99.0, "#1c46c9"))
ALARM, WAITING = "#ff5a36", "#f0a000"
PHASE_COLORS = {
    "late": "#ff5a36",
    "wire": "#8f96a3",
    "queue": "#f0a000",
    "inference": "#2f6bff",
    "search": "#00a06b",
    "own": "#a63bff",
}
STAGE = "#9db7f5"
MARKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)
BAR_HEIGHT = 0.62
FAR_APART = 6
LONG = 0.4
# Inches at the top.
TITLE = 0.5


def draw(measurements: Sequence[Measured], path: Path, *, title: str, sweep: Sweep | None = None) -> None:
    """Write the picture. Raises OSError and, for an ending that is no picture's, ValueError."""
    with rc_context({"font.family": _family()}):
        figure = _figure(measurements, title=title, sweep=sweep)
        figure.savefig(path, facecolor=PAPER)


def _figure(measurements: Sequence[Measured], *, title: str, sweep: Sweep | None) -> Figure:
    shown = shown_of(measurements, sweep)
    bars = waterfall(shown)
    rows = 0.34 * len(bars) + 0.9 if bars else 0.0
    height = 5.2 + rows
    figure = Figure(figsize=(10, height), dpi=160, facecolor=PAPER)
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, 0.99 - TITLE / height), hspace=0.06)
    figure.suptitle(
        title, x=0.02, y=1 - 0.2 / height, va="top", ha="left", fontsize=14, fontweight="semibold", color=INK
    )
    ratios = [4.4, rows] if bars else [1]
    axes = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for each in axes:
        _plain(each)
    if len(measurements) > 1:
        _latency_by_rate(axes[0], [each.run for each in measurements], sweep)
    else:
        _latency_by_percentile(axes[0], measurements[0].run)
    if bars:
        _waterfall(axes[1], bars, shown.run)
    return figure


def _latency_by_rate(axes: Axes, runs: Sequence[Run], sweep: Sweep | None) -> None:
    ordered = sorted((run for run in runs if run.codes["OK"]), key=lambda run: run.rate or run.callers or 0)
    for percent, color in CURVES:
        values = [run.percentile(percent) for run in ordered]
        axes.plot([_load(run) for run in ordered], values, color=color, linewidth=2, marker="o", markersize=5, zorder=3)
        if values:
            _note(axes, f"p{percent:g}", (_load(ordered[-1]), values[-1]), color)
    failing = [run for run in ordered if run.codes["OK"] < run.requests]
    axes.scatter(
        [_load(run) for run in failing],
        [run.percentile(99) for run in failing],
        s=110,
        facecolors="none",
        edgecolors=ALARM,
        linewidths=1.8,
        zorder=4,
    )
    bound = [sweep.bound_ms] if sweep else []
    _scale(axes, [*bound, *(run.percentile(percent) for run in ordered for percent, _ in CURVES)])
    if all(run.rate for run in ordered):
        axes.set_xlabel("requests/s that came", color=MUTED)
    else:
        axes.set_xlabel(f"answers/s, with {', '.join(str(run.callers) for run in ordered)} callers", color=MUTED)
    heading = "Latency against rate, ms"
    if sweep:
        _bound(axes, sweep)
        if sweep.highest and sweep.highest.rate:
            heading += f": in time up to {sweep.highest.rate:.3g} requests/s"
    _heading(axes, heading + ("   (ringed: some requests failed)" if failing else ""))


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values lie far apart."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if values and max(values) > FAR_APART * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(bottom=0, top=1.15 * max(values) if values else None)


def _bound(axes: Axes, sweep: Sweep) -> None:
    axes.axhline(sweep.bound_ms, color=ALARM, linewidth=1.2, linestyle=(0, (5, 3)), zorder=2)
    axes.annotate(
        f"p{sweep.percentile:g} within {sweep.bound_ms:g} ms",
        (0.005, sweep.bound_ms),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        color=ALARM,
        fontsize=9,
    )
    if sweep.highest is not None and sweep.highest.rate:
        axes.axvline(sweep.highest.rate, color=LINE, linewidth=6, zorder=1)


def _latency_by_percentile(axes: Axes, run: Run) -> None:
    """The axis stretches towards 100 %, so that the slowest answers have the room that they deserve."""
    count = max(run.codes["OK"], 1)
    last = max(1 - 1 / count, 0.5)
    places = [step / 400 * _nines(last) for step in range(401)]
    shares = [1 - 10**-place for place in places]
    values = [run.percentile(max(share * 100, 100 / count)) for share in shares]
    axes.plot(places, values, color=CURVES[2][1], linewidth=2.2, zorder=3)
    axes.fill_between(places, values, color=CURVES[0][1], alpha=0.25, linewidth=0)
    for percent in (50.0, 95.0, 99.0, 99.9):
        if percent / 100 <= last:
            place = (_nines(percent / 100), run.percentile(percent))
            axes.plot(*place, "o", color=CURVES[2][1], markersize=6, zorder=4)
            _note(axes, f"p{percent:g}  {place[1]:.3g} ms", place, INK, above=True)
    axes.xaxis.set_major_locator(FixedLocator([_nines(mark / 100) for mark in MARKS if mark / 100 <= last]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{100 - 100 * 10**-place:.6g} %"))
    axes.set_xlim(0, _nines(last) * 1.04)
    axes.set_ylim(0, max(run.percentile(100), 0.001) * 1.15)
    _heading(axes, "Latency by percentile, ms")
    axes.set_xlabel(f"share of the {run.codes['OK']:,} answers that took no longer", color=MUTED)


def _nines(share: float) -> float:
    return -math.log10(1 - share)


def _waterfall(axes: Axes, bars: Sequence[Bar], run: Run) -> None:
    whole = max(bar.start + bar.length for bar in bars)
    for row, bar in enumerate(bars):
        color = STAGE if bar.stage else PHASE_COLORS.get(bar.name, MUTED)
        axes.barh(row, bar.length, left=bar.start, height=BAR_HEIGHT, color=color, zorder=3)
        if bar.waiting:
            axes.barh(row, bar.waiting, left=bar.start, height=BAR_HEIGHT, color=WAITING, zorder=4)
        _label(axes, bar, row, whole=whole)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, whole * 1.02)
    axes.yaxis.set_major_locator(FixedLocator(range(len(bars))))
    for text, bar in zip(axes.set_yticklabels([bar.name for bar in bars]), bars, strict=True):
        text.set_color(MUTED if bar.stage else INK)
    axes.grid(visible=False, axis="y")
    load = f"at {run.rate:.3g} requests/s" if run.rate else f"with {run.callers} at once"
    _heading(
        axes,
        f"Where the time of a request went {load}, means in ms"
        + ("   (orange: waiting)" if any(bar.stage for bar in bars) else ""),
    )


def _label(axes: Axes, bar: Bar, row: int, *, whole: float) -> None:
    """Behind the bar, or in front of it where the picture ends, or on it when it is long."""
    text = f"{bar.length:.1f} ms" + (f"   {bar.meaning}" if bar.meaning else "")
    gap, end = whole * 0.008, bar.start + bar.length
    color = MUTED if bar.stage else INK
    if bar.length > whole * LONG:
        place, side, color = bar.start + bar.waiting + gap, "left", INK if bar.stage else PAPER
    elif end < whole * 0.7:
        place, side = end + gap, "left"
    else:
        place, side = bar.start - gap, "right"
    axes.text(place, row, text, ha=side, va="center_baseline", fontsize=9, color=color, zorder=5)


def _load(run: Run) -> float:
    return run.rate or run.throughput


def _heading(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, color=INK, pad=10)


def _note(axes: Axes, text: str, place: tuple[float, float], color: str, *, above: bool = False) -> None:
    offset, side = ((-4, 8), "right") if above else ((8, -3), "left")
    axes.annotate(text, place, xytext=offset, textcoords="offset points", color=color, fontsize=10, ha=side)


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.grid(color=LINE, linewidth=0.8)
    axes.tick_params(length=0, colors=MUTED, labelsize=10, which="both")
    for side in axes.spines.values():
        side.set_visible(False)
    axes.xaxis.set_minor_locator(NullLocator())


def _family() -> str:
    """Our own letters, where they are installed."""
    spec = importlib.util.find_spec("font_source_sans_pro")
    if spec is None or spec.origin is None:
        return "sans-serif"
    for weight in ("Regular", "Semibold"):
        font_manager.fontManager.addfont(Path(spec.origin).parent / "files" / f"SourceSansPro-{weight}.ttf")
    return "Source Sans Pro"
