"""Choose the garments of a photo and cut one square crop for each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["CropError", "Garments", "Options", "as_regions", "cut", "detected", "given", "whole_image"]

Floats = npt.NDArray[np.float32]

MAX_GARMENTS = 16
DETECTED, REGION, WHOLE_IMAGE = 0, 1, 2
NO_CLASS = -1
GREY = 114
# Two classes that claim so nearly the same box mean one garment. A shirt under an open jacket overlaps it less.
_SAME_PLACE = 0.8
# A crop of fewer pixels than this holds no garment that anyone could recognise; it also keeps the side above zero.
_SMALLEST_SIDE = 4


class CropError(ValueError):
    """The caller's regions or options do not hold; `reason` is REGION_INVALID or OPTIONS_INVALID."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Options:
    """Which detections count, and how many garments at most."""

    min_score: float
    max_garments: int

    @classmethod
    def read(cls, options: Floats, *, default_min_score: float, default_max_garments: int) -> Options:
        """Read the tensor `options`, (2,) float32: min_score, max_garments.

        Zero means the default. A negative min_score means no threshold at all: every row that the detector
        used counts, as evaluation needs it. Raises CropError for what is not a number.
        """
        if not np.isfinite(options).all():
            raise CropError("OPTIONS_INVALID", "min_score and max_garments must be finite numbers")
        min_score, max_garments = float(options[0]), int(options[1])
        return cls(
            min_score=default_min_score if min_score == 0 else max(min_score, 0.0),
            max_garments=min(max_garments if max_garments > 0 else default_max_garments, MAX_GARMENTS),
        )


@dataclass(frozen=True, slots=True)
class Garments:
    """The k chosen garments of one photo, 1 <= k <= 16.

    `boxes` is (k, 4) float32, x0 y0 x1 y1 on the upright photo, 0..1; `scores` (k,) float32; `classes` (k,) int32,
    -1 where nobody detected; `sources` (k,) int32: 0 detected, 1 caller's region, 2 whole image. A caller's
    region has score 1, the whole image score 0.
    """

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int32]
    sources: npt.NDArray[np.int32]


def detected(
    boxes: Floats, scores: Floats, classes: npt.NDArray[np.int32], *, frame: Floats, options: Options
) -> Garments:
    """Choose among the detector's rows, best first; the whole image stands in when none is left.

    `boxes` (n, 4) are x0 y0 x1 y1 in pixels of the letterbox that `frame` (5,) describes; rows of score 0 are
    unused. Of rows that claim the same place for different classes the surest stays, unless no threshold was asked
    for: evaluation wants all of them.
    """
    scale, pad_x, pad_y, width, height = (float(value) for value in frame)
    shift = np.array([pad_x, pad_y, pad_x, pad_y], np.float32)
    on_photo = (boxes - shift) / (scale * np.array([width, height, width, height], np.float32))
    on_photo = np.clip(on_photo, 0.0, 1.0)
    usable = (on_photo[:, 2] > on_photo[:, 0]) & (on_photo[:, 3] > on_photo[:, 1])
    rows = np.flatnonzero(usable & (scores > 0) & (scores >= options.min_score))
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    if options.min_score > 0:
        rows = _one_per_place(on_photo, rows)
    rows = rows[: options.max_garments]
    if rows.size == 0:
        return whole_image()
    return Garments(
        boxes=on_photo[rows].astype(np.float32),
        scores=scores[rows].astype(np.float32),
        classes=classes[rows].astype(np.int32),
        sources=np.full(rows.size, DETECTED, np.int32),
    )


def _one_per_place(boxes: Floats, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    kept: list[int] = []
    for row in rows.tolist():
        if all(_overlap(boxes[row], boxes[other]) <= _SAME_PLACE for other in kept):
            kept.append(row)
    return np.array(kept, np.intp)


def _overlap(one: Floats, other: Floats) -> float:
    """IoU; the scale of the axes cancels out."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    return shared / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared)


def as_regions(regions: Floats) -> Floats:
    """Check the caller's regions, (n, 4) float32, x0 y0 x1 y1 on the upright photo.

    Raises CropError (REGION_INVALID) when there are none or more than 16, when a coordinate is not finite or
    outside 0..1, or when a region has no area.
    """
    if regions.ndim != 2 or regions.shape[1:] != (4,):
        raise CropError("REGION_INVALID", "regions must be rows of x0, y0, x1, y1")
    if not 1 <= len(regions) <= MAX_GARMENTS:
        raise CropError("REGION_INVALID", f"{len(regions)} regions were given; 1 to {MAX_GARMENTS} are allowed")
    for number, (x0, y0, x1, y1) in enumerate(regions.tolist()):
        if not all(0.0 <= value <= 1.0 for value in (x0, y0, x1, y1)):  # false for NaN, too
            raise CropError("REGION_INVALID", f"region {number} has a coordinate outside 0..1")
        if x1 <= x0 or y1 <= y0:
            raise CropError("REGION_INVALID", f"region {number} has no area; x0 < x1 and y0 < y1 must hold")
    return regions


def given(regions: Floats) -> Garments:
    """Take the caller's regions as they are, in their order; see as_regions for what is checked."""
    regions = as_regions(regions)
    count = len(regions)
    return Garments(
        boxes=regions.astype(np.float32),
        scores=np.ones(count, np.float32),
        classes=np.full(count, NO_CLASS, np.int32),
        sources=np.full(count, REGION, np.int32),
    )


def whole_image() -> Garments:
    """Take the photo as one garment, so that a flat-lay product photo still has a vector."""
    return Garments(
        boxes=np.array([[0.0, 0.0, 1.0, 1.0]], np.float32),
        scores=np.zeros(1, np.float32),
        classes=np.full(1, NO_CLASS, np.int32),
        sources=np.full(1, WHOLE_IMAGE, np.int32),
    )


def cut(
    pixels: npt.NDArray[np.uint8], garments: Garments, *, size: int, context: float
) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Cut a square around each garment, filled with grey where it leaves the photo.

    The square's side is the box's longer side times 1 + `context`; around the whole image there is no context to
    add. Returns the crops, (k, 3, size, size) uint8, and the squares, (k, 4) float32, x0 y0 x1 y1 on the upright
    photo in units of its width and height, below 0 or above 1 where a square leaves it.
    """
    height, width = pixels.shape[:2]
    crops = np.empty((len(garments.boxes), 3, size, size), np.uint8)
    squares = np.empty((len(garments.boxes), 4), np.float32)
    for row, (box, source) in enumerate(zip(garments.boxes, garments.sources, strict=True)):
        growth = 1.0 if source == WHOLE_IMAGE else 1.0 + context
        left, top, side = _square(box, width, height, growth)
        crops[row] = _resized(_window(pixels, left, top, side), size).transpose(2, 0, 1)
        squares[row] = left / width, top / height, (left + side) / width, (top + side) / height
    return crops, squares


def _square(box: Floats, width: int, height: int, growth: float) -> tuple[int, int, int]:
    """Place the square on whole pixels, so that crop_box says exactly what was cut."""
    x0, y0, x1, y1 = (float(value) for value in box)
    side = max((x1 - x0) * width, (y1 - y0) * height) * growth
    whole = max(round(side), _SMALLEST_SIDE)
    return round((x0 + x1) * width / 2 - whole / 2), round((y0 + y1) * height / 2 - whole / 2), whole


def _window(pixels: npt.NDArray[np.uint8], left: int, top: int, side: int) -> npt.NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    inside = pixels[y0:y1, x0:x1]
    if inside.shape[:2] == (side, side):
        return inside
    square = np.full((side, side, 3), GREY, np.uint8)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = inside
    return square


def _resized(square: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    method = cv2.INTER_AREA if square.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=method), np.uint8)
