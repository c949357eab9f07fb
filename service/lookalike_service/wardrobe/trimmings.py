"""What is sewn onto the body of an upper garment: hem bands, peplums, pockets, belts and closures."""

from __future__ import annotations

import numpy as np

from lookalike_service.wardrobe.curves import mirror, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.figure import WAIST, Figure
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, TorsoGrain
from lookalike_service.wardrobe.tailoring import (
    Half,
)

__all__ = ["closure_marks", "hem_band", "pockets", "waist_band"]


def closure_marks(figure: Figure, cut: Cut, bottom: float) -> tuple[Mark, ...]:
    """Plackets, buttons and zips down the front."""
    unit, start = figure.unit, cut.neck_depth
    if cut.closure == "zip":
        return (Mark("zip", figure.torso([(0.0, start), (0.0, bottom)]), 0.85 * unit),)
    if cut.closure in ("buttons", "half"):
        stop = bottom if cut.closure == "buttons" else start + 13.0
        edges = [figure.torso([(x, start), (x, stop)]) for x in (-1.6, 1.6)]
        places = np.arange(
            start + 1.6, stop - (5.0 if cut.closure == "buttons" else 1.0), 8.4 if cut.closure == "buttons" else 4.4
        )
        metal = (150, 120, 84) if cut.material == "denim" else None
        buttons = figure.torso(np.column_stack((np.zeros_like(places), places)))
        base = figure.torso([(-1.6, stop), (1.6, stop)])
        marks = (
            Mark("seam", edges[1], 0.22 * unit),
            Mark("stitch", edges[0], 0.14 * unit),
            Mark("button", buttons, 0.58 * unit, metal),
        )
        return (*marks, Mark("seam", base, 0.2 * unit)) if cut.closure == "half" else marks
    if cut.closure in ("few", "double"):
        edge = figure.torso(smooth([(0.0, start), (1.6, start + 3), (1.6, bottom - 4), (0.6, bottom)]))
        columns = (-4.6, 4.6) if cut.closure == "double" else (0.0,)
        rows = np.arange(start + 1.0, min(bottom - 12, start + 26), 9.5)[:3]
        points = np.array([(x, y) for y in rows for x in columns]).reshape(-1, 2)
        return (Mark("seam", edge, 0.4 * unit), Mark("button", figure.torso(points), 0.85 * unit))
    return ()


def hem_band(figure: Figure, cut: Cut, half: Half, bottom: float, *, opened: bool) -> list[Panel]:
    if cut.hem == "peplum":
        return _peplum(figure, cut, half, bottom)
    if cut.hem not in ("rib", "band"):
        return []
    unit, deep = figure.unit, 5.2 if cut.hem == "rib" else 3.6
    style = "rib" if cut.hem == "rib" else "cloth"
    pull = 0.93 if cut.hem == "rib" else 0.98
    wide, low = half(bottom - deep), half(bottom) * pull
    spans = [(-1.0, 1.0)] if not opened else [(-1.0, -0.42), (0.42, 1.0)]
    panels = []
    for start, stop in spans:
        shape = [
            (wide * start, bottom - deep),
            (wide * stop, bottom - deep),
            (low * stop, bottom + 0.4),
            (low * (start + stop) / 2, bottom + 1.1),
            (low * start, bottom + 0.4),
        ]
        marks: tuple[Mark, ...] = (Mark("seam", figure.torso(shape[:2]), 0.3 * unit),)
        if cut.closure == "zip" and not opened:
            marks += (Mark("zip", figure.torso([(0.0, bottom - deep), (0.0, bottom + 1.0)]), 0.85 * unit),)
        panels.append(
            Panel(
                figure.torso(shape),
                TorsoGrain(figure, shift=(5.0, 0.0)),
                style=style,
                bulge=1.5 * unit,
                marks=marks,
                lift=0.15,
            )
        )
    return panels


def _peplum(figure: Figure, cut: Cut, half: Half, bottom: float) -> list[Panel]:
    unit, top = figure.unit, min(WAIST + 2, bottom - 12)
    wide = half(bottom) * 1.16
    x = np.linspace(1, -1, 33)
    hem = np.column_stack((x * wide, bottom + 1.2 * (1 - x * x) + 0.7 * np.cos(x * 20)))
    shape = np.vstack(([(-half(top), top), (0.0, top + 0.5), (half(top), top)], hem))
    folds = tuple(
        Fold(
            figure.torso([(half(top) * s, top + 0.4), (wide * s, bottom)]),
            1.8 * unit,
            0.15 * unit * (-1) ** k,
            0.6 * unit * (-1) ** k,
        )
        for k, s in enumerate(np.linspace(-0.9, 0.9, 11))
    )
    return [
        Panel(
            figure.torso(shape),
            TorsoGrain(figure, flare=0.01, shift=(0.0, 6.0)),
            bulge=1.6 * unit,
            folds=folds,
            lift=0.3,
        )
    ]


def pockets(figure: Figure, cut: Cut, half: Half, bottom: float, *, opened: bool) -> list[Panel]:
    unit, grain = figure.unit, TorsoGrain(figure, shift=(3.0, 5.0))
    sides = (-1, 1)
    if cut.pocket == "kangaroo":
        top, low = bottom - 25, bottom - 5.4
        right = [(0.0, top), (6.6, top), (11.2, top + 9.5), (11.2, low), (0.0, low)]
        if cut.closure == "zip" or opened:
            shift = 2.6 if opened else 0.0
            shapes = [np.array(right) * (s, 1.0) + (s * (0.8 + shift), 0.0) for s in sides]
        else:
            shapes = [np.vstack((right, mirror(right)))]
        return [
            Panel(
                figure.torso(shape),
                grain,
                bulge=0.8 * unit,
                lift=0.3,
                marks=(Mark("stitch", figure.torso(shape * 0.97 + (0, bottom * 0.02)), 0.15 * unit),),
            )
            for shape in shapes
        ]
    if cut.pocket in ("chest", "chests"):
        panels = []
        for side in (1,) if cut.pocket == "chest" else sides:
            shape = np.array([(4.6, 17.0), (12.0, 17.0), (12.0, 25.0), (8.3, 26.6), (4.6, 25.0)]) * (side, 1.0)
            marks: tuple[Mark, ...] = (Mark("stitch", figure.torso(shape[[0, 1]] + (0, 1.8)), 0.14 * unit),)
            if cut.pocket == "chests":
                marks += (Mark("button", figure.torso([(side * 8.3, 19.2)]), 0.5 * unit),)
            panels.append(Panel(figure.torso(shape), grain, bulge=0.45 * unit, lift=0.22, marks=marks))
        return panels
    if cut.pocket in ("welt", "flap", "zips"):
        low = min(bottom - 9.0, 52.0)
        panels = []
        for side in sides:
            high = 1.4 if cut.pocket == "welt" else 4.6
            lean = 4.5 if cut.pocket == "welt" else 1.2 if cut.pocket == "flap" else 5.0
            x0, x1 = (8.4, 14.6) if not opened else (9.4, 15.0)
            if cut.pocket == "zips":
                line = figure.torso(np.array([(x0, low - 10), (x1, low - 5)]) * (side, 1.0))
                panels.append(
                    Panel(
                        ribbon(line, 1.3 * unit), grain, style="tint", tint=(160, 160, 166), bulge=0.3 * unit, lift=0.2
                    )
                )
                continue
            shape = np.array([(x0, low), (x1, low - lean), (x1, low - lean + high), (x0, low + high)]) * (side, 1.0)
            panels.append(Panel(figure.torso(shape), grain, bulge=0.5 * unit, lift=0.35))
        return panels
    return []


def waist_band(figure: Figure, cut: Cut, half: Half, *, opened: bool) -> list[Panel]:
    if opened or cut.waist not in ("belt", "cord"):
        return []
    unit, y = figure.unit, WAIST + 2
    wide = half(y) + 0.3
    deep = 4.2 if cut.waist == "belt" else 1.2
    band = figure.torso(ribbon(smooth([(-wide, y), (0.0, y + 1.0), (wide, y)]), deep))
    grain = TorsoGrain(figure, shift=(6.0, 8.0))
    panels = [Panel(band, grain, bulge=0.6 * unit, lift=0.35)]
    if cut.waist == "belt":
        frame = figure.torso(ribbon([(-2.4, y + 1), (2.4, y + 1)], 5.6))
        hole = figure.torso(ribbon([(-1.5, y + 1), (1.5, y + 1)], 3.6))
        tail = figure.torso(ribbon(smooth([(2.0, y + 1), (6.0, y + 6), (7.0, y + 15)]), 3.6))
        panels.append(Panel(tail, grain, bulge=0.6 * unit, lift=0.35))
        panels.append(Panel(frame, grain, style="tint", tint=(74, 54, 40), bulge=0.5 * unit, lift=0.3))
        panels.append(Panel(hole, grain, bulge=0.3 * unit, lift=0.0))
    return panels
