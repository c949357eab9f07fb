"""The sixteen colour names of Lookalike with their sRGB reference values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from lookalike_service.wardrobe.arrays import RGB

__all__ = ["PALETTE", "colour_near", "name_of"]

PALETTE: Mapping[str, RGB] = MappingProxyType(
    {
        "black": (28, 28, 30),
        "white": (242, 242, 240),
        "grey": (138, 140, 143),
        "beige": (214, 192, 160),
        "brown": (112, 72, 44),
        "red": (200, 32, 40),
        "pink": (240, 156, 184),
        "orange": (236, 120, 36),
        "yellow": (244, 204, 56),
        "green": (44, 140, 72),
        "olive": (104, 106, 52),
        "teal": (20, 128, 132),
        "blue": (52, 108, 200),
        "navy": (28, 38, 84),
        "purple": (124, 68, 156),
        "burgundy": (112, 24, 48),
    }
)


def _lab(rgb: RGB) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    pixel = np.array([[rgb]], dtype=np.float32) / np.float32(255.0)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0], dtype=np.float32)


_REFERENCES = {name: _lab(rgb) for name, rgb in PALETTE.items()}


def name_of(rgb: RGB) -> str:
    """The palette name nearest to `rgb` by Euclidean distance in CIELAB."""
    lab = _lab(rgb)
    return min(_REFERENCES, key=lambda name: float(np.sum((_REFERENCES[name] - lab) ** 2)))


def colour_near(name: str, random: np.random.Generator, *, spread: float = 1.0) -> RGB:
    """A colour that differs a little from the reference of `name` and is still nearest to that reference.

    `spread` 1 is about 5 units of CIELAB in lightness and 4 in each colour axis.
    """
    for shrink in (1.0, 0.6, 0.35, 0.0):
        step = random.normal(0.0, 1.0, 3) * (5.0, 4.0, 4.0) * spread * shrink
        lab = (_REFERENCES[name] + np.clip(step, -10, 10)).astype(np.float32).reshape(1, 1, 3)
        rgb = np.clip(np.rint(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0, 0] * 255.0), 6, 248).astype(int)
        found: RGB = (int(rgb[0]), int(rgb[1]), int(rgb[2]))
        if name_of(found) == name:
            return found
    return PALETTE[name]
