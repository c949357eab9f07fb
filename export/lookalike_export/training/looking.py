"""What the embed stage is served with: crops, and what the trained segment and keypoints stages see in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lookalike_export.stages.contract import CROP_SIZE
from lookalike_export.stages.keypoints import LandmarkFinder
from lookalike_export.stages.segment import Segmenter
from lookalike_export.training.augment import GREY, crop_matrix, warp
from lookalike_export.training.loop import load_weights
from lookalike_export.training.photos import read_image
from lookalike_export.training.views import Sample

__all__ = ["Looker", "served_crops"]


def served_crops(samples: Sequence[Sample]) -> Tensor:
    """The crops (n, 3, 224, 224) uint8 that the served glue would cut."""
    crops = [
        warp(read_image(s.path), crop_matrix(s.box, size=CROP_SIZE), CROP_SIZE, fill=GREY).transpose(2, 0, 1)
        for s in samples
    ]
    return torch.from_numpy(np.stack(crops))


class Looker:
    """Runs the trained segment and keypoints stages over served crops."""

    def __init__(self, build: Path) -> None:
        self.segmenter = load_weights(Segmenter(pretrained=False), build / "train" / "segment" / "last.pt")
        self.landmarks = load_weights(LandmarkFinder(pretrained=False), build / "train" / "keypoints" / "last.pt")

    @torch.no_grad()
    def look(self, samples: list[Sample]) -> list[Sample]:
        """Give each sample the mask and landmarks that the served stages would find."""
        seen = []
        for start in range(0, len(samples), 64):
            chunk = samples[start : start + 64]
            pixels = served_crops(chunk)
            masks = (self.segmenter(pixels).sigmoid() * 255).round().byte().numpy()
            found = self.landmarks(pixels)
            found[..., 2] = found[..., 2].sigmoid()
            for sample, mask, keypoints in zip(chunk, masks, found.numpy(), strict=True):
                seen.append(replace(sample, mask=mask, keypoints=keypoints.astype(np.float32)))
        return seen
