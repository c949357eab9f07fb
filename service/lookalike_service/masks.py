"""Garment masks as runs or as outlines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike_service.model import Box

__all__ = ["outlines", "runs"]

INSIDE = 128
Corner = tuple[int, int]


def runs(mask: npt.NDArray[np.uint8]) -> list[int]:
    """Lengths of the runs of a (h, w) mask row by row, by turns outside and inside, beginning with outside."""
    inside = (mask.reshape(-1) >= INSIDE).astype(np.int8)
    edges = np.flatnonzero(np.diff(inside, prepend=0))
    lengths = np.diff(edges, prepend=0, append=inside.size)
    return [int(length) for length in lengths]


def outlines(mask: npt.NDArray[np.uint8], box: Box) -> list[list[tuple[float, float]]]:
    """Closed rings on the photo around what a (h, w) mask over `box` covers; holes are rings of their own.

    Cells' borders are followed and then cut through the middle of every edge, as marching squares does.
    """
    height, width = mask.shape
    scale_x, scale_y = (box.x1 - box.x0) / width, (box.y1 - box.y0) / height
    rings = []
    for corners in _rings(mask >= INSIDE):
        points = np.asarray(corners, dtype=np.float64)
        middles = (points + np.roll(points, -1, axis=0)) / 2
        kept = _without_straight(middles)
        xy = np.clip(kept * (scale_x, scale_y) + (box.x0, box.y0), 0.0, 1.0)
        rings.append([(float(x), float(y)) for x, y in xy])
    return rings


def _rings(inside: npt.NDArray[np.bool_]) -> list[list[Corner]]:
    """Borders of cells as closed walks over grid corners (x, y), the inside on the right hand."""
    following: dict[Corner, list[Corner]] = {}
    padded = np.pad(inside, 1)
    cell = padded[1:-1, 1:-1]
    sides: list[tuple[Any, Corner, Corner]] = [
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ]
    for neighbor, begin, end in sides:
        for y, x in zip(*np.nonzero(cell & ~neighbor), strict=True):
            here = (int(x) + begin[0], int(y) + begin[1])
            following.setdefault(here, []).append((int(x) + end[0], int(y) + end[1]))
    rings = []
    while following:
        first = next(iter(following))
        ring = [first]
        while True:
            choices = following[ring[-1]]
            step = choices.pop()
            if not choices:
                del following[ring[-1]]
            if step == first:
                break
            ring.append(step)
        rings.append(ring)
    return rings


def _without_straight(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    kept: npt.NDArray[np.float64] = points[turns]
    return kept
