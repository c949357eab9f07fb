"""Sewing dresses: a bodice that goes on below the waist."""

from __future__ import annotations

import numpy as np

from lookalike_service.wardrobe.collars import collar_panels
from lookalike_service.wardrobe.curves import moved, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.drape import body_folds, flutes
from lookalike_service.wardrobe.figure import WAIST, Figure
from lookalike_service.wardrobe.panels import Mark, Panel, Sewn, TorsoGrain
from lookalike_service.wardrobe.tailoring import (
    armhole,
    bodice,
    cuff,
    front_neckline,
    half_width,
    hem_edge,
    inner_back,
    shoulder_height,
    sleeve,
)

__all__ = ["sew_dress"]


def sew_dress(figure: Figure, cut: Cut, random: np.random.Generator) -> Sewn:
    """A dress on a figure."""
    half = half_width(figure, cut, ease=0.5)
    unit, bottom = figure.unit, cut.length
    grain = TorsoGrain(figure, flare=cut.flare)
    folds = body_folds(figure, half, WAIST + 14.0, random, amount=cut.drape * 0.8)
    if cut.flutes:
        folds += flutes(
            figure, half, (WAIST, bottom), random, count=cut.flutes, amount=cut.drape * (1.0 + 45 * cut.flare)
        )
    marks = _marks(figure, cut, bottom)
    hem = hem_edge(cut, half, bottom)
    marks += (Mark("stitch", figure.torso(moved(hem, 0.0, -1.6)), 0.15 * unit),)
    outline = bodice(figure, cut, half, bottom=bottom)
    collar = collar_panels(figure, cut)
    panels = [inner_back(figure, cut), *(panel for panel in collar if panel.depth < 0)]
    panels.append(
        Panel(outline, grain, style="front", bulge=3.0 * unit, folds=folds, marks=marks, lift=0.32, puff=0.05 * unit)
    )
    panels += _waistline(figure, cut, half(WAIST))
    panels += [panel for panel in collar if panel.depth >= 0]
    top = shoulder_height(cut.neck_width)
    marked = figure.torso([(cut.neck_width, top), (half(WAIST), WAIST), hem[0]])
    other = figure.torso([(-cut.neck_width, top), (-half(WAIST), WAIST), hem[-1]])
    landmarks = {}
    for name, left, right in zip(("collar", "waist", "hem"), marked, other, strict=True):
        landmarks[f"left_{name}"], landmarks[f"right_{name}"] = left, right
    for side in (-1, 1):
        name = "left_sleeve" if side > 0 else "right_sleeve"
        if cut.sleeve > 0:
            piece, landmarks[name] = sleeve(figure, cut, half, side, random)
            panels.append(piece)
            panels += cuff(figure, cut, side)
        else:
            landmarks[name] = figure.torso(armhole(figure, cut, half) * (side, 1.0))[0]
    return Sewn(tuple(panels), landmarks)


def _marks(figure: Figure, cut: Cut, bottom: float) -> tuple[Mark, ...]:
    unit = figure.unit
    if cut.name == "wrap":
        edge = smooth([(0.0, cut.neck_depth), (5.0, 24.0), (10.5, WAIST)])
        lower = smooth([(10.5, WAIST), (6.0, 62.0), (4.0, bottom)])
        return (Mark("seam", figure.torso(edge), 0.45 * unit), Mark("seam", figure.torso(lower), 0.45 * unit))
    if cut.closure == "buttons":
        places = np.arange(cut.neck_depth + 1.6, bottom - 8, 8.6)
        buttons = figure.torso(np.column_stack((np.zeros_like(places), places)))
        edge = figure.torso([(1.6, cut.neck_depth), (1.6, bottom)])
        other = figure.torso([(-1.6, cut.neck_depth), (-1.6, bottom)])
        return (
            Mark("seam", edge, 0.22 * unit),
            Mark("stitch", other, 0.14 * unit),
            Mark("button", buttons, 0.58 * unit),
        )
    if cut.strap and cut.strap < 3:
        line = moved(front_neckline(cut), 0.0, 0.8)
        return (Mark("stitch", figure.torso(line), 0.14 * unit),)
    return ()


def _waistline(figure: Figure, cut: Cut, half: float) -> list[Panel]:
    unit = figure.unit
    grain = TorsoGrain(figure, shift=(6.0, 8.0))
    curve = smooth([(-half - 0.2, WAIST), (0.0, WAIST + 0.8), (half + 0.2, WAIST)])
    if cut.waist in ("belt", "tie"):
        band = Panel(figure.torso(ribbon(curve, 3.2)), grain, bulge=0.6 * unit, lift=0.32)
        panels = [band]
        spot = 0.0 if cut.waist == "belt" else half * 0.62
        if cut.waist == "tie":
            for lean in (3.0, 6.5):
                tail = ribbon(
                    smooth([(spot, WAIST + 0.6), (spot + lean * 0.5, WAIST + 9), (spot + lean * 0.8, WAIST + 20)]), 2.2
                )
                panels.append(Panel(figure.torso(tail), grain, bulge=0.6 * unit, lift=0.32))
            for turn in (-1, 1):
                loop = smooth(
                    [
                        (spot, WAIST),
                        (spot + turn * 3, WAIST - 2.4),
                        (spot + turn * 5.4, WAIST - 0.4),
                        (spot + turn * 3, WAIST + 1.6),
                    ],
                    closed=True,
                )
                panels.append(Panel(figure.torso(loop), grain, bulge=0.9 * unit, lift=0.32))
            return panels
        frame = figure.torso(ribbon([(-2.0, WAIST + 0.8), (2.0, WAIST + 0.8)], 4.2))
        hole = figure.torso(ribbon([(-1.2, WAIST + 0.8), (1.2, WAIST + 0.8)], 2.6))
        panels.append(Panel(frame, grain, style="tint", tint=(92, 70, 46), bulge=0.4 * unit, lift=0.3))
        panels.append(Panel(hole, grain, bulge=0.3 * unit, lift=0.0))
        return panels
    if cut.waist in ("seam", "elastic"):
        wide = 0.9 if cut.waist == "seam" else 3.0
        return [
            Panel(
                figure.torso(ribbon(curve, wide)),
                grain,
                style="cloth" if cut.waist == "seam" else "rib",
                bulge=0.4 * unit,
                lift=0.2,
            )
        ]
    return []
