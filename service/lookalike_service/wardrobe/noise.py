"""Seeded noise that costs a copy: slices of a few tiles that are made once per process."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_service.wardrobe.arrays import Field

__all__ = ["noise", "soften"]

_SIDE = 512
_WIDTHS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


@lru_cache(maxsize=len(_WIDTHS))
def _tile(blur: float) -> Field:
    """A periodic tile of noise with standard deviation 1 whose features are about `blur` pixels wide."""
    random = np.random.default_rng([20240607, int(blur * 1000)])
    tile: Field = random.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    if blur > 0:
        pad = int(blur * 3) + 1
        tile = cv2.GaussianBlur(np.pad(tile, pad, mode="wrap"), (0, 0), blur)[pad:-pad, pad:-pad]
        tile = tile / np.float32(tile.std())
    return np.ascontiguousarray(tile, dtype=np.float32)


def noise(size: tuple[int, int], *, blur: float = 0.0, seed: int = 0) -> Field:
    """(h, w) float32 noise with standard deviation 1.

    `blur` is the width of its features in pixels; features wider than 4 pixels are stretched from a narrower tile.
    """
    height, width = size
    if blur > _WIDTHS[-1]:
        shrink = blur / _WIDTHS[-1]
        small = noise((int(height / shrink) + 3, int(width / shrink) + 3), blur=_WIDTHS[-1], seed=seed)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    tile = _tile(min(_WIDTHS, key=lambda known: abs(known - blur)))
    shift = (seed * 2654435761) & 0xFFFFFFFF
    top, left = shift % _SIDE, (shift >> 12) % _SIDE
    repeats = (-(-(height + top) // _SIDE), -(-(width + left) // _SIDE))
    if repeats != (1, 1):
        tile = np.tile(tile, repeats)
    return tile[top : top + height, left : left + width]


def soften(field: npt.NDArray[Any], reach: float) -> npt.NDArray[Any]:
    """A Gaussian blur of `reach` pixels, done on a smaller picture where that cannot be seen."""
    shrink = 1 if reach < 2.5 else 2 if reach < 6 else 4
    height, width = field.shape[:2]
    if shrink == 1 or min(height, width) < 8 * shrink:
        return np.asarray(cv2.GaussianBlur(field, (0, 0), reach))
    small = cv2.resize(field, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), reach / shrink)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
