"""What may happen to a garment between two photos of it: another view, or a dark frame of a film."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import numpy.typing as npt

from lookalike_export.training.photos import Pixels

__all__ = ["another_view", "dice", "film_still", "paste_onto", "wall"]

_LONGEST = 360


def dice(name: str, *, salt: str) -> np.random.Generator:
    """The same dice for the same photo in every run."""
    return np.random.default_rng(zlib.crc32(f"{salt}/{name}".encode()))


def wall(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """A background of another photo: a piece of one of its corners, where walls and floors are, grown to its size."""
    height, width = photo.shape[:2]
    h, w = int(height * 0.28), int(width * 0.28)
    y, x = (0, height - h)[int(rng.integers(2))], (0, width - w)[int(rng.integers(2))]
    grown = cv2.resize(photo[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(grown, np.uint8)


def paste_onto(image: Pixels, mask: Pixels, background: Pixels) -> Pixels:
    """The garment under the mask (h, w) on another background, with soft edges."""
    height, width = image.shape[:2]
    behind = cv2.resize(background, (width, height), interpolation=cv2.INTER_LINEAR)
    weight = cv2.GaussianBlur(mask, (0, 0), 1.0).astype(np.float32)[..., None] / 255
    return np.asarray(image * weight + behind * (1 - weight), np.uint8)


def another_view(image: Pixels, mask: Pixels | None, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Crop to 60-90 % of the area, perspective, rotation to 20 degrees, other light and a colour cast.

    Returns the picture, longest side 360, and the mask (all set where there was none) moved along. JPEG at quality
    40 is up to the caller, who encodes it.
    """
    height, width = image.shape[:2]
    scale = _LONGEST / max(height, width)
    size = (max(int(width * scale), 8), max(int(height * scale), 8))
    matrix = _view(width, height, size, rng)
    seen = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
    whole = np.full((height, width), 255, np.uint8) if mask is None else mask
    moved = cv2.warpPerspective(whole, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(0,))
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.07, 3))
    lit = 255 * (np.clip(seen * gain, 0, 255) / 255) ** np.exp(rng.normal(0, 0.15))
    return np.asarray(lit, np.uint8), np.asarray(moved, np.uint8)


def _view(width: int, height: int, size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The homography from the photo to the picture of `size`."""
    side = np.sqrt(rng.uniform(0.6, 0.9))
    w, h = width * side, height * side
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    angle = np.deg2rad(rng.uniform(-20, 20))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = corners.mean(axis=0)
    corners = (corners - middle) @ turn.T + middle + rng.uniform(-0.08, 0.08, (4, 2)) * [w, h]
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), target), np.float64)


def film_still(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A frame of a film: 240 pixels, motion blur, low light, grain, black bars above and below."""
    height, width = picture.shape[:2]
    scale = 240 / max(height, width)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), float(rng.uniform(0, 180)), 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    blurred = cv2.filter2D(small, -1, kernel / max(float(kernel.sum()), 1e-6))
    dark = 255 * (blurred / 255.0) ** rng.uniform(1.1, 1.6) * rng.uniform(0.45, 0.8)
    grainy = np.clip(dark + rng.normal(0, 4, dark.shape), 0, 255).astype(np.uint8)
    bar = int(0.14 * grainy.shape[0])
    return np.asarray(cv2.copyMakeBorder(grainy, bar, bar, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)), np.uint8)
