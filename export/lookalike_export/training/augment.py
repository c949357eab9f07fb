"""One way to cut and vary pictures for every stage, so that no stage sees a world of its own."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.training.photos import Pixels

__all__ = ["GREY", "Crop", "crop_matrix", "jitter_light", "random_crop_matrix", "transform_points", "warp"]

GREY = (114, 114, 114)
"""What lies outside the photo, here and in the served glue."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crop:
    """How much a training crop may differ from the served one; fractions of the box, degrees."""

    margin: tuple[float, float] = (0.02, 0.35)
    shift: float = 0.08
    rotation: float = 10.0
    stretch: float = 0.08
    flip: bool = True


def crop_matrix(box: tuple[float, float, float, float], *, size: int, margin: float = 0.12) -> Matrix:
    """The (2, 3) affine map from photo pixels to the served crop: a square around the box x, y, w, h, aspect kept."""
    x, y, w, h = box
    scale = size / (max(w, h, 1.0) * (1 + margin))
    return np.array([[scale, 0, size / 2 - scale * (x + w / 2)], [0, scale, size / 2 - scale * (y + h / 2)]])


def random_crop_matrix(
    box: tuple[float, float, float, float], *, size: int, crop: Crop, rng: np.random.Generator
) -> tuple[Matrix, bool]:
    """A varied crop; returns the matrix and whether it mirrors (then left and right landmarks change places)."""
    x, y, w, h = box
    side = max(w, h, 1.0)
    cx = x + w / 2 + side * rng.uniform(-crop.shift, crop.shift)
    cy = y + h / 2 + side * rng.uniform(-crop.shift, crop.shift)
    scale = size / (side * (1 + rng.uniform(*crop.margin)))
    angle = np.deg2rad(rng.normal() * crop.rotation / 2)
    mirror = bool(crop.flip and rng.random() < 0.5)
    sx = scale * np.exp(rng.uniform(-crop.stretch, crop.stretch)) * (-1 if mirror else 1)
    sy = scale * np.exp(rng.uniform(-crop.stretch, crop.stretch))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([sx, sy])
    shift = size / 2 - turn @ np.array([cx, cy])
    return np.column_stack([turn, shift]), mirror


def warp(image: Pixels, matrix: Matrix, size: int, *, fill: tuple[int, ...] = GREY) -> Pixels:
    """Apply a map to (size, size); shrinks in two steps where a single bilinear one would alias."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.6:
        image = np.asarray(
            cv2.resize(image, None, fx=scale * 1.2, fy=scale * 1.2, interpolation=cv2.INTER_AREA), np.uint8
        )
        matrix = np.column_stack([matrix[:, :2] / (scale * 1.2), matrix[:, 2]])
    warped = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return np.asarray(warped, np.uint8)


def transform_points(points: npt.NDArray[np.float32], matrix: Matrix) -> npt.NDArray[np.float32]:
    """Map (n, 2) pixels."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def jitter_light(image: Pixels, rng: np.random.Generator, *, strength: float = 1.0) -> Pixels:
    """What light and cameras do: exposure, contrast, a warm or cold cast, saturation, now and then grain, blur, JPEG.

    Hue is left alone: a red dress under any lamp is not a blue one, and colour is what shoppers match.
    """
    out = image.astype(np.float32)
    gain = np.exp(rng.normal(0, 0.18 * strength))
    cast = np.exp(rng.normal(0, 0.05 * strength, 3)).astype(np.float32)
    mean = out.mean()
    contrast = np.exp(rng.normal(0, 0.15 * strength))
    out = ((out - mean) * contrast + mean) * gain * cast
    grey = out.mean(axis=2, keepdims=True)
    out = grey + (out - grey) * np.exp(rng.normal(0, 0.12 * strength))
    if rng.random() < 0.2 * strength:
        out += rng.normal(0, rng.uniform(2, 9), out.shape).astype(np.float32)
    result: Pixels = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.2 * strength:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), rng.uniform(0.5, 1.6)), np.uint8)
    if rng.random() < 0.25 * strength:
        coded = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 85))])[1]
        result = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return result
