"""Sewing pants and shorts, and the waistband that skirts share with them."""

from __future__ import annotations

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Points
from lookalike_service.wardrobe.curves import moved, offset, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.drape import leg_folds
from lookalike_service.wardrobe.figure import CROTCH, HIP, WAIST, Figure
from lookalike_service.wardrobe.panels import Fold, LegsGrain, Mark, Panel, Sewn, TorsoGrain

__all__ = [
    "BAND_DEPTH",
    "COPPER",
    "WAIST_TOP",
    "inside_of",
    "pocket_marks",
    "sew_legs",
    "topstitch",
    "waist_half",
    "waistband",
]

WAIST_TOP = WAIST + 2.5
BAND_DEPTH = 3.8
COPPER: RGB = (196, 128, 64)


def waist_half(figure: Figure, cut: Cut) -> float:
    return float(figure.body.half(WAIST_TOP)) + 0.5 + 0.8 * cut.fit


def sew_legs(figure: Figure, cut: Cut, random: np.random.Generator) -> Sewn:
    """Pants or shorts on a figure."""
    unit = figure.unit
    outline, hems = _legs_outline(figure, cut)
    knee = max(cut.width, 6.2) if cut.length < 0.6 else max(cut.width, 5.6)
    folds = leg_folds(figure, knee * unit, cut.length, random, amount=cut.drape * (0.7 + 0.6 * cut.fit))
    folds += _creases(figure, cut)
    marks = _fly(figure, cut) + pocket_marks(figure, cut) + _seams(figure, cut, hems)
    grain = LegsGrain(figure)
    panels = [inside_of(figure, cut)]
    panels.append(
        Panel(outline, grain, bulge=0.42 * max(knee, 6) * unit, folds=folds, marks=marks, lift=0.34, puff=0.05 * unit)
    )
    panels += waistband(figure, cut)
    for side, hem in zip((1, -1), hems, strict=True):
        panels += _leg_end(figure, cut, side, hem)
    half = waist_half(figure, cut)
    waist = figure.torso([(half, WAIST_TOP), (-half, WAIST_TOP)])
    landmarks = {
        "left_waist": waist[0],
        "right_waist": waist[1],
        "left_hem": hems[0].mean(axis=0),
        "right_hem": hems[1].mean(axis=0),
    }
    return Sewn(tuple(panels), landmarks)


def _legs_outline(figure: Figure, cut: Cut) -> tuple[Points, tuple[Points, Points]]:
    unit, body, end = figure.unit, figure.body, cut.length
    waist, hip = waist_half(figure, cut), body.hips + 0.6 + 1.6 * cut.fit
    thigh = body.hips * 0.5 + 0.9 + 1.8 * cut.fit
    knee = (max(cut.width * 0.96, 5.3) + 0.5) if end > 0.55 else thigh
    hem = cut.width + cut.flare
    lefts: list[Points] = []
    hems: list[Points] = []
    for side in (1, -1):
        axis = figure.leg(side)
        top = figure.torso(
            np.array([(waist, WAIST_TOP), ((waist + hip) / 2 + 0.8, (WAIST_TOP + HIP) / 2), (hip, HIP)]) * (side, 1.0)
        )
        if end > 0.55:
            spots, wide = [0.16, 0.3, 0.48, 0.75, end], [thigh, (thigh + knee) / 2, knee, (knee + hem) / 2, hem]
        else:
            spots, wide = [0.1, end], [thigh + 0.4, max(hem, thigh + 0.6)]
        outer = offset(axis, spots, [side * w * unit for w in wide])
        inner = offset(axis, spots, [-side * w * unit for w in wide])
        middle = figure.torso([(0.0, CROTCH)])[0]
        clear = 0.35 * unit + np.linspace(0.0, 0.5 * unit, len(inner))
        inner[:, 0] = np.where((inner[:, 0] - middle[0]) * side < clear, middle[0] + side * clear, inner[:, 0])
        lefts.append(smooth(np.vstack((top, outer)), steps=4))
        lefts.append(smooth(np.vstack((inner[::-1], [middle])), steps=4))
        hems.append(np.vstack((inner[-1], outer[-1])))
    outline = np.vstack((lefts[0], lefts[1], lefts[3][::-1], lefts[2][::-1]))
    return outline, (hems[0], hems[1])


def inside_of(figure: Figure, cut: Cut) -> Panel:
    half = waist_half(figure, cut)
    shape = np.vstack(
        (
            smooth([(half, WAIST_TOP), (0.0, WAIST_TOP - 1.6), (-half, WAIST_TOP)]),
            smooth([(-half, WAIST_TOP + 0.4), (0.0, WAIST_TOP + 2.4), (half, WAIST_TOP + 0.4)]),
        )
    )
    return Panel(
        figure.torso(shape), TorsoGrain(figure), style="lining", bulge=0.5 * figure.unit, shade=0.62, edge=0.3, depth=-1
    )


def waistband(figure: Figure, cut: Cut) -> list[Panel]:
    """The band at the top of pants, shorts and skirts, with its loops or cords."""
    unit, half = figure.unit, waist_half(figure, cut)
    deep = BAND_DEPTH if cut.waist != "paperbag" else 5.0
    low = float(figure.body.half(WAIST_TOP + deep)) + 0.6 + 0.9 * cut.fit
    upper = smooth([(-half, WAIST_TOP), (0.0, WAIST_TOP + 1.0), (half, WAIST_TOP)])
    lower = smooth([(low, WAIST_TOP + deep), (0.0, WAIST_TOP + deep + 1.0), (-low, WAIST_TOP + deep)])
    marks = [
        Mark("seam", figure.torso(lower), 0.3 * unit),
        Mark("stitch", figure.torso(moved(upper, 0, 0.7)), 0.14 * unit),
    ]
    folds: list[Fold] = []
    if cut.waist in ("cord", "elastic", "paperbag"):
        for k, share in enumerate(np.linspace(-0.92, 0.92, 17)):
            line = figure.torso([(half * share, WAIST_TOP - 0.6), (low * share, WAIST_TOP + deep + 0.6)])
            folds.append(Fold(line, 0.9 * unit, 0.28 * unit * (-1) ** k))
    if cut.waist == "band" and cut.closure != "none":
        metal = COPPER if cut.material == "denim" else None
        marks.append(Mark("button", figure.torso([(0.4, WAIST_TOP + deep / 2 + 0.9)]), 0.85 * unit, metal))
    grain, style = TorsoGrain(figure, shift=(8.0, 3.0)), "rib" if cut.waist in ("elastic", "cord") else "cloth"
    outline = figure.torso(np.vstack((upper, lower)))
    band = Panel(outline, grain, style, bulge=0.9 * unit, folds=tuple(folds), marks=tuple(marks), lift=0.18)
    return [band, *_waist_trimmings(figure, cut, half, deep)]


def _waist_trimmings(figure: Figure, cut: Cut, half: float, deep: float) -> list[Panel]:
    """Belt loops, or the two ends of a cord."""
    unit, grain, low = figure.unit, TorsoGrain(figure, shift=(8.0, 3.0)), WAIST_TOP + deep
    if cut.waist == "band":
        lines = ([(x, WAIST_TOP - 0.2), (x * 1.02, low + 0.6)] for x in (-half * 0.62, half * 0.62))
        return [Panel(figure.torso(ribbon(line, 1.3)), grain, bulge=0.4 * unit, lift=0.3) for line in lines]
    if cut.waist not in ("cord", "paperbag"):
        return []
    wide, tint = (0.8, (232, 230, 224)) if cut.waist == "cord" else (1.9, None)
    panels = []
    for side in (-1, 1):
        cord = smooth([(side * 0.4, low - 0.6), (side * 2.0, low + 5), (side * 1.6, low + 11)])
        panels.append(Panel(figure.torso(ribbon(cord, wide)), grain, tint=tint, bulge=0.35 * unit, lift=0.35))
    return panels


def _creases(figure: Figure, cut: Cut) -> tuple[Fold, ...]:
    """Pressed creases of tailored trousers."""
    if not cut.pleats:
        return ()
    folds = []
    for side in (-1, 1):
        line = offset(figure.leg(side), np.linspace(0.02, cut.length, 8), np.zeros(8))
        start = figure.torso([(side * figure.body.hips * 0.5, WAIST_TOP + BAND_DEPTH + 1)])
        folds.append(Fold(np.vstack((start, line)), 0.9 * figure.unit, 0.5 * figure.unit))
    return tuple(folds)


def topstitch(cut: Cut) -> RGB | None:
    return (208, 150, 88) if cut.material == "denim" else None


def _fly(figure: Figure, cut: Cut) -> tuple[Mark, ...]:
    unit = figure.unit
    center = Mark("seam", figure.torso([(0.0, WAIST_TOP + BAND_DEPTH), (0.0, CROTCH)]), 0.3 * unit)
    if cut.closure != "fly":
        return (center,)
    curve = smooth([(3.2, WAIST_TOP + BAND_DEPTH), (3.2, CROTCH - 11), (2.2, CROTCH - 7), (0.0, CROTCH - 5)])
    return (center, Mark("stitch", figure.torso(curve), 0.2 * unit, topstitch(cut)))


def pocket_marks(figure: Figure, cut: Cut) -> tuple[Mark, ...]:
    if cut.pocket not in ("jeans", "slant"):
        return ()
    unit, marks = figure.unit, []
    start, hip = WAIST_TOP + BAND_DEPTH + 0.6, figure.body.hips
    half = float(figure.body.half(start))
    for side in (-1, 1):
        if cut.pocket == "jeans":
            curve = smooth(
                [(half * 0.5, start), (half * 0.56, start + 4.5), (half * 0.78, start + 7.0), (hip * 0.96, start + 7.4)]
            )
        else:
            curve = smooth([(half * 0.66, start), (half * 0.86, start + 7), (hip * 0.98, start + 14)])
        line = figure.torso(curve * (side, 1.0))
        marks.append(Mark("seam", line, 0.34 * unit))
        inner = figure.torso((moved(curve, -0.7, 0.5)) * (side, 1.0))
        marks.append(Mark("stitch", inner, 0.18 * unit, topstitch(cut)))
        if cut.pocket == "jeans":
            rivets = figure.torso(curve[[1, -3]] * (side, 1.0))
            marks.append(Mark("button", rivets, 0.36 * unit, COPPER))
    return tuple(marks)


def _seams(figure: Figure, cut: Cut, hems: tuple[Points, Points]) -> tuple[Mark, ...]:
    unit, marks = figure.unit, []
    if cut.cuff == "hem":
        for hem in hems:
            marks.append(Mark("stitch", moved(hem, 0.0, -1.7 * unit), 0.2 * unit, topstitch(cut)))
    if cut.material == "denim" and cut.length > 0.6:
        for side in (-1, 1):
            wide = max(cut.width * 0.96, 5.3) - 0.6
            line = offset(figure.leg(side), np.linspace(0.35, cut.length, 7), np.full(7, -side * wide * unit))
            marks.append(Mark("stitch", line, 0.18 * unit, topstitch(cut)))
    return tuple(marks)


def _leg_end(figure: Figure, cut: Cut, side: int, hem: Points) -> list[Panel]:
    """Turn-ups and ribbed cuffs."""
    if cut.cuff not in ("fold", "rib"):
        return []
    unit = figure.unit
    inner, outer = hem
    axis = figure.leg(side)
    down = axis[-1] - axis[-2]
    down = down / np.hypot(*down)
    if cut.cuff == "rib":
        center, across = (inner + outer) / 2, (outer - inner) / 2
        shape = np.vstack(
            (inner, outer, center + across * 0.62 + down * 5 * unit, center - across * 0.62 + down * 5 * unit)
        )
        return [Panel(shape, TorsoGrain(figure, shift=(4.0, 0.0)), style="rib", bulge=1.6 * unit, lift=0.1)]
    grow = (outer - inner) * 0.03
    deep = 4.4 if cut.length > 0.6 else 3.4
    shape = np.vstack(
        (
            inner - grow - down * deep * unit,
            outer + grow - down * deep * unit,
            outer + grow + down * 0.3 * unit,
            inner - grow + down * 0.3 * unit,
        )
    )
    return [
        Panel(
            shape,
            TorsoGrain(figure, shift=(4.0, 9.0)),
            style="lining" if cut.material == "denim" else "cloth",
            bulge=1.0 * unit,
            lift=0.25,
            shade=1.12 if cut.material == "denim" else 1.0,
        )
    ]
