"""Printed motifs: flowers, leaves, paisley and abstract shapes for all-over prints, and single prints for the chest."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Image, Points
from lookalike_service.wardrobe.curves import ellipse, smooth

__all__ = ["chest_print", "print_repeat"]

_SHIFT = 4
_WORDS = ("SUNDAY", "ATLAS", "NORD", "OCEAN", "HELLO", "LUNA", "WILD", "MIRA", "FOREST", "1987", "SOLEIL", "PEACE")


def _fill(image: Image, outline: Points, colour: RGB) -> None:
    fixed = np.rint(outline * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(image, [fixed], colour, lineType=cv2.LINE_AA, shift=_SHIFT)


def _petals(image: Image, at: Points, radius: float, *, count: int, turn: float, colours: Sequence[RGB]) -> None:
    for k in range(count):
        angle = turn + 360.0 * k / count
        direction = np.array((np.cos(np.radians(angle)), np.sin(np.radians(angle))))
        _fill(image, ellipse(at + direction * radius * 0.58, (radius * 0.46, radius * 0.3), turn=angle), colours[0])
    _fill(image, ellipse(at, (radius * 0.26, radius * 0.26)), colours[1])


def _rose(image: Image, at: Points, radius: float, *, turn: float, colours: Sequence[RGB]) -> None:
    _fill(image, ellipse(at, (radius, radius * 0.92), turn=turn), colours[0])
    for k, share in enumerate((0.72, 0.48, 0.24)):
        shade = tuple(int(c * (0.82 + 0.14 * (k % 2))) for c in colours[0])
        bow = ellipse(
            at + np.array((0.08, -0.06)) * radius * k, (radius * share, radius * share * 0.8), turn=turn + 50 * k
        )
        _fill(image, bow, (shade[0], shade[1], shade[2]))


def _leaf(image: Image, at: Points, radius: float, *, turn: float, colour: RGB) -> None:
    half = np.array([(-1.0, 0.0), (-0.3, -0.36), (0.5, -0.26), (1.0, 0.0), (0.5, 0.26), (-0.3, 0.36)])
    _fill(image, _placed(half, at, radius, turn), colour)


def _paisley(image: Image, at: Points, radius: float, *, turn: float, colours: Sequence[RGB]) -> None:
    drop = np.array(
        [(0.0, 0.9), (-0.62, 0.62), (-0.66, 0.0), (-0.2, -0.5), (0.35, -1.0), (0.28, -0.42), (0.6, 0.1), (0.55, 0.62)]
    )
    for share, colour in ((1.0, colours[0]), (0.66, colours[1]), (0.36, colours[0])):
        _fill(image, smooth(_placed(drop * share, at, radius, turn), closed=True, steps=4), colour)


def _blob(image: Image, at: Points, radius: float, *, turn: float, colour: RGB, random: np.random.Generator) -> None:
    angle = np.linspace(0, 2 * np.pi, 7, endpoint=False)
    reach = random.uniform(0.45, 1.1, 7)
    shape = np.column_stack((np.cos(angle) * reach * 1.3, np.sin(angle) * reach * 0.8))
    _fill(image, smooth(_placed(shape, at, radius, turn), closed=True, steps=4), colour)


def _placed(shape: Points, at: Points, radius: float, turn: float) -> Points:
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return shape @ np.array(((c, s), (-s, c))) * radius + at


def print_repeat(side: int, *, palette: Sequence[RGB], random: np.random.Generator) -> Image:
    """One repeat of an all-over print, (side, side, 3): it continues itself at every border."""
    ground, first = palette[0], palette[1 % len(palette)]
    second = palette[2 % len(palette)] if len(palette) > 2 else first
    image: Image = np.empty((side, side, 3), dtype=np.uint8)
    image[:] = ground
    kind = ("daisy", "rose", "leaf", "paisley", "abstract", "meadow")[int(random.integers(6))]
    cells = int(random.integers(3, 6))
    radius = side / cells * {"meadow": 0.26, "leaf": 0.44, "daisy": 0.4}.get(kind, 0.36)
    for row in range(cells):
        for column in range(cells):
            jitter = random.uniform(-0.22, 0.22, 2)
            at = (np.array((column + 0.5 * (row % 2), row + 0.5)) + jitter) * side / cells
            look = random.integers(1 << 31)
            for dx in (-side, 0, side):
                for dy in (-side, 0, side):
                    moved = at + np.array((dx, dy))
                    if np.all(moved > -1.6 * radius) and np.all(moved < side + 1.6 * radius):
                        _stamp(image, kind, moved, radius, np.random.default_rng(look), (first, second))
    return image


def _stamp(
    image: Image, kind: str, at: Points, radius: float, random: np.random.Generator, colours: tuple[RGB, RGB]
) -> None:
    turn, size = float(random.uniform(0, 360)), radius * float(random.uniform(0.75, 1.15))
    first, second = colours if random.random() < 0.75 else colours[::-1]
    if kind == "leaf":
        for bend in (-34.0, 0.0, 34.0):
            direction = np.array((np.cos(np.radians(turn + bend)), np.sin(np.radians(turn + bend))))
            _leaf(image, at + direction * size * 0.45, size * 0.55, turn=turn + bend, colour=first)
    elif kind == "paisley":
        _paisley(image, at, size, turn=turn, colours=(first, second))
    elif kind == "abstract":
        _blob(image, at, size * 0.8, turn=turn, colour=first, random=random)
    elif kind == "rose":
        for bend in (40.0, 160.0):
            direction = np.array((np.cos(np.radians(turn + bend)), np.sin(np.radians(turn + bend))))
            _leaf(image, at + direction * size, size * 0.5, turn=turn + bend, colour=second)
        _rose(image, at, size * 0.8, turn=turn, colours=(first, second))
    else:
        if kind == "meadow":
            _leaf(image, at + np.array((0.2, 1.0)) * size, size * 0.7, turn=turn, colour=second)
        _petals(image, at, size, count=int(random.integers(5, 7)), turn=turn, colours=(first, second))


def chest_print(side: int, *, palette: Sequence[RGB], random: np.random.Generator) -> tuple[Image, Image]:
    """A single print: its colours (side, side, 3) and its coverage (side, side), 0..255."""
    colours: Image = np.empty((side, side, 3), dtype=np.uint8)
    colours[:] = palette[0]
    coverage: Image = np.zeros((side, side), dtype=np.uint8)
    kind = ("word", "sun", "heart", "star", "wave", "flower", "block")[int(random.integers(7))]
    center = np.array((side / 2, side / 2))
    second = palette[1 % len(palette)]

    def put(outline: Points, colour: RGB) -> None:
        _fill(colours, outline, colour)
        cv2.fillPoly(coverage, [np.rint(outline * 16).astype(np.int32)], (255,), lineType=cv2.LINE_AA, shift=4)

    if kind == "sun":
        put(ellipse(center, (side * 0.4, side * 0.4), count=60), palette[0])
        put(ellipse(center + np.array((0.0, -side * 0.06)), (side * 0.2, side * 0.2), count=40), second)
        hills = np.array(
            [(-0.37, 0.16), (-0.2, -0.06), (-0.06, 0.12), (0.14, -0.1), (0.37, 0.16), (0.2, 0.33), (-0.2, 0.33)]
        )
        put(hills * side + center, _darker(second))
    elif kind == "heart":
        t = np.linspace(0, 2 * np.pi, 60)
        heart = np.column_stack(
            (16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)))
        )
        put(heart / 40 * side + center, palette[0])
    elif kind == "star":
        angle = np.radians(np.arange(10) * 36 - 90)
        reach = np.where(np.arange(10) % 2 == 0, 0.42, 0.18)[:, None]
        put(np.column_stack((np.cos(angle), np.sin(angle))) * reach * side + center, palette[0])
    elif kind == "wave":
        for k in range(4):
            x = np.linspace(-0.42, 0.42, 30)
            y = np.sin(x * 16 + k) * 0.04 + (k - 1.5) * 0.17
            band = np.vstack((np.column_stack((x, y - 0.045)), np.column_stack((x, y + 0.045))[::-1]))
            put(band * side + center, palette[0] if k % 2 == 0 else second)
    elif kind == "flower":
        for k in range(8):
            direction = np.array((np.cos(k * np.pi / 4), np.sin(k * np.pi / 4)))
            put(ellipse(center + direction * side * 0.22, (side * 0.17, side * 0.1), turn=k * 45.0), palette[0])
        put(ellipse(center, (side * 0.11, side * 0.11)), second)
    else:
        _lettering(colours, coverage, random=random, palette=palette, boxed=kind == "block")
    return colours, coverage


def _darker(colour: RGB) -> RGB:
    return (int(colour[0] * 0.7), int(colour[1] * 0.7), int(colour[2] * 0.7))


def _lettering(
    colours: Image, coverage: Image, *, random: np.random.Generator, palette: Sequence[RGB], boxed: bool
) -> None:
    side = coverage.shape[0]
    word = _WORDS[int(random.integers(len(_WORDS)))]
    font = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)[int(random.integers(3))]
    (width, height), _ = cv2.getTextSize(word, font, 1.0, 2)
    size = side * (0.8 if boxed else 0.94) / width
    thickness = max(1, round(side * 0.03))
    place = (round((side - width * size) / 2), round((side + height * size) / 2))
    if boxed:
        cv2.rectangle(colours, (0, round(side * 0.28)), (side, round(side * 0.72)), palette[0], -1)
        cv2.rectangle(coverage, (0, round(side * 0.28)), (side, round(side * 0.72)), (255,), -1)
        cv2.putText(colours, word, place, font, size, palette[1 % len(palette)], thickness, cv2.LINE_AA)
    else:
        cv2.putText(coverage, word, place, font, size, (255,), thickness, cv2.LINE_AA)
