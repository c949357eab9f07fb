"""Collars, hoods and lapels: what surrounds the neck of a garment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lookalike_service.wardrobe.arrays import Points
from lookalike_service.wardrobe.curves import mirror, moved, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.figure import Figure
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, PlainGrain, TorsoGrain
from lookalike_service.wardrobe.tailoring import front_neckline, shoulder_height

__all__ = ["collar_panels"]


def collar_panels(figure: Figure, cut: Cut, *, gap: float = 0.0) -> list[Panel]:
    """The panels of the collar in painter's order; those that lie behind the neck have depth -1.

    `gap` is half the width, in centimetres, by which the fronts of an open garment stand apart at its middle.
    """
    makers = {
        "rib": _band, "binding": _band, "turtle": _turtle, "shirt": _shirt, "polo": _shirt, "lapel": _lapel,
        "hood": _hood, "stand": _stand, "funnel": _turtle, "bow": _bow, "frill": _frill,
    }  # fmt: skip
    maker = makers.get(cut.collar)
    panels = maker(figure, cut) if maker else []
    if gap == 0.0:
        return panels
    return [panel if panel.depth < 0 else _apart(figure, cut, panel, gap) for panel in panels]


def _apart(figure: Figure, cut: Cut, panel: Panel, gap: float) -> Panel:
    """One half of a collar, moved outwards with the front that it is sewn to."""
    line = figure.torso([(0.0, -2.0), (0.0, max(cut.neck_depth, 8.0))])
    outline = panel.outline
    middle = np.interp(outline[:, 1], line[:, 1], line[:, 0])
    share = np.interp(outline[:, 1], line[:, 1], (0.0, 1.0))
    side = np.sign(outline[:, 0].mean() - line[:, 0].mean())
    away = outline[:, 0] + side * gap * figure.unit * share
    kept = np.where((away - middle) * side > 0, away, middle + side * 0.2 * figure.unit)
    return replace(panel, outline=np.column_stack((kept, outline[:, 1])))


def _both(figure: Figure, points: Points) -> tuple[Points, Points]:
    return figure.torso(points), figure.torso(mirror(points))


def _around_neck(figure: Figure, shape: Points) -> Points:
    """On a wearer a collar goes around the neck instead of meeting behind it in plain sight."""
    if not figure.worn:
        return shape
    clear = np.interp(shape[:, 1], (-4.5, 0.0, 3.0), (4.9, 4.4, 0.0))
    return np.column_stack((np.maximum(shape[:, 0], clear), shape[:, 1]))


def _band(figure: Figure, cut: Cut) -> list[Panel]:
    """A ribbed band or a binding along the neckline, front and back."""
    unit = figure.unit
    wide = 2.1 if cut.collar == "rib" else 0.9
    edge = front_neckline(cut)
    inset = edge * (1.0, 1.0) + (0.0, 0.0)
    front = figure.torso(ribbon(inset, wide))
    top = shoulder_height(cut.neck_width)
    back = smooth([(-cut.neck_width, top), (0.0, top + 1.0), (cut.neck_width, top)])
    style = "rib" if cut.collar == "rib" else "cloth"
    grain = TorsoGrain(figure, shift=(7.0, 3.0))
    return [
        Panel(figure.torso(ribbon(back, wide)), grain, style=style, bulge=0.5 * unit, shade=0.86, lift=0.0, depth=-1),
        Panel(
            front,
            grain,
            style=style,
            bulge=0.55 * unit,
            lift=0.3,
            marks=(Mark("seam", figure.torso(moved(edge, 0, wide / 2)), 0.2 * unit),),
        ),
    ]


def _turtle(figure: Figure, cut: Cut) -> list[Panel]:
    unit, width = figure.unit, cut.neck_width - 0.6
    high = -9.0
    base = front_neckline(cut)
    inner = smooth([(-width + 0.6, high), (0.0, high - 1.1), (width - 0.6, high), (0.0, high + 1.3)], closed=True)
    outline = figure.torso(np.vstack((base, smooth([(width - 0.6, high), (0.0, high + 1.3), (-width + 0.6, high)]))))
    grain = TorsoGrain(figure, shift=(9.0, 0.0))
    folds = tuple(
        Fold(figure.torso(smooth([(-width * 0.9, y), (0.0, y + 1.8), (width * 0.9, y - 0.4)])), 1.2 * unit, 0.25 * unit)
        for y in (-6.2, -2.4)
    )
    style = "cloth" if cut.collar == "funnel" or cut.material == "knit" else "rib"
    marks = (
        (Mark("zip", figure.torso([(0.0, high + 1.4), (0.0, cut.neck_depth)]), 0.8 * unit),)
        if cut.collar == "funnel"
        else ()
    )
    return [
        Panel(figure.torso(inner), grain, style="lining", bulge=unit, shade=0.6, edge=0.4, depth=-1),
        Panel(outline, grain, style=style, bulge=2.2 * unit, folds=folds, marks=marks, lift=0.35),
    ]


def _shirt(figure: Figure, cut: Cut) -> list[Panel]:
    """Two leaves that fold over a stand; a polo's are shorter and softer."""
    unit = figure.unit
    reach = 8.6 if cut.collar == "shirt" else 7.0
    width = cut.neck_width
    stand = np.vstack(
        (smooth([(-width, -2.2), (0.0, -4.9), (width, -2.2)]), smooth([(width, 0.2), (0.0, -1.4), (-width, 0.2)]))
    )
    leaf = np.vstack(
        (
            smooth([(2.2, -5.0), (width - 0.6, -4.4), (width + 1.4, -0.4)]),
            smooth([(width + 1.2, 0.6), (width + 0.4, reach * 0.55), (width - 0.9, reach)]),
            smooth([(width - 1.2, reach), (3.4, cut.neck_depth + 1.6), (0.25, cut.neck_depth - 0.2)]),
            smooth([(0.25, cut.neck_depth - 0.6), (width * 0.62, 0.0), (width * 0.78, -2.6), (2.2, -4.4)]),
        )
    )
    panels = [Panel(figure.torso(stand), TorsoGrain(figure), style="lining", bulge=0.8 * unit, shade=0.75, depth=-1)]
    leaf = _around_neck(figure, leaf)
    trim = np.array(
        [(width + 0.3, 0.6), (width - 0.4, reach * 0.55), (width - 1.5, reach - 0.9), (3.6, cut.neck_depth + 0.8)]
    )
    for turn, outline, stitch in zip(
        (38.0, -38.0), reversed(_both(figure, leaf)), reversed(_both(figure, trim)), strict=True
    ):
        center = outline.mean(axis=0)
        grain = PlainGrain((float(center[0]), float(center[1])), unit, turn=turn, shift=(13.0, 4.0))
        marks = (Mark("stitch", stitch, 0.15 * unit),)
        panels.append(Panel(outline, grain, bulge=0.9 * unit, lift=0.42, marks=marks))
    return panels


def _lapel(figure: Figure, cut: Cut) -> list[Panel]:
    """Notched lapels rolled along the opening, and a collar that meets them."""
    unit, width, depth = figure.unit, cut.neck_width, cut.neck_depth
    notch = min(9.0, depth * 0.36)
    wide = 10.6 if depth > 15 else 11.4
    roll = front_neckline(cut)
    roll = roll[roll[:, 0] >= -1e-9]
    fall = depth - notch
    outer = [(wide, notch), (wide * 0.86, notch + fall * 0.34), (wide * 0.42, notch + fall * 0.75), (0.2, depth + 0.6)]
    lapel = np.vstack((roll, [(width + 0.8, 1.4)], smooth(outer)))
    collar = np.vstack(
        (
            smooth([(1.0, -4.6), (width - 0.8, -4.0), (width + 2.0, 0.6), (wide - 0.4, notch - 3.4)]),
            [(wide - 2.8, notch - 0.6)],
            smooth([(width - 0.4, notch * 0.42), (width * 0.8, -1.2), (1.0, -3.2)]),
        )
    )
    stand = np.vstack(
        (smooth([(-width, -2.2), (0.0, -4.8), (width, -2.2)]), smooth([(width, 1.0), (0.0, -0.6), (-width, 1.0)]))
    )
    panels = [Panel(figure.torso(stand), TorsoGrain(figure), style="cloth", bulge=0.8 * unit, shade=0.7, depth=-1)]
    collar = _around_neck(figure, collar)
    for shape, lift in ((lapel, 0.4), (collar, 0.4)):
        for turn, outline in zip((24.0, -24.0), reversed(_both(figure, shape)), strict=True):
            center = outline.mean(axis=0)
            grain = PlainGrain((float(center[0]), float(center[1])), unit, turn=turn, shift=(11.0, 9.0))
            panels.append(Panel(outline, grain, bulge=1.0 * unit, lift=lift, edge=0.3))
    return panels


def _stand(figure: Figure, cut: Cut) -> list[Panel]:
    unit = figure.unit
    edge = moved(front_neckline(cut), 0.0, -1.6)
    middle = len(edge) // 2
    halves = (edge[: middle + 1], edge[middle:])
    top = shoulder_height(cut.neck_width)
    back = smooth([(-cut.neck_width, top - 1.5), (0.0, top - 1.2), (cut.neck_width, top - 1.5)])
    grain = TorsoGrain(figure, shift=(7.0, 3.0))
    return [
        Panel(figure.torso(ribbon(back, 4.4)), grain, style="rib", bulge=0.8 * unit, shade=0.72, depth=-1),
        *(Panel(figure.torso(ribbon(half, 4.2)), grain, style="rib", bulge=1.2 * unit, lift=0.35) for half in halves),
    ]


def _hood(figure: Figure, cut: Cut) -> list[Panel]:
    """A hood: lying flat it stands above the neck; worn it rests on the shoulders behind it."""
    unit, width = figure.unit, cut.neck_width
    high = -13.0 if figure.worn else -19.0
    wide = width + (6.4 if figure.worn else 5.0)
    half = smooth([(0.0, high), (wide * 0.62, high + 1.4), (wide, high * 0.42), (wide * 0.96, 0.6), (width * 0.9, 4.6)])
    back = np.vstack((half, mirror(half)))
    opening = smooth([(0.0, high + 3.4), (wide * 0.56, high * 0.55), (wide * 0.58, 0.0), (0.4, cut.neck_depth + 2.6)])
    inside = np.vstack((opening, mirror(opening)))
    low = cut.neck_depth
    outer = smooth([(wide * 0.62, high * 0.5), (wide * 0.98, -2.0), (wide * 0.86, 4.4), (0.2, low + 5.4)])
    inner = smooth([(0.2, low + 1.8), (wide * 0.46, 1.4), (wide * 0.56, -2.6), (wide * 0.5, high * 0.48)])
    edge = np.vstack((outer, inner))
    grain = TorsoGrain(figure, shift=(15.0, 20.0))
    seam = Mark("seam", figure.torso([(0.0, high + 0.4), (0.0, high + 3.4)]), 0.3 * unit)
    panels = [
        Panel(figure.torso(back), grain, bulge=3.4 * unit, shade=0.94, marks=(seam,), depth=-1),
        Panel(figure.torso(inside), grain, style="lining", bulge=2.0 * unit, shade=0.62, edge=0.4, depth=-1),
    ]
    for outline in reversed(_both(figure, edge)):
        panels.append(Panel(outline, grain, bulge=1.7 * unit, lift=0.4))
    for side in (-1, 1):
        cord = smooth([(side * 3.2, cut.neck_depth + 2.6), (side * 3.9, 15.0), (side * 3.4, 22.0 + side)])
        light = (236, 234, 228)
        panels.append(
            Panel(figure.torso(ribbon(cord, 0.75)), grain, style="tint", tint=light, bulge=0.35 * unit, lift=0.35)
        )
    return panels


def _bow(figure: Figure, cut: Cut) -> list[Panel]:
    unit, depth = figure.unit, cut.neck_depth
    grain = TorsoGrain(figure, shift=(9.0, 9.0))
    panels = _band(figure, cut)
    for side in (-1, 1):
        tail = ribbon(
            smooth([(0.0, depth), (side * 2.2, depth + 8), (side * 3.4, depth + 17)]),
            [2.0, 2.4, *[3.0] * 9, 3.4, 3.8][:13],
        )
        loop = smooth(
            [
                (0.0, depth),
                (side * 3.5, depth - 3.2),
                (side * 7.6, depth - 1.8),
                (side * 7.4, depth + 2.2),
                (side * 3.4, depth + 2.0),
            ],
            closed=True,
        )
        panels.append(Panel(figure.torso(tail), grain, bulge=1.0 * unit, lift=0.35))
        panels.append(Panel(figure.torso(loop), grain, bulge=1.5 * unit, lift=0.4))
    knot = smooth([(-1.3, depth - 1.3), (1.3, depth - 1.3), (1.1, depth + 1.5), (-1.1, depth + 1.5)], closed=True)
    panels.append(Panel(figure.torso(knot), grain, bulge=0.9 * unit, lift=0.35))
    return panels


def _frill(figure: Figure, cut: Cut) -> list[Panel]:
    unit = figure.unit
    edge = front_neckline(cut)
    steps = np.linspace(0, 1, len(edge))
    wave = ribbon(moved(edge, 0.0, 1.0), 3.4 + 1.1 * np.sin(steps * 2 * np.pi * 9))
    line = figure.torso(edge)
    folds = tuple(
        Fold(figure.torso([edge[k] + (0, -0.4), edge[k] + (0.4 * np.sign(edge[k][0]), 3.2)]), 0.9 * unit, 0.3 * unit)
        for k in range(1, len(edge) - 1, 3)
    )
    panels = _band(figure, cut)
    panels.append(
        Panel(
            figure.torso(wave),
            TorsoGrain(figure, shift=(9.0, 9.0)),
            bulge=0.8 * unit,
            folds=folds,
            lift=0.4,
            marks=(Mark("seam", line, 0.2 * unit),),
        )
    )
    return panels
