"""What rendering returns: photos with the truth about every garment in them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lookalike_service.wardrobe.arrays import Field, Image, Points
from lookalike_service.wardrobe.items import Item
from lookalike_service.wardrobe.panels import LANDMARKS

__all__ = ["DrawnGarment", "Photo", "drawn"]


@dataclass(frozen=True, slots=True)
class DrawnGarment:
    """A garment of a photo.

    `box` is x0, y0, x1, y1 in 0..1 around the visible pixels; `mask` (h, w) uint8 is 255 on them; `landmarks`
    (8, 3) float32 in the order of LANDMARKS: x, y in 0..1 and visibility (0 absent, 1 covered, 2 visible). Left
    and right are the wearer's.
    """

    item: Item
    box: tuple[float, float, float, float]
    mask: Image = field(repr=False)
    landmarks: Field = field(repr=False)


@dataclass(frozen=True, slots=True)
class Photo:
    """A rendered photo, (h, w, 3) uint8 RGB, and its garments."""

    image: Image = field(repr=False)
    garments: tuple[DrawnGarment, ...] = ()


def drawn(item: Item, mask: Image, points: dict[str, Points]) -> DrawnGarment | None:
    """The truth about a garment whose visible pixels are `mask`; None when nothing of it can be seen."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    box = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
    landmarks = np.zeros((len(LANDMARKS), 3), dtype=np.float32)
    seen = dict(points)
    for pair in ("waist", "hem"):
        if f"left_{pair}" in seen:
            _move_to_visible(seen, pair, mask)
    for index, name in enumerate(LANDMARKS):
        if name in seen:
            x, y = seen[name]
            inside = 0 <= x < width and 0 <= y < height
            landmarks[index] = (x / width, y / height, (2 if _near(mask, x, y) else 1)) if inside else (0, 0, 0)
    return DrawnGarment(item, tuple(float(c) for c in box), mask, landmarks)  # type: ignore[arg-type]


def _near(mask: Image, x: float, y: float) -> bool:
    reach = max(3, mask.shape[0] // 110)
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    return bool(mask[top : int(y) + reach + 1, left : int(x) + reach + 1].any())


def _move_to_visible(points: dict[str, Points], pair: str, mask: Image) -> None:
    """Where another garment covers a waist or hem, the ends of what can be seen of it count instead.

    Photographs are annotated so: a person marks the edge of what is visible.
    """
    left, right = points[f"left_{pair}"], points[f"right_{pair}"]
    if _near(mask, left[0], left[1]) and _near(mask, right[0], right[1]):
        return
    rows = np.flatnonzero(mask.any(axis=1))
    share = 0.03 if pair == "waist" else 0.97
    row = rows[0] + int((rows[-1] - rows[0]) * share)
    columns = np.flatnonzero(mask[row])
    if not len(columns):
        return
    middle = (columns[0] + columns[-1]) / 2
    for name, column in ((f"left_{pair}", columns[-1]), (f"right_{pair}", columns[0])):
        x, y = points[name]
        if not _near(mask, x, y) and (column - middle) * (1 if name.startswith("left") else -1) >= 0:
            points[name] = np.array((float(column), float(row)))
