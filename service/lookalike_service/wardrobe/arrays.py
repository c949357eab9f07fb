"""The array kinds that the wardrobe passes around, and seeded chance."""

from __future__ import annotations

import zlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["RGB", "Field", "Image", "Points", "as_points", "chance"]

Points: TypeAlias = npt.NDArray[Any]
"""(n, 2) float64: x, y; or one point, (2,)."""

Field: TypeAlias = npt.NDArray[Any]
"""float32, (h, w) or (h, w, 3)."""

Image: TypeAlias = npt.NDArray[Any]
"""uint8, (h, w, 3) RGB or (h, w)."""

RGB: TypeAlias = tuple[int, int, int]


def chance(*parts: int | str) -> np.random.Generator:
    """A random generator that depends on nothing but `parts`, so the same item is drawn alike everywhere."""
    return np.random.default_rng([zlib.crc32(p.encode()) if isinstance(p, str) else p & 0xFFFFFFFF for p in parts])


def as_points(points: Any) -> Points:  # noqa: ANN401 -- whatever numpy takes: lists of pairs, arrays, mixtures
    """`points` as an (n, 2) float64 array."""
    return np.asarray(points, dtype=np.float64).reshape(-1, 2)
