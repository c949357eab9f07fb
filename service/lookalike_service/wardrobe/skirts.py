"""Sewing skirts."""

from __future__ import annotations

import numpy as np

from lookalike_service.wardrobe.arrays import Points
from lookalike_service.wardrobe.bottoms import (
    BAND_DEPTH,
    COPPER,
    WAIST_TOP,
    inside_of,
    pocket_marks,
    topstitch,
    waist_half,
    waistband,
)
from lookalike_service.wardrobe.curves import mirror, moved, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.drape import flutes
from lookalike_service.wardrobe.figure import HIP, WAIST, Figure
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, Sewn, TorsoGrain
from lookalike_service.wardrobe.tailoring import hem_edge

__all__ = ["sew_skirt"]


def sew_skirt(figure: Figure, cut: Cut, random: np.random.Generator) -> Sewn:
    """A skirt on a figure."""
    unit, bottom = figure.unit, WAIST + cut.length
    waist = waist_half(figure, cut)

    def half(y: float) -> float:
        body = max(float(figure.body.half(y)) + 0.8, waist if y > WAIST_TOP + 2 else 0.0)
        return (body if y > WAIST_TOP + 1 else waist) * (1 + cut.flare * max(0.0, y - WAIST_TOP))

    heights = np.linspace(WAIST_TOP, bottom, 12)
    left = smooth([(half(float(y)), float(y)) for y in heights], steps=3)
    hem = hem_edge(cut, half, bottom)
    if cut.name == "pencil":
        left[:, 0] *= np.interp(left[:, 1], [HIP + 4, bottom], [1.0, 0.92])
        hem = hem * (0.92, 1.0)
    top = smooth([(-waist, WAIST_TOP), (0.0, WAIST_TOP + 1.0), (waist, WAIST_TOP)])
    outline = figure.torso(np.vstack((top, left[1:], hem[1:-1], mirror(left[1:]))))
    folds: tuple[Fold, ...] = _skirt_pulls(figure, random, cut)
    if cut.flutes:
        amount = cut.drape * (1.15 if cut.pleats else 1.0 + 30 * cut.flare)
        folds += flutes(
            figure, half, (WAIST_TOP + BAND_DEPTH, bottom), random, count=cut.flutes, amount=amount, even=cut.pleats
        )
    marks = _skirt_marks(figure, cut, bottom, hem)
    grain = TorsoGrain(figure, flare=max(0.0, cut.flare), start=WAIST_TOP)
    panels = [
        inside_of(figure, cut),
        Panel(outline, grain, bulge=2.6 * unit, folds=folds, marks=marks, lift=0.34, puff=0.045 * unit),
    ]
    panels += waistband(figure, cut)
    spots = figure.torso([(waist, WAIST_TOP), (-waist, WAIST_TOP), hem[0], hem[-1]])
    names = ("left_waist", "right_waist", "left_hem", "right_hem")
    return Sewn(tuple(panels), dict(zip(names, spots, strict=True)))


def _skirt_pulls(figure: Figure, random: np.random.Generator, cut: Cut) -> tuple[Fold, ...]:
    if cut.flutes > 4:
        return ()
    folds = []
    for side in (-1, 1):
        for k in range(3):
            y = HIP - 4 + 6 * k + random.uniform(-2, 2)
            line = figure.torso(
                smooth(
                    [
                        (side * figure.body.hips, y),
                        (side * 9.0, y + 2),
                        (side * random.uniform(0, 5), y + random.uniform(2, 6)),
                    ]
                )
            )
            folds.append(Fold(line, 1.9 * figure.unit, cut.drape * 0.7 * figure.unit * (-1) ** k, 0.0))
    return tuple(folds)


def _skirt_marks(figure: Figure, cut: Cut, bottom: float, hem: Points) -> tuple[Mark, ...]:
    unit = figure.unit
    marks: tuple[Mark, ...] = (Mark("stitch", figure.torso(moved(hem, 0.0, -1.7)), 0.18 * unit, topstitch(cut)),)
    if cut.closure == "buttons":
        rows = np.arange(WAIST_TOP + BAND_DEPTH + 3.5, bottom - 3, 6.0)
        marks += (
            Mark("seam", figure.torso([(1.8, WAIST_TOP + BAND_DEPTH), (1.8, bottom)]), 0.25 * unit),
            Mark("stitch", figure.torso([(-1.8, WAIST_TOP + BAND_DEPTH), (-1.8, bottom)]), 0.18 * unit, topstitch(cut)),
            Mark("button", figure.torso(np.column_stack((np.zeros_like(rows), rows))), 0.75 * unit, COPPER),
        )
    if cut.closure == "zip":
        marks += (Mark("zip", figure.torso([(5.0, WAIST_TOP + BAND_DEPTH), (5.0, bottom)]), 0.8 * unit),)
    if cut.pocket == "jeans":
        marks += pocket_marks(figure, cut)
    return marks
