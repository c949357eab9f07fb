"""Sewing shoes: a pair from the side, for the shop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Points, as_points
from lookalike_service.wardrobe.curves import ellipse, path, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, PlainGrain, Sewn

__all__ = ["boot_height", "heel_height", "sew_shoes"]

Place: TypeAlias = Callable[[object], Points]
Shape: TypeAlias = list[tuple[float, float]]

_WHITE: RGB = (240, 238, 232)
_DARK: RGB = (46, 38, 34)


def boot_height(cut: Cut) -> float:
    """How far the shaft reaches above the sole, in centimetres."""
    return {"ankle boots": 17.0, "high-top sneakers": 14.5, "tall boots": 38.0}.get(cut.name, 6.0)


def heel_height(cut: Cut) -> float:
    """How far the heel lifts the foot, in centimetres."""
    return {"pumps": 8.0, "ankle boots": 4.5, "tall boots": 4.0}.get(cut.name, 1.5)


def sew_shoes(center: tuple[float, float], unit: float, cut: Cut) -> Sewn:
    """A pair seen from the side, one shoe behind the other; `center` is the middle of the pair."""
    panels: list[Panel] = []
    tall = boot_height(cut)
    for dx, dy, shade in ((-9.5, -4.6, 0.88), (-14.0, 1.6, 1.0)):
        move = np.array((dx, dy + tall * 0.5 if tall > 12 else dy + 4.0))

        def at(points: object, move: Points = move) -> Points:
            placed: Points = (as_points(points) * (1.0, -1.0) + move) * unit + np.array(center)
            return placed

        grain = PlainGrain(
            (center[0] + float(move[0]) * unit, center[1] + float(move[1]) * unit), unit, shift=(-14.0, 30.0)
        )
        panels += _SIDES[cut.name](at, grain, unit, shade, cut)
    return Sewn(tuple(panels))


def _sole(at: Place, grain: PlainGrain, unit: float, shade: float, points: Points, tint: RGB) -> Panel:
    return Panel(at(points), grain, style="tint", tint=tint, bulge=0.7 * unit, lift=0.2, shade=shade, edge=0.3)


def _sneaker(at: Place, grain: PlainGrain, unit: float, shade: float, cut: Cut) -> list[Panel]:
    high = cut.name.startswith("high")
    top = 13.0 if high else 8.4
    collar = [(0.4, 3.0), (0.0, top - 2.0), (1.0, top), (4.6, top - 0.8), (8.4, top + (0.6 if high else -0.6))]
    upper = np.vstack(
        (
            smooth(collar),
            smooth(
                [(8.4, collar[-1][1]), (10.4, 9.6 if high else 7.8), (16.6, 6.2), (22.0, 5.2), (26.4, 3.9), (28.2, 1.8)]
            ),
            [(28.0, 1.0), (0.4, 1.0)],
        )
    )
    sole = path(
        [(-0.4, 2.9), (9.0, 2.2), (20.0, 2.2), (28.8, 2.7)],
        [(28.8, 2.7), (28.9, 0.9), (27.6, -0.1), (14.0, -0.2), (0.4, -0.1), (-0.5, 1.2), (-0.4, 2.9)],
    )
    mouth = smooth(
        [(1.0, top - 0.2), (4.6, top + 0.5), (8.2, top + 0.2), (8.4, top - 0.8), (4.6, top - 1.4)], closed=True
    )
    toe = path([(28.4, 2.0), (26.6, 4.1), (23.4, 4.9)], [(23.4, 4.9), (22.4, 3.4), (22.2, 2.0)])
    tongue = path(
        [(7.6, top - 1.2), (8.6, top + 2.0), (10.8, top + 1.6)],
        [(10.8, top + 1.6), (12.6, 8.6 if high else 7.2), (10.2, 7.0)],
    )
    rows = np.linspace(0.1, 0.92, 6 if high else 4)
    start, stop = np.array((9.2, top - 1.0)), np.array((16.8, 5.9))
    laces = [np.vstack((start + (stop - start) * t, start + (stop - start) * t + (-2.6, -1.7))) for t in rows]
    heel = path([(0.2, 3.0), (0.1, top - 2.0), (0.8, top - 0.4)], [(3.6, top - 1.2), (3.4, 5.0), (4.6, 2.6)])
    stripe = smooth([(9.0, 2.6), (13.6, 4.8), (17.2, 5.6)])
    marks = (
        Mark("stitch", at(smooth([(16.8, 5.4), (15.2, 3.6), (14.8, 2.4)])), 0.16 * unit),
        Mark("seam", at(stripe), 0.3 * unit),
    )
    dark = shade * 0.7
    return [
        Panel(at(tongue), grain, bulge=0.8 * unit, shade=shade * 0.9, lift=0.2),
        Panel(at(mouth), grain, style="lining", bulge=0.4 * unit, shade=dark, lift=0.0),
        Panel(at(upper), grain, bulge=2.0 * unit, shade=shade, lift=0.3, marks=marks),
        Panel(at(heel), grain, style="cloth", bulge=0.6 * unit, shade=shade * 0.88, lift=0.15),
        *(
            [Panel(at(toe), grain, style="tint", tint=_WHITE, bulge=0.8 * unit, shade=shade, lift=0.15)]
            if cut.material == "other"
            else []
        ),
        *(
            Panel(at(ribbon(line, 0.75)), grain, style="tint", tint=_WHITE, bulge=0.3 * unit, shade=shade, lift=0.3)
            for line in laces
        ),
        _sole(at, grain, unit, shade, sole, _WHITE),
    ]


def _boot(at: Place, grain: PlainGrain, unit: float, shade: float, cut: Cut) -> list[Panel]:
    top = boot_height(cut)
    lift = heel_height(cut)
    wide = 11.0 if top > 30 else 9.4
    shaft = [(0.6, top), (0.2, top * 0.6), (0.8, 9.0 + lift * 0.3), (-0.2, lift + 1.6)]
    front = [
        (wide, top + 0.3),
        (wide - 0.2, top * 0.6),
        (9.4, 9.6 + lift * 0.3),
        (14.0, 6.6 + lift * 0.2),
        (21.0, 5.0),
        (25.4, 3.6),
        (27.0, 1.4),
    ]
    upper = np.vstack((smooth(front), [(26.8, 0.8), (14.0, 0.8), (8.0, lift * 0.9), (0.0, lift)], smooth(shaft)[::-1]))
    mouth = ellipse(((0.6 + wide) / 2, top + 0.1), ((wide - 0.6) / 2, 0.9))
    sole = path(
        [(27.2, 1.6), (14.0, 1.0), (8.0, lift), (-0.2, lift + 0.6)],
        [(-0.2, lift - 0.3), (8.0, lift - 0.6), (13.0, 0.0), (26.6, 0.0), (27.2, 1.6)],
    )
    heel = path([(-0.3, lift + 0.3), (7.6, lift)], [(6.6, -0.1), (0.3, -0.1)])
    gore = path(
        [(3.6, top - 0.6), (6.8, top - 0.6)],
        [(6.6, 8.4 + lift * 0.3), (5.0, 7.0 + lift * 0.3), (3.8, 8.4 + lift * 0.3)],
    )
    folds = tuple(
        Fold(at(smooth([(0.6, y), (5.0, y - 0.9), (9.6, y + 0.6)])), 1.3 * unit, 0.4 * unit * (-1) ** k)
        for k, y in enumerate((9.4, 11.2, 13.0) if top > 15 else ())
    )
    marks = (
        (
            Mark("seam", at(smooth([(12.6, 7.0), (13.6, 4.0), (13.0, 1.2)])), 0.26 * unit),
            Mark("zip", at([(5.2, top - 1.0), (5.2, 7.0)]), 0.7 * unit),
        )
        if top > 30
        else ()
    )
    panels = [
        Panel(at(mouth), grain, style="lining", bulge=0.4 * unit, shade=shade * 0.6, lift=0.0),
        _sole(at, grain, unit, shade, heel, _DARK),
        Panel(at(upper), grain, bulge=2.2 * unit, folds=folds, shade=shade, lift=0.3, marks=marks),
        _sole(at, grain, unit, shade, sole, _DARK),
    ]
    if top < 20:
        panels.append(Panel(at(gore), grain, style="tint", tint=_DARK, bulge=0.5 * unit, shade=shade, lift=0.1))
    return panels


def _pump(at: Place, grain: PlainGrain, unit: float, shade: float, cut: Cut) -> list[Panel]:
    lift = heel_height(cut)
    back = [(-0.2, lift + 0.6), (0.2, lift + 4.2), (1.2, lift + 5.4)]
    top = [(1.2, lift + 5.4), (5.0, lift + 3.0), (10.0, 6.8), (15.4, 4.0), (18.2, 4.4)]
    toe = [(18.2, 4.4), (22.4, 3.4), (25.6, 1.6), (26.2, 0.6)]
    upper = np.vstack(
        (smooth(back), smooth(top), smooth(toe), [(15.0, 0.6)], smooth([(12.0, 1.6), (7.0, lift * 0.72), (0.2, lift)]))
    )
    inner = smooth(
        [(1.2, lift + 5.2), (5.6, lift + 3.9), (11.0, 7.8), (17.8, 4.6), (15.4, 3.9), (10.0, 6.6), (5.0, lift + 2.6)],
        closed=True,
    )
    heel = path(
        [(-0.3, lift + 0.4), (4.6, lift - 0.6)],
        [(4.6, lift - 0.6), (2.0, 4.0), (1.5, 0.0)],
        [(0.3, 0.0), (-0.1, 4.0), (-0.3, lift + 0.4)],
    )
    sole = path(
        [(26.3, 0.8), (15.0, 0.5), (11.0, 1.9), (6.0, lift * 0.78)],
        [(6.0, lift * 0.7), (11.0, 1.3), (15.0, -0.1), (25.6, -0.1), (26.3, 0.8)],
    )
    return [
        Panel(at(inner), grain, style="tint", tint=(206, 178, 148), bulge=0.4 * unit, shade=shade * 0.8, lift=0.0),
        Panel(at(heel), grain, bulge=0.7 * unit, shade=shade * 0.9, lift=0.2),
        Panel(at(upper), grain, bulge=1.4 * unit, shade=shade, lift=0.25, sheen=0.4),
        _sole(at, grain, unit, shade, sole, _DARK),
    ]


_LOW_SOLE = path(
    [(27.6, 1.4), (14.0, 1.0), (-0.2, 1.6)],
    [(-0.2, -0.1), (6.6, -0.1), (7.2, 0.5), (13.0, 0.4), (14.0, -0.1), (27.0, -0.1), (27.6, 1.4)],
)


def _low(at: Place, grain: PlainGrain, unit: float, shade: float, top: Shape, toe: Shape) -> list[Panel]:
    """A low shoe: inside, upper and sole; `top` is the edge of its opening and `toe` goes on to the tip."""
    rise = top[0][1]
    inner = smooth(
        [(0.8, rise - 0.2), (5.0, rise - 0.4), (10.0, rise - 0.8), top[-1], (9.0, rise - 2.6), (4.0, rise - 2)],
        closed=True,
    )
    back = smooth([(0.0, 1.6), (-0.1, 4.0), (0.6, rise)])
    upper = np.vstack((back, smooth(top), smooth([top[-1], *toe]), [(27.2, 0.8), (0.2, 0.8)]))
    return [
        Panel(at(inner), grain, tint=(200, 172, 142), bulge=0.4 * unit, shade=shade * 0.74, lift=0.0),
        Panel(at(upper), grain, bulge=1.8 * unit, shade=shade, lift=0.28, sheen=0.2),
        _sole(at, grain, unit, shade, _LOW_SOLE, _DARK),
    ]


def _flat(at: Place, grain: PlainGrain, unit: float, shade: float, cut: Cut) -> list[Panel]:
    """A ballet flat with its bow."""
    top = [(0.6, 5.4), (4.0, 3.8), (9.0, 3.2), (17.0, 3.6)]
    panels = _low(at, grain, unit, shade, top, [(19.0, 4.2), (22.0, 3.7), (26.2, 3.2), (27.4, 1.2)])
    for turn in (-1, 1):
        bow = [(18.2, 4.3), (18.2 + turn * 2.0, 5.6), (18.2 + turn * 2.8, 4.4), (18.2 + turn * 1.8, 3.6)]
        panels.append(Panel(at(smooth(bow, closed=True)), grain, bulge=0.6 * unit, shade=shade, lift=0.3))
    return panels


def _loafer(at: Place, grain: PlainGrain, unit: float, shade: float, cut: Cut) -> list[Panel]:
    top = [(0.6, 6.8), (4.0, 5.2), (9.0, 4.6), (12.4, 6.2)]
    panels = _low(at, grain, unit, shade, top, [(16.0, 6.4), (22.0, 4.9), (26.2, 3.2), (27.4, 1.2)])
    strap = path([(11.4, 6.6), (14.8, 6.9)], [(16.8, 4.2), (15.8, 1.2)], [(12.4, 1.2), (13.2, 4.0)])
    seam = Mark("seam", at(smooth([(14.0, 5.0), (20.0, 4.0), (25.0, 2.6)])), 0.24 * unit)
    panels[1] = replace(panels[1], marks=(seam,))
    panels.append(Panel(at(strap), grain, bulge=0.7 * unit, shade=shade * 0.95, lift=0.3))
    if cut.variant % 2:
        bar = at(ribbon([(13.0, 5.2), (15.8, 4.7)], 0.9))
        panels.append(Panel(bar, grain, tint=(206, 170, 96), bulge=0.3 * unit, lift=0.3, sheen=0.8, shade=shade))
    return panels


_SIDES: dict[str, Callable[[Place, PlainGrain, float, float, Cut], list[Panel]]] = {
    "sneakers": _sneaker,
    "high-top sneakers": _sneaker,
    "ankle boots": _boot,
    "tall boots": _boot,
    "pumps": _pump,
    "loafers": _loafer,
    "ballet flats": _flat,
}
