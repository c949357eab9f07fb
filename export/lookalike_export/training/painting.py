"""Rendered fabrics painted onto real garments, with their folds and shades kept: patterns with a known name."""

from __future__ import annotations

import cv2
import numpy as np

from lookalike_export.training.photos import Pixels
from lookalike_service.wardrobe import fabric

__all__ = ["paint_fabric"]


def paint_fabric(
    image: Pixels, mask: Pixels, box: tuple[float, float, float, float], *, pattern: str, rng: np.random.Generator
) -> Pixels:
    """Put a fabric of `pattern` on the garment under `mask` (h, w) 0..255; `box` is x, y, w, h on the photo."""
    height, width = image.shape[:2]
    weight = mask[..., None].astype(np.float32) / 255
    palette = [(int(r), int(g), int(b)) for r, g, b in (rng.integers(10, 245, 3) for _ in range(3))]
    cloth = fabric(
        pattern, palette=palette, scale=float(rng.uniform(2.0, 7.0)), seed=int(rng.integers(2**31)), size=256
    )
    side = int(max(box[2:]) + 1)
    cloth = cv2.resize(cloth, (side, side), interpolation=cv2.INTER_AREA if side < 256 else cv2.INTER_LINEAR)
    x, y = int(box[0]), int(box[1])
    tiled = np.take(
        np.take(cloth, (np.arange(height) - y) % side, axis=0), (np.arange(width) - x) % side, axis=1
    ).astype(np.float32)
    light = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32)
    mean = max(float((light * weight[..., 0]).sum() / max(weight.sum(), 1)), 25.0)
    shaded = tiled * np.clip(light / mean, 0.35, 1.5)[..., None]
    return np.asarray(np.clip(image * (1 - weight) + shaded * weight, 0, 255), np.uint8)
