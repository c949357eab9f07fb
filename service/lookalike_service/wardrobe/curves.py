"""Smooth curves: Catmull-Rom splines, ribbons along a line, and offsets from the axis of a limb."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lookalike_service.wardrobe.arrays import Points, as_points

__all__ = ["along", "ellipse", "limb", "mirror", "moved", "offset", "path", "ribbon", "smooth"]

Numbers: TypeAlias = Sequence[float] | npt.NDArray[Any]
Curve: TypeAlias = Sequence[Numbers] | Points


@lru_cache(maxsize=8)
def _weights(steps: int) -> npt.NDArray[np.float64]:
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    terms = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
    return np.hstack(terms) / 2  # (steps, 4), Catmull-Rom with tension 1/2


def smooth(points: Curve, *, closed: bool = False, steps: int = 6) -> Points:
    """A Catmull-Rom spline through `points`; an open one begins and ends exactly at the ends."""
    p = as_points(points)
    if len(p) < 3:
        return p
    ends = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    padded = np.vstack((ends[0], p, ends[1]))
    quads = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], axis=1)  # (segments, 4, 2)
    curve = np.einsum("sk,nkd->nsd", _weights(steps), quads).reshape(-1, 2)
    return curve if closed else np.vstack((curve, p[-1:]))


def path(*parts: Curve) -> Points:
    """One closed outline from open pieces, each smoothed by itself, so that corners lie between the pieces."""
    return np.vstack([smooth(part) for part in parts])


def along(line: Curve, fractions: Numbers) -> tuple[Points, Points]:
    """Points of `line` at fractions of its length (beyond 0 and 1 it is continued straight), and unit normals there.

    For a line that runs down the picture the normal points to the right.
    """
    p = as_points(line)
    pieces = np.diff(p, axis=0)
    lengths = np.maximum(np.hypot(pieces[:, 0], pieces[:, 1]), 1e-9)
    ends = np.concatenate(([0.0], np.cumsum(lengths)))
    at = np.asarray(fractions, dtype=np.float64) * ends[-1]
    index = np.clip(np.searchsorted(ends, at, side="right") - 1, 0, len(pieces) - 1)
    directions = pieces / lengths[:, None]
    position = p[index] + directions[index] * (at - ends[index])[:, None]
    # Directions are blended over a stretch of the line: the normals of a bend must turn, not jump.
    middles = (ends[:-1] + ends[1:]) / 2
    turned = np.column_stack([np.interp(at, middles, directions[:, axis]) for axis in (0, 1)])
    turned /= np.maximum(np.hypot(turned[:, 0], turned[:, 1]), 1e-9)[:, None]
    return position, np.column_stack((turned[:, 1], -turned[:, 0]))


def offset(line: Curve, fractions: Numbers, distances: Numbers) -> Points:
    """Points beside `line`: at `fractions` of its length, `distances` along the normal."""
    position, normal = along(line, fractions)
    moved: Points = position + normal * np.asarray(distances, dtype=np.float64)[:, None]
    return moved


def ribbon(line: Curve, width: float | Numbers) -> Points:
    """The closed outline of a band along `line`; `width` is one number or one per point (full width)."""
    p = as_points(line)
    half = np.broadcast_to(np.asarray(width, dtype=np.float64) / 2, (len(p),))
    tangent = np.gradient(p, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    normal = np.column_stack((tangent[:, 1], -tangent[:, 0])) * half[:, None]
    return np.vstack((p + normal, (p - normal)[::-1]))


def limb(joints: Curve, *, softness: float = 0.3) -> Points:
    """The axis of an arm or leg through three joints, rounded at the middle one."""
    start, middle, end = as_points(joints)
    before, after = middle + (start - middle) * softness, middle + (end - middle) * softness
    t = np.linspace(0.0, 1.0, 7)[:, None]
    bend = (1 - t) ** 2 * before + 2 * t * (1 - t) * middle + t**2 * after
    return np.vstack((start, (start + before) / 2, bend, (after + end) / 2, end))


def ellipse(center: Numbers, radii: Numbers, *, turn: float = 0.0, count: int = 28) -> Points:
    """An ellipse as a closed outline; `turn` in degrees, clockwise in the picture."""
    angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return np.column_stack((center[0] + c * x - s * y, center[1] + s * x + c * y))


def mirror(points: Curve) -> Points:
    """The points with x negated, in the opposite order: the other half of a symmetric outline."""
    flipped: Points = (as_points(points) * (-1.0, 1.0))[::-1]
    return flipped


def moved(points: Curve, dx: float, dy: float) -> Points:
    """The points moved to the right by `dx` and down by `dy`."""
    shifted: Points = as_points(points) + np.array((dx, dy))
    return shifted
