"""The pieces that garments are sewn of: outlined panels of cloth with folds, seams and buttons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lookalike_service.wardrobe.arrays import RGB, Field, Points, as_points
from lookalike_service.wardrobe.figure import Figure

__all__ = ["Fold", "Grain", "LimbGrain", "Mark", "Panel", "PlainGrain", "Sewn", "TorsoGrain"]

LANDMARKS = (
    "left_collar",
    "right_collar",
    "left_sleeve",
    "right_sleeve",
    "left_waist",
    "right_waist",
    "left_hem",
    "right_hem",
)


class Grain(Protocol):
    """How the threads of the cloth run over the picture."""

    def cloth(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Centimetres on the cloth for pixel columns x (1, w) and rows y (h, 1); (h, w) each."""
        ...


@dataclass(frozen=True, slots=True)
class TorsoGrain:
    """Threads follow the torso; `flare` spreads them below `start` centimetres, as in a skirt."""

    figure: Figure
    flare: float = 0.0
    start: float = 37.0
    shift: tuple[float, float] = (0.0, 0.0)

    def cloth(self, x: Field, y: Field) -> tuple[Field, Field]:
        """See Grain."""
        across, down = self.figure.torso_inverse(x, y)
        u, v = np.asarray(across), np.asarray(down)
        if self.flare:
            u = u / (1.0 + self.flare * np.maximum(v - self.start, 0.0))
        return u + np.float32(self.shift[0]), v + np.float32(self.shift[1])


@dataclass(frozen=True, slots=True)
class LegsGrain:
    """Threads follow the torso down to the hips and each leg below."""

    figure: Figure

    def cloth(self, x: Field, y: Field) -> tuple[Field, Field]:
        """See Grain."""
        across, down = self.figure.torso_inverse(x, y)
        rows = y.ravel()
        center = np.float32(self.figure.torso([(0.0, 67.0)])[0, 0])
        u = np.asarray(across)
        for side in (-1, 1):
            axis = self.figure.leg(side)
            at = np.interp(rows, axis[:, 1], axis[:, 0]).astype(np.float32)[:, None]
            home = side * np.float32(self.figure.body.hips * 0.52)
            on_leg = (x - at) * np.float32(1 / self.figure.unit) + home
            below = np.clip((rows - axis[0, 1]) / (8 * self.figure.unit), 0, 1).astype(np.float32)[:, None]
            u = np.where((x - center) * side > 0, u + (on_leg - u) * below, u)
        return u, np.asarray(down) + np.zeros_like(u)


@dataclass(frozen=True, slots=True)
class LimbGrain:
    """Threads follow the axis of a sleeve."""

    axis: Points
    unit: float
    shift: tuple[float, float] = (31.0, 0.0)

    def cloth(self, x: Field, y: Field) -> tuple[Field, Field]:
        """See Grain. Every pixel belongs to the nearest piece of the axis."""
        axis = self.axis[[0, 2, 4, 5, 6, 8, -1]] if len(self.axis) > 9 else self.axis
        pieces = np.diff(axis, axis=0)
        lengths = np.hypot(pieces[:, 0], pieces[:, 1])
        travelled = np.concatenate(([0.0], np.cumsum(lengths)))
        best = u = v = np.zeros((y.shape[0], x.shape[1]), dtype=np.float32)
        for k, (start, piece, length) in enumerate(zip(axis[:-1], pieces, lengths, strict=True)):
            dx, dy = (float(piece[0] / length), float(piece[1] / length))
            rx, ry = x - np.float32(start[0]), y - np.float32(start[1])
            s = rx * np.float32(dx) + ry * np.float32(dy)
            t = rx * np.float32(dy) - ry * np.float32(dx)
            beyond = s - np.clip(s, 0.0 if k else -1e9, length if k < len(lengths) - 1 else 1e9)
            distance = t * t + beyond * beyond
            if k == 0:
                best, u, v = distance, t, s
            else:
                nearer = distance < best
                best = np.where(nearer, distance, best)
                u = np.where(nearer, t, u)
                v = np.where(nearer, s + np.float32(travelled[k]), v)
        scale = np.float32(1 / self.unit)
        return u * scale + np.float32(self.shift[0]), v * scale + np.float32(self.shift[1])


@dataclass(frozen=True, slots=True)
class PlainGrain:
    """Straight threads: `turn` degrees clockwise about `origin`."""

    origin: tuple[float, float]
    unit: float
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)

    def cloth(self, x: Field, y: Field) -> tuple[Field, Field]:
        """See Grain."""
        c, s = np.cos(np.radians(self.turn)) / self.unit, np.sin(np.radians(self.turn)) / self.unit
        rx, ry = x - np.float32(self.origin[0]), y - np.float32(self.origin[1])
        u = rx * np.float32(c) + ry * np.float32(s) + np.float32(self.shift[0])
        v = ry * np.float32(c) - rx * np.float32(s) + np.float32(self.shift[1])
        return u, v


@dataclass(frozen=True, slots=True)
class Fold:
    """A ridge (positive height) or valley along a line; all in pixels. It swells from `height` to `end_height`."""

    line: Points
    width: float
    height: float
    end_height: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What is stitched onto a panel: kind is seam, stitch, line, button, zip or dot; width in pixels.

    Without a colour a mark is a darker (seam) or contrasting (stitch) tone of the cloth.
    """

    kind: str
    points: Points
    width: float = 1.0
    colour: RGB | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One piece of cloth. Lengths in pixels.

    `style` says which cloth: front (with the print), cloth, trim, rib, lining or tint (the colour `tint`).
    `bulge` is how far it is rounded at its edges, `lift` how strong a shadow it throws on what lies below,
    `shade` darkens it as a whole, `sheen` adds a gloss, `depth` -1 lies behind the wearer.
    """

    outline: Points
    grain: Grain
    style: str = "cloth"
    tint: RGB | None = None
    bulge: float = 6.0
    folds: tuple[Fold, ...] = ()
    marks: tuple[Mark, ...] = ()
    lift: float = 0.25
    shade: float = 1.0
    sheen: float = 0.0
    edge: float = 0.16
    depth: int = 0
    puff: float = 0.0


@dataclass(frozen=True, slots=True)
class Sewn:
    """A garment as panels in painter's order, and its landmarks in pixels by name.

    `hem_line` and `waist_line` run from the wearer's right to the left; where the ends are hidden, the
    landmarks move to the outermost visible points.
    """

    panels: tuple[Panel, ...]
    landmarks: dict[str, Points] = field(default_factory=dict)

    def bounds(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of all outlines, in pixels."""
        outlines = np.vstack([as_points(panel.outline) for panel in self.panels])
        low, high = outlines.min(axis=0), outlines.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])
