"""Sewing hats: brims, crowns, beanies and caps."""

from __future__ import annotations

import numpy as np

from lookalike_service.wardrobe.arrays import Points, as_points
from lookalike_service.wardrobe.curves import ellipse, moved, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, PlainGrain, Sewn

__all__ = ["sew_hat"]


class _Head:
    """Centimetres around the middle of the hat's band (y up to the crown is negative) to pixels."""

    def __init__(
        self, center: tuple[float, float], unit: float, turn: float, shift: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self.center, self.unit, self.turn = center, unit, turn
        self.grain = PlainGrain(center, unit, turn=turn, shift=shift)

    def __call__(self, points: object) -> Points:
        p = as_points(points) * self.unit
        c, s = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        placed: Points = p @ np.array(((c, s), (-s, c))) + self.center
        return placed


def sew_hat(center: tuple[float, float], unit: float, cut: Cut, *, turn: float = 0.0) -> Sewn:
    """A hat whose band's middle is at `center` (pixels); `turn` degrees clockwise."""
    head = _Head(center, unit, turn)
    makers = {"wide-brim": _brimmed, "fedora": _brimmed, "bucket": _bucket, "beanie": _beanie, "cap": _cap}
    return Sewn(tuple(makers[cut.name](head, cut)))


def _brimmed(head: _Head, cut: Cut) -> list[Panel]:
    unit = head.unit
    wide = (24.0 if cut.name == "wide-brim" else 17.0) * cut.width
    sag = 3.4 if cut.name == "wide-brim" else 1.4
    back = smooth([(-wide, sag * 0.2), (-wide * 0.6, -3.4), (0.0, -4.4), (wide * 0.6, -3.4), (wide, sag * 0.2)])
    front = smooth(
        [(wide, sag * 0.2), (wide * 0.72, sag + 2.2), (0.0, sag + 3.4), (-wide * 0.72, sag + 2.2), (-wide, sag * 0.2)]
    )
    crown = smooth(
        [
            (-9.4, 1.2),
            (-9.2, -4.0),
            (-7.8, -9.6),
            (-4.6, -12.2),
            (0.0, -10.6 if cut.name == "fedora" else -12.2),
            (4.6, -12.2),
            (7.8, -9.6),
            (9.2, -4.0),
            (9.4, 1.2),
        ]
    )
    base = smooth([(9.4, 1.2), (0.0, 3.0), (-9.4, 1.2)])
    band = np.vstack((smooth([(-9.5, -2.4), (0.0, -0.6), (9.5, -2.4)]), smooth([(9.6, 1.3), (0.0, 3.1), (-9.6, 1.3)])))
    dent = Fold(head(smooth([(0.0, -12.0), (0.4, -9.0), (0.0, -6.4)])), 2.4 * unit, -1.5 * unit, 0.0)
    dents = [Fold(head(smooth([(x, -11.0), (x * 1.2, -7.4)])), 2.2 * unit, -0.9 * unit, 0.0) for x in (-5.0, 5.0)]
    brim = np.vstack((back, front))
    dark = (42, 36, 34)
    return [
        Panel(
            head(brim),
            head.grain,
            bulge=1.2 * unit,
            lift=0.45,
            edge=0.3,
            marks=(Mark("stitch", head(moved(front, 0.0, -0.9)), 0.16 * unit),),
        ),
        Panel(head(np.vstack((crown, base))), head.grain, bulge=4.0 * unit, folds=(dent, *dents), lift=0.4),
        Panel(head(band), head.grain, style="tint", tint=dark, bulge=1.2 * unit, lift=0.2),
    ]


def _bucket(head: _Head, cut: Cut) -> list[Panel]:
    unit, wide = head.unit, 15.4 * cut.width
    crown = np.vstack(
        (
            smooth([(-9.6, 0.0), (-8.4, -8.6), (-6.2, -10.8), (0.0, -11.6), (6.2, -10.8), (8.4, -8.6), (9.6, 0.0)]),
            smooth([(9.6, 0.6), (0.0, 2.4), (-9.6, 0.6)]),
        )
    )
    top = ellipse((0.0, -9.2), (8.0, 2.2))
    brim = np.vstack(
        (
            smooth([(-9.6, -0.6), (0.0, 1.2), (9.6, -0.6)]),
            smooth([(9.6, -0.6), (wide, 5.2)]),
            smooth([(wide, 5.2), (wide * 0.6, 7.6), (0.0, 8.6), (-wide * 0.6, 7.6), (-wide, 5.2)]),
        )
    )
    lines = tuple(
        Mark(
            "stitch",
            head(smooth([(-9.6 - k * 1.45, -0.2 + k * 1.3), (0.0, 1.6 + k * 1.6), (9.6 + k * 1.45, -0.2 + k * 1.3)])),
            0.14 * unit,
        )
        for k in range(1, 5)
    )
    holes = Mark("button", head([(-7.4, -4.6), (-5.2, -4.2)]), 0.4 * unit, (150, 150, 150))
    return [
        Panel(
            head(crown), head.grain, bulge=3.2 * unit, lift=0.3, marks=(Mark("stitch", head(top), 0.14 * unit), holes)
        ),
        Panel(head(brim), head.grain, bulge=1.6 * unit, lift=0.4, marks=lines),
    ]


def _beanie(head: _Head, cut: Cut) -> list[Panel]:
    unit = head.unit
    dome = np.vstack(
        (
            smooth(
                [
                    (-10.0, 1.0),
                    (-10.2, -6.0),
                    (-7.6, -12.6),
                    (-3.0, -15.4),
                    (3.0, -15.4),
                    (7.6, -12.6),
                    (10.2, -6.0),
                    (10.0, 1.0),
                ]
            ),
            [(0.0, 2.0)],
        )
    )
    cuff = np.vstack(
        (smooth([(-10.6, -2.4), (0.0, -0.6), (10.6, -2.4)]), smooth([(10.4, 3.8), (0.0, 5.6), (-10.4, 3.8)]))
    )
    ribs = tuple(
        Fold(head(smooth([(x, 0.0), (x * 0.9, -8.0), (x * 0.25, -15.2)])), 0.9 * unit, 0.4 * unit * (-1) ** k)
        for k, x in enumerate(np.linspace(-9.2, 9.2, 17))
    )
    bars = tuple(
        Fold(head([(x, -2.4), (x, 5.0)]), 0.8 * unit, 0.35 * unit * (-1) ** k)
        for k, x in enumerate(np.linspace(-9.8, 9.8, 21))
    )
    panels = [
        Panel(head(dome), head.grain, bulge=4.6 * unit, folds=ribs, lift=0.3),
        Panel(head(cuff), head.grain, bulge=1.8 * unit, folds=bars, lift=0.4),
    ]
    if cut.variant % 2:
        random = np.random.default_rng(cut.variant)
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        reach = 3.6 + random.uniform(-0.35, 0.35, 40)
        pom = np.column_stack((np.cos(angle) * reach, -17.2 + np.sin(angle) * reach))
        panels.insert(0, Panel(head(pom), head.grain, bulge=2.2 * unit, puff=0.5 * unit, lift=0.3))
    return panels


def _cap(head: _Head, cut: Cut) -> list[Panel]:
    unit = head.unit
    dome = np.vstack(
        (
            smooth([(-10.0, 1.4), (-10.2, -4.6), (-6.8, -10.4), (0.0, -12.4), (6.8, -10.4), (10.2, -4.6), (10.0, 1.4)]),
            smooth([(10.0, 1.4), (0.0, 3.6), (-10.0, 1.4)]),
        )
    )
    reach = 13.6
    visor = np.vstack(
        (
            smooth([(-9.8, 0.6), (0.0, 2.2), (9.8, 0.6)]),
            smooth([(9.8, 0.6), (10.8, 4.2), (6.4, 7.4), (0.0, reach * 0.62), (-6.4, 7.4), (-10.8, 4.2), (-9.8, 0.6)]),
        )
    )
    seams = tuple(
        Mark("seam", head(smooth([(0.0, -12.2), (x, -6.0), (x * 1.3, 2.0)])), 0.22 * unit) for x in (-5.0, 0.0, 5.0)
    )
    knob = Mark("button", head([(0.0, -12.0)]), 0.9 * unit)
    holes = Mark("dot", head([(-6.0, -7.0), (6.0, -7.0), (-2.4, -8.6), (2.4, -8.6)]), 0.32 * unit, (40, 40, 40))
    lines = tuple(
        Mark("stitch", head(smooth([(-9.0 + k, 2.0 + k), (0.0, 4.4 + k * 1.1), (9.0 - k, 2.0 + k)])), 0.14 * unit)
        for k in range(3)
    )
    return [
        Panel(head(dome), head.grain, style="front", bulge=4.4 * unit, lift=0.3, marks=(*seams, knob, holes)),
        Panel(head(visor), head.grain, bulge=1.3 * unit, lift=0.45, marks=lines),
    ]
