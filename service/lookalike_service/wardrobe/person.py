"""The person who wears an outfit: skin, limbs, hands, face and hair, in the manner of a fashion drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Points, as_points
from lookalike_service.wardrobe.curves import along, mirror, offset, ribbon, smooth
from lookalike_service.wardrobe.figure import Figure
from lookalike_service.wardrobe.panels import Mark, Panel, PlainGrain

__all__ = ["Person", "arm", "choose_person", "fingers", "grip", "leg", "shaded", "torso"]

Place: TypeAlias = Callable[[object], Points]

_SKINS: tuple[RGB, ...] = (
    (240, 208, 184), (232, 194, 164), (226, 180, 144), (206, 154, 114), (176, 122, 84), (142, 94, 64), (106, 68, 48),
)  # fmt: skip
_HAIRS: tuple[RGB, ...] = (
    (34, 26, 24), (58, 40, 30), (92, 60, 38), (140, 92, 52),
    (196, 150, 92), (222, 190, 132), (160, 74, 40), (168, 164, 160),
)  # fmt: skip
STYLES = ("long", "bob", "bun", "short", "curly", "waves")


@dataclass(frozen=True, slots=True)
class Person:
    """Colours and hair of a person; `tights` is the colour of the legs where they are not bare."""

    skin: RGB
    hair: RGB
    lips: RGB
    eyes: RGB
    style: str
    tights: RGB | None = None


def choose_person(random: np.random.Generator, *, bare_legs: bool) -> Person:
    """Somebody, from seeded chance."""
    tone = int(random.integers(len(_SKINS)))
    skin = _SKINS[tone]
    hair = _HAIRS[int(random.integers(len(_HAIRS)))] if tone < 4 else _HAIRS[int(random.integers(3))]
    lips = (int(skin[0] * 0.82), int(skin[1] * 0.5), int(skin[2] * 0.5))
    eyes = ((70, 48, 34), (62, 84, 66), (70, 96, 124))[int(random.integers(3))] if tone < 4 else (52, 36, 28)
    tights = (34, 32, 36) if bare_legs and random.random() < 0.25 else None
    return Person(skin, hair, lips, eyes, STYLES[int(random.integers(len(STYLES)))], tights)


def shaded(colour: RGB, factor: float) -> RGB:
    """The colour made darker or lighter."""
    r, g, b = (int(np.clip(c * factor, 0, 255)) for c in colour)
    return (r, g, b)


def _flesh(
    outline: Points, figure: Figure, tint: RGB, *, bulge: float, lift: float = 0.22, marks: tuple[Mark, ...] = ()
) -> Panel:
    grain = PlainGrain(figure.origin, figure.unit)
    return Panel(
        outline,
        grain,
        style="tint",
        tint=tint,
        bulge=bulge * figure.unit,
        lift=lift,
        edge=0.16,
        shade=0.94,
        marks=marks,
    )


def torso(figure: Figure, person: Person, *, bare_shoulders: bool) -> Panel:
    """Neck, shoulders, chest and hips; shoulders under a sleeve are kept narrow so that no skin peeps out."""
    body = figure.body
    pull = 0.6 if bare_shoulders else 2.6
    half = [
        (4.5, -13.0),
        (4.6, -6.0),
        (6.2, -2.6),
        (11.0, 0.4),
        (body.shoulders - pull, 3.4 - 0.3 * pull),
        (body.shoulders + 1.0 - pull, 8.0),
    ]
    half += [(float(body.half(y)) - 0.3 - 0.1 * max(0.0, y - 40.0), y) for y in (15.0, 26.0, 37.0, 46.0, 54.0)]
    left = smooth(half, steps=4)
    bones = tuple(
        Mark(
            "seam",
            figure.torso(smooth([(s * 1.4, 1.8), (s * 7.0, 0.9), (s * 13.0, 1.6)])),
            0.4 * figure.unit,
            shaded(person.skin, 0.86),
        )
        for s in (-1, 1)
    )
    shadow = Mark(
        "seam",
        figure.torso(smooth([(-4.2, -8.6), (0.0, -6.8), (4.2, -8.6)])),
        1.8 * figure.unit,
        shaded(person.skin, 0.78),
    )
    return _flesh(
        figure.torso(np.vstack((left, mirror(left)))), figure, person.skin, bulge=3.4, lift=0.0, marks=(*bones, shadow)
    )


def leg(figure: Figure, person: Person, side: int, *, heeled: bool, start: float = 0.0) -> list[Panel]:
    """One leg from `start` (share of its length) to the toes."""
    axis, size = figure.leg(side), figure.body.limbs * figure.unit
    shares = [0.0, 0.15, 0.32, 0.46, 0.52, 0.64, 0.74, 0.9, 1.0, 1.05]
    outer = np.array([8.8, 8.6, 7.2, 5.7, 5.3, 5.9, 5.5, 3.6, 3.2, 2.7]) * size
    inner = np.array([8.4, 7.8, 6.0, 5.0, 4.8, 5.6, 5.0, 3.2, 3.1, 2.6]) * size
    spots = np.array(shares) if start <= 0 else np.linspace(min(start, 0.95), 1.05, 5)
    right = smooth(offset(axis, spots, side * np.interp(spots, shares, outer)), steps=4)
    left = smooth(offset(axis, spots, -side * np.interp(spots, shares, inner)), steps=4)
    tint = person.tights or person.skin
    long = 15.6 if heeled else 12.2
    toe = np.array(
        [
            (-3.3, -3.0),
            (-3.7, 4.0),
            (-4.2, long * 0.6),
            (-2.6, long),
            (1.6, long + 0.4),
            (3.9, long * 0.66),
            (3.5, 3.0),
            (3.3, -3.0),
        ]
    )
    angle = np.radians(side * 16.0)
    turned = (toe * (side, 1.0)) @ np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle)))) * size
    return [
        _flesh(smooth(turned + axis[-1], closed=True), figure, tint, bulge=1.6, lift=0.2),
        _flesh(np.vstack((right, left[::-1])), figure, tint, bulge=2.6, lift=0.0),
    ]


_ARM = (
    (-0.04, 0.2),
    (0.03, 2.1),
    (0.09, 3.3),
    (0.18, 4.3),
    (0.35, 4.1),
    (0.5, 3.6),
    (0.58, 3.8),
    (0.75, 3.2),
    (0.9, 2.5),
    (0.99, 2.3),
)
"""Half widths of an arm in centimetres at shares of its length."""


def arm(figure: Figure, person: Person, side: int, *, start: float = 0.0) -> list[Panel]:
    """One arm from `start` (share of its length) to the tips of the fingers."""
    axis, size = figure.arm(side), figure.body.limbs * figure.unit
    shares, widths = np.array(_ARM).T
    spots = shares if start <= 0 else np.linspace(min(start, 0.96), 0.99, 5)
    half = np.interp(spots, shares, widths) * size
    outer = smooth(offset(axis, spots, side * half), steps=4)
    under = spots > 0.1
    inner = smooth(offset(axis, spots[under], -side * half[under] * 0.98), steps=4)
    at, palm, thumb = _hand(figure, side)
    line = shaded(person.skin, 0.74)
    marks = tuple(
        Mark("seam", at(smooth([(x, 8.4), (x * 0.86 + 0.1, 11.0), (x * 0.6 + 0.2, 13.6)])), 0.24 * size, line)
        for x in (-0.9, 0.5, 1.8)
    )
    whole = np.vstack((outer, at(palm), inner[::-1]))
    return [
        _flesh(at(thumb), figure, person.skin, bulge=0.8, lift=0.2),
        _flesh(whole, figure, person.skin, bulge=1.9, lift=0.25, marks=marks),
    ]


def _hand(figure: Figure, side: int) -> tuple[Place, Points, Points]:
    """A relaxed hand that follows the forearm: its place, palm (open at the wrist) and thumb (towards the body)."""
    axis, unit = figure.arm(side), figure.unit * figure.body.limbs
    wrist, _ = along(axis, [0.99])
    direction = axis[-1] - axis[-2]
    angle = np.arctan2(direction[0], direction[1]) * 0.8
    turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))

    def at(points: object) -> Points:
        placed: Points = (as_points(points) * (side * unit, unit)) @ turn + wrist[0]
        return placed

    palm = smooth(
        [
            (2.3, 0.6),
            (2.7, 3.4),
            (2.9, 7.0),
            (2.5, 11.0),
            (1.6, 14.2),
            (0.4, 15.2),
            (-1.2, 14.0),
            (-2.1, 10.0),
            (-2.5, 6.0),
            (-2.3, 0.6),
        ]
    )
    thumb = smooth([(-1.8, 1.6), (-3.4, 4.6), (-3.8, 7.8), (-3.1, 9.4), (-2.0, 8.2), (-1.2, 4.6)], closed=True)
    return at, palm, thumb


def grip(figure: Figure, side: int) -> Points:
    """Where the hand holds a handle, in pixels, (2,)."""
    axis = figure.arm(side)
    direction = axis[-1] - axis[-2]
    held: Points = axis[-1] + direction / np.hypot(*direction) * 7.5 * figure.unit
    return held


def fingers(figure: Figure, person: Person, side: int) -> list[Panel]:
    """The fingers that close around a handle, painted over it."""
    center = grip(figure, side)
    unit = figure.unit
    panels = []
    for k in range(4):
        spot = center + np.array((0.0, (k - 1.6) * 1.15 * unit))
        shape = ribbon([spot + np.array((-1.9, 0.2)) * unit, spot + np.array((1.7, -0.1)) * unit], 1.3 * unit)
        panels.append(_flesh(shape, figure, person.skin, bulge=0.5, lift=0.3))
    return panels
