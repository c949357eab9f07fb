"""The pattern pieces that upper garments share: bodice outlines, necklines, sleeves and hems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lookalike_service.wardrobe.arrays import Points
from lookalike_service.wardrobe.curves import mirror, moved, offset, path, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.drape import sleeve_folds
from lookalike_service.wardrobe.figure import ARMPIT, SHOULDER, WAIST, Figure
from lookalike_service.wardrobe.panels import Fold, LimbGrain, Mark, Panel, TorsoGrain

__all__ = ["armhole", "bodice", "front_neckline", "half_width", "hem_edge", "inner_back", "shoulder_height", "sleeve"]

Half = Callable[[float], float]


def half_width(figure: Figure, cut: Cut, *, ease: float = 0.6) -> Half:
    """Half the width of the garment at a height, in centimetres."""
    body = figure.body
    boxy = body.chest + 1.0 + 2.2 * cut.fit

    def half(y: float) -> float:
        close = float(body.half(y)) + ease
        wide = max(close, boxy) if y > ARMPIT - 4 else close
        return (close * (1 - cut.fit) + wide * cut.fit + 1.2 * cut.fit) * (1 + cut.flare * max(0.0, y - WAIST))

    return half


def shoulder_height(x: float) -> float:
    """How far below the pit of the neck the shoulder line lies at distance x from the middle."""
    return -1.8 + (abs(x) - 7.0) * (SHOULDER + 1.3) / 11.0


def front_neckline(cut: Cut) -> Points:
    """The front edge of the neck opening from the wearer's right (negative x) to the left, in centimetres."""
    width, depth = cut.neck_width, cut.neck_depth
    top = shoulder_height(width)
    if cut.neckline == "v" or cut.collar == "lapel":
        bow = width * 0.5
        right = [(-width, top), (-bow - 0.3, top + (depth - top) * 0.46), (0.0, depth)]
        return np.vstack((smooth(right), mirror(smooth(right))[1:]))
    drop = depth - top
    return smooth(
        [
            (-width, top),
            (-width * 0.9, top + drop * 0.45),
            (-width * 0.55, top + drop * 0.88),
            (0.0, depth),
            (width * 0.55, top + drop * 0.88),
            (width * 0.9, top + drop * 0.45),
            (width, top),
        ]
    )


def armhole(figure: Figure, cut: Cut, half: Half) -> Points:
    """The wearer's left armhole from the shoulder to the armpit, in centimetres."""
    if cut.sleeve > 0:
        out = figure.body.shoulders + 0.4 + 1.2 * cut.fit
        low = ARMPIT + 1.5 * cut.fit
        return smooth(
            [(out, shoulder_height(out) + 0.2), (out - 1.4, 8.5), (half(ARMPIT) - 1.2, low - 2.2), (half(ARMPIT), low)]
        )
    out = cut.neck_width + cut.strap
    low = ARMPIT + 1.0
    bow = min(out, half(ARMPIT)) - 1.2
    return smooth([(out, shoulder_height(out)), (bow, 8.5), (half(ARMPIT) - 2.2, low - 2.4), (half(ARMPIT), low)])


def hem_edge(cut: Cut, half: Half, bottom: float) -> Points:
    """The hem from the wearer's left to the right, in centimetres."""
    side = half(bottom)
    if cut.hem == "curved":
        right = [(side, bottom - 6.0), (side * 0.82, bottom - 2.4), (side * 0.5, bottom + 0.3), (0.0, bottom + 0.8)]
        return np.vstack((smooth(right), mirror(smooth(right))[1:]))
    if cut.hem == "round":
        right = [(side, bottom - 1.0), (side * 0.6, bottom), (3.0, bottom + 0.5), (0.6, bottom - 2.5)]
        return np.vstack((smooth(right), mirror(smooth(right))))
    if cut.flutes and not cut.pleats:
        x = np.linspace(1, -1, cut.flutes * 4 + 1)
        wave = np.cos(x * np.pi * (cut.flutes - 1) / 1.84 + np.pi * (cut.flutes - 1) / 2) * (
            0.5 + 14 * max(0.0, cut.flare)
        )
        return np.column_stack((x * side, bottom + 1.2 * (1 - x * x) + wave * np.minimum(1.0, 6 * (1 - np.abs(x)))))
    return smooth(
        [(side, bottom), (side * 0.5, bottom + 0.7), (0.0, bottom + 0.9), (-side * 0.5, bottom + 0.7), (-side, bottom)]
    )


def bodice(figure: Figure, cut: Cut, half: Half, *, bottom: float, neckline: Points | None = None) -> Points:
    """The outline of front and back from neck to hem, in pixels."""
    hem = hem_edge(cut, half, bottom)
    hole = armhole(figure, cut, half)
    start, end = hole[-1], hem[0]
    heights = np.linspace(start[1], end[1], 9)[1:-1]
    seam = [start, *[(half(float(y)), float(y)) for y in heights], end]
    left = np.vstack((hole, smooth(seam, steps=3)[1:]))
    edge = front_neckline(cut) if neckline is None else neckline
    return figure.torso(np.vstack((edge, left, hem[1:-1], mirror(left))))


def inner_back(figure: Figure, cut: Cut) -> Panel:
    """The inside of the back below its collar, which shows in the neck opening of a garment that lies flat."""
    width = cut.neck_width
    top = shoulder_height(width)
    upper = smooth([(width, top), (width * 0.5, top + 0.9), (0.0, top + 1.2), (-width * 0.5, top + 0.9), (-width, top)])
    outline = figure.torso(np.vstack((moved(front_neckline(cut), 0.0, 0.6), upper)))
    label = figure.torso([(-1.3, top + 2.6), (1.3, top + 2.6)])
    marks = (Mark("line", label, 1.7 * figure.unit, (226, 222, 214)),) if figure.unit > 2 else ()
    return Panel(outline, TorsoGrain(figure), style="lining", bulge=1.0, marks=marks, shade=0.72, edge=0.5, depth=-1)


def sleeve(figure: Figure, cut: Cut, half: Half, side: int, random: np.random.Generator) -> tuple[Panel, Points]:
    """One sleeve and the middle of its cuff in pixels."""
    unit, axis = figure.unit, figure.arm(side)
    hole = figure.torso(armhole(figure, cut, half) * (side, 1.0))
    shoulder, armpit = hole[0], hole[-1]
    end = cut.sleeve * (0.985 if cut.sleeve > 0.9 else 1.0)
    top = cut.sleeve_width * unit
    low = _cuff_width(cut) * unit
    elbow = (top + low) / 2 * (1.04 if cut.cuff != "gather" else 1.25)
    middle = end * 0.55
    near_end = end - (0.05 if cut.cuff in ("rib", "gather", "button") else 0.0)
    bell = low * (1.45 if cut.cuff in ("rib", "gather") else 1.12 if cut.cuff == "button" else 1.0)
    reach = [0.09, 0.24, middle, near_end, end] if end > 0.5 else [0.09, end * 0.62, end * 0.97, end]
    wide = (
        [top * 0.3, top * 0.62, elbow * 0.9, bell, low] if end > 0.5 else [top * 0.3, top * 0.5, low * 0.66, low * 0.68]
    )
    if figure.worn:
        wide[0] = max(wide[0], 3.6 * unit)
    outer = offset(axis, reach, [side * w for w in wide])
    back = [end, near_end, middle] if end > 0.5 else [end, end * 0.97, end * 0.78]
    inner = offset(axis, back, [-side * w for w in (low, bell, elbow if end > 0.5 else low)])
    dense = np.vstack((smooth([shoulder, *outer[:-1]]), outer[-1:], inner[:1], smooth([*inner[1:], armpit])))
    outline = np.vstack((dense, hole[::-1][1:]))
    folds = sleeve_folds(axis, elbow, end, unit, side, random, amount=cut.drape)
    if cut.name == "puffer":
        rings = (
            offset(axis, [t, t + 0.015, t], [-1.3 * elbow, 0.0, 1.3 * elbow])
            for t in np.arange(0.12, end - 0.05, 0.125)
        )
        folds = tuple(Fold(ring, 1.3 * unit, -1.5 * unit) for ring in rings)
    cuff = offset(axis, [end - 0.035] * 2, [side * low * 1.02, -side * low * 1.02])
    marks: tuple[Mark, ...] = (Mark("seam", hole, 0.32 * unit),)
    if cut.cuff in ("hem", "none"):
        marks += (Mark("stitch", cuff, 0.16 * unit),)
    panel = Panel(
        outline,
        LimbGrain(axis, unit),
        bulge=0.55 * top,
        folds=folds,
        marks=marks,
        lift=0.3,
        puff=(0.06 + cut.puff * 0.3) * unit,
        depth=1,
    )
    return panel, offset(axis, [end], [0.0])[0]


def cuff(figure: Figure, cut: Cut, side: int) -> list[Panel]:
    """The band at the end of a sleeve, if the cut has one."""
    unit, axis, end = figure.unit, figure.arm(side), cut.sleeve
    low = _cuff_width(cut) * unit
    depth = {"rib": 0.11 if cut.sleeve > 0.6 else 0.045, "button": 0.1, "gather": 0.05, "strap": 0.06}.get(cut.cuff)
    if depth is None:
        return []
    grow = 1.0 if cut.cuff == "rib" else 1.08
    start = end - depth if cut.cuff != "strap" else end - 0.12
    stop = start + depth
    slim = 0.7 if cut.sleeve < 0.6 else 1.0  # short sleeves stand away from the arm on its inner side only
    corners = offset(axis, [start, start, stop, stop], np.array([slim, -1, -1, slim]) * side * low * grow)
    grain = LimbGrain(axis, unit)
    marks: tuple[Mark, ...] = ()
    if cut.cuff in ("button", "strap"):
        button = offset(axis, [(start + stop) / 2], [side * low * 0.35])
        marks = (Mark("button", button, 0.5 * unit), Mark("stitch", corners[:2], 0.15 * unit))
    style = "rib" if cut.cuff == "rib" else "cloth"
    return [Panel(path(corners[:2], corners[2:]), grain, style=style, bulge=low * 0.6, marks=marks, lift=0.15, depth=1)]


def _cuff_width(cut: Cut) -> float:
    if cut.sleeve < 0.6:
        return cut.sleeve_width * (0.82 + 0.22 * cut.fit)
    narrow = {"rib": 3.7, "button": 4.4, "gather": 4.2}.get(cut.cuff)
    return narrow if narrow is not None else max(3.8, cut.sleeve_width * 0.68)
