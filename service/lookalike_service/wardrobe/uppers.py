"""Sewing tops and outerwear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lookalike_service.wardrobe.arrays import Points
from lookalike_service.wardrobe.collars import collar_panels
from lookalike_service.wardrobe.curves import mirror, moved, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.drape import body_folds
from lookalike_service.wardrobe.figure import ARMPIT, CROTCH, HIP, WAIST, Figure
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, Sewn, TorsoGrain
from lookalike_service.wardrobe.tailoring import (
    Half,
    armhole,
    bodice,
    cuff,
    half_width,
    hem_edge,
    inner_back,
    shoulder_height,
    sleeve,
)
from lookalike_service.wardrobe.trimmings import closure_marks, hem_band, pockets, waist_band

__all__ = ["sew_upper"]


def sew_upper(
    figure: Figure,
    cut: Cut,
    random: np.random.Generator,
    *,
    tucked: bool = False,
    opened: bool = False,
    outer: bool = False,
) -> Sewn:
    """A top or an outer garment on a figure; `tucked` ends it in the waistband, `opened` leaves the front open."""
    if tucked:
        cut = replace(cut, length=WAIST + 4.5, hem="straight", flare=0.0)
    half = half_width(figure, cut, ease=1.9 if outer else 0.6)
    bottom = cut.length
    panels: list[Panel] = []
    gap = float(random.uniform(4.0, 7.5)) if opened else 0.0
    collar = [] if cut.strap and cut.strap < 3 else collar_panels(figure, cut, gap=gap)
    thin = 0 < cut.strap < 3
    if not thin:
        panels.append(inner_back(figure, cut))
    panels += [panel for panel in collar if panel.depth < 0]
    if opened:
        panels += _open_fronts(figure, cut, half, bottom, random, gap)
    elif thin:
        panels += _strapped(figure, cut, half, bottom, random)
    else:
        panels.append(_front(figure, cut, half, bottom, random))
    panels += hem_band(figure, cut, half, bottom, opened=opened)
    panels += pockets(figure, cut, half, bottom, opened=opened)
    panels += waist_band(figure, cut, half, opened=opened)
    panels += [panel for panel in collar if panel.depth >= 0]
    landmarks = _landmarks(figure, cut, half, bottom)
    if cut.sleeve > 0:
        for side in (-1, 1):
            piece, end = sleeve(figure, cut, half, side, random)
            panels.append(piece)
            panels += cuff(figure, cut, side)
            landmarks["left_sleeve" if side > 0 else "right_sleeve"] = end
    else:
        for side in (-1, 1):
            hole = figure.torso(armhole(figure, cut, half) * (side, 1.0))
            landmarks["left_sleeve" if side > 0 else "right_sleeve"] = (
                hole[0] if not thin else figure.torso(_strap_top(cut) * (side, 1.0))[0]
            )
    return Sewn(tuple(panels), landmarks)


def _landmarks(figure: Figure, cut: Cut, half: Half, bottom: float) -> dict[str, Points]:
    top = shoulder_height(cut.neck_width)
    hem = hem_edge(cut, half, bottom)
    if 0 < cut.strap < 3:
        top = shoulder_height(cut.neck_width) + 0.3
    if cut.hem == "body":
        hem = _body_hem(half)[[0, -1]]
    left = figure.torso([(cut.neck_width, top), hem[0]])
    right = figure.torso([(-cut.neck_width, top), hem[-1]])
    return {"left_collar": left[0], "right_collar": right[0], "left_hem": left[1], "right_hem": right[1]}


def _body_hem(half: Half) -> Points:
    side = half(HIP + 1)
    right = smooth([(side, HIP - 2), (side * 0.55, HIP + 8), (3.2, CROTCH + 3.0)])
    return np.vstack((right, mirror(right)))


def _front(figure: Figure, cut: Cut, half: Half, bottom: float, random: np.random.Generator) -> Panel:
    unit = figure.unit
    if cut.hem == "body":
        shape = replace(cut, hem="straight")
        outline = bodice(figure, shape, half, bottom=HIP - 3)
        outline = _replace_hem(figure, outline, _body_hem(half), half, HIP - 3)
    else:
        outline = bodice(figure, cut, half, bottom=bottom)
    folds = body_folds(figure, half, bottom, random, amount=cut.drape)
    marks = closure_marks(figure, cut, bottom) + _hem_stitch(figure, cut, half, bottom)
    if cut.name == "puffer":
        folds = _quilts(figure, half, bottom)
    grain = TorsoGrain(figure, flare=max(0.0, cut.flare))
    return Panel(
        outline,
        grain,
        style="front",
        bulge=3.2 * unit,
        folds=folds,
        marks=marks,
        lift=0.32,
        puff=(0.05 + cut.puff) * unit,
    )


def _replace_hem(figure: Figure, outline: Points, hem: Points, half: Half, bottom: float) -> Points:
    """A bodysuit's outline: the straight hem gives way to high-cut legs."""
    low = figure.torso([(half(bottom), bottom), (-half(bottom), bottom)])
    below = (outline[:, 1] >= low[:, 1].min() - 0.6 * figure.unit) & (
        np.abs(outline[:, 0] - low[:, 0].mean()) < half(bottom) * figure.unit + 1
    )
    index = np.flatnonzero(below)
    return np.vstack((outline[: index[0]], figure.torso(hem), outline[index[-1] + 1 :]))


def _quilts(figure: Figure, half: Half, bottom: float) -> tuple[Fold, ...]:
    folds = []
    for y in np.arange(4.0, bottom, 7.2):
        wide = half(max(y, ARMPIT)) + 2
        line = figure.torso(smooth([(-wide, y - 0.6), (0.0, y + 0.5), (wide, y - 0.6)]))
        folds.append(Fold(line, 1.3 * figure.unit, -1.5 * figure.unit))
    return tuple(folds)


def _hem_stitch(figure: Figure, cut: Cut, half: Half, bottom: float) -> tuple[Mark, ...]:
    if cut.hem in ("rib", "band", "body"):
        return ()
    line = moved(hem_edge(cut, half, bottom), 0.0, -1.6)
    return (Mark("stitch", figure.torso(line), 0.15 * figure.unit),)


def _strap_top(cut: Cut) -> Points:
    return np.array([(cut.neck_width, shoulder_height(cut.neck_width))])


def _strapped(figure: Figure, cut: Cut, half: Half, bottom: float, random: np.random.Generator) -> list[Panel]:
    """A bodice held by thin straps; a halter's meet at the neck."""
    unit, width = figure.unit, cut.neck_width
    apex = 8.4 if cut.neckline == "v" else 7.6 if cut.name == "halter" else width
    high = 6.5 if cut.name != "halter" else 3.0
    low = min(cut.neck_depth, 14.0)
    inner = (
        [(-apex, high), (-apex * 0.4, low - 1.5), (0.0, low)]
        if cut.neckline == "v"
        else [(-apex, high), (-apex * 0.6, low - 0.3), (0.0, low)]
    )
    right = smooth(inner)
    edge = np.vstack((right, mirror(right)[1:]))
    hole = smooth([(apex, high), (apex + 1.0, 11.0), (half(ARMPIT) - 1.2, ARMPIT - 0.6), (half(ARMPIT), ARMPIT + 0.8)])
    hem = hem_edge(cut, half, bottom)
    heights = np.linspace(ARMPIT + 0.8, hem[0][1], 8)[1:-1]
    left = np.vstack((hole, [(half(float(y)), float(y)) for y in heights], hem[:1]))
    outline = figure.torso(np.vstack((edge, left, hem[1:-1], mirror(left))))
    grain = TorsoGrain(figure, flare=max(0.0, cut.flare))
    panels = []
    back = np.vstack(
        (smooth([(-half(ARMPIT), ARMPIT), (0.0, ARMPIT - 3.0), (half(ARMPIT), ARMPIT)]), [(0.0, ARMPIT + 8)])
    )
    panels.append(Panel(figure.torso(back), grain, style="lining", bulge=unit, shade=0.72, edge=0.3, depth=-1))
    folds = body_folds(figure, half, bottom, random, amount=cut.drape)
    stitch = figure.torso(moved(edge, 0.0, 0.8))
    marks = (Mark("stitch", stitch, 0.14 * unit), *_hem_stitch(figure, cut, half, bottom))
    end = 5.6 if cut.name == "halter" else width * 0.94
    for side in (-1, 1):
        strap = smooth(
            [
                (side * apex, high + 0.6),
                (side * (apex + end) / 2, high / 2 - 0.6),
                (side * end, shoulder_height(end) - 0.2),
            ]
        )
        panels.append(Panel(figure.torso(ribbon(strap, cut.strap)), grain, bulge=0.4 * cut.strap * unit, lift=0.3))
    panels.append(
        Panel(outline, grain, style="front", bulge=2.6 * unit, folds=folds, marks=marks, lift=0.3, puff=0.05 * unit)
    )
    return panels


def _open_fronts(
    figure: Figure, cut: Cut, half: Half, bottom: float, random: np.random.Generator, gap: float
) -> list[Panel]:
    """Back lining behind the wearer and two front panels with a gap."""
    unit = figure.unit
    whole = bodice(
        figure, cut, half, bottom=bottom - 1.0, neckline=np.array([(-cut.neck_width, 0.0), (cut.neck_width, 0.0)])
    )
    panels = [
        Panel(whole, TorsoGrain(figure), style="lining", bulge=2 * unit, shade=0.55, edge=0.2, depth=-1, lift=0.0)
    ]
    folds = body_folds(figure, half, bottom, random, amount=cut.drape)
    if cut.name == "puffer":
        folds = _quilts(figure, half, bottom)
    hem = hem_edge(replace(cut, hem="straight"), half, bottom)
    for side in (-1, 1):
        hole = armhole(figure, cut, half)
        heights = np.linspace(hole[-1][1], hem[0][1], 8)[1:]
        seam = [(half(float(y)), float(y)) for y in heights]
        inner = smooth(
            [
                (gap + 1.2, bottom + 0.8),
                (gap, bottom * 0.6),
                (gap, 28.0),
                (gap + 0.8, 9.0),
                (cut.neck_width, shoulder_height(cut.neck_width)),
            ]
        )
        shape = np.vstack((hole, seam, [(half(bottom) * 0.6, bottom + 0.7)], inner)) * (side, 1.0)
        edge = figure.torso((moved(inner, 1.2, 0.0)) * (side, 1.0))
        marks: tuple[Mark, ...] = (Mark("stitch", edge, 0.16 * unit),)
        if cut.closure == "zip":
            marks = (Mark("zip", figure.torso((moved(inner, 0.4, 0.0)) * (side, 1.0)), 0.7 * unit),)
        elif cut.closure != "none" and side > 0:
            rows = np.arange(14.0, bottom - 8, 9.0)
            points = np.column_stack((np.full_like(rows, gap + 2.0), rows))
            marks += (Mark("button", figure.torso(points), 0.7 * unit),)
        panels.append(
            Panel(
                figure.torso(shape),
                TorsoGrain(figure),
                style="front",
                bulge=2.6 * unit,
                folds=folds,
                marks=marks,
                lift=0.4,
                puff=(0.05 + cut.puff) * unit,
            )
        )
    return panels
