"""Small plots of how a figure grows: points are medians over the rounds, bars reach from the least to the greatest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bench.ratios import Reading

__all__ = ["COLORS", "INK", "LINE", "MUTED", "Curve", "draw", "draw_together"]

INK, MUTED, LINE = "#181b22", "#707682", "#e4e6eb"
COLORS: Final = ("#1c46c9", "#ff5a36", "#1d8a5f", "#8a4fc9")


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn upwards, with its unit, and its reading at each point."""

    name: str
    points: Mapping[float, Reading]

    def to_json(self) -> dict[str, Any]:
        """Name, and a list of points with value and rounds."""
        points = [{"at": at, "value": each.value, "rounds": list(each.rounds)} for at, each in self.points.items()]
        return {"name": self.name, "points": points}


def draw(curves: Sequence[Curve], path: Path, *, axis: str, logarithmic: bool = False) -> None:
    """Write one or two curves as a PNG; the second has an axis of its own on the right. Both begin at zero."""
    figure, left = _framed(curves, axis=axis, logarithmic=logarithmic)
    axes = [left] + [left.twinx() for _ in curves[1:]]
    for each, curve, color in zip(axes, curves, COLORS, strict=False):
        _plot(each, curve, color)
    figure.savefig(path)


def draw_together(curves: Sequence[Curve], path: Path, *, axis: str, unit: str, logarithmic: bool = False) -> None:
    """Write up to four curves of one unit as a PNG, on one axis that begins at zero."""
    figure, axes = _framed(curves, axis=axis, logarithmic=logarithmic)
    for curve, color in zip(curves, COLORS, strict=False):
        _plot(axes, curve, color)
    highest = max(reading.spread[1] for curve in curves for reading in curve.points.values())
    axes.set_ylim(0, 1.15 * highest)
    axes.set_ylabel(unit, color=MUTED)
    axes.tick_params(axis="y", colors=INK, length=0)
    axes.legend([curve.name for curve in curves], frameon=False, fontsize="small")
    figure.savefig(path)


def _framed(curves: Sequence[Curve], *, axis: str, logarithmic: bool) -> tuple[Figure, Axes]:
    """An empty plot whose lower axis names the points that were measured, and no others."""
    figure = Figure(figsize=(4.8, 3.0), dpi=160, facecolor="white")
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    _decorate(axes)
    axes.set_xlabel(axis, color=MUTED)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xticks(sorted(curves[0].points))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _label(value)))
    return figure, axes


def _plot(axes: Axes, curve: Curve, color: str) -> None:
    places = sorted(curve.points)
    values = [curve.points[at].value for at in places]
    below = [curve.points[at].value - curve.points[at].spread[0] for at in places]
    above = [curve.points[at].spread[1] - curve.points[at].value for at in places]
    axes.errorbar(places, values, yerr=[below, above], color=color, marker="o", markersize=4, capsize=3, linewidth=1.6)
    axes.set_ylabel(curve.name, color=color)
    axes.set_ylim(0, 1.15 * max(curve.points[at].spread[1] for at in places))
    axes.tick_params(axis="y", colors=color, length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)


def _decorate(axes: Axes) -> None:
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", colors=INK, length=0)


def _label(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}" if value.is_integer() else f"{value:.1f}"
