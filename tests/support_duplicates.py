"""What shops do to a picture before it comes back under another product: made here, so that the truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_service.model import Box

__all__ = ["Change", "box_after", "changed", "some_change"]

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Change:
    """`left`, `top`, `width` and `height` of the crop, and the logo, are shares of the picture; `scale` is of a side.

    A logo is a filled rectangle with letters, `opacity` strong.
    """

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0
    scale: float = 1.0
    quality: int = 90
    lighter: float = 1.0
    offset: float = 0.0
    logo: Box | None = None
    ink: tuple[int, int, int] = (200, 30, 30)
    opacity: float = 1.0
    mirrored: bool = False


def some_change(seed: int) -> Change:
    """Everything at once: both sides cropped to 70-100 %, scale 0.4-2, JPEG 30-95, on most a logo over 2-10 %."""
    random = np.random.default_rng(seed)
    width, height = random.uniform(0.7, 1, 2)
    left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
    logo = None
    if random.random() < 0.7:
        area, shape = random.uniform(0.02, 0.1), random.uniform(0.4, 2.5)
        wide, high = min(0.9, (area * shape) ** 0.5), min(0.9, (area / shape) ** 0.5)
        x, y = random.uniform(0, 1 - wide), random.uniform(0, 1 - high)
        logo = Box(x, y, x + wide, y + high)
    red, green, blue = (int(each) for each in random.integers(0, 256, 3))
    return Change(
        left, top, float(width), float(height),
        scale=float(np.exp(random.uniform(np.log(0.4), np.log(2.0)))),
        quality=int(random.integers(30, 96)),
        lighter=float(random.uniform(0.88, 1.12)),
        offset=float(random.uniform(-8, 8)),
        logo=logo,
        ink=(red, green, blue),
        opacity=float(random.choice([0.6, 1.0])),
    )  # fmt: skip


def changed(pixels: Pixels, change: Change) -> bytes:
    """The changed picture, RGB (h, w, 3) -> JPEG."""
    height, width = pixels.shape[:2]
    left, top = round(change.left * width), round(change.top * height)
    made = pixels[top : top + round(change.height * height), left : left + round(change.width * width)].copy()
    if change.logo:
        made = _marked(made, change)
    method = cv2.INTER_AREA if change.scale < 1 else cv2.INTER_CUBIC
    made = np.asarray(cv2.resize(made, None, fx=change.scale, fy=change.scale, interpolation=method), np.uint8)
    made = np.clip(made.astype(np.float32) * change.lighter + change.offset, 0, 255).astype(np.uint8)
    if change.mirrored:
        made = made[:, ::-1]
    return bytes(cv2.imencode(".jpg", made[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, change.quality])[1].tobytes())


def _marked(pixels: Pixels, change: Change) -> Pixels:
    assert change.logo
    height, width = pixels.shape[:2]
    begin = (int(change.logo.x0 * width), int(change.logo.y0 * height))
    end = (int(change.logo.x1 * width), int(change.logo.y1 * height))
    over = pixels.copy()
    cv2.rectangle(over, begin, end, change.ink, -1)
    letters = (255, 255, 255) if sum(change.ink) < 380 else (0, 0, 0)
    size = max((end[0] - begin[0]) / 90, 0.3)
    place = (begin[0], begin[1] + int((end[1] - begin[1]) * 0.8))
    cv2.putText(over, "SHOP", place, cv2.FONT_HERSHEY_SIMPLEX, size, letters, 2)
    return np.asarray(cv2.addWeighted(over, change.opacity, pixels, 1 - change.opacity, 0), np.uint8)


def box_after(box: Box, change: Change) -> Box:
    """Where a box lies on the changed picture, what was cut off left out."""
    xs = [(x - change.left) / change.width for x in (box.x0, box.x1)]
    ys = [(y - change.top) / change.height for y in (box.y0, box.y1)]
    if change.mirrored:
        xs = [1 - xs[1], 1 - xs[0]]
    x0, x1, y0, y1 = (min(max(float(each), 0.0), 1.0) for each in (*xs, *ys))
    return Box(x0, y0, x1, y1)
