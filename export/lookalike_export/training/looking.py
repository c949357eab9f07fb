"""What the embed stage is served with: crops, and what the trained segment and keypoints stages see in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lookalike_export.graph_weights import load_graph
from lookalike_export.stages.contract import CROP_SIZE
from lookalike_export.stages.keypoints import LandmarkFinder
from lookalike_export.stages.segment import Segmenter
from lookalike_export.training.augment import GREY, crop_matrix, warp
from lookalike_export.training.loop import load_weights
from lookalike_export.training.photos import read_image
from lookalike_export.training.views import Sample
from lookalike_export.triton_config import stage_configs

__all__ = ["Looker", "served_crops"]


def served_crops(samples: Sequence[Sample]) -> Tensor:
    """The crops (n, 3, 224, 224) uint8 that the served glue would cut."""
    crops = [
        warp(read_image(s.path), crop_matrix(s.box, size=CROP_SIZE), CROP_SIZE, fill=GREY).transpose(2, 0, 1)
        for s in samples
    ]
    return torch.from_numpy(np.stack(crops))


M = TypeVar("M", bound=nn.Module)


def _trained_or_exported(model: M, stage: str, build: Path, repository: Path) -> M:
    checkpoint = build / "train" / stage / "last.pt"
    if checkpoint.exists():
        model = load_weights(model, checkpoint)
    else:
        model = load_graph(model, stage_configs(repository, stage)[0].exported)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class Looker:
    """Runs the segment and keypoints stages over served crops, as trained below `build` or else as exported."""

    def __init__(self, build: Path, repository: Path) -> None:
        self.segmenter = _trained_or_exported(Segmenter(pretrained=False), "segment", build, repository)
        self.landmarks = _trained_or_exported(LandmarkFinder(pretrained=False), "keypoints", build, repository)

    @torch.no_grad()
    def look(self, samples: list[Sample]) -> list[Sample]:
        """Give each sample the mask and landmarks that the served stages would find."""
        seen = []
        for start in range(0, len(samples), 64):
            chunk = samples[start : start + 64]
            masks, found = self._seen_in(served_crops(chunk))
            for sample, mask, keypoints in zip(chunk, masks.numpy(), found.numpy(), strict=True):
                seen.append(replace(sample, mask=mask, keypoints=keypoints.astype(np.float32)))
        return seen

    def _seen_in(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (n, 56, 56) uint8 and landmarks (n, 8, 3); in bfloat16, four times as fast on many CPUs."""
        pixels = crops.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            masks, found = self.segmenter(pixels).float(), self.landmarks(pixels).float()
        found[..., 2] = found[..., 2].sigmoid()
        return (masks.sigmoid() * 255).round().byte(), found
