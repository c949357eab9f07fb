"""Vision towers of the CLIP and SigLIP kind as the embed stage, with heads that their text towers make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.hub.pictures import Pixels, Preparation
from lookalike_export.stages.colours import ColourShares
from lookalike_export.stages.contract import CROP_SIZE, ServedStage

__all__ = ["HEADS", "Head", "HubEmbedder"]

HEADS = ("category", "pattern", "material")


@dataclass(frozen=True, slots=True)
class Head:
    """A zero-shot classifier: its labels, and what the text tower makes of each, (labels, size) of unit length."""

    labels: tuple[str, ...]
    texts: Tensor


class HubEmbedder(ServedStage):
    """Crops, masks and landmarks -> the tower's own vector, unit length, and what else the contract wants.

    What lies outside the (slightly grown) mask is painted white, as on the shop photos that such towers learnt from.
    Landmarks mean nothing to them. `heads` may be empty: then those outputs do not exist. `scale` is the factor that
    the two towers were trained with; it makes likenesses into probabilities.
    """

    inputs = ("crops", "mask", "keypoints")

    def __init__(
        self,
        tower: nn.Module,
        preparation: Preparation,
        heads: Mapping[str, Head],
        *,
        scale: float,
        version: int,
    ) -> None:
        super().__init__()
        self.outputs = ("embedding", *heads, "colours", "embedding_version")
        self.tower = tower
        self.pixels = Pixels(preparation)
        self.colours = ColourShares()
        self.version = version
        self.heads = list(heads)
        for name, head in heads.items():
            self.register_buffer(f"{name}_texts", scale * head.texts.t(), persistent=False)

    def forward(self, crops: Tensor, mask: Tensor, keypoints: Tensor) -> tuple[Tensor, ...]:
        inside = mask.float() / 255
        # A mask that found nothing must not hide everything.
        inside = torch.maximum(inside, (inside.mean(dim=(1, 2), keepdim=True) < 0.01).float())
        grown = F.max_pool2d(inside.unsqueeze(1), 5, 1, 2)
        grown = F.interpolate(grown, size=(CROP_SIZE, CROP_SIZE), mode="bilinear", align_corners=False)
        painted = 255 + (crops.float() - 255) * grown
        embedding = F.normalize(self.tower(self.pixels(painted)), dim=1, eps=1e-6)
        answers = [torch.matmul(embedding, self.get_buffer(f"{name}_texts")).softmax(dim=1) for name in self.heads]
        # The contract has landmarks, and an input that nobody uses is left out of a graph: they give the batch here.
        version = torch.full((keypoints.shape[0], 1), self.version, dtype=torch.int32, device=crops.device)
        colours, _ = self.colours(crops, inside)
        return (embedding, *answers, colours, version)
