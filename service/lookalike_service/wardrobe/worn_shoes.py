"""Shoes on the feet of a person who faces us."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Points, as_points
from lookalike_service.wardrobe.curves import moved, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.figure import Figure
from lookalike_service.wardrobe.panels import Mark, Panel, PlainGrain, Sewn
from lookalike_service.wardrobe.shoes import boot_height

__all__ = ["sew_worn_shoes"]

Place: TypeAlias = Callable[[object], Points]

_WHITE: RGB = (240, 238, 232)
_DARK: RGB = (46, 38, 34)


def sew_worn_shoes(figure: Figure, cut: Cut) -> Sewn:
    """A pair on the feet of a figure that faces us."""
    panels: list[Panel] = []
    for side in (-1, 1):
        axis = figure.leg(side)
        ankle, unit = axis[-1], figure.unit
        splay = side * 16.0
        c, s = np.cos(np.radians(splay)), np.sin(np.radians(splay))

        def at(
            points: object,
            ankle: Points = ankle,
            c: float = float(c),
            s: float = float(s),
            unit: float = unit,
            side: int = side,
        ) -> Points:
            p = as_points(points) * (side * unit, unit)
            placed: Points = p @ np.array(((c, -s), (s, c))) + ankle
            return placed

        grain = PlainGrain((float(ankle[0]), float(ankle[1])), unit, shift=(-14.0, 30.0))
        panels += _front_shoe(at, grain, unit, cut, axis)
    return Sewn(tuple(panels))


def _front_shoe(at: Place, grain: PlainGrain, unit: float, cut: Cut, axis: Points) -> list[Panel]:
    """One foot from the front, toe pointing down the picture and a little outwards."""
    sporty = "sneaker" in cut.name
    long = 16.5 if cut.name == "pumps" else 13.0
    wide = 4.1 if cut.name == "pumps" else 5.3 if sporty else 4.9
    shares = [(-0.74, 4.0), (-1.0, long * 0.62), (-0.74, long - 1.6), (0.07, long)]
    shares += [(0.8, long - 1.6), (1.02, long * 0.62), (0.78, 4.0)]
    toe = smooth([(wide * x, y) for x, y in shares])
    tint = _WHITE if sporty else _DARK
    sole = Panel(at(moved(toe * (1.06, 1.0), 0.0, 0.9)), grain, tint=tint, bulge=0.6 * unit, lift=0.4, shade=0.9)
    if cut.name in ("pumps", "ballet flats", "loafers"):
        return [sole, _low_front(at, grain, unit, cut, toe, wide, long)]
    tall = boot_height(cut) - 5.0
    if tall > 20:
        return [sole, *_shaft(at, grain, unit, toe, wide, axis)]
    top = 3.0 - tall
    collar = [(wide * 0.8, 3.0), (4.4, top * 0.5), (4.6, top), (0.0, top + 0.8), (-4.6, top), (-4.4, top * 0.5)]
    upper = at(np.vstack((toe, smooth([*collar, (-wide * 0.74, 3.0)])[1:-1])))
    if not sporty:
        seam = Mark("seam", at(smooth([(-wide * 0.7, 5.0), (0.0, 3.6), (wide * 0.7, 5.0)])), 0.25 * unit)
        return [sole, Panel(upper, grain, bulge=1.7 * unit, lift=0.2, marks=(seam,))]
    parts = [sole, Panel(upper, grain, bulge=1.7 * unit, lift=0.2)]
    if cut.material == "other":
        cap = np.vstack((toe[toe[:, 1] > long - 3.4], [(wide * 0.5, long - 3.8), (-wide * 0.5, long - 3.8)]))
        parts.append(Panel(at(cap), grain, tint=_WHITE, bulge=0.7 * unit, lift=0.1))
    for y in np.arange(max(top + 2.0, 0.6), long - 4.2, 1.7):
        lace = at(ribbon([(-2.1, y), (2.1, y + 0.3)], 0.7))
        parts.append(Panel(lace, grain, tint=_WHITE, bulge=0.3 * unit, lift=0.3))
    return parts


def _low_front(at: Place, grain: PlainGrain, unit: float, cut: Cut, toe: Points, wide: float, long: float) -> Panel:
    """The vamp of a pump, flat or loafer."""
    deep = long * (0.36 if cut.name == "loafers" else 0.52)
    edge = [(0.78, 2.6), (0.62, deep - 1.4), (0.0, deep), (-0.62, deep - 1.4), (-0.74, 2.6)]
    marks: tuple[Mark, ...] = ()
    if cut.name == "loafers":
        seam = [(-0.6, deep + 1.0), (-0.5, long - 4), (0.04, long - 2.6), (0.55, long - 4), (0.62, deep + 1.0)]
        marks = (Mark("seam", at(smooth([(wide * x, y) for x, y in seam])), 0.25 * unit),)
    upper = np.vstack((toe, smooth([(wide * x, y) for x, y in edge])))
    return Panel(at(upper), grain, bulge=1.5 * unit, lift=0.2, sheen=0.3, marks=marks)


def _shaft(at: Place, grain: PlainGrain, unit: float, toe: Points, wide: float, axis: Points) -> list[Panel]:
    """A tall boot follows the shin."""
    foot = at(np.vstack((toe, [(wide * 0.72, 0.0), (-wide * 0.72, 0.0)])))
    shin = np.vstack((axis[-2] + (axis[-3] - axis[-2]) * 0.2, axis[-2], axis[-1], at([(0.0, 4.0)])))
    widths = np.array((11.4, 12.2, 8.4, 8.6)) * unit
    line = smooth(shin)
    full = np.interp(np.linspace(0, 3, len(line)), range(4), widths)
    return [
        Panel(foot, grain, bulge=1.7 * unit, lift=0.2),
        Panel(ribbon(line, full), grain, bulge=2.2 * unit, lift=0.2),
    ]
