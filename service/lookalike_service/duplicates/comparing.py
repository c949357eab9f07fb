"""Whether two photographs are the same picture: key points say how one lies on the other, pixels whether it is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_service.duplicates.fingerprints import Fingerprint
from lookalike_service.model import Box

__all__ = ["Comparison", "compare"]

WHOLE: Final = Box(0, 0, 1, 1)
# A similarity needs two pairs of points; by chance four or five agree on one.
FEWEST_POINTS: Final = 4
REACH: Final = 3.0
TRIALS: Final = 400
# Where few points agree, the place is a pixel or two off; it is moved where that may decide.
WORTH_MOVING: Final = 0.6
STEPS: Final = 20
MOST_TURNED: Final = 0.1
MOST_SHIFTED: Final = 10.0
LARGEST_SCALE: Final = 3.0
LEAST_OVERLAP: Final = 0.35
# Means over so many pixels are compared: less than half a pixel of displacement remains in them.
WINDOW: Final = (7, 7)
BRIGHTNESS: Final = 24.0
CHROMA: Final = 8.0
# What a copy may be lighter or darker by: a factor, and a constant of 255.
LIGHTS: Final = np.array(
    [(gain, offset) for gain in np.geomspace(1, 1.3, 9) for offset in range(-16, 17, 4)], np.float32
)
SHADE: Final = 12.0
SAMPLE: Final = 600
# Variance below which cloth counts as plain, and the least correlation of what is not.
PLAIN: Final = 60.0
CORRELATION: Final = 0.4
MOST_DIFFERENT: Final = 0.18
MOST_GARMENT_DIFFERENT: Final = 0.34

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much of what both photos show is different, 0..1: of everything, and of the garment alone.

    `points` key points agree on how one lies on the other; without such a place all is different.
    """

    points: int = 0
    different: float = 1.0
    garment_different: float = 1.0

    @property
    def same(self) -> bool:
        """A logo on a tenth of the picture passes; the same cut in another colour or print does not."""
        return self.different <= MOST_DIFFERENT and self.garment_different <= MOST_GARMENT_DIFFERENT


def compare(
    one: Fingerprint, other: Fingerprint, *, boxes: tuple[Box, Box] = (WHOLE, WHOLE), mirrored: bool = False
) -> Comparison:
    """Compare two photos, or with `mirrored` one and the mirror image of the other.

    `boxes` say where each shows its garment.
    """
    if mirrored:
        there = boxes[1]
        other, boxes = other.mirrored(), (boxes[0], Box(1 - there.x1, there.y0, 1 - there.x0, there.y1))
    placed = _placed(one, other)
    if placed is None:
        return Comparison()
    matrix, points = placed
    if _scale(matrix) > 1:
        # Where what both show is larger, the seams of a logo are less of it.
        one, other, boxes = other, one, (boxes[1], boxes[0])
        matrix = np.asarray(cv2.invertAffineTransform(matrix), np.float32)
    first = _compared(one, other, matrix, points, boxes)
    if first.same or first.different > WORTH_MOVING:
        return first
    again = _compared(one, other, _moved(one, other, matrix), points, boxes)
    return min(first, again, key=lambda it: it.different)


def _compared(one: Fingerprint, other: Fingerprint, matrix: Floats, points: int, boxes: tuple[Box, Box]) -> Comparison:
    height, width = other.miniature.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = np.asarray(cv2.warpAffine(one.miniature, matrix, (width, height), flags=flags), np.uint8)
    inside = np.full(one.miniature.shape[:2], 255, np.uint8)
    common = cv2.erode(cv2.warpAffine(inside, matrix, (width, height), flags=flags), None) > 254  # type: ignore[call-overload]
    if common.mean() < LEAST_OVERLAP or common.sum() * _scale(matrix) ** 2 < LEAST_OVERLAP * inside.size:
        return Comparison(points)
    garment = np.zeros(inside.shape, np.uint8)
    garment[_rows(boxes[0], inside.shape)] = 1
    garments = cv2.warpAffine(garment, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    garments[_rows(boxes[1], garments.shape)] = True
    different = _different(laid, other.miniature, common)
    there = different[common & garments]
    whole = float(different[common].mean())
    return Comparison(points, whole, float(there.mean()) if there.size else whole)


def _moved(one: Fingerprint, other: Fingerprint, matrix: Floats) -> Floats:
    """The place that the brightness of all pixels says, near the one that a few points said."""
    here, there = (cv2.cvtColor(each.miniature, cv2.COLOR_BGR2GRAY) for each in (other, one))
    enough = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, 1e-3)
    try:
        moved = cv2.findTransformECC(here, there, matrix.copy(), cv2.MOTION_AFFINE, enough, None, 5)[1]  # type: ignore[call-overload]
    except cv2.error:  # it found no way
        return matrix
    # It has all the freedom of an affine map, and may flee to a spot that looks like everything.
    turned, shifted = np.abs(moved - matrix)[:, :2].max() / _scale(matrix), np.abs(moved - matrix)[:, 2].max()
    return np.asarray(moved if turned < MOST_TURNED and shifted < MOST_SHIFTED else matrix, np.float32)


def _placed(one: Fingerprint, other: Fingerprint) -> tuple[Floats, int] | None:
    """Where a pixel of `other` lies on `one`, as (2, 3) turn, scale and shift, and how many points say so."""
    if min(len(one.points), len(other.points)) < FEWEST_POINTS:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(other.codes, one.codes)
    if len(matches) < FEWEST_POINTS:
        return None
    begin = other.points[[match.queryIdx for match in matches]]
    end = one.points[[match.trainIdx for match in matches]]
    matrix: Any
    matrix, agreeing = cv2.estimateAffinePartial2D(
        begin, end, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=TRIALS, confidence=0.99
    )
    points = 0 if matrix is None else int(agreeing.sum())
    if points < FEWEST_POINTS or not 1 / LARGEST_SCALE < _scale(matrix) < LARGEST_SCALE:
        return None
    return matrix.astype(np.float32), points


def _scale(matrix: Floats) -> float:
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def _different(one: Pixels, other: Pixels, common: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where brightness, colour or texture differ beyond what encoding and a lighter or darker copy do."""
    x, y = one.astype(np.float32), other.astype(np.float32)
    x, y = _in_one_light(x, y, common)
    shift = cv2.blur(x - y, WINDOW)
    chroma = np.abs(shift - shift.mean(axis=2, keepdims=True)).max(axis=2)
    a, b = x.mean(axis=2), y.mean(axis=2)
    mean_a, mean_b = cv2.blur(a, WINDOW), cv2.blur(b, WINDOW)
    variances = cv2.blur(a * a, WINDOW) - mean_a * mean_a + cv2.blur(b * b, WINDOW) - mean_b * mean_b
    alike = 2 * (cv2.blur(a * b, WINDOW) - mean_a * mean_b) + PLAIN
    return np.asarray(
        (np.abs(shift.mean(axis=2)) > BRIGHTNESS) | (chroma > CHROMA) | (alike < CORRELATION * (variances + PLAIN)),
        np.bool_,
    )


def _in_one_light(one: Floats, other: Floats, common: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Both photos as if the darker one had been made as light as the other: by a factor and a constant, within reason.

    Done this way about, what is white in the lighter one alone becomes so in both. Parts that fit no light, since they
    are of another colour, count as little as parts that differ by a shade.
    """
    a, b = (each.mean(axis=2)[common] for each in (one, other))
    every = max(1, len(a) // SAMPLE)
    a, b = a[::every], b[::every]
    errors = np.stack([_errors(b, a), _errors(a, b)])
    reverse, number = divmod(int(errors.argmin()), len(LIGHTS))
    gain, offset = LIGHTS[number]
    if reverse:
        one, other = other, one
    return one, np.clip(other * gain + offset, 0, 255)


def _errors(darker: Floats, lighter: Floats) -> npt.NDArray[np.float32]:
    """For each light, how far the pixels are from it."""
    lit = np.clip(darker * LIGHTS[:, :1] + LIGHTS[:, 1:], 0, 255)
    return np.asarray(np.minimum(np.abs(lit - lighter), SHADE).mean(axis=1), np.float32)


def _rows(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    height, width = shape[:2]
    return (
        slice(int(box.y0 * height), max(int(np.ceil(box.y1 * height)), 1)),
        slice(int(box.x0 * width), max(int(np.ceil(box.x1 * width)), 1)),
    )
