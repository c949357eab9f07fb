"""Garment crops with masks and landmarks, for the stages that work on regions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from lookalike_export.stages.contract import CROP_SIZE, MASK_SIZE
from lookalike_export.training.augment import (
    GREY,
    Crop,
    crop_matrix,
    jitter_light,
    random_crop_matrix,
    transform_points,
    warp,
)
from lookalike_export.training.photos import ItemPhoto, Pixels, StreetGarment, StreetPhoto, read_image, read_mask
from lookalike_export.training.rendered import RenderedGarment

__all__ = ["MIRRORED", "GarmentCrops", "mask_box"]

MIRRORED = (1, 0, 3, 2, 5, 4, 7, 6)
"""Landmarks after mirroring: left and right change places."""

Source = tuple[Path, StreetGarment] | ItemPhoto | RenderedGarment


def mask_box(mask: Pixels) -> tuple[float, float, float, float]:
    """x, y, w, h of the pixels that are set."""
    x, y, w, h = cv2.boundingRect(mask)
    return float(x), float(y), float(w), float(h)


class GarmentCrops(Dataset[dict[str, torch.Tensor]]):
    """One crop per garment: `crop` (3, size, size) uint8, `mask` (56, 56) float 0..1, `keypoints` (8, 3), `garment`.

    `keypoints` holds x, y in 0..1 of the crop and 1 where the landmark exists, 0 where it does not, -1 where
    nothing is known (photos without landmarks). Of the street garments that have no landmarks (shoes, bags, hats) the
    share `without_landmarks` takes part.
    """

    def __init__(
        self,
        street: list[StreetPhoto],
        items: list[ItemPhoto] | None = None,
        *,
        rendered: list[RenderedGarment] | None = None,
        size: int = CROP_SIZE,
        train: bool = True,
        without_landmarks: float = 1.0,
        worn: Crop | None = None,
        flat: Crop | None = None,
    ) -> None:
        worn_garments = [(p.path, g) for p in street for g in p.garments if min(g.box[2:]) >= 6]
        bare = [s for s in worn_garments if s[1].keypoints is None]
        some = np.random.default_rng(0).permutation(len(bare))[: round(without_landmarks * len(bare))]
        self.sources: list[Source] = [s for s in worn_garments if s[1].keypoints is not None]
        self.sources += [bare[i] for i in some]
        self.sources += [item for item in items or () if item.mask is not None]
        self.sources += rendered or []
        self.size, self.train = size, train
        self.worn = worn or Crop()
        self.flat = flat or Crop(rotation=30.0, margin=(-0.05, 0.35))

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(int(torch.randint(0, 2**31, ())) if self.train else index)
        image, mask, box, keypoints, garment = self._load(self.sources[index])
        if self.train:
            flat = isinstance(self.sources[index], ItemPhoto)
            matrix, mirrored = random_crop_matrix(box, size=self.size, crop=self.flat if flat else self.worn, rng=rng)
        else:
            matrix, mirrored = crop_matrix(box, size=self.size), False
        crop = warp(image, matrix, self.size, fill=GREY)
        soft = cv2.resize(
            warp(mask, matrix, self.size, fill=(0,)), (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA
        )
        return {
            "crop": torch.from_numpy(
                np.ascontiguousarray((jitter_light(crop, rng) if self.train else crop).transpose(2, 0, 1))
            ),
            "mask": torch.from_numpy(soft.astype(np.float32) / 255),
            "keypoints": torch.from_numpy(self._landmarks(keypoints, matrix, mirrored)),
            "garment": torch.tensor(garment),
        }

    def _load(
        self, source: Source
    ) -> tuple[Pixels, Pixels, tuple[float, float, float, float], npt.NDArray[np.float32] | None, int]:
        if isinstance(source, ItemPhoto):
            assert source.mask is not None  # no others were taken in
            mask = read_mask(source.mask)
            return read_image(source.path), mask, mask_box(mask), None, source.garment
        if isinstance(source, RenderedGarment):
            mask = read_mask(source.mask)
            return read_image(source.path), mask, source.box, source.keypoints, source.garment
        path, garment = source
        return read_image(path), garment.mask() * np.uint8(255), garment.box, garment.keypoints, garment.garment

    def _landmarks(
        self, keypoints: npt.NDArray[np.float32] | None, matrix: npt.NDArray[np.float64], mirrored: bool
    ) -> npt.NDArray[np.float32]:
        if keypoints is None:
            return np.full((8, 3), -1, np.float32)
        points = transform_points(keypoints[:, :2], matrix) / self.size
        known = (keypoints[:, 2:] > 0).astype(np.float32)
        inside = ((points > -0.02) & (points < 1.02)).all(axis=1, keepdims=True)
        landmarks: npt.NDArray[np.float32] = np.concatenate(
            [points.clip(0, 1), known * inside], axis=1, dtype=np.float32
        )
        return landmarks[list(MIRRORED)] if mirrored else landmarks
