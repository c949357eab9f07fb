"""The four stages as the tensor contract wants them: names, types and values that travel between Triton models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lookalike_export.stages.contract import CROP_SIZE, LETTERBOX_SIZE, MASK_SIZE, ServedStage
from lookalike_export.stages.detect import Detector, ServedDetector
from lookalike_export.stages.embed import Embedder, ServedEmbedder
from lookalike_export.stages.keypoints import LandmarkFinder
from lookalike_export.stages.segment import Segmenter

__all__ = ["STAGES", "ServedLandmarks", "ServedSegmenter", "Stage", "example_inputs", "load_stage"]


class ServedSegmenter(ServedStage):
    """Mask as bytes: a quarter of the traffic between the stages, and finer than anybody's eye."""

    inputs, outputs = ("crops",), ("mask",)

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, crops: Tensor) -> Tensor:
        logits: Tensor = self.segmenter(crops)
        return (logits.sigmoid() * 255).round().to(torch.uint8)


class ServedLandmarks(ServedStage):
    """Landmarks with visibility as a probability."""

    inputs, outputs = ("crops",), ("keypoints",)

    def __init__(self, finder: LandmarkFinder) -> None:
        super().__init__()
        self.finder = finder

    def forward(self, crops: Tensor) -> Tensor:
        found = self.finder(crops)
        return torch.cat([found[..., :2], found[..., 2:].sigmoid()], dim=2)


_ONLY_IN_TRAINING = {"regions.weight", "regions.bias"}


@dataclass(frozen=True, slots=True)
class Stage:
    """How a stage is built without weights, what its checkpoint fills, and how it is wrapped for serving."""

    build: Callable[[], nn.Module]
    serve: Callable[[Any], ServedStage]  # takes what `build` gives
    tolerance: float
    halved_tolerance: float


STAGES: dict[str, Stage] = {
    "detect": Stage(lambda: Detector(pretrained=False), ServedDetector, 0.05, 3.0),
    "keypoints": Stage(lambda: LandmarkFinder(pretrained=False), ServedLandmarks, 1e-4, 1e-2),
    "segment": Stage(lambda: Segmenter(pretrained=False), ServedSegmenter, 1.0, 10.0),
    "embed": Stage(lambda: Embedder(pretrained=False), ServedEmbedder, 1e-3, 2e-2),
}
"""Largest differences from torch allowed, in letterbox pixels, fractions of a crop, mask levels, components (the
look is divided by deviations of about 0.1, and rounding with it)."""


def example_inputs(stage: str, *, batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Smooth random inputs: white noise would only exercise the saturated ends of the networks."""
    generator = torch.Generator().manual_seed(seed)

    def picture(size: int) -> Tensor:
        coarse = torch.rand(batch, 3, 9, 9, generator=generator)
        fine = nn.functional.interpolate(coarse, size=(size, size), mode="bicubic") + 0.05 * torch.randn(
            batch, 3, size, size, generator=generator
        )
        return (fine.clamp(0, 1) * 255).to(torch.uint8)

    if stage == "detect":
        return {"letterbox": picture(LETTERBOX_SIZE)}
    if stage in {"keypoints", "segment"}:
        return {"crops": picture(CROP_SIZE)}
    mask = torch.zeros(batch, MASK_SIZE, MASK_SIZE, dtype=torch.uint8)
    mask[:, 8:-8, 14:-14] = 255
    return {"crops": picture(CROP_SIZE), "mask": mask, "keypoints": torch.rand(batch, 8, 3, generator=generator)}


def load_stage(stage: str, checkpoint: Path | None) -> ServedStage:
    """The served module; with a checkpoint of `fit`, its averaged weights, else random ones."""
    model = STAGES[stage].build()
    if checkpoint is not None:
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
        missing, extra = model.load_state_dict(weights, strict=False)
        if missing or set(extra) - _ONLY_IN_TRAINING:
            raise ValueError(
                f"{checkpoint} does not fit the {stage} stage: missing {missing[:3]}, not expected {extra[:3]}"
            )
    return STAGES[stage].serve(model).eval()
