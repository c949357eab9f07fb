"""Two varied views of a garment: other crops, other light, now and then a film still or another fabric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lookalike_export.stages.contract import CROP_SIZE, MASK_SIZE
from lookalike_export.stages.vocabulary import CATEGORIES, PATTERNS
from lookalike_export.training.augment import (
    GREY,
    Crop,
    crop_matrix,
    jitter_light,
    random_crop_matrix,
)
from lookalike_export.training.changes import paste_onto, wall
from lookalike_export.training.crops import MIRRORED
from lookalike_export.training.painting import paint_fabric
from lookalike_export.training.photos import Pixels, read_image

__all__ = ["Sample", "Views"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One garment as seen by earlier stages: box x y w h on its photo, mask (56, 56) and landmarks (8, 3) of its crop.

    `other` is another photo of the same item. Unknown labels are -1; `allowed` lists possible categories.
    """

    path: Path
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.uint8]
    keypoints: npt.NDArray[np.float32]
    allowed: tuple[int, ...]
    pattern: int = -1
    material: int = -1
    other: Sample | None = None


class Views(Dataset[dict[str, Tensor]]):
    """Two views of each garment as the served crop would show them: one as in a catalog, one as a shopper's photo."""

    def __init__(self, samples: list[Sample], *, size: int) -> None:
        self.samples, self.size = samples, size
        self.mild = Crop(margin=(-0.05, 0.3), shift=0.05, rotation=6.0, stretch=0.04)
        self.strong = Crop(margin=(-0.3, 0.35), shift=0.1, rotation=22.0, stretch=0.1)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng(int(torch.randint(0, 2**31, ())))
        sample = self.samples[index]
        paint = int(rng.integers(2**31)) if sample.other is None and rng.random() < 0.45 else -1
        if paint >= 0:
            sample = replace(sample, pattern=paint % len(PATTERNS))
        views = [
            self._view(sample, paint, self.mild, rng),
            self._view(sample.other or sample, paint, self.strong, rng),
        ]
        allowed = torch.zeros(len(CATEGORIES))
        allowed[list(sample.allowed)] = 1
        return {
            **{key: torch.stack([view[key] for view in views]) for key in views[0]},
            "allowed": allowed,
            "index": torch.tensor(index),
            "pattern": torch.tensor(sample.pattern),
            "material": torch.tensor(sample.material),
        }

    def _view(self, sample: Sample, paint: int, how: Crop, rng: np.random.Generator) -> dict[str, Tensor]:
        image = read_image(sample.path)
        served = crop_matrix(sample.box, size=CROP_SIZE)
        if paint >= 0:
            image = _painted(image, sample, served, paint)
        strong = how is self.strong
        if strong and rng.random() < 0.4:
            other = read_image(self.samples[int(rng.integers(len(self.samples)))].path)
            image = paste_onto(image, _on_photo(sample, served, image), wall(other, rng))
        matrix, mirrored = random_crop_matrix(sample.box, size=self.size, crop=how, rng=rng)
        view = np.vstack([matrix, [0, 0, 1]])
        if strong:
            view = _tilt(self.size, rng) @ view
        from_served = view @ np.vstack([cv2.invertAffineTransform(served), [0, 0, 1]])
        mask = _project(_full_size(sample.mask), from_served, self.size, fill=(0,))
        crop = _project(image, view, self.size, fill=GREY)
        crop = _as_still(crop, rng) if strong and rng.random() < 0.3 else jitter_light(crop, rng)
        keypoints = sample.keypoints.copy()
        points = cv2.perspectiveTransform((keypoints[None, :, :2] * CROP_SIZE).astype(np.float64), from_served)[0]
        keypoints[:, :2] = points / self.size + rng.normal(0, 0.015, (8, 2))
        keypoints = keypoints[list(MIRRORED)] if mirrored else keypoints
        if rng.random() < 0.15:
            keypoints[:, 2] = 0
        soft = _misjudged(np.asarray(cv2.resize(mask, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)), rng)
        return {
            "crops": torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))),
            "mask": torch.from_numpy(soft.astype(np.float32) / 255),
            "keypoints": torch.from_numpy(keypoints.astype(np.float32)),
        }


def _tilt(size: int, rng: np.random.Generator, *, strength: float = 0.08) -> npt.NDArray[np.float64]:
    """A homography of the square onto itself with its corners moved, as a camera held askew would."""
    square = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    moved = square + rng.uniform(-strength, strength, (4, 2)) * size
    return np.asarray(cv2.getPerspectiveTransform(square, moved.astype(np.float32)), np.float64)


def _project(image: Pixels, matrix: npt.NDArray[np.float64], size: int, *, fill: tuple[int, ...]) -> Pixels:
    """Apply a homography; shrinks first where a single bilinear step would alias."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if scale < 0.6:
        shrink = scale * 1.2
        image = np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix @ np.diag([1 / shrink, 1 / shrink, 1])
    projected = cv2.warpPerspective(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return np.asarray(projected, np.uint8)


def _on_photo(sample: Sample, served: npt.NDArray[np.float64], image: Pixels) -> Pixels:
    """The sample's mask (h, w) where its crop lies on the photo."""
    height, width = image.shape[:2]
    mask = cv2.warpAffine(
        _full_size(sample.mask), cv2.invertAffineTransform(served), (width, height), flags=cv2.INTER_LINEAR
    )
    return np.asarray(mask, np.uint8)


def _misjudged(mask: Pixels, rng: np.random.Generator) -> Pixels:
    """What the segment stage makes of a garment in worse light: too wide, too narrow, a piece lost, or everything."""
    chance = rng.random()
    if chance < 0.06:
        return np.full_like(mask, 255)
    if chance < 0.3:
        kernel = np.ones((int(rng.integers(2, 5)),) * 2, np.uint8)
        return np.asarray((cv2.dilate if rng.random() < 0.5 else cv2.erode)(mask, kernel), np.uint8)
    if chance < 0.4:
        side = int(rng.integers(6, 20))
        y, x = rng.integers(0, mask.shape[0] - side, 2)
        mask[y : y + side, x : x + side] = 0
    return mask


def _full_size(mask: Pixels) -> Pixels:
    return np.asarray(cv2.resize(mask, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _as_still(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """A dark film still: few pixels, motion blur, low light, strong compression."""
    size = crop.shape[0]
    small = cv2.resize(crop, None, fx=(f := rng.uniform(0.3, 0.7)), fy=f, interpolation=cv2.INTER_AREA)
    length = int(rng.integers(1, 7))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2 if rng.random() < 0.5 else slice(None), slice(None) if rng.random() < 0.5 else length // 2] = 1
    small = cv2.filter2D(small, -1, kernel / kernel.sum()) if kernel.sum() else small
    dark = 255 * (small / 255.0) ** rng.uniform(1.0, 1.8) * rng.uniform(0.4, 0.9) + rng.normal(0, 4, small.shape)
    coded = cv2.imencode(
        ".jpg", np.clip(dark, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 60))]
    )[1]
    still = cv2.resize(cv2.imdecode(coded, cv2.IMREAD_COLOR), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(still, np.uint8)


def _painted(image: Pixels, sample: Sample, served: npt.NDArray[np.float64], seed: int) -> Pixels:
    """A rendered fabric on the garment; the pattern follows from the seed."""
    mask = _on_photo(sample, served, image)
    rng = np.random.default_rng(seed)
    return paint_fabric(image, mask, sample.box, pattern=PATTERNS[seed % len(PATTERNS)], rng=rng)
