"""Sewing bags: totes, handbags, crossbody bags, backpacks, bucket bags and clutches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Points, as_points
from lookalike_service.wardrobe.curves import path, ribbon, smooth
from lookalike_service.wardrobe.cuts import Cut
from lookalike_service.wardrobe.panels import Fold, Mark, Panel, PlainGrain, Sewn

__all__ = ["handle_top", "sew_bag"]

Place: TypeAlias = Callable[[object], Points]

_GOLD: RGB = (206, 170, 96)
_WEB: RGB = (96, 72, 52)


def handle_top(cut: Cut) -> float:
    """How far above the middle of the bag its handle is held, in centimetres."""
    return {"tote": 36.0, "handbag": 25.0, "crossbody": 9.0, "backpack": 24.0, "bucket bag": 30.0, "clutch": 0.0}[
        cut.name
    ]


def sew_bag(
    center: tuple[float, float], unit: float, cut: Cut, *, strap_to: Points | None = None, turn: float = 0.0
) -> Sewn:
    """A bag around `center` (pixels). `strap_to` is the line (pixels) of a crossbody strap that is worn."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    grow = np.array((cut.width, cut.length)) * unit

    def at(points: object) -> Points:
        placed: Points = (as_points(points) * grow) @ np.array(((c, s), (-s, c))) + center
        return placed

    grain = PlainGrain(center, unit, turn=turn, shift=(0.0, 20.0))
    makers = {"tote": _tote, "handbag": _handbag, "backpack": _backpack, "bucket bag": _bucket, "clutch": _clutch}
    if cut.name == "crossbody":
        line = (
            strap_to
            if strap_to is not None
            else at(smooth([(-10.4, -6.0), (-9.0, -24.0), (0.0, -33.0), (9.0, -24.0), (10.4, -6.0)]))
        )
        return Sewn(tuple(_crossbody(at, grain, unit, line)))
    return Sewn(tuple(makers[cut.name](at, grain, unit, cut)))


def _strap(
    line: Points, width: float, grain: PlainGrain, unit: float, *, shade: float = 1.0, tint: RGB | None = None
) -> Panel:
    style = "cloth" if tint is None else "tint"
    return Panel(
        ribbon(line, width * unit), grain, style=style, tint=tint, bulge=0.35 * width * unit, lift=0.3, shade=shade
    )


def _body(at: Place, grain: PlainGrain, unit: float, shape: Points, **more: Any) -> Panel:  # noqa: ANN401
    return Panel(at(shape), grain, bulge=2.4 * unit, lift=0.36, edge=0.3, **more)


def _tote(at: Place, grain: PlainGrain, unit: float, cut: Cut) -> list[Panel]:
    shape = path(
        [(-15.0, -14.0), (0.0, -13.2), (15.0, -14.0)],
        [(15.0, -14.0), (15.6, 2.0), (14.2, 16.0)],
        [(14.2, 16.0), (0.0, 17.0), (-14.2, 16.0)],
        [(-14.2, 16.0), (-15.6, 2.0), (-15.0, -14.0)],
    )
    handles = [
        smooth(
            [
                (x * 7.0, -13.0),
                (x * 6.4, -26.0),
                (x * 2.0, -35.0),
                (-x * 2.0, -35.0),
                (-x * 6.4, -26.0),
                (-x * 7.0, -13.0),
            ]
        )
        for x in (1.0, 0.86)
    ]
    inside = path([(-15.0, -14.0), (0.0, -15.6), (15.0, -14.0)], [(15.0, -13.6), (0.0, -12.6), (-15.0, -13.6)])
    folds = tuple(
        Fold(at(smooth([(x, -12.0), (x * 0.8, 0.0), (x * 1.1, 13.0)])), 2.6 * unit, 0.35 * unit * (-1) ** k, 0.1)
        for k, x in enumerate((-10.0, -4.0, 3.5, 10.0))
    )
    feet = [at([(x * 7.0, -13.4), (x * 7.2, -8.0)]) for x in (-1.0, 1.0)]
    marks = (Mark("stitch", at([(-14.8, -12.0), (0.0, -11.2), (14.8, -12.0)]), 0.16 * unit),)
    return [
        _strap(at(handles[1] + (0.8, -1.2)), 1.7, grain, unit, shade=0.7),
        Panel(at(inside), grain, style="lining", bulge=0.4 * unit, shade=0.6, lift=0.0),
        _body(at, grain, unit, shape, style="front", folds=folds, marks=marks),
        _strap(at(handles[0]), 1.9, grain, unit),
        *(_strap(line, 2.0, grain, unit) for line in feet),
    ]


def _handbag(at: Place, grain: PlainGrain, unit: float, cut: Cut) -> list[Panel]:
    shape = path(
        [(-12.4, -9.0), (0.0, -9.8), (12.4, -9.0)],
        [(12.4, -9.0), (14.6, 0.0), (15.6, 11.4)],
        [(15.6, 11.4), (0.0, 12.4), (-15.6, 11.4)],
        [(-15.6, 11.4), (-14.6, 0.0), (-12.4, -9.0)],
    )
    flap = path(
        [(-12.4, -9.2), (0.0, -10.0), (12.4, -9.2)],
        [(12.4, -9.2), (12.8, -3.0), (8.0, 1.2), (0.0, 2.4), (-8.0, 1.2), (-12.8, -3.0), (-12.4, -9.2)],
    )
    handle = smooth([(-7.4, -8.8), (-7.0, -17.0), (-3.0, -23.6), (3.0, -23.6), (7.0, -17.0), (7.4, -8.8)])
    lock = path([(-1.6, 0.2), (1.6, 0.2)], [(1.6, 4.0), (-1.6, 4.0)])
    side = tuple(Fold(at(smooth([(x, -6.0), (x * 1.12, 10.0)])), 1.6 * unit, -0.5 * unit) for x in (-11.2, 11.2))
    rings = Mark("button", at([(-7.4, -8.6), (7.4, -8.6)]), 0.9 * unit, _GOLD)
    stitch = Mark("stitch", at(smooth([(-12.0, -3.2), (-7.6, 0.4), (0.0, 1.5), (7.6, 0.4), (12.0, -3.2)])), 0.18 * unit)
    return [
        _strap(at(handle * (0.92, 1.0) + (0.6, -1.0)), 1.5, grain, unit, shade=0.68),
        _body(at, grain, unit, shape, folds=side),
        Panel(at(flap), grain, bulge=1.4 * unit, lift=0.42, marks=(stitch,), edge=0.3),
        _strap(at(handle), 1.8, grain, unit),
        Panel(at(lock), grain, style="tint", tint=_GOLD, bulge=0.6 * unit, lift=0.35, sheen=1.0, marks=(rings,)),
    ]


def _crossbody(at: Place, grain: PlainGrain, unit: float, line: Points) -> list[Panel]:
    shape = smooth(
        [(-11.0, -7.2), (0.0, -7.8), (11.0, -7.2), (11.8, 0.0), (10.4, 7.4), (0.0, 8.2), (-10.4, 7.4), (-11.8, 0.0)],
        closed=True,
    )
    flap = path(
        [(-11.2, -7.2), (0.0, -8.2), (11.2, -7.2)],
        [(11.2, -7.2), (11.0, 0.0), (5.6, 3.6), (0.0, 4.4), (-5.6, 3.6), (-11.0, 0.0), (-11.2, -7.2)],
    )
    lock = smooth([(-1.5, 2.6), (1.5, 2.6), (1.2, 5.4), (-1.2, 5.4)], closed=True)
    rings = Mark("button", at([(-10.4, -6.4), (10.4, -6.4)]), 0.8 * unit, _GOLD)
    stitch = Mark("stitch", at(smooth([(-10.2, -0.6), (-5.2, 2.7), (0.0, 3.5), (5.2, 2.7), (10.2, -0.6)])), 0.18 * unit)
    return [
        _strap(line, 1.1, grain, unit),
        _body(at, grain, unit, shape),
        Panel(at(flap), grain, bulge=1.3 * unit, lift=0.42, marks=(stitch, rings), edge=0.3),
        Panel(at(lock), grain, style="tint", tint=_GOLD, bulge=0.6 * unit, lift=0.35, sheen=1.0),
    ]


def _backpack(at: Place, grain: PlainGrain, unit: float, cut: Cut) -> list[Panel]:
    shape = smooth(
        [
            (-10.5, -17.0),
            (0.0, -19.6),
            (10.5, -17.0),
            (13.2, -4.0),
            (13.6, 14.0),
            (10.0, 17.6),
            (0.0, 18.4),
            (-10.0, 17.6),
            (-13.6, 14.0),
            (-13.2, -4.0),
        ],
        closed=True,
    )
    pocket = path(
        [(-10.2, 2.4), (0.0, 1.6), (10.2, 2.4)],
        [(10.2, 2.4), (11.0, 13.0), (8.0, 15.6), (0.0, 16.2), (-8.0, 15.6), (-11.0, 13.0), (-10.2, 2.4)],
    )
    loop = smooth([(-3.4, -18.6), (-2.8, -23.6), (2.8, -23.6), (3.4, -18.6)])
    straps = [smooth([(x * 8.0, -17.0), (x * 14.0, -12.0), (x * 16.4, 2.0), (x * 12.6, 15.0)]) for x in (-1.0, 1.0)]
    zips = (
        Mark(
            "zip",
            at(
                smooth(
                    [(-10.6, 0.0), (-11.4, -8.0), (-7.0, -14.6), (0.0, -16.0), (7.0, -14.6), (11.4, -8.0), (10.6, 0.0)]
                )
            ),
            0.8 * unit,
        ),
    )
    inner = (
        Mark("zip", at(smooth([(-8.8, 4.6), (0.0, 3.8), (8.8, 4.6)])), 0.7 * unit),
        Mark("stitch", at(smooth([(-9.6, 12.6), (-7.4, 14.6), (0.0, 15.2), (7.4, 14.6), (9.6, 12.6)])), 0.16 * unit),
    )
    return [
        *(_strap(at(line), 2.4, grain, unit, shade=0.72) for line in straps),
        _strap(at(loop), 1.4, grain, unit, shade=0.85),
        _body(at, grain, unit, shape, style="front", marks=zips),
        Panel(at(pocket), grain, bulge=1.8 * unit, lift=0.4, marks=inner),
    ]


def _bucket(at: Place, grain: PlainGrain, unit: float, cut: Cut) -> list[Panel]:
    shape = path(
        [(-11.4, -11.0), (-4.0, -9.8), (4.0, -9.8), (11.4, -11.0)],
        [(11.4, -11.0), (10.6, 0.0), (11.6, 12.0)],
        [(11.6, 12.0), (6.0, 14.6), (-6.0, 14.6), (-11.6, 12.0)],
        [(-11.6, 12.0), (-10.6, 0.0), (-11.4, -11.0)],
    )
    mouth = path([(-11.4, -11.0), (0.0, -13.6), (11.4, -11.0)], [(11.4, -10.8), (0.0, -9.2), (-11.4, -10.8)])
    strap = smooth([(-10.4, -9.0), (-8.4, -22.0), (0.0, -30.0), (8.4, -22.0), (10.4, -9.0)])
    folds = tuple(
        Fold(at(smooth([(x, -10.4), (x * 0.86, -2.0), (x * 0.95, 5.0)])), 1.7 * unit, 0.6 * unit * (-1) ** k, 0.0)
        for k, x in enumerate(np.linspace(-9.0, 9.0, 8))
    )
    cord = Mark("line", at(smooth([(-10.8, -7.0), (0.0, -5.6), (10.8, -7.0)])), 0.6 * unit, _WEB)
    holes = Mark("button", at([(x, -6.4 + 0.05 * abs(x) * -1) for x in (-8.0, -4.0, 4.0, 8.0)]), 0.55 * unit, _GOLD)
    base = Mark("seam", at(smooth([(-11.2, 8.6), (0.0, 10.6), (11.2, 8.6)])), 0.3 * unit)
    tails = [smooth([(x, -5.8), (x * 2.2, -1.0), (x * 1.6, 4.0)]) for x in (-1.0, 1.0)]
    return [
        _strap(at(strap), 1.6, grain, unit),
        Panel(at(mouth), grain, style="lining", bulge=0.5 * unit, shade=0.6, lift=0.0),
        _body(at, grain, unit, shape, folds=folds, marks=(cord, holes, base)),
        *(_strap(at(line), 0.6, grain, unit, tint=_WEB) for line in tails),
    ]


def _clutch(at: Place, grain: PlainGrain, unit: float, cut: Cut) -> list[Panel]:
    shape = path([(-13.0, -8.0), (13.0, -8.0)], [(13.4, 8.0), (-13.4, 8.0)])
    flap = path([(-13.1, -8.2), (13.1, -8.2)], [(13.1, -8.2), (6.4, -1.0), (0.0, 4.0), (-6.4, -1.0), (-13.1, -8.2)])
    wrist = smooth([(12.6, -5.0), (17.4, -2.0), (18.0, 5.0), (15.4, 8.0), (13.0, 2.0)])
    snap = Mark("button", at([(0.0, 2.2)]), 0.9 * unit, _GOLD)
    edge = Mark("stitch", at([(-12.0, -7.2), (-6.2, -1.6), (0.0, 3.0), (6.2, -1.6), (12.0, -7.2)]), 0.18 * unit)
    return [
        _strap(at(wrist), 0.9, grain, unit),
        _body(at, grain, unit, shape),
        Panel(at(flap), grain, bulge=1.1 * unit, lift=0.42, marks=(snap, edge), edge=0.3),
    ]
