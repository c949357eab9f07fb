"""Painting panels: coverage, relief, light, shadows, and who owns which pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Field, Image, Points
from lookalike_service.wardrobe.cloth import Cloth
from lookalike_service.wardrobe.noise import noise, soften
from lookalike_service.wardrobe.panels import Fold, Mark, Panel

__all__ = ["Canvas", "Light"]

_SHIFT = 4


@dataclass(frozen=True, slots=True)
class Light:
    """Direction towards the lamp (x right, y down, z out of the picture) and how hard it is."""

    x: float = -0.45
    y: float = -0.6
    z: float = 0.66
    contrast: float = 0.62


class Canvas:
    """A picture under construction: premultiplied colours, coverage, and the owner of every pixel (-1: nobody)."""

    def __init__(self, size: tuple[int, int], *, light: Light | None = None, background: Image | None = None) -> None:
        height, width = size
        self.light = light or Light()
        self.image: Field = np.zeros((height, width, 3), dtype=np.float32)
        self.coverage: Field = np.zeros((height, width), dtype=np.float32)
        if background is not None:
            self.image[:] = background
            self.coverage[:] = 1.0
        self.owner = np.full((height, width), -1, dtype=np.int16)

    def paint(self, panel: Panel, cloth: Cloth | None, *, owner: int, seed: int = 0) -> None:
        """Paint one panel over what is there; its pixels belong to `owner` from now on."""
        frame = self._frame(panel.outline, pad=int(2 + panel.bulge * 1.6))
        if frame is None:
            return
        left, top, right, bottom = frame
        mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
        _fill(mask, panel.outline - np.array((left, top)))
        if panel.lift > 0:
            self._cast(mask, frame, panel)
        x = np.arange(left, right, dtype=np.float32)[None] + np.float32(0.5)
        y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
        height = _relief(panel, mask, (left, top), seed)
        slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
        slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
        colours = self._colours(panel, cloth, (x, y), (slope_x, slope_y))
        self._shine(colours, panel, cloth, slope_x, slope_y)
        for mark in panel.marks:
            _mark(colours, mark, (left, top), cloth)
        self._darken_edges(colours, mask, panel)
        alpha = mask.astype(np.float32) * np.float32(1 / 255)
        area = (slice(top, bottom), slice(left, right))
        spread = alpha[..., None]
        self.image[area] += (np.clip(colours, 0, 255) - self.image[area]) * spread
        self.coverage[area] += (1 - self.coverage[area]) * alpha
        self.owner[area][mask >= 128] = owner

    def _frame(self, outline: Points, pad: int) -> tuple[int, int, int, int] | None:
        low, high = np.floor(outline.min(axis=0)) - pad, np.ceil(outline.max(axis=0)) + pad
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        right, bottom = min(self.owner.shape[1], int(high[0])), min(self.owner.shape[0], int(high[1]))
        return None if right - left < 2 or bottom - top < 2 else (left, top, right, bottom)

    def _cast(self, mask: Image, frame: tuple[int, int, int, int], panel: Panel) -> None:
        """A soft shadow on what lies below, away from the lamp."""
        left, top, right, bottom = frame
        reach = max(1.5, panel.bulge * 0.5)
        move = np.array([[1, 0, -self.light.x * reach], [0, 1, -self.light.y * reach]], dtype=np.float32)
        soft = cv2.warpAffine(mask, move, (mask.shape[1], mask.shape[0]))
        keep = 1.0 - soften(soft, reach).astype(np.float32) * np.float32(panel.lift / 255)
        self.image[top:bottom, left:right] *= keep[..., None]

    def _colours(
        self, panel: Panel, cloth: Cloth | None, place: tuple[Field, Field], slope: tuple[Field, Field]
    ) -> Field:
        if panel.tint is not None or cloth is None:
            flat = np.empty((*slope[0].shape, 3), dtype=np.float32)
            flat[:] = panel.tint or (128, 128, 128)
            return flat
        u, v = panel.grain.cloth(*place)
        # Cloth on a slope is seen foreshortened: shifting the threads by the slope bends stripes over folds.
        bend = np.float32(0.9)
        return cloth.sample(panel.style, u + slope[0] * bend, v + slope[1] * bend)

    def _shine(self, colours: Field, panel: Panel, cloth: Cloth | None, slope_x: Field, slope_y: Field) -> None:
        light = self.light
        norm = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
        facing = (light.z - slope_x * light.x - slope_y * light.y) * norm
        tone = np.clip(1.0 + (facing / light.z - 1.0) * light.contrast, 0.42, 1.26) * panel.shade
        colours *= tone[..., None]
        # Dark cloth shows its folds by what it reflects rather than by what it swallows.
        lifted = np.maximum(tone / panel.shade - 0.9, 0.0) * np.float32((26 if panel.tint is None else 6) * panel.shade)
        gloss = panel.sheen + (cloth.gloss if cloth is not None and panel.tint is None else 0.0)
        if gloss > 0:
            half = np.clip((facing * 0.8 + norm * 0.6) / 1.18, 0, 1)
            lifted = lifted + half**24 * np.float32(gloss * 70) + np.maximum(facing - 0.8, 0) * np.float32(gloss * 220)
        colours += lifted[..., None]

    @staticmethod
    def _darken_edges(colours: Field, mask: Image, panel: Panel) -> None:
        if panel.edge <= 0:
            return
        soft = soften(mask, max(1.0, panel.bulge * 0.28))
        depth = np.clip(1.0 - soft.astype(np.float32) * np.float32(1 / 255), 0.0, 0.5)
        colours *= (1.0 - depth * np.float32(2 * panel.edge))[..., None]


def _fill(mask: Image, outline: Points) -> None:
    fixed = np.rint(outline * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], (255,), lineType=cv2.LINE_AA, shift=_SHIFT)


def _relief(panel: Panel, mask: Image, at: tuple[int, int], seed: int) -> Field:
    """The height of the cloth over the picture plane, in pixels."""
    solid = (mask > 127).astype(np.uint8)
    far = cv2.distanceTransform(solid, cv2.DIST_L2, 3)
    radius = max(1.0, panel.bulge * 2.4)
    rim = np.clip(1.0 - far / radius, 0.0, 1.0)
    height = np.sqrt(np.maximum(1.0 - rim * rim, 0.0)) * np.float32(panel.bulge * 0.85)
    height = soften(height, max(0.8, panel.bulge * 0.42))
    for broad in (True, False):
        chosen = [fold for fold in panel.folds if (fold.width > 7.0) == broad]
        if chosen:
            height += _ridges(chosen, mask.shape, at)
    if panel.puff > 0:
        high, wide = mask.shape
        crumple = noise((high * 2 // 5 + 1, wide), blur=max(1.6, panel.bulge * 0.5), seed=seed)
        crumple = cv2.resize(crumple, (wide, high), interpolation=cv2.INTER_LINEAR)
        height += crumple * np.float32(panel.puff)
    return np.asarray(height, dtype=np.float32)


def _ridges(folds: list[Fold], shape: tuple[int, ...], at: tuple[int, int]) -> Field:
    """Folds drawn as bars and blurred: quick, and two that cross melt into each other."""
    width = float(np.mean([fold.width for fold in folds]))
    shrink = 2 if width > 9 else 1
    size = (shape[0] // shrink + 1, shape[1] // shrink + 1)
    buffer: Field = np.zeros(size, dtype=np.float32)
    for fold in folds:
        line = np.rint((fold.line - at) * (8 / shrink)).astype(np.int32)
        thick = max(1, round(fold.width / shrink * 0.7))
        end = fold.height if fold.end_height is None else fold.end_height
        parts = 4 if end != fold.height else 1
        cuts = np.linspace(0, len(line) - 1, parts + 1).astype(int)
        for k in range(parts):
            share = (k + 0.5) / parts
            piece = line[cuts[k] : cuts[k + 1] + 1]
            cv2.polylines(buffer, [piece], False, (fold.height + (end - fold.height) * share,), thick, shift=3)
    buffer = cv2.GaussianBlur(buffer, (0, 0), max(0.8, width * 0.42 / shrink))
    if shrink == 1:
        return np.asarray(buffer[: shape[0], : shape[1]], dtype=np.float32)
    return np.asarray(cv2.resize(buffer, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _mark(colours: Field, mark: Mark, at: tuple[int, int], cloth: Cloth | None) -> None:
    points = mark.points - at
    base = np.array(cloth.tone(0) if cloth else (120, 120, 120), dtype=np.float32)
    if mark.kind in ("button", "dot"):
        for point in points:
            _button(colours, point, mark, base)
        return
    if mark.kind == "zip":
        _strip(colours, points, mark.width, np.array(mark.colour or (70, 70, 74), np.float32), 0.9)
        _dashes(colours, points, mark.width * 0.55, np.array((188, 188, 192), np.float32), 1.6, 1.2)
        return
    bright = float(base.mean())
    if mark.kind == "stitch":
        colour = np.array(mark.colour, np.float32) if mark.colour else (base * 0.72 if bright > 70 else base + 34)
        _dashes(colours, points, mark.width, colour, 3.2, 2.0)
    elif mark.kind == "seam":
        colour = np.array(mark.colour, np.float32) if mark.colour else base * 0.55
        _strip(colours, points, mark.width, colour, 0.55)
    else:
        _strip(colours, points, mark.width, np.array(mark.colour or (40, 40, 40), np.float32), 1.0)


def _strip(colours: Field, points: Points, width: float, colour: Field, strength: float) -> None:
    _ink(colours, [points], width, colour, strength)


def _ink(colours: Field, lines: list[Points], width: float, colour: Field, strength: float) -> None:
    """Blend `colour` in along lines; only the rectangle around them is touched."""
    thick = max(1, round(width))
    every = np.vstack(lines)
    low = np.maximum(np.floor(every.min(axis=0)).astype(int) - thick - 1, 0)
    high = np.minimum(np.ceil(every.max(axis=0)).astype(int) + thick + 2, colours.shape[1::-1])
    if np.any(high - low < 1):
        return
    ink = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    fixed = [np.rint((line - low) * (1 << _SHIFT)).astype(np.int32) for line in lines]
    cv2.polylines(ink, fixed, False, (255,), thick, cv2.LINE_AA, _SHIFT)
    share = ink.astype(np.float32) * np.float32(strength * min(1.0, width / thick) / 255)
    area = colours[low[1] : high[1], low[0] : high[0]]
    area += (colour - area) * share[..., None]


def _dashes(colours: Field, points: Points, width: float, colour: Field, on: float, off: float) -> None:
    pieces = np.hypot(*np.diff(points, axis=0).T)
    ends = np.concatenate(([0.0], np.cumsum(pieces)))
    starts = np.arange(0.0, max(ends[-1] - on, 0.1), on + off)
    marks = np.column_stack((starts, starts + on))
    xs, ys = np.interp(marks, ends, points[:, 0]), np.interp(marks, ends, points[:, 1])
    _ink(colours, list(np.stack((xs, ys), axis=-1)), width, colour, 0.85)


def _button(colours: Field, point: Points, mark: Mark, base: Field) -> None:
    if mark.colour is not None:
        colour: RGB = mark.colour
    else:
        tone = base * 0.6 if base.mean() > 110 else base * 0.7 + 62
        colour = (int(tone[0]), int(tone[1]), int(tone[2]))
    radius = max(1.0, mark.width)

    def disc(dx: float, dy: float, size: float, ink: tuple[float, ...]) -> None:
        low = np.maximum(np.floor(point + np.array((dx, dy)) - size - 1).astype(int), 0)
        high = np.minimum(np.ceil(point + np.array((dx, dy)) + size + 2).astype(int), colours.shape[1::-1])
        if np.any(high <= low):
            return
        x = np.arange(low[0], high[0])[None] + 0.5 - point[0] - dx
        y = np.arange(low[1], high[1])[:, None] + 0.5 - point[1] - dy
        share = np.clip(size - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)[..., None]
        area = colours[low[1] : high[1], low[0] : high[0]]
        area += (np.array(ink, np.float32) - area) * share

    if mark.kind == "dot":
        disc(0, 0, radius, tuple(float(c) for c in colour))
        return
    under = tuple(float(c) * 0.45 for c in base)
    disc(radius * 0.25, radius * 0.35, radius * 1.1, under)
    disc(0, 0, radius, tuple(float(c) for c in colour))
    disc(-radius * 0.2, -radius * 0.25, radius * 0.55, tuple(min(255.0, float(c) * 1.12 + 12) for c in colour))
