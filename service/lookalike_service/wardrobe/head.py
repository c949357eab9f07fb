"""Faces and hair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Points, as_points
from lookalike_service.wardrobe.curves import ellipse, mirror, moved, smooth
from lookalike_service.wardrobe.figure import Figure
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, PlainGrain
from lookalike_service.wardrobe.person import Person, shaded

__all__ = ["band_center", "face", "hair_back", "hair_front"]


class _Head:
    """Centimetres from the pit of the neck to pixels, turned about the chin."""

    def __init__(self, figure: Figure) -> None:
        self.unit = figure.unit
        self.base = figure.torso([(0.0, -6.6)])[0]
        angle = np.radians(figure.pose.head_tilt)
        self.turn = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
        self.grain = PlainGrain(figure.origin, figure.unit)

    def __call__(self, points: object) -> Points:
        placed: Points = (moved(as_points(points), 0.0, 8.0) @ self.turn) * self.unit * 1.06 + self.base
        return placed

    def piece(self, shape: object, tint: RGB, *, bulge: float, lift: float = 0.0, **more: object) -> Panel:
        panel = Panel(self(shape), self.grain, style="tint", tint=tint, bulge=bulge * self.unit, lift=lift, edge=0.14)
        return _with(panel, more)


def _with(panel: Panel, more: dict[str, object]) -> Panel:
    return replace(panel, **more) if more else panel  # type: ignore[arg-type]


def band_center(figure: Figure) -> tuple[tuple[float, float], float]:
    """Where a hat's band sits (pixels) and how far the head is turned (degrees)."""
    center = _Head(figure)([(0.0, -28.0)])[0]
    return (float(center[0]), float(center[1])), figure.pose.head_tilt


def face(figure: Figure, person: Person) -> list[Panel]:
    """Ears, face, eyes, brows, nose and a smile."""
    head, unit, skin = _Head(figure), figure.unit, person.skin
    half = smooth(
        [(0.0, -31.6), (4.6, -30.4), (7.0, -26.0), (7.3, -21.0), (6.6, -15.6), (4.9, -11.8), (2.4, -9.3), (0.0, -8.7)]
    )
    oval = np.vstack((half, mirror(half)[1:-1]))
    dark = shaded(skin, 0.72)
    nose = Mark(
        "seam", head(smooth([(0.8, -19.0), (1.0, -16.6), (1.3, -15.6), (0.2, -15.0), (-0.8, -15.3)])), 0.34 * unit, dark
    )
    panels = [head.piece(ellipse((s * 7.2, -19.0), (1.2, 2.2)), shaded(skin, 0.93), bulge=0.7) for s in (-1, 1)]
    panels.append(head.piece(oval, skin, bulge=4.6, lift=0.4, marks=(nose,)))
    for side in (-1, 1):
        panels += _eye(head, person, side)
    upper = smooth([(-2.6, -13.8), (-0.9, -13.7), (0.0, -13.5), (0.9, -13.7), (2.6, -13.8)])
    seam = smooth([(2.6, -13.8), (1.2, -13.0), (0.0, -12.75), (-1.2, -13.0), (-2.6, -13.8)])
    lower = smooth([(-2.4, -13.6), (-1.2, -12.1), (0.0, -11.75), (1.2, -12.1), (2.4, -13.6)])
    panels.append(head.piece(np.vstack((upper, seam[1:-1])), shaded(person.lips, 0.9), bulge=0.4))
    panels.append(head.piece(np.vstack((lower, seam[1:-1])), person.lips, bulge=0.5, sheen=0.3))
    return panels


def _eye(head: _Head, person: Person, side: int) -> list[Panel]:
    unit, x, y = head.unit, side * 3.0, -19.4
    almond = np.vstack(
        (
            smooth([(x - 1.75, y + 0.1), (x, y - 1.15), (x + 1.75, y + 0.05)]),
            smooth([(x + 1.75, y + 0.05), (x, y + 0.8), (x - 1.75, y + 0.1)]),
        )
    )
    lid = Mark(
        "line",
        head(smooth([(x - side * 1.8, y + 0.15), (x, y - 1.2), (x + side * 1.8, y), (x + side * 2.3, y - 0.5)])),
        0.36 * unit,
        (44, 32, 30),
    )
    iris = (
        Mark("dot", head([(x, y - 0.15)]), 0.95 * unit, person.eyes),
        Mark("dot", head([(x, y - 0.15)]), 0.48 * unit, (18, 14, 14)),
    )
    brow = np.vstack(
        (
            smooth([(x - side * 1.9, y - 2.3), (x + side * 0.6, y - 3.1), (x + side * 2.2, y - 2.3)]),
            smooth([(x + side * 2.2, y - 2.2), (x + side * 0.5, y - 2.7), (x - side * 1.9, y - 1.9)]),
        )
    )
    return [
        head.piece(almond, (244, 240, 236), bulge=0.3, marks=(*iris, lid)),
        head.piece(brow, shaded(person.hair, 0.85), bulge=0.2),
    ]


def _strands(head: _Head, lines: list[list[tuple[float, float]]], height: float) -> tuple[Fold, ...]:
    return tuple(
        Fold(head(smooth(line)), 0.9 * head.unit, height * head.unit * (-1) ** k) for k, line in enumerate(lines)
    )


def hair_back(figure: Figure, person: Person) -> list[Panel]:
    """What of the hair falls behind the shoulders."""
    head, dark = _Head(figure), shaded(person.hair, 0.8)
    low = {"long": 14.0, "waves": 8.0, "bob": -6.5, "curly": -2.0}.get(person.style)
    if low is None:
        return []
    wide = {"long": 9.6, "waves": 12.0, "bob": 9.6, "curly": 14.0}[person.style]
    half = [
        (0.0, -34.0),
        (6.6, -32.4),
        (wide * 0.92, -24.0),
        (wide, -14.0),
        (wide * 0.98, low * 0.5 - 5),
        (wide * 0.8, low),
    ]
    if person.style == "waves":
        half = [
            (0.0, -34.0),
            (6.6, -32.4),
            (9.2, -25.0),
            (10.0, -17.0),
            (12.4, -10.0),
            (11.0, -3.0),
            (12.6, 3.0),
            (8.0, low),
        ]
    left = smooth(half)
    lines = [[(x * 0.4, -30.0), (x * 0.95, -16.0), (x, low)] for x in np.linspace(-wide * 0.9, wide * 0.9, 13)]
    outline = np.vstack((left, mirror(left)[:-1]))
    if person.style == "curly":
        outline = _curls((0.0, -19.0), (13.4, 15.6), count=15)
        lines = []
    return [head.piece(outline, dark, bulge=2.4, folds=_strands(head, lines, 0.4), sheen=0.2)]


def _curls(center: tuple[float, float], radii: tuple[float, float], *, count: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, count * 8, endpoint=False)
    reach = 1.0 + 0.055 * np.abs(np.sin(angle * count / 2))
    return np.column_stack((center[0] + radii[0] * np.cos(angle) * reach, center[1] + radii[1] * np.sin(angle) * reach))


def hair_front(figure: Figure, person: Person, *, hat: bool) -> list[Panel]:
    """What of the hair lies over the forehead and beside the face."""
    head, tint = _Head(figure), person.hair
    panels = []
    if person.style == "bun" and not hat:
        lines = [[(x, -33.0), (x * 0.3, -38.6)] for x in np.linspace(-3.4, 3.4, 7)]
        panels.append(
            head.piece(
                ellipse((0.6, -36.4), (4.6, 4.2)),
                shaded(tint, 0.95),
                bulge=2.4,
                folds=_strands(head, lines, 0.3),
                sheen=0.4,
            )
        )
    parting = {"bob": 0.5, "long": 0.5, "waves": -2.4, "bun": 0.0, "short": -3.0, "curly": 0.0}[person.style]
    low = {"bob": -8.0, "long": -6.0, "waves": -9.0, "curly": -15.0}.get(person.style, -21.5)
    top = -34.6 if not hat else -32.0
    if person.style == "short":
        crown = [(-7.6, -20.0), (-8.0, -27.0), (-5.0, top + 0.2), (1.0, top - 0.6), (6.4, top + 2.0), (8.0, -27.0)]
        hairline = [(7.0, -21.0), (6.4, -26.0), (2.6, -29.0), (-3.0, -27.6), (-6.2, -26.0), (-7.0, -21.0)]
        shape = np.vstack((smooth([*crown, (7.6, -20.0)]), smooth(hairline)))
        lines = [[(x - 2, -27.6), (x * 0.9, -31.0), (x * 0.7 + 2.0, top)] for x in np.linspace(-6.0, 7.0, 9)]
        return [*panels, head.piece(shape, tint, bulge=2.2, lift=0.3, folds=_strands(head, lines, 0.4), sheen=0.4)]
    if person.style == "curly":
        outer = _curls((0.0, -29.4), (10.4, 6.6), count=11)
        return [*panels, head.piece(outer, tint, bulge=2.2, lift=0.3, sheen=0.3, puff=0.35 * head.unit)]
    for side in (-1, 1):
        inner = smooth(
            [(parting, -29.4), (side * 3.8, -27.6), (side * 6.1, -23.6), (side * 6.9, -16.0), (side * 6.7, low)]
        )
        outer = smooth(
            [(side * 8.2, low), (side * 9.0, -16.0), (side * 8.9, -26.0), (side * 6.2, -32.4), (parting, top)]
        )
        lines = [
            [(parting + side * k * 0.3, top + 1.2), (side * (5.6 + k * 0.45), -27.0), (side * (7.0 + k * 0.28), low)]
            for k in range(5)
        ]
        panels.append(
            head.piece(
                np.vstack((inner, outer)), tint, bulge=1.6, lift=0.35, folds=_strands(head, lines, 0.35), sheen=0.5
            )
        )
    return panels
