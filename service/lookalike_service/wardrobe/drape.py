"""Where cloth folds: pulls from the armpits, drapes, creases of bent limbs, flutes and pleats of skirts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lookalike_service.wardrobe.arrays import Points, as_points
from lookalike_service.wardrobe.curves import offset, smooth
from lookalike_service.wardrobe.figure import ARMPIT, CROTCH, HIP, WAIST, Figure
from lookalike_service.wardrobe.panels import Fold

__all__ = ["body_folds", "flutes", "leg_folds", "sleeve_folds"]

Half = Callable[[float], float]


def _line(figure: Figure, points: Sequence[tuple[float, float]]) -> Points:
    return figure.torso(smooth(points, steps=5))


def body_folds(
    figure: Figure, half: Half, bottom: float, random: np.random.Generator, *, amount: float
) -> tuple[Fold, ...]:
    """Folds of a top: fans from the armpits, soft drapes towards the hem, pulls at the waist."""
    unit, folds = figure.unit, []
    for side in (-1, 1):
        for k in range(3):
            x0, y0 = side * (half(ARMPIT) - 1.0 - k), ARMPIT - 1 + 2.5 * k
            reach = random.uniform(0.35, 0.85)
            x1 = side * half(ARMPIT) * (1 - reach)
            y1 = min(bottom - 3, y0 + random.uniform(3, 14) + 4 * k)
            bow = ((x0 + x1) / 2, (y0 + y1) / 2 + random.uniform(1, 3))
            height = 1.6 * amount * random.uniform(0.5, 1.0) * (1 if k % 2 == 0 else -0.8)
            folds.append(Fold(_line(figure, [(x0, y0), bow, (x1, y1)]), 2.2 * unit, height * unit, 0.0))
    if bottom > 30:
        for k in range(int(random.integers(4, 7))):
            x = random.uniform(-0.8, 0.8) * half(bottom - 6)
            lean = random.uniform(-4, 4)
            top = random.uniform(24, bottom - 10)
            line = _line(figure, [(x + lean, top), (x + lean * 0.3, (top + bottom) / 2), (x, bottom - 0.5)])
            height = 1.7 * amount * random.uniform(0.45, 0.95) * (1 if k % 2 else -1)
            folds.append(Fold(line, random.uniform(1.8, 3.4) * unit, 0.0, height * unit))
    if bottom > WAIST + 6:
        for side in (-1, 1):
            for k in range(3):
                y = WAIST + random.uniform(-7, 7)
                x0, x1 = side * half(y), side * half(y) * random.uniform(0.2, 0.6)
                line = _line(figure, [(x0, y), ((x0 + x1) / 2, y + 1.2), (x1, y + random.uniform(-1, 4))])
                folds.append(Fold(line, 1.6 * unit, 1.5 * amount * random.uniform(0.3, 0.8) * unit * (-1) ** k, 0.0))
    return tuple(folds)


def sleeve_folds(
    axis: Points, width: float, end: float, unit: float, side: int, random: np.random.Generator, *, amount: float
) -> tuple[Fold, ...]:
    """Creases across a sleeve at the elbow and near the cuff, and one long fold from the cap."""
    folds = []
    places = [0.16, 0.27] + ([0.46, 0.52, 0.58] if end > 0.6 else []) + ([end - 0.06, end - 0.13] if end > 0.8 else [])
    for k, place in enumerate(places):
        if place > end - 0.03:
            continue
        t = place + random.uniform(-0.02, 0.02)
        slant = random.uniform(0.03, 0.09) * (1 if k % 2 else -1)
        inner, outer = -side * width * 0.95, side * width * random.uniform(0.1, 0.8)
        fractions = np.linspace(t - slant, t + slant, 5)
        line = offset(axis, fractions, np.linspace(inner, outer, 5))
        height = 1.5 * amount * random.uniform(0.5, 1.0) * (1 if k % 2 else -0.8)
        folds.append(Fold(line, 1.7 * unit, height * unit, height * unit * 0.2))
    long = offset(axis, np.linspace(0.05, end * 0.9, 6), np.full(6, side * width * random.uniform(-0.3, 0.2)))
    folds.append(Fold(long, 2.4 * unit, amount * 0.6 * unit, 0.0))
    return tuple(folds)


def flutes(
    figure: Figure,
    half: Half,
    span: tuple[float, float],
    random: np.random.Generator,
    *,
    count: int,
    amount: float,
    even: bool = False,
) -> tuple[Fold, ...]:
    """Folds that fan out from the waist to the hem of a skirt; `even` ones are pleats, pressed from the top."""
    top, bottom = span
    folds = []
    places = np.linspace(-0.92, 0.92, count)
    for k, place in enumerate(places):
        share = float(place if even else np.clip(place + random.uniform(-0.5, 0.5) / count, -0.95, 0.95))
        start = top + 0.5 if even else top + (bottom - top) * random.uniform(0.05, 0.4)
        heights = np.linspace(start, bottom + 0.8, 7)
        line = figure.torso([(half(float(y)) * share, float(y)) for y in heights])
        width = max(1.0, 1.5 * half(bottom) / count)
        height = amount * (1.0 if k % 2 == 0 else -1.0) * (1.0 if even else random.uniform(0.6, 1.1))
        folds.append(
            Fold(line, width * figure.unit, height * figure.unit * (0.5 if even else 0.05), height * figure.unit)
        )
    return tuple(folds)


def leg_folds(
    figure: Figure, width: float, end: float, random: np.random.Generator, *, amount: float
) -> tuple[Fold, ...]:
    """Whiskers at the crotch, creases at the knees, stacks over the shoe."""
    unit, folds = figure.unit, []
    for side in (-1, 1):
        for k in range(4):
            y = CROTCH - 3 + k * 2.2
            x1 = side * float(figure.body.half(HIP)) * random.uniform(0.55, 0.95)
            line = _line(figure, [(side * 0.8, y), (x1 * 0.5, y - 2.5 + k), (x1, y - 5 + 2.6 * k)])
            folds.append(Fold(line, 1.5 * unit, 1.5 * amount * random.uniform(0.5, 1.0) * unit * (-1) ** k, 0.0))
        axis = figure.leg(side)
        places = ([0.46, 0.51, 0.56, 0.62] if end > 0.6 else []) + ([0.86, 0.91, 0.95] if end > 0.97 else [])
        for k, place in enumerate(places):
            lean = random.uniform(-0.025, 0.025)
            reach = random.uniform(0.4, 0.95)
            way = 1 if k % 2 else -1
            line = offset(
                axis,
                np.linspace(place - lean, place + lean, 4),
                np.linspace(-way * width, way * width * (reach - 0.5), 4),
            )
            folds.append(
                Fold(line, 1.6 * unit, 1.5 * amount * random.uniform(0.4, 0.9) * unit * (1 if k % 2 else -0.9), 0.0)
            )
        press = offset(axis, np.linspace(0.2, end * 0.96, 8), np.full(8, side * width * random.uniform(-0.1, 0.25)))
        folds.append(Fold(press, 2.6 * unit, amount * 0.25 * unit, amount * 0.5 * unit))
    return tuple(folds)


def crumples(
    outline: Points, random: np.random.Generator, *, count: int, unit: float, amount: float
) -> tuple[Fold, ...]:
    """A few short folds anywhere inside the box of an outline."""
    low, high = as_points(outline).min(axis=0), as_points(outline).max(axis=0)
    folds = []
    for k in range(count):
        start = low + (high - low) * random.uniform(0.1, 0.9, 2)
        end = start + random.uniform(-8, 8, 2) * unit
        line = smooth([start, (start + end) / 2 + random.uniform(-1, 1, 2) * unit, end], steps=4)
        folds.append(Fold(line, 1.8 * unit, amount * unit * (-1) ** k, 0.0))
    return tuple(folds)
